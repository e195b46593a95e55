"""Which training images an image looks like to the network, and whether it looks like any of them.

An image is described by the means of the maps that the run's head pools, brought to their WIDTH directions of most
variance over the training images, each divided by its deviation, to which the mean deviation is added (in squares) so
that faint directions, mostly noise, count for less. One more coordinate says how much of the image lies in no such
direction: a photograph moves there, because what is in it never varied between images. The distance is the Euclidean
one. Source of the idea: Sun, Ming, Zhu and Li, "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022
(with PCA in place of their normalisation: cosine distances missed drawings and other X-rays entirely, as tried on
images turned, inverted and drawn; distances of the means themselves missed 22 % of inverted images where these miss
none).

An image that is far for a usual one, but not too far for an answer, gets a lower probability: of the validation images
that are at least as far (the conformal p-value: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World",
2005, section 2.2) there have to be TAIL for the full one. A disease that is no class lies there mostly, see
``benchmarks.predicting.unknown``.

Distances are in units of what is usual: 1 is the median distance of a validation image to its BY-th nearest training
image. That one is looked at, not the very nearest, so that a single odd image in the training part vouches for nothing.

A ``Reference``, the gate and these images, is one file of a run, a few megabytes at most: 130 bytes per training image
beside its id, and 0.3 MB that do not grow.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from covid_core import files
from covid_core.errors import RunDamaged
from covid_core.inference.drift import profile as drift_profile
from covid_core.inference.drift.profile import Profile, Traits
from covid_core.inference.gate import LIKE_TRAINING, Check, Gate, Limit
from covid_core.work import blocks

WIDTH = 64  # directions; 32 and 128 did no better
PER_DIRECTION = 10  # training images at least: of fewer, all new images are far from all and nearest to the same few
STRAY_WEIGHT = 3.0  # deviations that a stray share of one deviation counts for; without, some turned images pass
BY = 5  # neighbours that have to be near
SHOWN = 6  # neighbours of an image
SHARE = 0.01  # of good images refused here, see ``gate.SHARE``; the distances of all else are far above the limit
TAIL = 0.1  # of usual images have a probability that is lowered; the more, the less calibrated theirs is
BLOCK = 2048  # images; their features take 20 MB at most
FARTHEST = 60_000.0  # float16, in which coordinates are kept, ends at 65,504
ROUNDING = 1e-6  # of the features' size: what varies by less than float32 can tell does not vary
SPARE = 8  # more candidates than are wanted, of which exact distances choose
VERSION = 1
GATE_ARRAYS, SPACE_ARRAYS = ("mean", "deviation", "weights"), ("mean", "directions", "lengths", "stray")

Features = Callable[[np.ndarray], np.ndarray]
"""Positions of images to float32 features (n, d)."""


@dataclass(frozen=True)
class Neighbour:
    """A training image that looks like the image to the network. ``distance`` is 0 for the same picture, and 1 is usual
    for an image of the same kind."""

    image_id: str
    label: str
    distance: float


Judgement = tuple[tuple[Check, ...], tuple[Neighbour, ...]]
"""The checks of an image's content in their order, and the training images nearest to it."""


