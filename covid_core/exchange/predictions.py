"""Predictions of a model that was trained elsewhere: a table (image, class scores, perhaps label and part) becomes a
run of its own, which is compared with others on the same images. The split of a run leaves as a table for such a
training.
"""

import hashlib
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from covid_core import access
from covid_core.backbones import IMPORTED
from covid_core.data import duplicates
from covid_core.data.dataset import Dataset, open_dataset
from covid_core.data.imports import metadata
from covid_core.data.imports.layouts import part_of_name
from covid_core.data.split import PARTS, SELECTION, TEST, VALIDATION, halves
from covid_core.errors import DataError, InvalidChoice
from covid_core.evaluation import metrics
from covid_core.evaluation.metrics import SCORE_PREFIX
from covid_core.formatting import count, decimals, plural
from covid_core.inference.network import with_scores
from covid_core.reports.tables import FORMULA_STARTS, LONGEST_NAME
from covid_core.runs import pinned_dataset, store, temperature_scaling
from covid_core.runs.store import Run, Status
from covid_core.specs import SplitSpec, TrainingSpec
from covid_core.workspace import Workspace

Scale = Literal["probabilities", "logits"]
SCALES: tuple[Scale, ...] = get_args(Scale)
OF_COLUMNS: dict[str, Scale | None] = {  # words before or after a class in a column's name; None: the numbers decide
    **dict.fromkeys(("score", "scores", "pred", "prediction", "output")),
    **dict.fromkeys(("p", "prob", "probability", "softmax"), "probabilities"),
    **dict.fromkeys(("logit", "logits"), "logits"),
}
IMAGE_COLUMNS = ("sha256", "hash", "id")  # names of the column of images, beside those of tables with labels
SUM_TOLERANCE = 0.02  # of probabilities that were rounded to two decimals; scores further from a sum of 1 are refused
EXACT = 1e-6  # a sum as near to 1 as this is left as it is
LEAST = float(np.finfo(np.float32).tiny)  # a probability of 0 has this logit, which has to be finite
MOST_NAMED = 3  # of them in a sentence
MOST_LISTED = 1000  # names that a run holds of images without prediction, or without image


@dataclass(frozen=True)
class Matched:
    """A table of predictions against the images of a data set, before anything is written.

    ``split`` and ``table`` are as a run holds them; ``facts`` are what its result says of the import.
    """

    dataset: Dataset
    spec: TrainingSpec
    split: pd.DataFrame
    table: pd.DataFrame
    facts: dict[str, Any]

    @property
    def sentences(self) -> list[str]:
        """What was matched, what was not, and what was taken for what."""
        return in_words(self.facts)


