"""One run from spec to files: only what learns is trained, everything frozen is computed once.

Three ways, by mode:

- **frozen**: features of every film from the exported trunk, once (per augmented view); the head is trained on them.
- **fine_tune**: activations at the boundary, once; the head is trained on the frozen tail's features, then tail and
  head together. With augmentation the second stage goes through the whole network.
- **full**: the whole network on films, as in an ordinary Keras fit.
"""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from covid_core import weights
from covid_core.backbones import backbone_named
from covid_core.data import augment
from covid_core.data.dataset import KEY_LENGTH, open_dataset
from covid_core.data.pixels import open_pixels
from covid_core.errors import DataError, Stopped
from covid_core.nets import devices, model, publishing, trunk
from covid_core.nets.fitting import Fit, Stage
from covid_core.nets.plan import Clock, Films, Plan, Trained
from covid_core.runs.store import Run
from covid_core.specs import TrainingSpec
from covid_core.work import Progress, cores, part_of
from covid_core.workspace import Workspace

SMALLEST_DEVIATION = 1.0  # of the mean deviation; features that vary less are not scaled up, nor their rounding errors
FIT_FROM = {"frozen": 0.6, "fine_tune": 0.5, "full": 0.05}  # share of a run's time before the fit, as seen on two cores
FIT_UNTIL = 0.9
ONE_PASS = "One pass through the frozen network"
HEAD, TAIL, ALL = "head", "last layers", "all layers"


def train(workspace: Workspace, run: Run, report: Progress) -> bool:
    """Train a run and publish its files, ``result.json`` last.

    Returns whether it went to its end; False when the user stopped it and the best weights so far were kept.
    Raises CovidCoreError for what the user can mend, Stopped when there was nothing to keep yet.
    """
    clock = Clock()
    films = clock.timed("decode", lambda: _films(workspace, run, part_of(report, 0, 0.05)))
    backbone = backbone_named(run.spec.backbone)
    start = clock.timed("weights", lambda: weights.obtain(run.spec, backbone, report))
    fit_from = FIT_FROM[run.spec.mode]
    fit = Fit(run.spec, run.checkpoint_path, run.append_history, part_of(report, fit_from, FIT_UNTIL))
    if fit.load_checkpoint():
        run.rewrite_history(fit.memory.rows)
    else:
        run.rewrite_history(0)
    report_end = _deaf(part_of(report, FIT_UNTIL, 1))
    plan = Plan(workspace, run, films, fit, clock, part_of(report, 0.05, fit_from), report_end, devices.found())
    trained = {"frozen": _train_frozen, "fine_tune": _train_tail, "full": _train_all}[run.spec.mode](plan, start)
    if fit.was_stopped and not fit.memory.rows:
        raise Stopped("Stopped before the first epoch was complete; there is nothing to keep.")
    report_end(0, "Saving the model")
    publishing.publish(plan, trained, start)
    if not fit.was_stopped:  # a stopped run may be resumed, and would have to compute them again
        _remove(plan.scratch)
    return not fit.was_stopped


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(PermissionError):  # Windows keeps a mapped file; it is only cache
            path.unlink(missing_ok=True)


def _deaf(progress: Progress) -> Progress:
    """Progress of the last steps: a stop that comes now is too late, the training is over and is kept."""

    def report(share: float, message: str) -> None:
        with contextlib.suppress(Stopped):
            progress(share, message)

    return report


def _films(workspace: Workspace, run: Run, report: Progress) -> Films:
    dataset = open_dataset(workspace, run.spec.dataset)
    if dataset.version != run.record["dataset"]["version"]:
        raise DataError(f"The data set {dataset.name} is not the one that this run was made for.")
    split = run.split()
    position = pd.Series(np.arange(len(dataset.films)), index=dataset.films["image_id"])
    rows = position.loc[split["image_id"]].to_numpy()
    labels = pd.Categorical(split["label"], categories=list(run.classes)).codes.astype(np.int32)
    return Films(dataset, open_pixels(workspace, dataset, run.spec.image_size, report), split, rows, labels)


