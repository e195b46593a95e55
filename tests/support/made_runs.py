"""Prediction tables and finished runs made from nothing, for tests. Nothing here trains."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from covid_core.data.dataset import Dataset
from covid_core.data.split import halves, make_split
from covid_core.runs import store
from covid_core.runs.store import Run, Status
from covid_core.specs import SplitSpec, TrainingSpec
from covid_core.synthetic.phantom import DATABASE_COUNTS
from covid_core.workspace import Workspace

CLASSES = ("COVID", "Normal", "Viral Pneumonia")
COURSE_SIZES = {"train": 2741, "validation": 645, "test": 646}
COURSE_MAJORITY = {"train": 2458, "validation": 579, "test": 579}  # images that the course's labels called class 0


def answered(labels: Sequence[str], given: Sequence[str], part: str = "test", sure: float = 0.8) -> pd.DataFrame:
    """A prediction table of one part in which image i of class ``labels[i]`` was called ``given[i]``."""
    classes = tuple(sorted({*labels, *given}))
    hit = np.array(given, dtype=object)[:, None] == np.array(classes, dtype=object)[None, :]
    return scored(labels, np.where(hit, sure, (1 - sure) / max(1, len(classes) - 1)), classes, part)


def scored(labels: Sequence[str], scores: np.ndarray, classes: Sequence[str], part: str = "test") -> pd.DataFrame:
    """A prediction table of one part from scores of shape (images, classes); image ids are the part and a number."""
    columns: dict[str, Any] = {
        "image_id": [f"{part}-{i:05d}" for i in range(len(labels))],
        "part": part,
        "label": list(labels),
    }
    with np.errstate(divide="ignore"):
        logits = np.log(scores)
    columns |= {f"score_{label}": scores[:, k] for k, label in enumerate(classes)}
    columns |= {f"logit_{label}": logits[:, k] for k, label in enumerate(classes)}
    return pd.DataFrame(columns)


def all_parts(sizes: Mapping[str, int], skill: float, seed: int = 0, classes: Sequence[str] = CLASSES) -> pd.DataFrame:
    """A prediction table of all parts: labels in turn, softmax scores with ``skill`` added to the true class's logit.

    Labels and image ids depend on ``sizes`` and ``classes`` alone, so two tables of equal sizes can be compared.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for part, size in sizes.items():
        labels = [classes[i % len(classes)] for i in range(size)]
        logits = rng.normal(size=(size, len(classes)))
        logits[np.arange(size), np.arange(size) % len(classes)] += skill
        scores = np.exp(logits)
        parts.append(scored(labels, scores / scores.sum(axis=1, keepdims=True), classes, part))
    return pd.concat(parts, ignore_index=True)


def course_artefact() -> pd.DataFrame:
    """The course's mistake: 579 of 646 test images are called class 0, and the run always answers it."""
    parts = []
    for part, size in COURSE_SIZES.items():
        labels = ["COVID"] * COURSE_MAJORITY[part] + ["Normal"] * (size - COURSE_MAJORITY[part])
        parts.append(scored(labels, np.tile([0.8, 0.15, 0.05], (size, 1)), CLASSES, part))
    return pd.concat(parts, ignore_index=True)


def history(epochs: int = 5, stages: Sequence[int] = (), pace: float = 3.0) -> pd.DataFrame:
    """A learning curve of ``epochs`` epochs; ``stages`` are epochs after which another stage begins."""
    epoch = np.arange(1, epochs + 1)
    better = 1 - 0.6 * np.exp(-epoch / pace)
    return pd.DataFrame(
        {
            "stage": [f"stage {1 + sum(e > end for end in stages)}" for e in epoch],
            "epoch": epoch,
            "loss": 1.1 - better,
            "accuracy": better,
            "val_loss": 1.2 - better,
            "val_accuracy": better - 0.02,
            "learning_rate": 1e-3,
            "seconds": 2.0,
        }
    )


def made_run(
    workspace: Workspace,
    table: pd.DataFrame,
    name: str = "",
    *,
    state: str = store.COMPLETED,
    seconds: float = 60.0,
    milliseconds: float = 4.0,
    epochs: pd.DataFrame | None = None,
    study: str = "",
    result: Mapping[str, Any] | None = None,
    halved: bool = False,
    images: pd.DataFrame | None = None,
    parts: pd.DataFrame | None = None,
    **spec: Any,
) -> Run:
    """A run folder with every file that a comparison reads, as if it had been trained to ``state``.

    ``halved`` has a validation part of 200 images or more halved, as new runs have it; without, it is a run from before
    that. ``images`` (image_id, label) are those of the data set and ``parts`` is the split, where these are more than
    the table tells. ``spec`` are fields of TrainingSpec; ``result`` replaces or adds entries of result.json. A run that
    is not completed or stopped gets no history, predictions or result.
    """
    classes = tuple(column.removeprefix("score_") for column in table.columns if column.startswith("score_"))
    images = (table if images is None else images)[["image_id", "label"]].assign(sha256="")
    chosen = TrainingSpec(dataset="made", classes=classes, name=name, **{"epochs": 5, **spec})
    dataset = Dataset("made", workspace.datasets / "made", {"name": "Made", "kind": "folder"}, images)
    split = table[["image_id", "label", "part"]].assign(group=table["image_id"]) if parts is None else parts
    if halved:
        split["half"] = halves(split, seed=0)
    run = store.create_run(workspace, chosen, dataset, split, study)
    run.write_launch(pid=1, attempt=1)
    if state in store.USABLE:
        _finish(run, table, history() if epochs is None else epochs)
        stopped = state == store.STOPPED
        run.write_result({**_result(seconds, milliseconds), "stopped": stopped, **(result or {})})
    now = time.time()
    run.write_status(replace(Status(state), started=now - seconds, updated=now, ended=now, progress=1.0))
    return store.open_run(workspace, run.id)


