"""One run from spec to files: only what learns is trained, everything frozen is computed once.

Three ways, by mode:

- **frozen**: features of every image from the exported trunk, once (per augmented view); the head is trained on them,
  without TensorFlow where the trunk and a model of this shape have been made before.
- **fine_tune**: activations at the boundary, once; the head is trained on the frozen network's features, then the last
  layers and the head together. With augmentation the second stage goes through the whole network.
- **full**: the whole network on images, as in an ordinary Keras fit.
"""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from covid_core import weights
from covid_core.data import augmentation
from covid_core.data.pixels import open_pixels
from covid_core.errors import Stopped
from covid_core.formatting import plural
from covid_core.inference.network import MEAN, Head, batch_for, one_per_thread, pooled
from covid_core.inference.region.lung_region import LungRegion, cut_images
from covid_core.nets import devices, features, head_fit, publishing
from covid_core.nets.fitting import Fit, Stage
from covid_core.nets.plan import Clock, Images, Plan, Trained
from covid_core.runs import backbone_files, segmenters
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Run
from covid_core.specs import TrainingSpec
from covid_core.work import Progress, blocks, cores, ordered_map, part_of
from covid_core.workspace import Workspace

if TYPE_CHECKING:
    import keras

    from covid_core.nets.keras_fit import NetworkStage

SMALLEST_DEVIATION = 1.0  # of the mean deviation; features that vary less are not scaled up, nor their rounding errors
FIT_FROM = {"frozen": 0.85, "fine_tune": 0.5, "full": 0.05}  # share of a run's time before the fit, on two cores
FIT_UNTIL = {"frozen": 0.95, "fine_tune": 0.9, "full": 0.9}
BLOCK = 2048  # images; their features take 50 MB at most
TAIL_BATCH = 32  # images per call of the last layers, whose maps are small
HEAD, TAIL, ALL = "head", "last layers", "all layers"


def train(workspace: Workspace, run: Run, report: Progress) -> bool:
    """Train a run and publish its files, ``result.json`` last.

    Returns whether it went to its end; False when the user stopped it and the best weights so far were kept.
    Raises CovidCoreError for what the user can mend, Stopped when there was nothing to keep yet, and Diverged when the
    loss is no number, with what was best before published where an epoch was finished.
    """
    plan = _plan(workspace, run, report)
    if plan.fit.load_checkpoint():
        run.rewrite_history(plan.fit.memory.rows)
    else:
        run.rewrite_history(0)
    trained = {"frozen": _train_frozen, "fine_tune": _train_tail, "full": _train_all}[run.spec.mode](plan)
    _check_something_learned(plan)
    plan.report_end(0.3, "Saving the model")
    publishing.publish(plan, trained)
    if plan.fit.diverged:
        plan.fit.diverged.is_model_published = True
        raise plan.fit.diverged
    if not plan.fit.was_stopped:  # a stopped run may be resumed, and would have to compute them again
        for path in plan.scratch:
            with contextlib.suppress(PermissionError):  # Windows keeps a mapped file; it is only cache
                path.unlink(missing_ok=True)
    return not plan.fit.was_stopped


def part_of_features(workspace: Workspace, run: Run, part: int, parts: int, report: Progress) -> int:
    """Compute one of several parts of the features of a run's images, for its training to join. Returns how many images
    the part has."""
    plan = _plan(workspace, run, report)
    return features.of_part(plan, features.frozen_trunk(plan), part, parts)


def _check_something_learned(plan: Plan) -> None:
    """Raise Stopped where the fit was stopped in its first epoch."""
    if plan.fit.was_stopped and not plan.fit.memory.rows:
        raise Stopped("Stopped before the first epoch was complete; there is nothing to keep.")


