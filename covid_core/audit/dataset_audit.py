"""What is wrong with a data set, and does it give its classes away? Its audit in one piece, made by a job and kept.

An audit asks five things: what is wrong with single images (``audit.quality.findings``), which show the same picture
(``audit.duplicates.duplicate_pairs``), what tells the class but the lungs (the ladder of ``audit.shortcuts.probes``),
how source and class go together, and, where another data set is named, which images the two share.

The result lies in the tables cache under the data set's version: scores of images, pairs of one picture, a record of
the rest, and a table of shared images for each data set compared with. Each is written whole and may go at any time;
what is gone or torn counts as not made. When images are left out or get another class, the results on single images and
pairs hold for those that stay; ladder and sources are then those of the earlier images, and the audit says so.
"""

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, FiniteFloat

from covid_core import derived, files
from covid_core.audit.duplicates import duplicate_pairs
from covid_core.audit.duplicates.duplicate_pairs import Shared
from covid_core.audit.quality import findings
from covid_core.audit.quality.findings import Quality
from covid_core.audit.shortcuts import probes
from covid_core.audit.shortcuts.probe_ladder import Ladder, Sources
from covid_core.data import masks
from covid_core.data.dataset import Dataset, open_dataset
from covid_core.derived import KEY_LENGTH
from covid_core.errors import DataError, RunDamaged
from covid_core.inference import lungs
from covid_core.runs import frozen_features
from covid_core.work import Progress, part_of, silent
from covid_core.workspace import Workspace

Result = TypeVar("Result")

FORMAT = 1  # of what is kept; a change of it, or of how copies are found, takes the next number
FINDINGS, COPIES, LADDER, SOURCES, SHARED = "findings", "copies", "ladder", "sources", "shared"  # stages
PARTS_APART = {"quality", "pairs", "outdated", "of_now"}  # in tables of their own, or true of this version only
Outdated = Literal["", "images", "lungs", "features"]
SECONDS = {FINDINGS: 0.005, COPIES: 0.008, LADDER: 0.01, SOURCES: 0.01, SHARED: 0.01}  # per image, on two cores


class DatasetAudit(BaseModel):
    """The audit of one version of a data set.

    ``quality``: single images. ``pairs``: images that show the same picture, also cropped, turned and mirrored ones
    (see ``duplicate_pairs.within``). ``ladder``: None where it could not be climbed, and ``ladder_reason`` says why.
    ``sources``: how source and class go together. ``made``: seconds since 1970. ``seconds``: by stage, of those that
    were done for it; what was kept of an earlier audit took none. ``had_lungs``, ``had_features``: whether probes could
    use lung masks and a network's features. ``outdated``: why ladder and sources should be
    measured again: other images, known lungs or a network's features. ``of_now``: whether the two are of the images and
    classes of this version.

    The fields but for PARTS_APART are kept as JSON, undefined figures as words, since JSON has no number for them.
    """

    model_config = ConfigDict(ser_json_inf_nan="strings", arbitrary_types_allowed=True, frozen=True)

    quality: Quality
    pairs: pd.DataFrame
    ladder: Ladder | None
    ladder_reason: str
    sources: Sources
    made: FiniteFloat
    seconds: dict[str, FiniteFloat]
    had_lungs: bool
    had_features: bool
    outdated: Outdated = ""
    of_now: bool = True


