"""The sections on training: the baseline, transfer and fine-tuning, further networks, augmentation."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from covid_core.data import augmentation as changes
from covid_core.data import pixels
from covid_core.data.dataset import Dataset
from covid_core.errors import RunDamaged
from covid_core.evaluation.comparison import Candidate
from covid_core.figures import training as figures
from covid_core.formatting import count, duration, interval, milliseconds
from covid_core.images.codec import jpeg_bytes
from covid_core.images.contact_sheet import TILE, Tile, contact_sheet
from covid_core.reports import study_text, tables
from covid_core.reports.course import course_text
from covid_core.reports.course.document import Block, Chart, Discussion, Paragraph, Picture, Table, call
from covid_core.reports.course.subject import Subject, is_baseline
from covid_core.reports.study_text import Conclusion
from covid_core.runs import architecture, candidates
from covid_core.runs.store import Run
from covid_core.specs import TrainingSpec

LEARNING = ["mode", "fine_tuning", "learning_rate", "optimizer", "epochs", "batch_size", "patience", "taps", "head"]
MODES = ("frozen", "fine_tune", "full")
COPIES = 8  # images that show augmentation, the training image among them


def baseline(subject: Subject) -> list[Block]:
    blocks: list[Block] = []
    own = [run for run, _ in subject.compared if is_baseline(run.spec)]
    if own:
        blocks += _described(subject, own[0], "baseline")
    else:
        blocks.append(Paragraph(course_text.lacking("baseline")))
    return [*blocks, Discussion(course_text.DISCUSS["baseline"])]


def transfer(subject: Subject) -> list[Block]:
    blocks: list[Block] = []
    every = subject.where(lambda spec: spec.network.pretrained and spec.mode == "frozen" and spec.augmentation.is_off)
    first = subject.where(is_baseline)[:1]
    for one in first:  # of each network the run that treats class imbalance as the baseline does, if there is one
        strategy = subject.run_of(one).spec.imbalance
        every.sort(key=lambda other: subject.run_of(other).spec.imbalance != strategy)
    of_network = {subject.run_of(one).spec.backbone: one for one in reversed(every)}
    frozen = [one for one in every if of_network[subject.run_of(one).spec.backbone] is one]  # one of each network
    against = study_text.conclusion([*first, *frozen]) if first and frozen else None
    if against:
        blocks += _concluded(against, "transfer", "Frozen pretrained networks against the baseline")
    else:
        blocks.append(Paragraph(course_text.lacking("transfer")))
    tuned = list(
        subject.families(LEARNING, lambda spec: MODES.index(spec.mode), among=lambda spec: spec.network.pretrained)
    )
    for number, (order, concluded) in enumerate(tuned, start=1):
        network = subject.run_of(order[0]).spec.network.label
        blocks += _concluded(concluded, f"finetuning-{number}", f"{network}: frozen, fine-tuned and whole")
    starts = list(subject.families(["weights", "learning_rate"], _start, among=lambda spec: spec.network.pretrained))
    for number, (_, concluded) in enumerate(starts, start=1):
        blocks += _concluded(concluded, f"start-{number}", "Random start against ImageNet weights")
    blocks += [Paragraph(course_text.lacking("finetuning"))] * (not tuned)
    blocks += [Paragraph(course_text.lacking("start"))] * (not starts)
    shown = [subject.run_of(order[-1]) for order, _ in tuned[:1]] or [subject.run_of(one) for one in frozen[:1]]
    for run in shown:
        blocks += _described(subject, run, "transfer")
    return [*blocks, Discussion(course_text.DISCUSS["transfer"])]


def _start(spec: TrainingSpec) -> int:
    return ("random", "imagenet").index(spec.weights) if spec.weights in ("random", "imagenet") else 2


def further(subject: Subject) -> list[Block]:
    by_network: dict[str, list[Candidate]] = {}
    for run, candidate in subject.compared:
        if run.spec.network.pretrained:
            by_network.setdefault(run.spec.backbone, []).append(candidate)
    blocks: list[Block] = []
    if by_network:
        rows = [(subject.run_of(one), one) for some in by_network.values() for one in some]
        blocks.append(
            Paragraph(course_text.networks([subject.run_of(some[0]).spec.network for some in by_network.values()]))
        )
        blocks.append(
            Table(
                "networks",
                "Pretrained networks: size, time and test accuracy",
                _networks(rows),
                recipe=call("networks", *(one.name for _, one in rows)),
            )
        )
    families = subject.families(
        ["backbone", "taps", "image_size"], lambda spec: spec.backbone, lambda s: s.network.pretrained
    )
    several = [(order, concluded) for order, concluded in families if len(order) > 1]
    for number, (_, concluded) in enumerate(several, start=1):
        blocks += _concluded(concluded, f"networks-{number}", "Networks with equal settings")
    if len(by_network) < 2:
        blocks.append(Paragraph(course_text.lacking("backbones")))
    return [*blocks, Discussion(course_text.DISCUSS["networks"])]


def augmentation(subject: Subject) -> list[Block]:
    blocks: list[Block] = []
    families = list(
        subject.families(
            ["augmentation", "views"], lambda spec: (not spec.augmentation.is_off, spec.augmentation.in_words)
        )
    )
    augmented = [run for run, _ in subject.compared if not run.spec.augmentation.is_off]
    if augmented:
        blocks.append(Paragraph(course_text.augmentation(augmented[0].spec)))
        blocks += _copies(subject, augmented[0])
    for number, (_, concluded) in enumerate(families, start=1):
        blocks += _concluded(concluded, f"augmentation-{number}", "Training with augmentation and without")
    if not families:
        blocks.append(Paragraph(course_text.lacking("augmentation")))
    return [*blocks, Discussion(course_text.DISCUSS["augmentation"])]


def _concluded(concluded: Conclusion, key: str, caption: str) -> list[Block]:
    return [
        Paragraph(concluded.sentence),
        Table(
            key,
            f"{caption}; {course_text.TO_FIRST}",
            concluded.table,
            recipe=call("against_first", *concluded.table["Run"]),
        ),
    ]


def _described(subject: Subject, run: Run, key: str) -> Iterator[Block]:
    """A run in full: how its network is built, how it was trained, and how its training went."""
    candidate = next(one for one in subject.candidates if one.id == run.id)
    yield Paragraph(course_text.trained(run, candidate))
    try:
        frame = architecture.layers(run)
    except RunDamaged as error:
        yield Paragraph(str(error))
    else:
        yield Table(
            f"{key}-layers",
            course_text.layers_caption(run, frame),
            tables.layers(frame, run.spec.network.label),
        )
    yield Table(
        f"{key}-settings", f"Settings of {candidate.name}", _settings(run), recipe=call("settings", candidate.name)
    )
    history = run.history()
    if history.empty:
        return
    for quantity in ("accuracy", "loss"):
        figure = figures.run_curves(history, quantity, run.spec.keep)
        words = course_text.curve(history, quantity, figures.weights_epoch(history, run.spec.keep))
        title = f"{quantity.capitalize()} of {candidate.name} over the epochs"
        yield Chart(
            f"{key}-{quantity}",
            title,
            words,
            f"{title}. {words}",
            figure,
            is_small=True,
            recipe=call("run_curves", candidate.name, quantity),
        )


def _settings(run: Run) -> pd.DataFrame:
    """The settings of a run in two pairs of columns."""
    (chosen,) = tables.hyperparameters_as_text([""], [run.spec]).drop(columns="Model").to_dict("records")
    pairs = list(chosen.items())
    half = -(-len(pairs) // 2)
    right = [*pairs[half:], *[("", "")] * (2 * half - len(pairs))]
    rows = [left + other for left, other in zip(pairs[:half], right, strict=True)]
    return pd.DataFrame(rows, columns=["Setting", "Value", "Further setting", "Its value"])


def _networks(rows: Sequence[tuple[Run, Candidate]]) -> pd.DataFrame:
    costs = candidates.costs([run for run, _ in rows], [one.name for _, one in rows])
    tests = [one.assessment.test for _, one in rows]
    return pd.DataFrame(
        {
            "Run": [one.name for _, one in rows],
            "Network": [run.spec.network.label for run, _ in rows],
            "Parameters": costs["parameters"].map(_counted),
            "Trained": costs["parameters_trained"].map(_counted),
            "Size (px)": [str(run.spec.image_size) for run, _ in rows],
            "Training time": costs["training_seconds"].map(duration),
            "Per image": costs["milliseconds_per_image"].map(milliseconds),
            "Test accuracy": [interval(test.value, test.low, test.high) for test in tests],
        }
    )


def _counted(value: float) -> str:
    return "–" if np.isnan(value) else count(value)


def _copies(subject: Subject, run: Run) -> Iterator[Block]:
    """One training image and augmented copies of it, as training draws them."""
    dataset = dict((one.dataset.id, opened) for one, opened in subject.datasets)[run.dataset.id]
    if not isinstance(dataset, Dataset):
        return
    split = run.split()
    first = split.loc[split["part"] == "train", "image_id"].iloc[0]
    image = pixels.decode_rows(dataset, [dataset.row_of(first)], TILE)
    tiles = [image[0], *(changes.view(image, run.spec.augmentation, run.spec.seed, n)[0] for n in range(COPIES - 1))]
    sheet = contact_sheet({"": [Tile(image) for image in tiles]}, COPIES, margin=0)
    words = f"A training image, and {COPIES - 1} augmented copies of it: {run.spec.augmentation.in_words}."
    yield Picture("augmented", words, words, jpeg_bytes(sheet, quality=88))
