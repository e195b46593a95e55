"""The card of a run or a data set: what it is, what it is worth, what is not known, and the items of guidelines."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from covid_core import files
from covid_core.data import dataset as data
from covid_core.data import summary
from covid_core.data.dataset import Dataset
from covid_core.errors import InvalidChoice, UnknownId, cause
from covid_core.evaluation import comparison
from covid_core.evaluation.measures import CLASS_MEASURES, MEASURES
from covid_core.exchange.cards.checklists import NOT_APPLICABLE, TICKED, Checklist, Item, checklists
from covid_core.exchange.cards.evidence import Subject, dataset_of
from covid_core.formatting import count, day, interval, number, plural, share
from covid_core.reports import audit_text, comparison_text, image_report, run_text, tables
from covid_core.reports.course.document import Block, Bullets, Paragraph, Section, Table
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.workspace import Workspace, list_folders

TEMPLATE = Path(__file__).with_name("card.html")
NOTHING_KNOWN = "Nothing is known of this."
RULE = (
    "An item is ticked only if files show all of it. Each line says what they show, and in which file. An open item "
    "needs words of the authors. The items are named in short: report by the guideline itself."
)
LIMITS = (
    "The figures are of images of one data set. On images of another hospital they are often worse.",
    "Its predictions are no diagnosis.",
    "A ticked item says that something is on record, not that it is good.",
)


@dataclass(frozen=True)
class Card:
    """A card before it is HTML or Markdown."""

    title: str
    subtitle: str
    made: str
    sections: tuple[Section, ...]
    checklists: tuple[Checklist, ...]
    rule: str = RULE


def of_run(workspace: Workspace, run: Run) -> Card:
    """The model card of a finished run. Raises InvalidChoice, RunDamaged or DataError."""
    if not run.result:
        raise InvalidChoice(f"{run.name} has no result, so it has no card.")
    subject = Subject(workspace, run, dataset_of(workspace, run))
    ranking = comparison.ranking([subject.candidate])
    sections = {
        "In short": [
            Bullets((*_texts(subject, "use", "network", "note"), *comparison_text.summary(ranking).sentences))
        ],
        "Data": [
            *_parts(subject),
            _bullets(subject, "licence", "sources", "patients", "partition", "disjoint", "left_out", "decisions"),
        ],
        "Training": [
            _bullets(
                subject, "training", "augmentation", "imbalance", "weights", "versions", "parameters", "selection"
            ),
            _settings(run),
        ],
        "Figures": _figures(subject),
        "Evidence": [_bullets(subject, "evidence", "heatmaps", "robustness", "external", "subgroups")],
        "Limits": [Bullets((*_synthetic(run.dataset.synthetic), *LIMITS, *_limits(subject)))],
    }
    title = f"Model card: {run.name}"
    origin = "trained on" if run.has_network else "imported predictions, for images of"
    about = f"Run {run.id}, {origin} {run.dataset.name}, {day(run.created)}. For research and teaching."
    return _card(title, about, sections, subject)


def of_dataset(workspace: Workspace, dataset: Dataset) -> Card:
    """The data card of a data set as it is now. Raises DataError."""
    subject = Subject(workspace, None, dataset)
    counts = summary.class_table(dataset.counts)
    classes = pd.DataFrame(
        {"Class": counts["label"], "Images": counts["images"].map(count), "Share": counts["share"].map(share)}
    )
    sections = {
        "In short": [
            Bullets(
                (
                    f"{plural(len(dataset.images), 'image')} of {plural(len(classes), 'class', 'classes')}.",
                    *_texts(subject, "origin"),
                )
            )
        ],
        "Classes": [Table("classes", "Images of each class", classes)],
        "On record": [
            _bullets(
                subject,
                *("data_licence", "sources", "patients", "demography", "acquisition", "formats", "missing_facts"),
            ),
            *_facts(dataset),
        ],
        "Changes": [_bullets(subject, "labels", "included", "left_out", "decisions", "relabelled")],
        "Audit": _audit(subject),
        "Limits": [Bullets((*_synthetic(dataset.is_synthetic), LIMITS[-1], *_unlicensed(subject, "data_licence")))],
    }
    version = f"version {dataset.version[:12]}, {day(dataset.info['created'])}"
    about = f"Data set {dataset.id}, {version}. For research and teaching."
    return _card(f"Data card: {dataset.name}", about, sections, subject)


def named(workspace: Workspace, identifier: str) -> Card:
    """The card of the run or data set of that id. Raises UnknownId, InvalidChoice, RunDamaged or DataError."""
    is_run = identifier in {folder.name for folder in list_folders(workspace.runs)}
    try:
        if is_run:
            return of_run(workspace, store.open_run(workspace, identifier))
        return of_dataset(workspace, data.open_dataset(workspace, identifier))
    except UnknownId as error:
        raise UnknownId(f"There is no run or data set with the id {identifier[:80]!r}.") from error


def _card(title: str, about: str, sections: dict[str, list[Block]], subject: Subject) -> Card:
    made = tuple(Section(name.lower().replace(" ", "-"), name, tuple(blocks)) for name, blocks in sections.items())
    return Card(title, about, f"{datetime.now():%d %B %Y}", made, tuple(checklists(subject)))


# Sections


def _texts(subject: Subject, *names: str) -> tuple[str, ...]:
    return tuple(shown.text for name in names if (shown := subject.shown(name)))


def _bullets(subject: Subject, *names: str) -> Block:
    texts = _texts(subject, *names)
    return Bullets(texts) if texts else Paragraph(NOTHING_KNOWN)


def _parts(subject: Subject) -> list[Block]:
    """What each part holds: classes, and what is on record where the data set is here."""
    images = subject.dataset.images if subject.dataset else pd.DataFrame({"image_id": []})
    if subject.dataset is None:
        return [Bullets(_texts(subject, "sizes")), Paragraph("The data set is not here any more.")]
    table = run_text.balance_table(summary.part_balance(subject.the_run.split(), images))
    return [Table("parts", "What each part holds", table.astype(str))]


def _settings(run: Run) -> Table:
    table = tables.hyperparameters_as_text([run.name], [run.spec]).drop(columns="Model").T.reset_index()
    return Table("settings", "Settings", table.set_axis(["Setting", "Value"], axis=1))


def _figures(subject: Subject) -> list[Block]:
    tested = subject.candidate.assessment.tested
    if not tested.n:
        return [Paragraph("No test image has a prediction.")]
    overall = [
        {
            "Measure": row.title,
            "Test part": (interval if row.unit else number)(one.value, one.low, one.high),
            "Images": count(one.n),
        }
        for key, row in MEASURES.items()
        if (one := tested.overall[key])
    ]
    per_class = [
        {"Measure": row.title}
        | {label: interval(of[key].value, of[key].low, of[key].high) for label, of in tested.per_class.items()}
        for key, row in CLASS_MEASURES.items()
    ]
    confusion = tested.confusion.map(count).rename_axis("Label").reset_index()
    return [
        _bullets(subject, "all_parts", "test_of_baseline", "intervals"),
        Table("overall", "Measures with their 95 % intervals", pd.DataFrame(overall)),
        Table("classes", "Measures of each class", pd.DataFrame(per_class)),
        Table("confusion", "Test images by label (rows) and prediction (columns)", confusion),
        _bullets(subject, "calibration", "sets"),
    ]


def _facts(dataset: Dataset) -> list[Table]:
    return [
        Table(
            fact.name,
            f"{fact.name} by class",
            fact.counts.head(run_text.MOST_VALUES).map(count).reset_index().astype(str),
        )
        for fact in summary.recorded_facts(dataset.images, dataset.classes)
    ]


def _audit(subject: Subject) -> list[Block]:
    audit = subject.audit
    if audit is None:
        return [Paragraph("Not audited yet: duplicates and shortcuts are unknown.")]
    findings = [
        *audit_text.findings(audit.quality),
        audit_text.duplicates(audit.pairs),
        *audit_text.sources(audit.sources),
    ]
    findings = [f"{text[:1].upper()}{text[1:].rstrip('.')}." for text in findings]
    verdict = audit_text.ladder(audit.ladder) if audit.ladder else None
    shortcut = [verdict.headline, *verdict.details] if verdict else [f"No probes: {audit.ladder_reason}"]
    return [Bullets(tuple(findings)), Bullets(tuple(shortcut))]


def _synthetic(holds: bool) -> tuple[str, ...]:
    return ("The images are synthetic: figures on them are no medical findings.",) if holds else ()


def _unlicensed(subject: Subject, name: str) -> tuple[str, ...]:
    return () if subject.shown(name) else ("Nobody has stated the licence of the data.",)


def _limits(subject: Subject) -> Iterable[str]:
    run = subject.the_run
    yield from _unlicensed(subject, "licence")
    yield from _texts(subject, "marks")
    yield from filter(None, (run_text.labels(subject.candidate.labels), run_text.model_file(run)))
    views = len(run.openings())
    yield f"The test images were viewed {count(views)} {'time' if views == 1 else 'times'}."


# Formats


def to_html(card: Card) -> bytes:
    """One page that needs no other file, and prints."""
    return image_report.template(TEMPLATE).render(card=card).encode()


def to_markdown(card: Card) -> bytes:
    """The same as Markdown; texts of the workspace stay letter by letter."""
    text = tables.in_markdown
    lines = [f"# {text(card.title)}", "", text(card.subtitle), ""]
    for section in card.sections:
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            match block:
                case Bullets(items):
                    lines += [*(f"- {text(item)}" for item in items), ""]
                case Table():
                    lines += [f"*{text(block.caption)}*", "", tables.to_markdown(block.frame)]
                case Paragraph(words):
                    lines += [text(words), ""]
    lines += ["## Reporting guidelines", "", card.rule, ""]
    for one in card.checklists:
        counts = ", ".join(f"{n} {state}" for state, n in one.counts.items())
        lines += [f"### {one.title}: {counts}", "", f"{one.cite} {one.note}", ""]
        lines += [tables.to_markdown(pd.DataFrame([_row(item) for item in one.items]))]
    lines += [
        f"Made by Second Look from the files alone, {card.made}. For research and teaching. Not a medical device.",
        "",
    ]
    return "\n".join(lines).encode()


def _row(item: Item) -> dict[str, str]:
    mark = "x" if item.state == TICKED else "–" if item.state == NOT_APPLICABLE else " "
    reason = f" ({item.reason})" if item.reason else ""
    shown = " ".join(f"{one.text} ({one.where})".strip() for one in item.shown)
    return {"No": item.number, "": mark, "Item": item.text, "State": f"{item.state}{reason}", "Files show": shown}


FORMATS: dict[str, Callable[[Card], bytes]] = {"html": to_html, "md": to_markdown}


def write(card: Card, format: str, path: Path) -> None:
    """Write a card in one of FORMATS. Raises InvalidChoice."""
    try:
        files.write_bytes(path, FORMATS[format](card))
    except OSError as error:
        raise InvalidChoice(f"The file {path} cannot be written: {cause(error)}.") from error