def make(
    workspace: Workspace, dataset: Dataset, against: Dataset | None = None, progress: Progress = silent
) -> DatasetAudit:
    """Audit a data set and keep the result.

    With ``against``, the images that the two data sets share are looked for and kept as well (``shared``), and an audit
    that is kept already is not made again. Without it, the ladder and the sources are always asked anew: lungs may have
    been outlined since. What is certain to be the same, scores of images and pairs, is taken from what is kept.

    Raises DataError where images are gone or changed, UnknownId where the data set was deleted meanwhile, NoRoom, and
    what ``progress`` raises; what was found until then is kept.
    """
    audit = stored(workspace, dataset) if against is not None else None
    clock = _Clock(_expected(workspace, dataset, against, has_audit=audit is not None), progress)
    if audit is None:
        quality = clock.timed(FINDINGS, lambda step: findings.audit(workspace, dataset, step))
        pairs = clock.timed(COPIES, lambda step: _pairs(workspace, dataset, step))
        ladder, reason = clock.timed(LADDER, lambda step: _ladder(workspace, dataset, step))
        audit = DatasetAudit(
            quality=quality,
            pairs=pairs,
            ladder=ladder,
            ladder_reason=reason,
            sources=clock.timed(SOURCES, lambda step: probes.sources(workspace, dataset, step)),
            made=time.time(),
            seconds=clock.seconds,
            had_lungs=_has_lungs(workspace, dataset),
            had_features=frozen_features.best(workspace, dataset) is not None,
        )
        open_dataset(workspace, dataset.id)  # UnknownId where it is gone: nobody would remove what is kept of it
        content = audit.model_dump_json(indent=1, exclude=PARTS_APART, by_alias=True).encode()
        path = _record_path(workspace, dataset)
        derived.write(workspace, path, len(content), lambda temporary: temporary.write_bytes(content))
    if against is not None:
        clock.timed(SHARED, lambda step: _shared(workspace, dataset, against, step))
    progress(1, "The audit is done")
    return audit


def stored(workspace: Workspace, dataset: Dataset) -> DatasetAudit | None:
    """The audit that is kept of the data set; None where it was not made, or a part of it is gone.

    Where images were left out or got another class since, ``outdated`` says of which images ladder and sources are.
    """
    quality, pairs = findings.stored(workspace, dataset), _stored_pairs(workspace, dataset)
    if quality is None or pairs is None:
        return None

    def reader(path: Path) -> DatasetAudit:
        return DatasetAudit.model_validate({**files.read_json(path), "quality": quality, "pairs": pairs})

    for earlier in dataset.holding(lambda version: _record_path(workspace, dataset, version).exists()):
        audit = derived.read(_record_path(workspace, earlier), reader)
        if audit is not None:
            of_now = earlier.version == dataset.version
            outdated = _outdated(workspace, dataset, audit) if of_now else "images"
            return audit.model_copy(update={"outdated": outdated, "of_now": of_now})
    return None


def shared(workspace: Workspace, dataset: Dataset, other: Dataset) -> Shared | None:
    """The images that two data sets share, ``first`` of this one; None where that was asked from neither side."""
    pairs = _stored_between(workspace, dataset, other)
    if pairs is None:
        pairs = _stored_between(workspace, other, dataset)
        if pairs is None:
            return None
        first = [column for column in pairs if column.startswith("first")]
        second = [column.replace("first", "second") for column in first]
        pairs[first + second] = pairs[second + first]
    return Shared(pairs)


def _outdated(workspace: Workspace, dataset: Dataset, audit: DatasetAudit) -> Outdated:
    if not audit.had_lungs and _has_lungs(workspace, dataset):
        return "lungs"
    if not audit.had_features and frozen_features.best(workspace, dataset) is not None:
        return "features"
    return ""


# Stages


def _pairs(workspace: Workspace, dataset: Dataset, progress: Progress) -> pd.DataFrame:
    stored_pairs = _stored_pairs(workspace, dataset)
    if stored_pairs is not None:
        return stored_pairs
    pairs = duplicate_pairs.within(workspace, dataset, progress)
    open_dataset(workspace, dataset.id)  # as in ``make``
    derived.write_table(workspace, _pairs_path(workspace, dataset.version), pairs)
    return pairs


def _ladder(workspace: Workspace, dataset: Dataset, progress: Progress) -> tuple[Ladder | None, str]:
    """The ladder, or why there is none."""
    try:
        frozen = frozen_features.best(workspace, dataset)
        return probes.ladder(workspace, dataset, lungs.of_images_or_why, progress=progress, frozen=frozen), ""
    except DataError as error:
        return None, str(error)


