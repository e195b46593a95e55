"""A trained network becomes the files of a run, and is checked before it counts."""

import platform
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from covid_core import files
from covid_core.errors import RunError
from covid_core.inference.head import softmax
from covid_core.inference.lite import LiteTrunk
from covid_core.inference.predictor import Predictor
from covid_core.nets import export, model
from covid_core.nets.plan import Clock, Films, Plan, Trained
from covid_core.runs.store import Run
from covid_core.specs import TrainingSpec

PARITY_FILMS = 16
PARITY_LIMIT = 1e-4  # of a score, float32 on the CPU; more means that the app and the saved model disagree
PARITY_LIMIT_GPU = 2e-3  # where the reference itself runs on a GPU, whose sums are less exact
TIMED_FILMS = 15  # repeats of one film; their median is the run's milliseconds per film


def publish(plan: Plan, trained: Trained, start: Path | None) -> None:
    """Write model, head, trunk and predictions, check that they agree, and the result last."""
    run, clock = plan.run, plan.clock
    pooling = model.pooling_of(plan.spec)
    whole = model.with_scores(model.to_logits(trained.trunk, trained.head, pooling))
    clock.timed("save", lambda: export.save_model(whole, run.model_path))
    head = model.head_arrays(trained.head, pooling)
    head.save(run.head_path)
    if trained.shared_trunk is None:
        plan.report_end(0.3, "Exporting the trained network")
        clock.timed("export", lambda: export.export_trunk(trained.trunk, run.trunk_path))
        trunk_path = run.trunk_path
    else:
        trunk_path = plan.workspace.trunks / f"{trained.shared_trunk}.tflite"
    predictor = Predictor(run.classes, plan.spec.image_size, LiteTrunk(trunk_path), head)
    logits = trained.logits
    if logits is None:
        logits = clock.timed("predict", lambda: predictor.logits(plan.films.pixels[plan.films.rows]))
    predictions = _prediction_table(plan.films.split, run.classes, logits)
    run.write_predictions(predictions)
    plan.report_end(0.8, "Comparing the saved model with the app's own path")
    parity = clock.timed("check", lambda: _parity(plan, predictor, logits))
    run.write_result(
        {
            "finished": time.time(),
            "accuracy": _accuracies(predictions, run.classes),
            "best_epoch": plan.fit.memory.best_epoch,
            "epochs_done": plan.fit.memory.rows,
            "stopped": plan.fit.was_stopped,
            "seconds": {**clock.seconds, "fit": _fit_seconds(run, clock)},
            "weights": _weights_origin(plan.spec, start),
            "trunk": trained.shared_trunk,
            "trunk_sha256": files.sha256_of(trunk_path),
            "head_sha256": files.sha256_of(run.head_path),
            "model_sha256": files.sha256_of(run.model_path),
            "parity": parity,
            "parameters": int(whole.count_params()),
            "parameters_trained": int(sum(np.prod(v.shape) for v in whole.trainable_variables))
            if trained.shared_trunk is None
            else int(trained.head.count_params()),
            "model_bytes": run.model_path.stat().st_size,
            "milliseconds_per_film": _milliseconds(predictor, plan.films),
            "engine": trained.engine,
            "device": plan.device,
            "versions": {"keras": keras.__version__, "tensorflow": tf.__version__, "python": platform.python_version()},
            **trained.facts,
        }
    )
    if not plan.fit.was_stopped:  # a stopped run goes on from there
        run.checkpoint_path.unlink(missing_ok=True)


def _fit_seconds(run: Run, clock: Clock) -> float:
    """Seconds of all epochs, those before an interruption included, or of this attempt if its overhead was longer."""
    return round(max(float(run.history()["seconds"].sum()), clock.seconds.get("fit", 0.0)), 3)


def _prediction_table(split: pd.DataFrame, classes: tuple[str, ...], logits: np.ndarray) -> pd.DataFrame:
    scores = softmax(logits.astype(np.float64))
    table = split[["image_id", "part", "label"]].copy()
    for position, label in enumerate(classes):
        table[f"score_{label}"] = scores[:, position]
    for position, label in enumerate(classes):
        table[f"logit_{label}"] = logits[:, position]
    return table


def _accuracies(predictions: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, float]:
    scores = predictions[[f"score_{label}" for label in classes]].to_numpy()
    right = np.asarray(classes)[scores.argmax(axis=1)] == predictions["label"].to_numpy()
    return {str(part): float(right[rows].mean()) for part, rows in predictions.groupby("part").indices.items()}


def _parity(plan: Plan, predictor: Predictor, logits: np.ndarray) -> dict[str, Any]:
    """Largest difference of a score between the saved model, the app's path and the table, on some test films.

    Raises RunError when they disagree: no number of such a run could be trusted.
    """
    chosen = plan.films.part("test")[:PARITY_FILMS]
    films = np.asarray(plan.films.pixels[plan.films.rows[chosen]])
    saved = export.load_model(plan.run.model_path)
    reference = np.asarray(saved.predict(films[..., None], verbose=0))
    app = softmax(predictor.logits(films))
    difference = float(max(np.abs(app - reference).max(), np.abs(softmax(logits[chosen]) - reference).max()))
    limit = PARITY_LIMIT_GPU if plan.devices.label != "CPU" else PARITY_LIMIT
    if not difference < limit:
        raise RunError(f"The saved model and the app's own path differ by {difference:.2g} in a score.")
    return {"largest_difference": difference, "films": len(chosen)}


def _milliseconds(predictor: Predictor, films: Films) -> float:
    """Median time from a decoded film to its logits, one film at a time."""
    film = np.asarray(films.pixels[films.rows[:1]])
    times = []
    for _ in range(TIMED_FILMS):
        begin = time.perf_counter()
        predictor.logits(film)
        times.append(time.perf_counter() - begin)
    return round(1000 * float(np.median(times)), 3)


def _weights_origin(spec: TrainingSpec, start: Path | None) -> dict[str, str]:
    if start is None:
        return {"origin": "random"}
    origin = "file" if spec.weights.startswith("file:") else "imagenet"
    return {"origin": origin, "file": start.name, "sha256": files.sha256_of(start)}