def matched(
    workspace: Workspace,
    name: str,
    content: bytes,
    *,
    dataset: str = "",
    like: str = "",
    title: str = "",
    scale: Scale | None = None,
) -> Matched:
    """Match a table with images.

    Args:
        workspace: of the data set.
        name: of the file; its ending says how it is read, as for tables with labels.
        content: of the file.
        dataset: id; the parts are then those of the file's column, or else all images are test images.
        like: id of a run whose data set, classes and split are taken, in place of ``dataset``.
        title: of the run; the file's name by default.
        scale: of the scores; None takes what columns' names or numbers say.

    Raises:
        InvalidChoice: not one of ``dataset`` and ``like``.
        DataError: the table cannot be read, lacks a column, or holds what is no score; the line is named.
        UnknownId, RunDamaged: there is no such data set or run.
    """
    if bool(dataset) == bool(like):
        raise InvalidChoice("Choose either a data set or a run, not both.")
    rows = metadata.read([name], lambda _name: content)
    if rows.empty:
        raise DataError(f"{name} has no rows.")
    model = store.open_run(workspace, like) if like else None
    images = pinned_dataset.dataset_of(workspace, model) if model else open_dataset(workspace, dataset)
    scored_classes, columns, named_as = _score_columns(
        name, list(rows), model.classes if model else images.classes, bool(model)
    )
    roles = {role: column for role, column in metadata.guessed(rows).items() if column not in columns.values()}
    place = roles.get("path") or _column(rows, IMAGE_COLUMNS)
    if not place:
        raise DataError(f"No column of {name} names the images; it has {', '.join(rows)}. Call one of them image.")
    ids, unknown = _matched_ids(images, rows[place].tolist())
    scores = _numbers(rows, columns)
    taken, scores, normalised = _on_scale(scores, scale or named_as)
    hit = np.array([bool(identifier) for identifier in ids])
    if not hit.any():
        first = f"the first has {rows[place].iat[0]!r}. Use paths, file names or SHA-256."
        raise DataError(f"None of the {count(len(rows))} rows names an image of {images.name}; {first}")
    split = model.split() if model else _own_split(workspace, images, scored_classes, ids, rows, roles.get("part", ""))
    spec = TrainingSpec(
        dataset=images.id,
        classes=scored_classes,
        name=title[:LONGEST_NAME] or PurePath(name).stem[:LONGEST_NAME],
        backbone=IMPORTED.name,
        split=model.spec.split if model else SplitSpec(method="given"),
        labels=model.spec.labels if model else "folder",
    )
    scored = pd.DataFrame({"image_id": ids, "row": np.arange(len(ids))})[hit]
    table = split[["image_id", "part", "label"]].merge(scored, on="image_id")
    if not (table["part"] == TEST).any():
        raise DataError(f"None of the {count(len(rows))} rows is of a test image, so nothing can be compared.")
    chosen = table.pop("row").to_numpy()
    table = _prediction_table(table, scored_classes, taken, scores[chosen])
    labels = rows[roles["label"]].iloc[chosen].to_numpy() if roles.get("label") in rows else None
    lacking = split.loc[~split["image_id"].isin(table["image_id"]), ["image_id", "part"]]
    facts = {
        "file": name[:200],
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": len(rows),
        "scale": taken,
        "normalised": int(normalised[chosen].sum()),
        "images": _by_part(table),
        "lacking": _by_part(lacking),
        "lacking_test": lacking.loc[lacking["part"] == TEST, "image_id"].head(MOST_LISTED).tolist(),
        "unknown": len(unknown),
        "unknown_names": unknown[:MOST_LISTED],
        "not_in_split": int(hit.sum()) - len(table),
        "other_label": 0 if labels is None else _contradicting(labels, table["label"]),
        "trained_on_test": _trained_on_test(rows, roles.get("part", "") if model else "", table, chosen),
    }
    return Matched(images, spec, split, table, facts)


def publish(workspace: Workspace, one: Matched) -> Run:
    """Make a run of matched predictions: complete from its first moment on. Raises NotPermitted."""
    access.check(workspace, access.TRAIN)

    def write(run: Run) -> None:
        run.write_predictions(one.table)
        accuracy = {part: _accuracy(one.table, part) for part in PARTS if (one.table["part"] == part).any()}
        choosing = temperature_scaling.serving(one.table, one.split, SELECTION) if run.is_halved else one.table
        has_choice = VALIDATION in accuracy and (choosing["part"] == VALIDATION).any()
        fitted = temperature_scaling.fitted(one.table, one.split)
        now = time.time()
        run.write_result(
            {
                "finished": now,
                "accuracy": accuracy,
                **({"selection_accuracy": _accuracy(choosing, VALIDATION)} if has_choice else {}),
                "calibration": temperature_scaling.as_record(fitted),
                "weights": {"origin": "elsewhere"},
                "imported": one.facts,
            }
        )
        run.write_status(Status(store.COMPLETED, progress=1.0, started=now, updated=now, ended=now))

    run = store.create_run(workspace, one.spec, one.dataset, one.split, outcome=write)
    access.note(workspace, "import predictions", run.id)
    return run


