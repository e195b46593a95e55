"""What a run keeps of its training images to judge a new one by: the gate, and the images in the network's own space.

One file of a run, a few megabytes at most: 130 bytes per training image beside its id, and 0.3 MB that do not grow.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from covid_core import files
from covid_core.errors import RunDamaged
from covid_core.inference.gate import IN_WORDS, LEAST, Gate, Limit, Verdict
from covid_core.inference.neighbours import Neighbourhood, Space, Training
from covid_core.inference.prediction import CHEST_IMAGE, LIKE_TRAINING, Check, Neighbour, unasked

VERSION = 1
SHOWN = 6  # neighbours of an image


@dataclass(frozen=True)
class Reference:
    """The two checks of an image's content, and its neighbours."""

    gate: Gate
    neighbourhood: Neighbourhood

    def checks(self, squares: np.ndarray, features: np.ndarray) -> list[tuple[Check, Check]]:
        """For images as uint8 (n, size, size) and their features (n, d): frontal chest image, like the training
        images."""
        distances = self.neighbourhood.training.distances(self.neighbourhood.space.coordinates(features))
        verdicts = self.gate.verdicts(squares)
        return [
            (_chest_check(verdict, self.gate.limit), _distance_check(float(distance), self.neighbourhood.limit))
            for verdict, distance in zip(verdicts, distances, strict=True)
        ]

    def neighbours(self, features: np.ndarray, count: int = SHOWN) -> list[tuple[Neighbour, ...]]:
        """For images with features (n, d): the training images nearest to each, the nearest first."""
        among = self.neighbourhood.training
        positions, distances = among.nearest(self.neighbourhood.space.coordinates(features), count)
        return [
            tuple(
                Neighbour(str(among.image_ids[k]), str(among.labels[k]), float(distance))
                for k, distance in zip(of_image, apart, strict=True)
            )
            for of_image, apart in zip(positions, distances, strict=True)
        ]

    def save(self, path: Path) -> None:
        """Publish it as an npz file."""
        gate, space, among = self.gate, self.neighbourhood.space, self.neighbourhood.training
        labels, codes = np.unique(among.labels.astype(str), return_inverse=True)
        facts = {
            "version": VERSION,
            "chest_limit": _as_record(gate.limit),
            "distance_limit": _as_record(self.neighbourhood.limit),
            "unit": space.unit,
            "labels": labels.tolist(),
            "image_ids": among.image_ids.tolist(),
        }
        with files.published(path) as temporary, open(temporary, "wb") as handle:
            np.savez_compressed(
                handle,
                facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
                gate_mean=gate.mean,
                gate_deviation=gate.deviation,
                gate_weights=gate.weights,
                space_mean=space.mean,
                space_directions=space.directions,
                space_lengths=space.lengths,
                space_stray=space.stray,
                codes=codes.astype(np.uint16),
                coordinates=among.coordinates.astype(np.float16),
            )

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


def _parts(stored: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> tuple[Gate, Neighbourhood]:
    gate = Gate(stored["gate_mean"], stored["gate_deviation"], stored["gate_weights"], _limit_of(facts["chest_limit"]))
    space = Space(
        stored["space_mean"],
        stored["space_directions"],
        stored["space_lengths"],
        stored["space_stray"],
        float(facts["unit"]),
    )
    labels = np.array(facts["labels"], dtype=object)[stored["codes"]]
    coordinates = stored["coordinates"].astype(np.float32)
    ids = np.array(facts["image_ids"], dtype=object)
    if not len(ids) == len(labels) == len(coordinates) or not np.isfinite(coordinates).all():
        raise ValueError("ids, labels and coordinates are of different images")
    return gate, Neighbourhood(space, Training(ids, labels, coordinates), _limit_of(facts["distance_limit"]))


def _as_record(limit: Limit) -> dict[str, Any]:
    """A limit for JSON, which has no nan: an undefined number is None."""
    return {field.name: None if (value := getattr(limit, field.name)) != value else value for field in fields(limit)}


def _limit_of(record: Mapping[str, Any]) -> Limit:
    return Limit(**{name: float("nan") if value is None else value for name, value in record.items()})


def _chest_check(verdict: Verdict, limit: Limit) -> Check:
    if verdict.passed is None:
        return unasked(CHEST_IMAGE, _too_few(limit))
    lead = f"read upright it is {abs(verdict.lead):.2f} {'ahead of' if verdict.lead >= 0 else 'behind'}"
    beside = f"{lead} the best other reading (turned, upside down, inverted)"
    if verdict.passed:
        text = f"It looks like a frontal chest image: {beside}; {limit.who} are {limit.value:.2f} ahead or more."
    elif verdict.reading:
        text = (
            f"It looks like a chest image that is {IN_WORDS[verdict.reading]}: {lead} the best other reading, where "
            f"{limit.who} are {limit.value:.2f} ahead or more; put right, it would pass."
        )
    else:
        text = (
            f"It does not look like a frontal chest image: {beside}; {limit.who} are {limit.value:.2f} ahead or more."
        )
    return Check(CHEST_IMAGE, verdict.passed, verdict.lead, limit.value, text)


def _distance_check(distance: float, limit: Limit) -> Check:
    if not limit.is_defined:
        return unasked(LIKE_TRAINING, _too_few(limit))
    passed = distance <= limit.value
    text = (
        f"It is {'not ' if passed else ''}unlike the training images: its distance to the nearest of them is "
        f"{distance:.1f} times the usual one; {limit.who} stay at {limit.value:.1f} or below."
    )
    return Check(LIKE_TRAINING, passed, distance, limit.value, text)


def _too_few(limit: Limit) -> str:
    return f"the run has {limit.images} validation images to set a limit by, and at least {LEAST} are needed"