def _plan(workspace: Workspace, run: Run, report: Progress) -> Plan:
    clock, spec = Clock(), run.spec
    images = clock.timed("decode", lambda: _images(workspace, run, part_of(report, 0, 0.05)))
    start = clock.timed("weights", lambda: _start(workspace, spec, report))
    begin, end = FIT_FROM[spec.mode], FIT_UNTIL[spec.mode]
    fit = Fit(spec, run.checkpoint_path, run.append_history, part_of(report, begin, end))
    here = clock.timed("tensorflow", devices.available) if devices.may_exist() else devices.Devices()
    before, after = part_of(report, 0.05, begin), _deaf(part_of(report, end, 1))
    return Plan(workspace, run, images, start, fit, clock, before, after, here)


def _start(workspace: Workspace, spec: TrainingSpec, report: Progress) -> Path | None:
    """The file that the trunk starts from; an added backbone is one itself."""
    file = spec.backbone_file
    return backbone_files.path_of(workspace, file) if file else weights.obtain(spec, spec.network, report)


def _deaf(progress: Progress) -> Progress:
    """Progress of the last steps: a stop that comes now is too late, the training is over and is kept."""

    def report(share: float, message: str) -> None:
        with contextlib.suppress(Stopped):
            progress(share, message)

    return report


def _images(workspace: Workspace, run: Run, report: Progress) -> Images:
    """The run's images, by its own version of the data set. Its labels stand in the split; pixels and features are
    those of all images as imported, so that leaving one out costs no decoding and no pass through a network."""
    dataset = dataset_of(workspace, run).imported
    split = run.split()
    position = pd.Series(np.arange(len(dataset.images)), index=dataset.images["image_id"])
    rows = position.loc[split["image_id"]].to_numpy()
    labels = pd.Categorical(split["label"], categories=list(run.classes)).codes.astype(np.int32)
    if run.spec.input.region != "lungs":
        return Images(dataset, open_pixels(workspace, dataset, run.spec.pixels, report), split, rows, labels)
    segmenters.bind(workspace, run)
    region = LungRegion.open(run.path, run.spec.image_size)
    cut = cut_images(workspace, dataset, region, run.spec.whole, rows, report)
    return Images(dataset, cut.pixels, split, rows, labels, cut, f"-{region.key}")


# Frozen


def _train_frozen(plan: Plan) -> Trained:
    """Head only, on features that were computed once."""
    frozen = features.frozen_trunk(plan)
    cached = plan.clock.timed("features", lambda: features.of_run(plan, frozen))
    head = plan.clock.timed("fit", lambda: _fit_head(plan, cached))
    logits = _mean_logits(head, cached)
    return Trained(head, frozen, None, None, logits, cached.means, cached.engine)


def _mean_logits(head: Head, cached: features.Features) -> np.ndarray:
    """Logits of all rows; the mean of an image's and its mirror image's where the spec asks for both."""
    positions = np.arange(len(cached.rows))
    logits = np.concatenate([head.logits(cached.plain(rows)) for rows in blocks(positions, BLOCK)])
    if not cached.at_test_too:
        return logits
    return (logits + np.concatenate([head.logits(cached.mirrored(rows)) for rows in blocks(positions, BLOCK)])) / 2


def _fit_head(plan: Plan, cached: features.Features) -> Head:
    """The head's stage, on scaled features where the spec wants it; the head takes plain ones afterwards."""
    train = plan.images.learned
    mean, deviation = _scale(cached.plain, train) if plan.spec.head.standardize else (np.float32(0), np.float32(1))
    validation = plan.images.selection()
    stage = Stage(
        name=HEAD,
        inputs=lambda rows, epoch: (cached.of_epoch(train[rows], epoch) - mean) / deviation,
        validation=lambda rows: (cached.plain(validation[rows]) - mean) / deviation,
        **_shared(plan, 0),
    )
    head = head_fit.run(plan.fit, 0, stage, plan.spec.head.pooling)
    if not plan.spec.head.standardize:
        return head
    first = head.weights[0] / deviation[:, None]
    return Head(head.pooling, (first, *head.weights[1:]), (head.biases[0] - mean @ first, *head.biases[1:]))