def _train_frozen(plan: Plan, start: Path | None) -> Trained:
    """Head only, on features that were computed once."""
    network = plan.clock.timed("build", lambda: model.build_trunk(plan.spec, start))
    key = trunk.key_of(plan.spec, start, model.taps_of(plan.spec))
    plan.report(0.02, "Exporting the frozen network")
    path = plan.clock.timed("export", lambda: trunk.exported(plan.workspace, key, network))
    maps, engine = trunk.engine(path, network)
    pooling = model.pooling_of(plan.spec)
    features = plan.clock.timed("features", lambda: _features(plan, key, maps, pooling))
    views = plan.clock.timed("features", lambda: _view_features(plan, key, maps, pooling))
    head = model.build_head(plan.spec, [shape[1:] for shape in _output_shapes(network)])
    plan.clock.timed("fit", lambda: _fit_head(plan, head, features, views))
    logits = model.head_arrays(head, pooling).logits(features)
    return Trained(network, head, key, logits, engine)


def _features(plan: Plan, key: str, maps: trunk.Maps, pooling: str) -> np.ndarray:
    """Features of the run's films, float32 (films of the run, d)."""
    progress = _said(part_of(plan.report, 0.1, _share_of_plain(plan)), ONE_PASS)
    table = trunk.cached_features(
        plan.workspace,
        _name(plan, key, pooling),
        len(plan.films.pixels),
        plan.films.rows,
        lambda rows: plan.films.pixels[rows],
        maps,
        pooling,
        progress,
    )
    return np.asarray(table[plan.films.rows])


def _view_features(plan: Plan, key: str, maps: trunk.Maps, pooling: str) -> list[np.ndarray]:
    """Features of augmented training films, one memory map per view, by row of the data set; none without."""
    spec = plan.spec
    if spec.augmentation.is_off:
        return []
    count = min(spec.views or spec.epochs, spec.epochs)
    share = _share_of_plain(plan)
    step = (1 - share) / count
    return [
        _one_view(plan, key, maps, pooling, n, part_of(plan.report, share + n * step, share + (n + 1) * step))
        for n in range(count)
    ]


def _one_view(plan: Plan, key: str, maps: trunk.Maps, pooling: str, number: int, progress: Progress) -> np.ndarray:
    """One changed copy of every training film, kept on disk until the run is complete: memory stays small."""
    spec, films = plan.spec, plan.films
    change = hashlib.sha256(f"{spec.augmentation.model_dump_json()}|{spec.seed}|{number}".encode()).hexdigest()[:12]
    name = f"{_name(plan, key, pooling)}-view-{change}"
    plan.scratch.append(trunk.path_of(plan.workspace, name))
    return trunk.cached_features(
        plan.workspace,
        name,
        len(films.pixels),
        films.rows[films.part("train")],
        lambda rows: augment.view(films.pixels[rows], spec.augmentation, spec.seed, number, rows),
        maps,
        pooling,
        _said(progress, f"Augmented view {number + 1}"),
    )


def _name(plan: Plan, key: str, pooling: str) -> str:
    """Name of cached features: what they were computed from."""
    return f"{plan.films.dataset.pixels_key[:KEY_LENGTH]}-{key}-{pooling}"


def _said(progress: Progress, what: str) -> Progress:
    return lambda share, message: progress(share, f"{what}: {message}")


def _share_of_plain(plan: Plan) -> float:
    """Share of the features' time that the films without augmentation take."""
    if plan.spec.augmentation.is_off:
        return 1.0
    views = min(plan.spec.views or plan.spec.epochs, plan.spec.epochs)
    return 1 / (1 + views * len(plan.films.part("train")) / len(plan.films.rows))


def _fit_head(plan: Plan, head: keras.Model, features: np.ndarray, views: list[np.ndarray]) -> None:
    """The head's stage, on scaled features where the spec wants it; the head takes plain ones afterwards."""
    width = features.shape[1]
    mean, deviation = np.zeros(width, np.float32), np.ones(width, np.float32)
    if plan.spec.head.standardize:
        train = features[plan.films.part("train")]
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        deviation = np.maximum(deviation, SMALLEST_DEVIATION * deviation.mean())
    plan.fit.run(0, _head_stage(plan, head, features, views, lambda values: (values - mean) / deviation))
    if plan.spec.head.standardize:
        model.fold_scale(head, mean, deviation)