def split_table(run: Run, scores: bool = False) -> pd.DataFrame:
    """The split of a run, to train elsewhere on: image, label, part, group, and with ``scores`` what the run predicted,
    in the columns that ``matched`` reads. Raises RunDamaged."""
    split = run.split().rename(columns={"image_id": "image"})[["image", "label", "part", "group"]]
    if not scores:
        return split
    return split.merge(run.predictions().drop(columns=["part", "label"]).rename(columns={"image_id": "image"}))


def in_words(facts: dict[str, Any]) -> list[str]:
    """What is known of an import of predictions, from a run's result."""
    parts = ", ".join(f"{part} {count(number)}" for part, number in facts["images"].items() if number)
    lines = [
        f"{plural(sum(facts['images'].values()), 'image')} of {plural(facts['rows'], 'row')} matched: {parts}.",
        "The numbers are read as probabilities."
        if facts["scale"] == "probabilities"
        else "The numbers are read as logits; scores are their softmax.",
    ]
    if facts["normalised"]:
        images = plural(facts["normalised"], "image")
        lines.append(f"Probabilities of {images} were divided by their sum, which was not exactly 1.")
    lacking = {part: number for part, number in facts["lacking"].items() if number}
    if TEST in lacking:
        lines.append(
            f"{plural(lacking[TEST], 'test image')} without prediction{_some(facts['lacking_test'])}. "
            "Runs of this split are compared on the others."
        )
    if not facts["images"][VALIDATION]:
        lines.append("Without validation images no temperature can be fitted: calibration is that of the given scores.")
    elif VALIDATION in lacking:
        lines.append(f"{plural(lacking[VALIDATION], 'validation image')} without prediction.")
    if facts["unknown"]:
        lines.append(f"{plural(facts['unknown'], 'row')} without image in the data set{_some(facts['unknown_names'])}.")
    if facts["not_in_split"]:
        lines.append(f"{plural(facts['not_in_split'], 'row')} of images that the split does not hold.")
    if facts["other_label"]:
        lines.append(
            f"{plural(facts['other_label'], 'image')} with another label in the file. Those of the data set count."
        )
    if facts["trained_on_test"]:
        lines.append(
            f"Data leakage: the file has {plural(facts['trained_on_test'], 'test image')} of this split in its own "
            "training or validation part. The figures are too optimistic."
        )
    return lines


def _some(names: Sequence[str]) -> str:
    first = ", ".join(name[:80] for name in names[:MOST_NAMED])
    return f" ({first}{', ...' if len(names) > MOST_NAMED else ''})"


def _column(rows: pd.DataFrame, wanted: Sequence[str]) -> str:
    plain = {re.sub(r"[\W_]", "", column.lower()): column for column in rows}
    return next((plain[name] for name in wanted if name in plain), "")


def _score_columns(
    name: str, columns: Sequence[str], classes: Sequence[str], needs_all: bool
) -> tuple[tuple[str, ...], dict[str, str], Scale | None]:
    """Which classes have scores, in the order of ``classes``, the column of each, and the scale that names tell.

    A column is called as the class, whatever its case, with a word of OF_COLUMNS before or after it or without one.
    Where every class has logits, these are taken. Raises DataError.
    """
    words = "|".join(sorted(OF_COLUMNS, key=len, reverse=True))
    by_class: dict[str, dict[str, list[str]]] = {}
    for column in columns:
        bare = _plain(column)
        for label in classes:
            wanted = re.escape(_plain(label))
            form = re.fullmatch(rf"(?:({words}) )?{wanted}(?: ({words}))?", bare)
            if form:
                by_class.setdefault(label, {}).setdefault(form[1] or form[2] or "", []).append(column)
    for label, columns_of in by_class.items():
        for several in columns_of.values():
            if len(several) > 1:
                raise DataError(f"Two columns of {name} fit the class {label!r}: {several[0]!r} and {several[1]!r}.")
    scored_classes = tuple(label for label in classes if label in by_class)
    lacking = [label for label in classes if label not in by_class]
    if (lacking and needs_all) or len(scored_classes) < 2:
        raise DataError(
            f"No column of {name} has the scores of the class {(lacking or list(classes))[0]!r}; it has "
            f"{', '.join(columns)[:300]}. Call it score_{(lacking or list(classes))[0]}."
        )
    shared = set.intersection(*({*by_class[label]} for label in scored_classes))
    if not shared:
        raise DataError(f"Name all score columns of {name} in the same way; they are {', '.join(columns)[:300]}.")
    word = max(shared, key=lambda word: (OF_COLUMNS.get(word) == "logits", word != "", word))
    return scored_classes, {label: by_class[label][word][0] for label in scored_classes}, OF_COLUMNS.get(word)


