"""The section on the data: what is in it, what it looks like, how balanced it is, and what each strategy did."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from covid_core.audit import dataset_audit
from covid_core.data import pixels, summary
from covid_core.data.dataset import Dataset
from covid_core.evaluation.assessment import PARTS
from covid_core.figures import audit as audit_figures
from covid_core.figures import data as figures
from covid_core.formatting import count, decimals, share
from covid_core.images.codec import jpeg_bytes
from covid_core.images.contact_sheet import TILE, Tile, contact_sheet
from covid_core.reports import audit_text
from covid_core.reports.course import course_text
from covid_core.reports.course.document import Block, Bullets, Chart, Discussion, Paragraph, Picture, Table, call
from covid_core.reports.course.subject import Subject
from covid_core.runs.store import Run
from covid_core.specs import IMBALANCE_LABELS, TrainingSpec

PER_CLASS = 8  # sample images of a class
HEADING = 40  # pixels of a class's name above them; a page shows the sheet at a third of its size
SAMPLE_SEED = 1987


def blocks(subject: Subject) -> list[Block]:
    parts: list[Block] = []
    for number, (run, dataset) in enumerate(subject.datasets, start=1):
        parts += _of_one(subject, run, dataset, "" if number == 1 else f"-{number}")
    return [*parts, *_strategies(subject), Discussion(course_text.DISCUSS["data"])]


def _of_one(subject: Subject, run: Run, dataset: Dataset | str, mark: str) -> Iterator[Block]:
    counts = dataset.counts if isinstance(dataset, Dataset) else run.dataset.counts
    used = {label: (counts or {}).get(label, 0) for label in run.classes}
    split = run.split()
    if not all(used.values()):  # an earlier version did not record them
        used = split["label"].value_counts().reindex(list(run.classes), fill_value=0).to_dict()
    name = run.dataset.name
    yield Paragraph(course_text.data_set(name, used, run.dataset.synthetic))
    yield Table(
        f"classes{mark}",
        f"Images of {name} per class and part, and what balances them",
        _classes(split, used),
        recipe=call("class_counts", subject.name_of(run)),
    )
    bars = figures.class_bars(summary.class_table(used))
    alt = "; ".join(f"{label} {count(images)}" for label, images in used.items())
    yield Chart(
        f"classes-chart{mark}",
        "Images per class",
        f"Class balance of {name}.",
        f"Images: {alt}.",
        bars,
        recipe=call("class_bars", subject.name_of(run)),
    )
    if isinstance(dataset, str):
        yield Paragraph(f"No sample images are shown: {dataset}")
        return
    yield _samples(dataset, run.classes, mark)
    sources = summary.source_summary(summary.source_table(dataset.images, dataset.classes))
    yield Bullets(tuple(course_text.sources(sources)))
    yield from _audit(subject, dataset, mark)


def _classes(split: pd.DataFrame, counts: dict[str, int]) -> pd.DataFrame:
    parts = pd.crosstab(split["label"], split["part"]).reindex(index=list(counts), columns=list(PARTS), fill_value=0)
    table = summary.class_table(counts)
    ways = summary.resampling_table({label: max(1, int(parts.at[label, "train"])) for label in counts})
    view = pd.DataFrame(
        {
            "Class": table["label"],
            "Images": table["images"].map(count),
            "Share": table["share"].map(share),
            **{part.capitalize(): parts[part].map(count).to_list() for part in PARTS},
            "Class weight": ways["weight"].map(lambda weight: decimals(weight, 3)),
            "Undersampled to": ways["kept"].map(count),
            "Oversampled to": (ways["images"] + ways["repeated"]).map(count),
        }
    )
    sums: dict[str, Any] = {"Class": "All", "Images": count(table["images"].sum()), "Share": share(1.0)}
    sums |= {part.capitalize(): count(parts[part].sum()) for part in PARTS}
    sums |= {"Class weight": "–"}
    sums |= {"Undersampled to": count(ways["kept"].sum())}
    sums |= {"Oversampled to": count((ways["images"] + ways["repeated"]).sum())}
    return pd.concat([view, pd.DataFrame([sums])], ignore_index=True)


def _samples(dataset: Dataset, classes: tuple[str, ...], mark: str) -> Picture:
    """A contact sheet: a row of images per class, drawn at random, always the same ones."""
    rng = np.random.default_rng(SAMPLE_SEED)
    labels = dataset.images["label"].to_numpy()
    groups = {}
    for label in classes:
        places = np.flatnonzero(labels == label)
        chosen = np.sort(rng.choice(places, min(PER_CLASS, len(places)), replace=False))
        groups[label] = [Tile(image) for image in pixels.decode_rows(dataset, chosen, TILE)]
    rows = ", ".join(classes)
    return Picture(
        f"samples{mark}",
        f"Sample images, one row per class from top to bottom: {rows}. Drawn at random.",
        f"Contact sheet of chest X-rays, up to {PER_CLASS} per class, in rows: {rows}.",
        jpeg_bytes(contact_sheet(groups, PER_CLASS, margin=0, heading=HEADING), quality=88),
    )


def _audit(subject: Subject, dataset: Dataset, mark: str) -> Iterator[Block]:
    """What the audit of the data set found, where one was made."""
    audit = dataset_audit.stored(subject.workspace, dataset)
    if audit is None:
        yield Paragraph("The data set is not audited yet: duplicates and shortcuts are unknown.")
        return
    texts = [*audit_text.findings(audit.quality), audit_text.duplicates(audit.pairs)]
    yield Paragraph("The audit of the images found:")
    yield Bullets(tuple(f"{text[:1].upper()}{text[1:].rstrip('.')}." for text in texts))
    if audit.ladder:
        yield Paragraph(audit_text.ladder(audit.ladder).headline)
        figure, alt = audit_figures.ladder_bars(audit.ladder), audit_figures.ladder_in_words(audit.ladder)
        title = "Accuracy of simple classifiers, each of a part of the images"
        drawn = call("probes", dataset.id)
        yield Chart(f"probes{mark}", title, course_text.PROBES, alt, figure, recipe=drawn)


def _strategies(subject: Subject) -> Iterator[Block]:
    """What each way to handle class imbalance did to performance."""

    def place(spec: TrainingSpec) -> int:
        return list(IMBALANCE_LABELS).index(spec.imbalance)

    families = list(subject.families(["imbalance"], place))
    if not families:
        yield Paragraph(course_text.lacking("imbalance"))
    for number, (order, concluded) in enumerate(families, start=1):
        ways = [IMBALANCE_LABELS[subject.run_of(one).spec.imbalance] for one in order]
        frame = concluded.table.copy()
        frame.insert(1, "Strategy", ways)
        yield Paragraph(concluded.sentence)
        yield Table(
            f"imbalance-{number}",
            f"Ways to handle class imbalance; {course_text.TO_FIRST}",
            frame,
            recipe=call("against_first", *frame["Run"]),
        )
