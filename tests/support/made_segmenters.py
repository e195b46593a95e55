"""Segmenters made from nothing, for tests: a folder with every file, whose network is only bytes."""

import time
from typing import Any

from covid_core import files
from covid_core.runs import segmenters
from covid_core.runs.segmenters import Segmenter
from covid_core.workspace import Workspace, new_id

LIMITS = {
    "area": (0.1, 0.6),
    "balance": (0.5, 1.0),
    "tilt": (0.0, 20.0),
    "ragged": (0.0, 1.5),
    "unsure": (0.0, 0.3),
    "cut": (0.0, 0.3),
}


def made_segmenter(
    workspace: Workspace, dataset: str = "images", synthetic: bool = False, age: float = 0.0, **changes: Any
) -> Segmenter:
    """A segmenter that learned from the data set of that id ``age`` seconds ago; ``changes`` replace record entries."""
    identifier = new_id(f"lungs {dataset}")
    with files.published_folder(workspace.segmenters / identifier) as folder:
        (folder / segmenters.NETWORK).write_bytes(b"a network")
        record = {
            "created": time.time() - age,
            "dataset": {"id": dataset, "name": f"The {dataset}", "version": "1", "synthetic": synthetic},
            "images": {"train": 68, "validation": 16, "test": 16},
            "left_out": 0,
            "size": 128,
            "threshold": 0.5,
            "limits": LIMITS,
            "dice": {"value": 0.95, "low": 0.94, "high": 0.96, "n": 16},
            "iou": {"value": 0.9, "low": 0.89, "high": 0.92, "n": 16},
            "worst_dice": 0.9,
            "same_for_all_dice": 0.8,
            "refused": {"value": 0.0, "low": 0.0, "high": 0.2, "n": 16},
            "seconds": 61.0,
            "milliseconds_per_image": 2.0,
        }
        segmenters.write_record(folder, {**record, **changes})
    return segmenters.open_segmenter(workspace, identifier)