def _plain(text: str) -> str:
    """A name of a class or column with blanks in place of all signs but those that tell classes apart."""
    return re.sub(r"[\s_\-.:()\[\]]+", " ", text.removeprefix("'").casefold()).strip()


def _numbers(rows: pd.DataFrame, columns: dict[str, str]) -> np.ndarray:
    """The scores, float64 (rows, classes). Raises DataError naming the line of what is no finite number."""
    scores = np.empty((len(rows), len(columns)))
    for k, column in enumerate(columns.values()):
        texts = rows[column].str.replace(",", ".", regex=False).to_numpy(dtype=object)
        try:
            scores[:, k] = texts.astype(float)
        except ValueError:
            scores[:, k] = [_number(text) for text in texts]
    odd = np.argwhere(~np.isfinite(scores))
    if len(odd):
        row, k = odd[0]
        text = rows[list(columns.values())[k]].iat[row]
        raise DataError(f"Line {row + 2}, column {list(columns.values())[k]}: {text[:40]!r} is no number.")
    return scores


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _on_scale(scores: np.ndarray, scale: Scale | None) -> tuple[Scale, np.ndarray, np.ndarray]:
    """The scale, the scores with sums of 1 where they are probabilities, and whose sums were not quite 1, bool (rows,).

    Where nobody says it, they are probabilities if half of the rows are. Raises DataError naming the line.
    """
    sums = scores.sum(axis=1)
    inside = ((scores >= 0) & (scores <= 1)).all(axis=1)
    likely = inside & (abs(sums - 1) <= SUM_TOLERANCE)
    if scale is None and 2 * inside.sum() > len(scores):
        scale = "probabilities"
    if scale is None and 2 * ((scores >= 0).all(axis=1) & (abs(sums - 100) <= 100 * SUM_TOLERANCE)).sum() > len(scores):
        raise DataError("The scores of a row add up to 100: divide them by 100, so that they add up to 1.")
    if scale is None or scale == "logits":
        return "logits", scores, np.zeros(len(scores), bool)
    if not likely.all():
        row = int(np.argmin(likely))
        if not inside[row]:
            value = scores[row][(scores[row] < 0) | (scores[row] > 1)][0]
            raise DataError(f"Line {row + 2}: {value:g} is not a probability (0 to 1). Correct it, or choose logits.")
        raise DataError(
            f"Line {row + 2}: the probabilities add up to {decimals(sums[row], 3)}, not to 1. Separate outputs per "
            "class (sigmoid) cannot be compared. If the numbers are logits, choose logits."
        )
    off = abs(sums - 1) > EXACT
    return "probabilities", np.where(off[:, None], scores / sums[:, None], scores), off