def _scale(features: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each feature over the training images, float32."""
    mean = sum(features(rows).sum(axis=0, dtype=np.float64) for rows in blocks(images, BLOCK)) / len(images)
    squares = sum(np.square(features(rows) - mean).sum(axis=0) for rows in blocks(images, BLOCK))
    deviation = np.sqrt(squares / len(images))
    smallest = SMALLEST_DEVIATION * deviation.mean()
    return mean.astype(np.float32), np.maximum(deviation, smallest).astype(np.float32)


def _shared(plan: Plan, number: int) -> dict[str, Any]:
    """What stages of any kind have in common: pace, labels, the order of the images, and their weights.

    ``number`` 1 is the second stage of a fine-tuning.
    """
    labels = plan.images.labels
    learned = labels[plan.images.learned]
    pace = plan.spec.fine_tuning if number and plan.spec.fine_tuning else plan.spec
    return {
        "learning_rate": pace.learning_rate,
        "epochs": pace.epochs,
        "labels": learned,
        "order": _order(plan.spec, learned, number),
        "validation_labels": labels[plan.images.selection()],
        "sample_weights": _sample_weights(plan.spec, learned),
    }


# Fine-tuning


def _train_tail(plan: Plan) -> Trained:
    """Head first, then the last layers with it."""
    plan.start_tensorflow()
    from covid_core.nets import keras_fit, model

    frozen = features.frozen_trunk(plan)
    cached = plan.clock.timed("features", lambda: features.of_run(plan, frozen, with_boundary=True))
    head = plan.clock.timed("fit", lambda: _fit_head(plan, cached))
    network = plan.trunk()
    _, tail = model.split_at(network, frozen.layers[frozen.taps])
    keras_head = model.keras_head(plan.spec, head, frozen.width(head.pooling))
    _let_learn(network, {layer.name for layer in tail.layers})
    whole = model.to_logits(network, keras_head, head.pooling)
    if plan.spec.augmentation.is_off:
        train, validation = plan.images.learned, plan.images.selection()
        stage = keras_fit.NetworkStage(
            name=TAIL,
            model=model.to_logits(tail, keras_head, head.pooling),
            inputs=lambda rows, _epoch: cached.boundary(train[rows]),
            validation=lambda rows: cached.boundary(validation[rows]),
            **_shared(plan, 1),
        )
    else:
        stage = _pixel_stage(plan, TAIL, whole, 1)
    plan.clock.timed("fit", lambda: keras_fit.run(plan.fit, 1, stage))
    cut = {"layers_asked": plan.spec.fine_tuning.layers, "layers_trained": frozen.layers_behind}
    facts = {"fine_tuning": {**cut, "boundary": frozen.layers[frozen.taps]}}
    trained = model.head_arrays(keras_head, head.pooling)
    plan.clock.timed("export", lambda: publishing.export_own(plan, tail))
    logits, means = plan.clock.timed("predict", lambda: _exported_logits(plan, trained, cached.boundary, TAIL_BATCH))
    return Trained(trained, frozen, tail, whole, logits, means.__getitem__, cached.engine, facts)


# All layers


def _train_all(plan: Plan) -> Trained:
    """Every layer, on images, on all devices."""
    plan.start_tensorflow()
    from covid_core.nets import keras_fit, model

    spec, pooling = plan.spec, model.pooling_of(plan.spec)
    with plan.devices.training():
        network = plan.trunk()
        head = model.build_head(spec, [tuple(tensor.shape[1:]) for tensor in network.outputs])
        _let_learn(network, {layer.name for layer in network.layers}, normalization=plan.start is None)
        classifier = model.to_logits(network, head, pooling)
        stage = _pixel_stage(plan, ALL, classifier, 0)
        plan.clock.timed("fit", lambda: keras_fit.run(plan.fit, 0, stage))
    _check_something_learned(plan)
    network = plan.devices.in_float32(network, lambda: _untrained(spec)[0])
    head = plan.devices.in_float32(head, lambda: _untrained(spec)[1])
    classifier = model.to_logits(network, head, pooling)
    arrays = model.head_arrays(head, pooling)
    plan.clock.timed("export", lambda: publishing.export_own(plan, network))
    batch = batch_for(spec.image_size)
    logits, means = plan.clock.timed(
        "predict", lambda: _exported_logits(plan, arrays, lambda at: plan.images.at(at)[..., None], batch)
    )
    return Trained(arrays, None, network, classifier, logits, means.__getitem__, "TensorFlow")


def _exported_logits(
    plan: Plan, head: Head, inputs: Callable[[np.ndarray], np.ndarray], batch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Logits of all rows by the run's own exported network, as the app will compute them, and the means of its maps.

    ``inputs`` gives what the network takes for positions among the run's images, ``batch`` of them per call.
    """
    total, run = len(plan.images.rows), one_per_thread(plan.run.trunk_path)
    batches = list(blocks(np.arange(total), batch))
    parts: list[tuple[np.ndarray, np.ndarray]] = []

    def logits_and_means(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        maps = run(inputs(positions))
        return head.logits(head.features(maps)), pooled(maps, MEAN)

    with ThreadPoolExecutor(cores()) as pool:
        for part in ordered_map(pool, logits_and_means, batches):
            parts.append(part)
            plan.report_end(0.3 * len(parts) / len(batches), f"Scores of all {plural(total, 'image')}")
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


def _untrained(spec: TrainingSpec) -> "tuple[keras.Model, keras.Model]":
    from covid_core.nets import model

    network = model.build_trunk(spec, None)
    return network, model.build_head(spec, [tuple(tensor.shape[1:]) for tensor in network.outputs])


def _pixel_stage(plan: Plan, name: str, classifier: "keras.Model", number: int) -> "NetworkStage":
    """A stage that goes through the whole network, images augmented anew in every epoch."""
    from covid_core.nets.keras_fit import NetworkStage

    images, spec = plan.images, plan.spec
    train, validation = images.learned, images.selection()
    exchange = features.frame_exchange(plan)

    def inputs(rows: np.ndarray, epoch: int) -> np.ndarray:
        chosen = images.rows[train[rows]]
        changed = augmentation.view(
            images.pixels[chosen], spec.augmentation, spec.seed, epoch, chosen, exchange, spec.shown
        )
        return changed[..., None]

    return NetworkStage(
        name=name,
        model=classifier,
        inputs=inputs,
        validation=lambda rows: images.at(validation[rows])[..., None],
        **_shared(plan, number),
        workers=1 if spec.augmentation.is_off else min(2, cores()),
    )


def _let_learn(network: "keras.Model", names: set[str], normalization: bool = False) -> None:
    """Make only the named layers learn. Pretrained batch normalization keeps its statistics (and its scale)."""
    from keras.layers import BatchNormalization

    for layer in network.layers:
        frozen = isinstance(layer, BatchNormalization) and not normalization
        layer.trainable = layer.name in names and not frozen


def _order(spec: TrainingSpec, labels: np.ndarray, stage: int) -> Callable[[int], np.ndarray]:
    """Positions that an epoch goes through: all of them, or balanced by leaving out or by repeating.

    A class without images takes no part in the balance: there is nothing of it to repeat.
    """
    by_class = [np.flatnonzero(labels == code) for code in np.unique(labels)]
    sizes = [len(positions) for positions in by_class]

    def order(epoch: int) -> np.ndarray:
        rng = np.random.default_rng((spec.seed, stage, epoch))
        match spec.imbalance:
            case "none" | "class_weights":
                return rng.permutation(len(labels))
            case "undersample":
                return rng.permutation(np.concatenate([rng.permutation(p)[: min(sizes)] for p in by_class]))
            case "oversample":
                return rng.permutation(np.concatenate([np.resize(rng.permutation(p), max(sizes)) for p in by_class]))
            case unknown:
                raise ValueError(f"Nobody has written the remedy {unknown!r} against imbalance.")

    return order


def _sample_weights(spec: TrainingSpec, labels: np.ndarray) -> np.ndarray | None:
    """Balanced class weights n / (k * n_c) per image, as scikit-learn defines them; None without.

    k counts the classes that have images.
    """
    if spec.imbalance != "class_weights":
        return None
    _, of_class, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (len(labels) / (len(counts) * counts)).astype(np.float32)[of_class]
