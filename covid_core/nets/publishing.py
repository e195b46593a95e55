"""A trained network becomes the files of a run, and is checked before it counts."""

import math
import platform
import time
import timeit
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from covid_core import files
from covid_core.data.split import PARTS, SELECTION
from covid_core.errors import RunError
from covid_core.inference import reference_fit
from covid_core.inference.network import Head, shared_network, softmax, with_scores
from covid_core.inference.predictor import Predictor
from covid_core.nets import template
from covid_core.nets.plan import Images, Plan, Trained
from covid_core.nets.template import Template
from covid_core.runs import store, temperature_scaling
from covid_core.runs.store import Run
from covid_core.specs import TrainingSpec
from covid_core.work import blocks

if TYPE_CHECKING:
    import keras

PARITY_IMAGES = 16
PARITY_AT_ONCE = 4  # of a MobileNetV2 at 224 px, Keras holds maps of 65 MB per image
PARITY_LIMIT = 1e-4  # of a score, float32 on the CPU; more means that the app and the saved model disagree
PARITY_LIMIT_GPU = 2e-3  # where the reference itself runs on a GPU, whose sums are less exact
USUAL_IMAGES = 32  # training images whose mean maps are what a heat map compares with
TIMED_IMAGES = 15  # repeats of one image; their median is the milliseconds per image
BY_LOADING, BY_TRUNK = "the saved model, loaded by Keras", "Keras's own features, kept from the trunk's export"

BY_FILE = "the added backbone's own features, kept from its first pass"


def publish(plan: Plan, trained: Trained) -> None:
    """Write model, head and predictions, check that they agree, and the result last."""
    run, clock = plan.run, plan.clock
    sizes = _save(plan, trained)
    parts = _exported_parts(run, trained)
    opened = plan.opened_apart or shared_network
    predictor = Predictor.of_parts(run, parts["trunk"], parts["tail"], trained.head, _outputs_used(trained), opened)
    usual = clock.timed("usual image", lambda: predictor.mean_maps(_some(plan.images, "train", USUAL_IMAGES)))
    replace(trained.head, usual=usual).save(run.head_path)
    predictions = with_scores(plan.images.split[["image_id", "part", "label"]], run.classes, trained.logits)
    run.write_predictions(predictions)
    choosing = temperature_scaling.serving(predictions, plan.images.split, SELECTION)
    plan.report_end(0.5, "Keeping what new images are judged by")
    own = reference_fit.OwnImages.of(plan.images.dataset, plan.images.split, run.classes, trained.logits)
    reference = clock.timed(
        "reference", lambda: reference_fit.fitted(plan.images.split, plan.images.at, trained.features, own)
    )
    reference.save(run.reference_path)
    plan.report_end(0.6, "Comparing the saved model with the app's own path")
    parity = clock.timed("check", lambda: _parity(plan, trained, predictor))
    first = np.asarray(plan.images.at(np.arange(1)))
    in_epochs = float(run.history()["seconds"].sum())  # those before an interruption included
    run.write_result(
        {
            "finished": time.time(),
            "accuracy": _accuracies(predictions, run.classes),
            "selection_accuracy": _accuracies(choosing, run.classes)["validation"],
            "calibration": temperature_scaling.as_record(temperature_scaling.fitted(predictions, plan.images.split)),
            "best_epoch": plan.fit.memory.best_epoch,
            "epochs_done": plan.fit.memory.rows,
            "stopped": plan.fit.was_stopped,
            "seconds": {**clock.seconds, "fit": round(max(in_epochs, clock.seconds.get("fit", 0.0)), 3)},
            "weights": _weights_origin(plan.spec, plan.start),
            "trunk": trained.frozen.key if trained.frozen else None,
            "trunk_outputs": _outputs_used(trained),
            **{f"{name}_sha256": files.sha256_of(path) for name, path in parts.items() if path},
            "head_sha256": files.sha256_of(run.head_path),
            "model_sha256": files.sha256_of(run.model_path) if run.has_model else None,
            "reference_sha256": files.sha256_of(run.reference_path),
            "parity": parity,
            **_region(plan),
            **sizes,
            "model_bytes": run.model_path.stat().st_size if run.has_model else None,
            "milliseconds_per_image": median_milliseconds(lambda: predictor.logits(first)),
            "engine": trained.engine,
            "reused": {name: None if math.isnan(took) else round(took, 3) for name, took in plan.reused.items()},
            "device": plan.device,
            "versions": versions(plan.spec),
            "training": store.TRAINING,
            **trained.facts,
        }
    )
    if not plan.fit.was_stopped:  # a stopped run goes on from there
        run.checkpoint_path.unlink(missing_ok=True)


