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
from covid_core.inference.gate import Check, Gate, Limit
from covid_core.inference.neighbours import Neighbour, Neighbourhood, Space

VERSION = 1

Judgement = tuple[tuple[Check, ...], tuple[Neighbour, ...]]
"""The checks of an image's content in their order, and the training images nearest to it."""


@dataclass(frozen=True)
class Reference:
    """The two checks of an image's content, and its neighbours."""

    gate: Gate
    neighbourhood: Neighbourhood

    def judgements(self, squares: np.ndarray, features: np.ndarray) -> list[Judgement]:
        """Of images as uint8 (n, size, size) with features (n, d)."""
        found = zip(self.gate.checks(squares), self.neighbourhood.checks(features), strict=True)
        return [((chest, like), near) for chest, (like, near) in found]

    def save(self, path: Path) -> None:
        """Publish it as an npz file."""
        gate, among, space = self.gate, self.neighbourhood, self.neighbourhood.space
        labels, codes = np.unique(among.labels.astype(str), return_inverse=True)
        facts = {
            "version": VERSION,
            "chest_limit": _as_record(gate.limit),
            "distance_limit": _as_record(among.limit),
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
    return gate, Neighbourhood(space, ids, labels, coordinates, _limit_of(facts["distance_limit"]))


def _as_record(limit: Limit) -> dict[str, Any]:
    """A limit for JSON, which has no nan: an undefined number is None."""
    return {field.name: None if (value := getattr(limit, field.name)) != value else value for field in fields(limit)}


def _limit_of(record: Mapping[str, Any]) -> Limit:
    return Limit(**{name: float("nan") if value is None else value for name, value in record.items()})