def _head_stage(
    plan: Plan,
    head: keras.Model,
    features: np.ndarray,
    views: list[np.ndarray],
    scaled: Callable[[np.ndarray], np.ndarray],
) -> Stage:
    train, validation = plan.films.part("train"), plan.films.part("validation")
    plain = scaled(features[train])
    train_rows = plan.films.rows[train]
    labels = plan.films.labels

    def inputs(rows: np.ndarray, epoch: int) -> np.ndarray:
        return scaled(views[epoch % len(views)][train_rows[rows]]) if views else plain[rows]

    return Stage(
        name=HEAD,
        model=head,
        inputs=inputs,
        labels=labels[train],
        order=_order(plan.spec, labels[train], 0),
        validation=(scaled(features[validation]), labels[validation]),
        learning_rate=plan.spec.learning_rate,
        epochs=plan.spec.epochs,
        sample_weights=_sample_weights(plan.spec, labels[train]),
    )


def _train_tail(plan: Plan, start: Path | None) -> Trained:
    """Head first, then the last layers with it."""
    spec = plan.spec
    network = plan.clock.timed("build", lambda: model.build_trunk(spec, start))
    boundary, layer_count = model.cut_before_last(network, spec.fine_tuning.layers)
    frozen, tail = model.split_at(network, boundary)
    key = trunk.key_of(spec, start, (boundary,))
    plan.report(0.02, "Exporting the frozen network")
    path = plan.clock.timed("export", lambda: trunk.exported(plan.workspace, key, frozen))
    maps, engine = trunk.engine(path, frozen)
    table = plan.clock.timed("features", lambda: _boundary(plan, key, maps))
    shape = _output_shapes(frozen)[0][1:]

    pooling = model.pooling_of(spec)
    features = plan.clock.timed("features", lambda: _tail_features(plan, tail, table, shape, pooling))
    head = model.build_head(spec, [s[1:] for s in _output_shapes(tail)])
    views = _tail_views(plan, key, maps, tail, pooling)
    plan.clock.timed("fit", lambda: _fit_head(plan, head, features, views))
    _let_learn(network, {layer.name for layer in tail.layers})
    if spec.augmentation.is_off:
        classifier = model.to_logits(tail, head, pooling)
        stage = _array_stage(plan, classifier, table, shape)
    else:
        classifier = model.to_logits(network, head, pooling)
        stage = _pixel_stage(plan, TAIL, classifier, spec.fine_tuning.learning_rate, spec.fine_tuning.epochs, 1)
    plan.clock.timed("fit", lambda: plan.fit.run(1, stage))
    trained_features = _tail_features(plan, tail, table, shape, pooling)
    logits = model.head_arrays(head, pooling).logits(trained_features)
    facts = {
        "fine_tuning": {
            "layers_asked": spec.fine_tuning.layers,
            "layers_trained": layer_count,
            "boundary": boundary,
        }
    }
    return Trained(network, head, None, logits, engine, facts)


def _boundary(plan: Plan, key: str, maps: trunk.Maps) -> np.ndarray:
    """Activations at the boundary of all films, one row per film of the data set, memory-mapped."""
    return trunk.cached_features(
        plan.workspace,
        _name(plan, key, trunk.RAW),
        len(plan.films.pixels),
        plan.films.rows,
        lambda rows: plan.films.pixels[rows],
        maps,
        trunk.RAW,
        _said(part_of(plan.report, 0.1, 0.9), ONE_PASS),
    )


def _tail_features(
    plan: Plan, tail: keras.Model, table: np.ndarray, shape: tuple[int, ...], pooling: str
) -> np.ndarray:
    """Pooled output of the tail for the run's films, batch by batch from the memory-mapped activations."""
    parts = []
    for begin in range(0, len(plan.films.rows), trunk.BATCH):
        rows = plan.films.rows[begin : begin + trunk.BATCH]
        answer = tail(table[rows].reshape(len(rows), *shape), training=False)
        maps = [np.asarray(tap) for tap in (answer if isinstance(answer, list | tuple) else [answer])]
        parts.append(trunk.pooled(maps, pooling))
    return np.concatenate(parts)


def _tail_views(plan: Plan, key: str, maps: trunk.Maps, tail: keras.Model, pooling: str) -> list[np.ndarray]:
    """Features of augmented training films for the first stage of a fine-tuning."""

    def through_tail(films: np.ndarray) -> list[np.ndarray]:
        answer = tail(maps(films)[0], training=False)
        return [np.asarray(tap) for tap in (answer if isinstance(answer, list | tuple) else [answer])]

    return plan.clock.timed("features", lambda: _view_features(plan, f"{key}-tail", through_tail, pooling))