def export_own(plan: Plan, network: "keras.Model") -> None:
    """Export the part of the network that the run trained as its own file."""
    from covid_core.nets import export

    plan.report_end(0, "Exporting the trained layers")
    export.export_network(network, plan.run.trunk_path)


def _save(plan: Plan, trained: Trained) -> dict[str, int | None]:
    """Publish the model file. Returns how many parameters it has, and how many were trained. There is no model file
    where the backbone runs apart: a Keras model cannot hold it."""
    learned = sum(array.size for array in (*trained.head.weights, *trained.head.biases))
    if not plan.run.has_model:
        of_file = plan.spec.network.parameters
        return {"parameters": of_file + learned if of_file else None, "parameters_trained": learned}
    if trained.model is None:
        saved = template.load(trained.frozen, plan.spec) or _new_template(plan, trained)
        plan.clock.timed("save", lambda: template.write_model(saved, trained.head, plan.run.model_path))
        return {"parameters": saved.parameters, "parameters_trained": learned}
    from covid_core.nets import export, model

    whole = model.with_scores(trained.model)
    plan.clock.timed("save", lambda: export.save_model(whole, plan.run.model_path))
    learned = sum(int(np.prod(variable.shape)) for variable in whole.trainable_variables)
    return {"parameters": int(whole.count_params()), "parameters_trained": learned}


def _new_template(plan: Plan, trained: Trained) -> Template:
    """Have Keras build and save a model of this shape, with a head whose arrays are all different."""
    plan.report_end(0.4, "Building the model in Keras, once")
    network = plan.trunk()
    from covid_core.nets import export, model

    rng = np.random.default_rng(0)
    numbers = [rng.random(array.shape, np.float32) for array in (*trained.head.weights, *trained.head.biases)]
    depth, pooling = len(trained.head.weights), trained.head.pooling
    sample = Head(pooling, tuple(numbers[:depth]), tuple(numbers[depth:]))
    join = model.to_mean_logits if plan.spec.test_time_flip else model.to_logits
    head = model.keras_head(plan.spec, sample, trained.frozen.width(pooling))
    whole = model.with_scores(join(network, head, pooling))
    path = template.path_of(trained.frozen, plan.spec)
    plan.clock.timed("build", lambda: export.save_model(whole, path))
    return template.publish(path, sample, int(whole.count_params()))


def _exported_parts(run: Run, trained: Trained) -> dict[str, Path | None]:
    """The exported networks that the app runs one after the other."""
    if trained.frozen is None:
        return {"trunk": run.trunk_path, "tail": None}
    return {"trunk": trained.frozen.path, "tail": run.trunk_path if trained.tail is not None else None}


def _outputs_used(trained: Trained) -> list[int] | None:
    """Which outputs of the shared trunk the rest of the model takes; None: its only one."""
    if trained.frozen is None:
        return None
    return [trained.frozen.taps] if trained.tail is not None else list(range(trained.frozen.taps))


def _region(plan: Plan) -> dict[str, Any]:
    """By what segmenter boxes around the lungs were cut out, and the images without one, by part and class."""
    images = plan.images
    if images.cut is None:
        return {}
    without = images.split[~images.cut.outlined[images.rows]]
    counted = without.groupby(["part", "label"]).size()
    by_part = {part: {label: int(counted.get((part, label), 0)) for label in plan.run.classes} for part in PARTS}
    return {"segmenter_sha256": files.sha256_of(plan.run.segmenter_path), "without_outline": by_part}