@dataclass(frozen=True)
class Space:
    """Features (n, d) to coordinates (n, k + 1).

    ``mean`` (d,), ``directions`` (d, k) each divided by its scale, ``lengths`` (k,) these scales; ``stray`` the mean
    and the deviation of the length that lies in no direction. ``unit`` is the usual distance.
    """

    mean: np.ndarray
    directions: np.ndarray
    lengths: np.ndarray
    stray: np.ndarray
    unit: float = 1.0

    @classmethod
    def fit(cls, features: Features, training: np.ndarray) -> "Space":
        """From the features of images at the positions ``training``, a block at a time."""
        from scipy import linalg  # 0.1 s to import, and only fitting needs it

        mean = sum(block.sum(axis=0, dtype=np.float64) for block in _blocks(features, training)) / len(training)
        spread = np.zeros((len(mean), len(mean)))
        for block in _blocks(features, training):
            centred = (block - mean).astype(np.float32)  # its errors average out over the images, in half the time
            spread += (centred.T @ centred).astype(np.float64)
        spread /= len(training)
        width = max(1, min(WIDTH, len(mean) // 2, len(training) // PER_DIRECTION))
        variances, directions = linalg.eigh(spread, subset_by_index=[len(mean) - width, len(mean) - 1])
        variances = np.maximum(variances[::-1], 0)
        least = ROUNDING * (1 + float(np.linalg.norm(mean)))
        lengths = np.maximum(np.sqrt(variances + variances.mean()), least)
        plain = cls(
            mean.astype(np.float32),
            (directions[:, ::-1] / lengths).astype(np.float32),
            lengths.astype(np.float32),
            np.zeros(2, np.float32),
        )
        strays = np.concatenate([plain._split(block)[1] for block in _blocks(features, training)])
        deviation = max(float(strays.std()), least)
        return replace(plain, stray=np.array([strays.mean(), deviation], np.float32))

    def coordinates(self, features: np.ndarray) -> np.ndarray:
        """float32 (n, k + 1), exactly as they are kept of training images: an image that is one of them is at 0."""
        along, beyond = self._split(features)
        stray = (beyond - self.stray[0]) * (STRAY_WEIGHT / self.stray[1])
        values = np.concatenate([along, stray[:, None]], axis=1) / np.float32(self.unit)
        return np.clip(values, -FARTHEST, FARTHEST).astype(np.float16).astype(np.float32)

    def _split(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of shape (n, k) and (n,): what lies along the directions, and the length of what does not."""
        centred = features - self.mean
        along = centred @ self.directions
        beyond = centred - (along * self.lengths**2) @ self.directions.T  # the directions are divided by their lengths
        return along, np.sqrt(np.square(beyond).sum(axis=1))


@dataclass(frozen=True)
class Neighbourhood:
    """The training images in their space, and the distance that validation images stay below.

    Ids and labels (n,), ``coordinates`` (n, k + 1) float32. ``farthest``: ascending distances of the share TAIL of the
    validation images that is farthest; none without a limit, and of references that were made before it was kept.
    """

    space: Space
    image_ids: np.ndarray
    labels: np.ndarray
    coordinates: np.ndarray
    limit: Limit = Limit(math.nan, 0, math.nan)
    farthest: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def fit(
        cls, features: Features, training: np.ndarray, validation: np.ndarray, ids: np.ndarray, labels: np.ndarray
    ) -> "Neighbourhood":
        """From features by position; ``ids`` and ``labels`` are those of the training images."""
        space = Space.fit(features, training)
        apart = cls._of(space, features, training, ids, labels)._apart(features, validation)
        usual = float(np.median(apart)) if len(apart) else 1.0
        fitted = cls._of(replace(space, unit=usual if usual > 0 else 1.0), features, training, ids, labels)
        apart = np.sort(fitted._apart(features, validation))
        limit = Limit.above(apart, SHARE)
        farthest = apart[len(apart) - math.ceil(TAIL * (len(apart) + 1)) :] if limit.is_defined else apart[:0]
        return replace(fitted, limit=limit, farthest=farthest)

    @classmethod
    def _of(
        cls, space: Space, features: Features, training: np.ndarray, ids: np.ndarray, labels: np.ndarray
    ) -> "Neighbourhood":
        coordinates = [space.coordinates(block) for block in _blocks(features, training)]
        return cls(space, ids, labels, np.concatenate(coordinates))

    def _apart(self, features: Features, positions: np.ndarray) -> np.ndarray:
        """Distances (n,) of the images at some positions, a block at a time."""
        distances = [self.distances(block) for block in _blocks(features, positions)]
        return np.concatenate(distances) if distances else np.zeros(0)

    def nearest(self, features: np.ndarray, count: int = SHOWN) -> tuple[np.ndarray, np.ndarray]:
        """Positions and distances, each (n, count) or as many as there are, of the training images nearest to images
        with features (n, d), the nearest first; of equal ones the first."""
        count = min(count, len(self.coordinates))
        candidates = min(count + SPARE, len(self.coordinates))
        positions, distances = [], []
        for one in self.space.coordinates(features):
            about = self._squares - 2 * (self.coordinates @ one)  # quick, but inexact where images are close
            some = np.sort(np.argpartition(about, candidates - 1)[:candidates])
            exact = np.sqrt(np.square(self.coordinates[some] - one).sum(axis=1))
            order = np.argsort(exact, kind="stable")[:count]
            positions.append(some[order])
            distances.append(exact[order])
        return np.array(positions), np.array(distances)

    @cached_property
    def _squares(self) -> np.ndarray:
        """Squared lengths (n,), which every search needs."""
        return np.square(self.coordinates).sum(axis=1)

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Of shape (n,): the distance to the BY-th nearest training image."""
        return self.nearest(features, BY)[1][:, -1]

    def typicality(self, distance: float) -> float:
        """In (0, 1]: 1 for images like nine of ten usual ones or more, less the fewer of these are as far; 1 where no
        distances were kept."""
        if not len(self.farthest):
            return 1.0
        as_far = len(self.farthest) - int(np.searchsorted(self.farthest, distance))
        return min(1.0, (1 + as_far) / (self.limit.images + 1) / TAIL)

    def checks(self, features: np.ndarray) -> list[tuple[Check, tuple[Neighbour, ...]]]:
        """Of images with features (n, d): whether they are like the training images, and the SHOWN nearest of these."""
        judged = []
        for places, apart in zip(*self.nearest(features), strict=True):
            named = zip(self.image_ids[places], self.labels[places], apart, strict=True)
            near = tuple(Neighbour(str(name), str(label), float(distance)) for name, label, distance in named)
            judged.append((self._check(float(apart[min(BY, len(apart)) - 1])), near))
        return judged

    def _check(self, distance: float) -> Check:
        if not self.limit.is_defined:
            return Check(LIKE_TRAINING, None, limit=self.limit)
        return Check(LIKE_TRAINING, distance <= self.limit.value, distance, self.limit)


def _blocks(features: Features, positions: np.ndarray) -> Iterator[np.ndarray]:
    return map(features, blocks(positions, BLOCK))


@dataclass(frozen=True)
class Reference:
    """The two checks of an image's content, its neighbours, and what the run's own images are like, which references
    of earlier versions lack."""

    gate: Gate
    neighbourhood: Neighbourhood
    profile: Profile | None = None

    def judgements(self, squares: np.ndarray, features: np.ndarray) -> list[Judgement]:
        """Of images as uint8 (n, size, size) with features (n, d)."""
        pairs = zip(self.gate.checks(squares), self.neighbourhood.checks(features), strict=True)
        return [((chest, like), near) for chest, (like, near) in pairs]

    def traits(self, squares: np.ndarray, features: np.ndarray, sizes: np.ndarray) -> Traits:
        """What images are like: uint8 (n, size, size), features (n, d), width and height of their files (n, 2)."""
        return drift_profile.traits(squares, sizes, self.gate, self.neighbourhood.space.coordinates(features))

    def save(self, path: Path) -> None:
        """Publish it as an npz file."""
        among, space = self.neighbourhood, self.neighbourhood.space
        labels, codes = np.unique(among.labels.astype(str), return_inverse=True)
        facts = {
            "version": VERSION,
            "chest_limit": _as_record(self.gate.limit),
            "distance_limit": _as_record(among.limit),
            "unit": space.unit,
            "farthest": among.farthest.tolist(),
            "labels": labels.tolist(),
            "image_ids": among.image_ids.tolist(),
        }
        arrays = {f"gate_{name}": getattr(self.gate, name) for name in GATE_ARRAYS}
        arrays |= {f"space_{name}": getattr(space, name) for name in SPACE_ARRAYS}
        arrays |= {"codes": codes.astype(np.uint16), "coordinates": among.coordinates.astype(np.float16)}
        if self.profile:
            arrays |= {f"profile_{name}": array for name, array in self.profile.arrays().items()}
        with files.published(path) as temporary, open(temporary, "wb") as handle:
            np.savez_compressed(handle, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)

    @classmethod
    def load(cls, path: Path) -> "Reference":
        """Read what ``save`` wrote. Raises RunDamaged."""
        try:
            with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
                facts = files.with_present_keys(json.loads(stored["facts"].tobytes()))
                if facts["version"] != VERSION:
                    raise RunDamaged(
                        f"{path.parent.name}: {path.name} was written by another version; make the reference again."
                    )
                return cls(*_parts(stored, facts))
        except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, BadZipFile) as error:
            raise RunDamaged(f"{path.parent.name}: {path.name} is missing or damaged.") from error


def _parts(stored: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[Gate, Neighbourhood, Profile | None]:
    gate = Gate(*[stored[f"gate_{name}"] for name in GATE_ARRAYS], limit=_limit_of(facts["chest_limit"]))
    space = Space(*[stored[f"space_{name}"] for name in SPACE_ARRAYS], unit=float(facts["unit"]))
    labels = np.array(facts["labels"], dtype=object)[stored["codes"]]
    coordinates = stored["coordinates"].astype(np.float32)
    ids = np.array(facts["image_ids"], dtype=object)
    if not len(ids) == len(labels) == len(coordinates) or not np.isfinite(coordinates).all():
        raise ValueError("ids, labels and coordinates are of different images")
    farthest = np.array(facts.get("farthest", []), float)
    profile = {name.removeprefix("profile_"): stored[name] for name in stored if name.startswith("profile_")}
    among = Neighbourhood(space, ids, labels, coordinates, _limit_of(facts["distance_limit"]), farthest)
    return gate, among, Profile.of_arrays(profile) if profile else None


def _as_record(limit: Limit) -> dict[str, Any]:
    """A limit for JSON, which has no nan: an undefined number is None."""
    record = {"value": limit.value, "images": limit.images, "kept": limit.share}
    return {name: None if math.isnan(number) else number for name, number in record.items()}


def _limit_of(record: Mapping[str, Any]) -> Limit:
    return Limit(*(math.nan if record[name] is None else record[name] for name in ("value", "images", "kept")))
