"""Models made from nothing that read the lungs or a corner, and their audits, for tests."""

from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from covid_core import files
from covid_core.audit.model import model_audit
from covid_core.audit.model.model_audit import AuditImages
from covid_core.data.masks import OWN, Origin
from covid_core.inference import robustness
from covid_core.inference.network import Head
from covid_core.inference.predictor import Predictor
from covid_core.inference.robustness import Robustness
from covid_core.runs.store import Run

SIDE, EACH = 48, 30
HEAD = Head("mean", (np.array([[1.0, -1.0]], np.float32),), (np.zeros(2, np.float32),))
IN_LUNGS, IN_CORNER = (slice(18, 30), slice(14, 34)), (slice(0, 6), slice(0, 6))


class Reader:
    """A network of one channel: the mean grey of one place, less what is usual there."""

    def __init__(self, place: tuple[slice, slice], usual: float):
        self._place, self._usual = place, usual

    def maps(self, images: np.ndarray) -> list[np.ndarray]:
        rows, columns = self._place
        value = (images[:, rows, columns].mean(axis=(1, 2), dtype=np.float32) - self._usual) / 8
        return [np.broadcast_to(value[:, None, None, None], (len(images), 6, 6, 1)).astype(np.float32)]


def predictor(place: tuple[slice, slice]) -> Predictor:
    return Predictor(("ill", "well"), SIDE, Reader(place, 60 if place == IN_LUNGS else 140), HEAD)


def images(with_lungs: bool = True) -> AuditImages:
    """Ill images have brighter lungs, and a brighter corner: each alone tells the class."""
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], EACH).astype(np.int32)
    pixels = rng.integers(96, 105, (2 * EACH, SIDE, SIDE))
    lungs = np.zeros((2 * EACH, SIDE, SIDE), bool)
    for image, label in enumerate(labels):
        top, left = rng.integers(10, 14), rng.integers(8, 11)
        lungs[image, top : top + 24, left : left + 30] = True
        pixels[image][lungs[image]] -= 20 if label == 0 else 60
        pixels[image][IN_CORNER] += 60 if label == 0 else 20
    if not with_lungs:
        lungs[:] = False
    by = {"source": np.tile(np.array(["A", "B"], object), EACH)}
    known = np.full(2 * EACH, with_lungs)
    return AuditImages(
        pixels.astype(np.uint8), labels, None, lungs, known, by, Origin(OWN) if with_lungs else None, 2 * EACH
    )


@cache
def _audited(place: str, with_lungs: bool) -> dict[str, Any]:
    return model_audit.audited(predictor(IN_LUNGS if place == "lungs" else IN_CORNER), images(with_lungs))


def keep_audit(run: Run, reads: str = "corner", with_lungs: bool = True, **changes: Any) -> dict[str, Any]:
    """Keep the audit of a made model with a run, as if it were its own; ``changes`` replace entries of the record."""
    found = {**_audited(reads, with_lungs), "head_sha256": run.result.get("head_sha256"), "made": 1.7e9}
    run.write_audit(model_audit.AUDIT, {**found, **changes})
    return {**found, **changes}


@cache
def _curve() -> Robustness:
    labels = np.array(["ill", "well"])[images().labels]
    table = pd.DataFrame({"image_id": [f"i-{n}" for n in range(2 * EACH)], "label": labels, "part": "test"})
    return robustness.measured(predictor(IN_CORNER), table, images().pixels, None, 2 * EACH)


def keep_curve(run: Run, p_holm: float | None = None, **changes: Any) -> None:
    """Keep the robustness curve of a made model with a run; ``p_holm`` replaces that of all points, ``changes`` replace
    entries of the record."""
    made = files.without_nan(asdict(_curve()))
    for point in (one for points in made["changes"].values() for one in points):
        point["p_holm"] = point["p_holm"] if p_holm is None else p_holm
    record = {"version": robustness.VERSION, "head_sha256": run.result.get("head_sha256"), **made}
    run.write_audit(robustness.AUDIT, {**record, **changes})