def _accuracies(predictions: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, float]:
    scores = predictions[[f"score_{label}" for label in classes]].to_numpy()
    right = np.asarray(classes)[scores.argmax(axis=1)] == predictions["label"].to_numpy()
    return {str(part): float(right[rows].mean()) for part, rows in predictions.groupby("part").indices.items()}


def _parity(plan: Plan, trained: Trained, predictor: Predictor) -> dict[str, Any]:
    """Largest difference of a score between the saved model, the app's path and the table, on some images.

    Where Keras is up, it loads the saved model and predicts test images. Else the model is a copy that an earlier
    run on this trunk had checked that way, and Keras's own features of synthetic images, kept since then, are compared
    with the app's through this run's head; of a backbone that runs apart, the features of its own first pass. Raises
    RunError when they disagree: no number of such a run could be trusted.
    """
    chosen = plan.images.part("test")[:PARITY_IMAGES]
    images = np.asarray(plan.images.at(chosen))
    app = softmax(predictor.logits(images))
    difference = float(np.abs(app - softmax(trained.logits[chosen])).max())
    if plan.built is None or not plan.run.has_model:
        by, other = BY_TRUNK if plan.run.has_model else BY_FILE, _difference_on_probe(trained, predictor)
    else:
        from covid_core.nets import export

        saved = export.load_model(plan.run.model_path)  # which holds all its maps until it answers, so a few at a time
        batches = blocks(images[..., None], PARITY_AT_ONCE)
        scores = np.concatenate([np.asarray(saved(batch)) for batch in batches])
        by, other = BY_LOADING, float(np.abs(app - scores).max())
    difference = max(difference, other)
    limit = PARITY_LIMIT_GPU if plan.devices.label != "CPU" else PARITY_LIMIT
    if not difference < limit:
        raise RunError(f"The saved model and the app's own path differ by {difference:.2g} in a score.")
    return {"largest_difference": difference, "images": len(chosen), "by": by}


def _difference_on_probe(trained: Trained, predictor: Predictor) -> float:
    """Largest difference of a score between the head on Keras's own features and on the app's."""
    images, references = trained.frozen.probe()
    maps = predictor.trunk.maps(images)
    pooled = [np.stack([tap.mean(axis=(1, 2)), tap.max(axis=(1, 2))], axis=1) for tap in maps]
    used = slice(None) if trained.head.pooling == "mean_max" else slice(1)  # of each tap's (n, 2, channels)
    features = [
        np.concatenate([tap[:, used].reshape(len(tap), -1) for tap in taps], axis=1) for taps in (references, pooled)
    ]
    stored, own = (softmax(trained.head.logits(values)) for values in features)
    return float(np.abs(stored - own).max())


def _some(images: Images, part: str, count: int) -> np.ndarray:
    """Up to ``count`` images of a part, spread over it: uint8 (n, size, size)."""
    chosen = images.part(part)
    chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, count).round().astype(int))]
    return np.asarray(images.at(chosen))


def median_milliseconds(work: Callable[[], object]) -> float:
    """Median time of a piece of work on one decoded image."""
    return round(1000 * float(np.median(timeit.repeat(work, number=1, repeat=TIMED_IMAGES))), 3)


def versions(spec: TrainingSpec | None = None) -> dict[str, str]:
    """Of what a trained network depends on."""
    runtime = ("onnxruntime",) if spec and spec.backbone_file and spec.backbone_file.kind == "onnx" else ()
    installed = {name: metadata.version(name) for name in ("keras", "tensorflow", "numpy", "ai-edge-litert", *runtime)}
    return {**installed, "python": platform.python_version()}


def _weights_origin(spec: TrainingSpec, start: Path | None) -> dict[str, str]:
    if start is None:
        return {"origin": "random"}
    origin = "file" if spec.backbone_file or spec.weights.startswith("file:") else "imagenet"
    return {"origin": origin, "file": start.name, "sha256": files.sha256_of(start)}