def _array_stage(plan: Plan, classifier: keras.Model, table: np.ndarray, shape: tuple[int, ...]) -> Stage:
    """Tail and head on cached activations."""
    films, spec = plan.films, plan.spec
    train, validation = films.part("train"), films.part("validation")
    train_rows = films.rows[train]
    return Stage(
        name=TAIL,
        model=classifier,
        inputs=lambda rows, _epoch: table[train_rows[rows]].reshape(len(rows), *shape),
        labels=films.labels[train],
        order=_order(spec, films.labels[train], 1),
        validation=(table[films.rows[validation]].reshape(len(validation), *shape), films.labels[validation]),
        learning_rate=spec.fine_tuning.learning_rate,
        epochs=spec.fine_tuning.epochs,
        sample_weights=_sample_weights(spec, films.labels[train]),
    )


def _train_all(plan: Plan, start: Path | None) -> Trained:
    """Every layer, on films, on all devices."""
    spec = plan.spec
    with plan.devices.training():
        network, head = plan.clock.timed("build", lambda: _whole(spec, start))
        _let_learn(network, {layer.name for layer in network.layers}, normalization=start is None)
        classifier = model.to_logits(network, head, model.pooling_of(spec))
        stage = _pixel_stage(plan, ALL, classifier, spec.learning_rate, spec.epochs, 0)
        plan.clock.timed("fit", lambda: plan.fit.run(0, stage))
    network = plan.devices.in_float32(network, lambda: _whole(spec, None)[0])
    head = plan.devices.in_float32(head, lambda: _whole(spec, None)[1])
    return Trained(network, head, None, None, "TensorFlow")


def _whole(spec: TrainingSpec, start: Path | None) -> tuple[keras.Model, keras.Model]:
    network = model.build_trunk(spec, start)
    return network, model.build_head(spec, [shape[1:] for shape in _output_shapes(network)])


def _pixel_stage(
    plan: Plan, name: str, classifier: keras.Model, learning_rate: float, epochs: int, number: int
) -> Stage:
    """A stage that goes through the whole network, films augmented anew in every epoch."""
    films, spec = plan.films, plan.spec
    train, validation = films.part("train"), films.part("validation")
    train_rows = films.rows[train]

    def inputs(rows: np.ndarray, epoch: int) -> np.ndarray:
        chosen = train_rows[rows]
        return augment.view(films.pixels[chosen], spec.augmentation, spec.seed, epoch, chosen)[..., None]

    return Stage(
        name=name,
        model=classifier,
        inputs=inputs,
        labels=films.labels[train],
        order=_order(spec, films.labels[train], number),
        validation=(np.asarray(films.pixels[films.rows[validation]])[..., None], films.labels[validation]),
        learning_rate=learning_rate,
        epochs=epochs,
        sample_weights=_sample_weights(spec, films.labels[train]),
        workers=min(2, cores()),
    )


def _let_learn(network: keras.Model, names: set[str], normalization: bool = False) -> None:
    """Make only the named layers learn. Pretrained batch normalization keeps its statistics (and its scale)."""
    for layer in network.layers:
        frozen = isinstance(layer, keras.layers.BatchNormalization) and not normalization
        layer.trainable = layer.name in names and not frozen


def _order(spec: TrainingSpec, labels: np.ndarray, stage: int) -> Callable[[int], np.ndarray]:
    """Positions that an epoch goes through: all of them, or balanced by leaving out or by repeating."""
    by_class = [np.flatnonzero(labels == code) for code in range(len(spec.classes))]
    sizes = [len(positions) for positions in by_class]

    def order(epoch: int) -> np.ndarray:
        rng = np.random.default_rng((spec.seed, stage, epoch))
        if spec.imbalance == "undersample":
            return rng.permutation(np.concatenate([rng.permutation(p)[: min(sizes)] for p in by_class]))
        if spec.imbalance == "oversample":
            return rng.permutation(np.concatenate([np.resize(rng.permutation(p), max(sizes)) for p in by_class]))
        return rng.permutation(len(labels))

    return order


def _sample_weights(spec: TrainingSpec, labels: np.ndarray) -> np.ndarray | None:
    """Balanced class weights n / (k * n_c) per film, as scikit-learn defines them; None without."""
    if spec.imbalance != "class_weights":
        return None
    counts = np.bincount(labels, minlength=len(spec.classes))
    return (len(labels) / (len(counts) * counts)).astype(np.float32)[labels]


def _output_shapes(network: keras.Model) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in network.outputs]