def with_dataset(run: Run, **changes: Any) -> Run:
    """The run as if its data set had been another when it was started; its files stay."""
    return replace(run, record=run.record.model_copy(update={"dataset": run.dataset.model_copy(update=changes)}))


def run_on_shifted_labels(workspace: Workspace, name: str = "", drawn: int = 1344, **options: Any) -> Run:
    """The course's mistake at its full size, as a run that has learned to answer the first class."""
    images = pd.DataFrame(
        [(f"{label}-{i:05d}", label) for label, count in DATABASE_COUNTS.items() for i in range(count)],
        columns=["image_id", "label"],
    )
    split = SplitSpec(method="stratified", images_per_class=drawn)
    parts = make_split(images, CLASSES, split, "shifted")
    table = scored(parts["label"], np.tile([0.8, 0.15, 0.05], (len(parts), 1)), CLASSES)
    table = table.assign(image_id=parts["image_id"], part=parts["part"])
    return made_run(workspace, table, name, images=images, parts=parts, labels="shifted", split=split, **options)


def _finish(run: Run, table: pd.DataFrame, epochs: pd.DataFrame) -> None:
    run.write_predictions(table)
    for row in epochs.to_dict("records"):
        run.append_history(row)


def _result(seconds: float, milliseconds: float) -> dict[str, Any]:
    return {
        "finished": time.time(),
        "best_epoch": 4,
        "epochs_done": 5,
        "seconds": {"features": 0.75 * seconds, "fit": 0.25 * seconds},
        "parameters": 2_589_763,
        "parameters_trained": 331_779,
        "model_bytes": 10_400_000,
        "milliseconds_per_image": milliseconds,
        "engine": "LiteRT",
        "device": "CPU",
    }


def course_like_runs(workspace: Workspace, count: int = 7, study: str = "") -> list[Run]:
    """Runs of the course's sizes on one split, from useless to good, named after its table."""
    names = ("Baseline CNN", "ResNet50", "ResNet50, last 10", "VGG16", "DenseNet121", "MobileNetV2", "MobileNetV2 aug")
    backbones = ("baseline_cnn", "resnet50", "resnet50", "vgg16", "densenet121", "mobilenet_v2", "mobilenet_v2")
    return [
        made_run(
            workspace,
            all_parts(COURSE_SIZES, skill=0.4 + 0.5 * (i % 7), seed=i),
            names[i % 7] + ("" if i < 7 else f" {1 + i // 7}"),
            backbone=backbones[i % 7],
            seconds=20.0 * (1 + i),
            milliseconds=3.0 + 2 * i,
            epochs=history(5 + i % 3, stages=[3] if i % 7 == 2 else [], pace=6.0 - 0.5 * (i % 7)),
            seed=i,
            study=study,
        )
        for i in range(count)
    ]


def fold_table(fold: int, skill: float, seed: int = 0, images: int = 30) -> pd.DataFrame:
    """A prediction table whose test images are those of one fold; the same for every skill and seed."""
    table = all_parts({"train": 4 * images, "validation": 12, "test": images}, skill, seed=100 * seed + fold)
    return table.assign(image_id=f"fold-{fold}-" + table["image_id"])


def made_repeats(
    workspace: Workspace,
    name: str,
    skill: float,
    folds: int = 3,
    seeds: Sequence[int] = (0,),
    ended: int | None = None,
    split: Mapping[str, Any] | None = None,
) -> store.Study:
    """A study of repeats, as ``presets.repeated`` makes one, of which the first ``ended`` runs have finished."""
    keys = [(fold, seed) for fold in range(folds) for seed in seeds]
    runs = []
    for position, (fold, seed) in enumerate(keys):
        dealt = {"folds": folds, "fold": fold} if folds > 1 else {}
        state = store.COMPLETED if ended is None or position < ended else store.FAILED
        title = f"{name}, fold {fold + 1}, seed {seed}"
        spec = {"split": {**dealt, **(split or {})}, "seed": seed}
        runs.append(made_run(workspace, fold_table(fold, skill, seed), title, state=state, **spec))
    identifier = re.sub(r"\W+", "-", name).strip("-").lower()
    study = store.Study(f"{identifier}-1", name, store.REPEATS, time.time(), tuple(run.id for run in runs))
    store.write_study(workspace, study)
    return study