def _shared(workspace: Workspace, dataset: Dataset, other: Dataset, progress: Progress) -> None:
    if shared(workspace, dataset, other) is None:
        pairs = duplicate_pairs.between(workspace, dataset, other, progress)
        open_dataset(workspace, dataset.id)  # as in ``make``
        derived.write_table(workspace, _shared_path(workspace, dataset, other), pairs)


def _has_lungs(workspace: Workspace, dataset: Dataset) -> bool:
    """Whether the lungs of its images are known, or could be outlined by a segmenter that is whole."""
    try:
        return bool(masks.has_mask(dataset).any() or lungs.serving(workspace, dataset.id))
    except RunDamaged:
        return False  # the probes that need lungs say so; an audit after its repair can run them


def _expected(workspace: Workspace, dataset: Dataset, against: Dataset | None, has_audit: bool) -> dict[str, float]:
    """Seconds that each stage will take, roughly, so that progress and time left go by what is done."""
    images = len(dataset.images)
    shared = {} if against is None else {SHARED: SECONDS[SHARED] * (images + len(against.images))}
    if has_audit:
        return shared
    return {
        FINDINGS: 0.5 if findings.stored(workspace, dataset) else SECONDS[FINDINGS] * images,
        COPIES: 0.1 if _stored_pairs(workspace, dataset) is not None else SECONDS[COPIES] * images,
        LADDER: SECONDS[LADDER] * min(images, probes.MOST_IMAGES),
        SOURCES: 0.1 + SECONDS[SOURCES] * np.count_nonzero(dataset.images["source"] != ""),
        **shared,
    }


class _Clock:
    """Stages one after the other, each with its share of the progress and the seconds that it took."""

    def __init__(self, expected: Mapping[str, float], progress: Progress):
        self.seconds: dict[str, float] = {}
        ends = np.cumsum([0.0, *expected.values()]) / sum(expected.values())
        parts = zip(expected, itertools.pairwise(ends), strict=True)
        self._steps = {stage: part_of(progress, *part) for stage, part in parts}

    def timed(self, stage: str, work: Callable[[Progress], Result]) -> Result:
        began = time.monotonic()
        result = work(self._steps[stage])
        self.seconds[stage] = round(time.monotonic() - began, 3)
        return result


# Files


def _record_path(workspace: Workspace, dataset: Dataset, version: str = "") -> Path:
    return derived.path_of(workspace.tables, version or dataset.version, f"found-{dataset.facts_key}", FORMAT, "json")


def _pairs_path(workspace: Workspace, version: str) -> Path:
    return derived.path_of(workspace.tables, version, "pairs", FORMAT)


def _shared_path(workspace: Workspace, dataset: Dataset, other: Dataset) -> Path:
    return derived.path_of(workspace.tables, dataset.version, f"shared-{other.version[:KEY_LENGTH]}", FORMAT)


def _stored_pairs(workspace: Workspace, dataset: Dataset) -> pd.DataFrame | None:
    """Pairs that are kept of this version of the data set, or of an earlier one that had more images."""
    for earlier in dataset.holding(lambda version: _pairs_path(workspace, version).exists()):
        stored_pairs = derived.read_table(_pairs_path(workspace, earlier.version), duplicate_pairs.COLUMNS)
        if stored_pairs is not None:
            return duplicate_pairs.with_labels(stored_pairs, dataset.images, dataset.images)
    return None


def _stored_between(workspace: Workspace, dataset: Dataset, other: Dataset) -> pd.DataFrame | None:
    """Pairs of one image each of two data sets, as they are now or with more images."""
    listed = [path.name.split("-") for path in workspace.tables.glob(f"*-shared-*-{FORMAT}.parquet")]
    firsts, seconds = ({name[place] for name in listed} for place in (0, 2))
    ones = dataset.holding(lambda version: version[:KEY_LENGTH] in firsts)
    twos = list(other.holding(lambda version: version[:KEY_LENGTH] in seconds))
    for one, two in itertools.product(ones, twos):
        stored_pairs = derived.read_table(_shared_path(workspace, one, two), duplicate_pairs.COLUMNS)
        if stored_pairs is not None:
            return duplicate_pairs.with_labels(stored_pairs, dataset.images, other.images)
    return None