def _matched_ids(images: Dataset, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The id of each row's image, "" for none, and the names of those. By id, path or its end, file name, or SHA-256.

    Raises DataError for a name that several images have, and for an image that has two rows.
    """
    ids = images.images["image_id"].tolist()
    all_ids, of_path = set(ids), dict(zip(images.images["path"], ids, strict=True))
    hashes, times = dict(zip(images.images["sha256"], ids, strict=True)), Counter(images.images["sha256"])
    by_name = [(metadata.Names(ids), {one: one for one in ids}), (metadata.Names(of_path), of_path)]
    rows: dict[str, int] = {}
    matches, unknown = [], []
    for row, text in enumerate(names):
        name = text[1:] if text[:1] == "'" and text[1:2] in FORMULA_STARTS else text
        name = re.sub(r"^(\.{1,2}/)+", "", name.replace("\\", "/"))
        if name in all_ids:
            identifier = name
        elif name.lower() in hashes:
            if times[name.lower()] > 1:
                raise DataError(f"Line {row + 2}: several images have the SHA-256 {name[:12]}.... Name their paths.")
            identifier = hashes[name.lower()]
        else:
            identifier = next((of[path] for called, of in by_name if (path := called.named(name))), "")
            if not identifier and _is_ambiguous(name, by_name[0][0]):
                raise DataError(f"Line {row + 2}: several images are called {name[:80]!r}. Name their paths.")
        if identifier:
            if identifier in rows:
                raise DataError(
                    f"Lines {rows[identifier] + 2} and {row + 2} are both of the image {identifier[:80]!r}."
                )
            rows[identifier] = row
        else:
            unknown.append(text[:200])
        matches.append(identifier)
    return matches, unknown


def _is_ambiguous(name: str, names: metadata.Names) -> bool:
    parts = name.strip("/").split("/")
    return any("/".join(parts[start:]) in names.ambiguous for start in range(len(parts)))


def _own_split(
    workspace: Workspace, images: Dataset, classes: Sequence[str], ids: Sequence[str], rows: pd.DataFrame, column: str
) -> pd.DataFrame:
    """A split of the images that have a row, in the parts of the file's column; without one all are test images."""
    parts = rows[column].map(part_of_name) if column else pd.Series(TEST, index=rows.index)
    of_image = {identifier: part for identifier, part in zip(ids, parts, strict=True) if identifier and part}
    grouped = duplicates.with_groups(workspace, images)
    chosen = grouped[grouped["image_id"].isin(of_image) & grouped["label"].isin(classes)]
    split = chosen[["image_id", "label", "source", "group"]].assign(
        folder_label=chosen["label"], part=chosen["image_id"].map(of_image)
    )
    split = split[["image_id", "label", "folder_label", "source", "group", "part"]].reset_index(drop=True)
    return split.assign(half=halves(split, SplitSpec().seed))


def _prediction_table(table: pd.DataFrame, classes: Sequence[str], scale: Scale, scores: np.ndarray) -> pd.DataFrame:
    """A run's table of predictions. Probabilities stay as they were given; of them, logits are the logarithms."""
    if scale == "logits":
        return with_scores(table, classes, scores.astype(np.float32))
    made = with_scores(table, classes, np.log(np.maximum(scores, LEAST)).astype(np.float32))
    return made.assign(**{f"{SCORE_PREFIX}{label}": scores[:, k] for k, label in enumerate(classes)})


def _accuracy(table: pd.DataFrame, part: str) -> float:
    return float(metrics.answers(table, part).right.mean())


def _by_part(table: pd.DataFrame) -> dict[str, int]:
    return {part: int((table["part"] == part).sum()) for part in PARTS}


def _contradicting(labels: np.ndarray, own: pd.Series) -> int:
    """Rows whose label is another one; those without a label contradict nothing."""
    return sum(_plain(stated) not in ("", _plain(label)) for stated, label in zip(labels, own, strict=True))


def _trained_on_test(rows: pd.DataFrame, column: str, table: pd.DataFrame, chosen: np.ndarray) -> int:
    """Test images that the file's column puts into another part."""
    if not column:
        return 0
    there = rows[column].iloc[chosen].map(part_of_name).to_numpy()
    return int(((table["part"] == TEST).to_numpy() & np.isin(there, [part for part in PARTS if part != TEST])).sum())
