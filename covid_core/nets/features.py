"""What a run's head learns from: features of its images, of their mirror images, and of augmented copies."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from covid_core import cache
from covid_core.data import augmentation
from covid_core.derived import KEY_LENGTH
from covid_core.errors import RunError
from covid_core.inference import lungs
from covid_core.inference.network import MEAN
from covid_core.inference.region.lung_region import exchangeable
from covid_core.nets import trunk
from covid_core.nets.plan import Plan
from covid_core.nets.trunk import Engine, FrozenTrunk, Wanted
from covid_core.specs import TrainingSpec
from covid_core.work import Progress, part_of

ONE_PASS = "One pass through the frozen network"
USUAL_CUT = 10  # last layers that a fine-tuning usually wants, as the course did
GPU_BATCH = 256
ON_GPU = "TensorFlow on the GPU"
SHARE_BY_THE_WAY = 0.1  # of the cache's limit: more is not kept for a fine-tuning that may never come


@dataclass
class Features:
    """float32 features by the position of an image among the run's images; tables hold all images of the data set.

    ``columns`` are those of the tables that the run's pooling takes, ``mean_columns`` the means alone. ``views`` are
    augmented copies of the training images, one table each, with the run's own pooling alone. With ``choose_side`` a
    view takes the plain or the mirrored table, image by image, as augmentation by mirroring alone would.
    """

    rows: np.ndarray
    engine: str
    table: np.memmap
    columns: slice | np.ndarray = field(default_factory=lambda: slice(None))
    mean_columns: slice | np.ndarray = field(default_factory=lambda: slice(None))
    mirror: np.memmap | None = None
    views: list[np.memmap] = field(default_factory=list)
    originals: bool = False
    choose_side: Callable[[np.ndarray, int], np.ndarray] | None = None
    at_test_too: bool = False
    edge: np.memmap | None = None
    edge_shape: tuple[int, ...] = ()

    def plain(self, positions: np.ndarray) -> np.ndarray:
        """Features (n, d) of images as they are."""
        return self._taken(self.table, positions)

    def means(self, positions: np.ndarray) -> np.ndarray:
        """Means (n, d) of the maps of images as they are, whatever the run's pooling."""
        return np.asarray(self.table[self.rows[positions]])[:, self.mean_columns]

    def mirrored(self, positions: np.ndarray) -> np.ndarray:
        """Features (n, d) of their mirror images."""
        return self._taken(self.mirror, positions)

    def of_epoch(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """Features (n, d) that an epoch of the training takes.

        With views, neighbouring images take different versions, and the next one an epoch later. One version alone
        would pull the head to it, and the epoch that is kept would be one that followed the originals.
        """
        rows = self.rows[positions]
        if self.choose_side is not None:
            return np.where(self.choose_side(rows, epoch)[:, None], self.mirrored(positions), self.plain(positions))
        if not self.views:
            return self.plain(positions)
        versions = (rows + epoch) % (len(self.views) + self.originals) - self.originals
        taken = np.empty((len(rows), self.views[0].shape[1]), np.float32)
        for version in np.unique(versions):
            at = versions == version
            taken[at] = self.plain(positions[at]) if version < 0 else self.views[version][rows[at]]
        return taken

    def boundary(self, positions: np.ndarray) -> np.ndarray:
        """Activations (n, height, width, channels) at the boundary of a fine-tuning."""
        return np.asarray(self.edge[self.rows[positions]]).reshape(len(positions), *self.edge_shape)

    def _taken(self, table: np.memmap, positions: np.ndarray) -> np.ndarray:
        return np.asarray(table[self.rows[positions]])[:, self.columns]


def frozen_trunk(plan: Plan) -> FrozenTrunk:
    """The exported frozen part of the run's network, exported now if it is not there."""
    spec = plan.spec
    taps, cut = spec.network.taps_of(spec.taps), _cut(spec)
    key = trunk.key_of(spec, plan.start, (*taps, *([f"before the last {cut}"] if cut else [])))
    with trunk.alone(plan.workspace, key, plan.report):
        exported = trunk.load(plan.workspace, key)
        if exported is not None:
            plan.reuse("frozen network", trunk.seconds_it_took(exported.path))
            return exported
        plan.report(0.02, "Starting TensorFlow to export the frozen network, once")
        network = plan.trunk()
        from covid_core.nets import export

        made = plan.clock.timed(
            "export", lambda: export.export_trunk(plan.workspace, key, network, len(taps), cut, plan.opened_apart)
        )
        trunk.note_seconds(made.path, plan.clock.seconds["export"])
        return made


def _cut(spec: TrainingSpec) -> int:
    """Before how many last layers the activations may be wanted: none where the head does not use the last one, or the
    backbone was added, which is never fine-tuned."""
    if spec.backbone_file:
        return 0
    if spec.fine_tuning is not None:
        return spec.fine_tuning.layers
    return USUAL_CUT if spec.taps == "last" else 0


def of_run(plan: Plan, frozen: FrozenTrunk, with_boundary: bool = False) -> Features:
    """All features that the run needs: computed now, in one pass, where the cache lacks them."""
    spec, images = plan.spec, plan.images
    passes, name = _Passes(plan, frozen), _name(plan, frozen)
    edge = trunk.boundary_activations(frozen, f"{name}-boundary") if frozen.taps < len(frozen.shapes) else None
    shared = trunk.pooled_features(frozen, f"{name}-pooled")  # for later runs too, whichever their pooling
    table, *rest = passes.run(shared, images.rows, lambda at: images.pixels[at], ONE_PASS, edge, with_boundary)
    mirror = None
    if spec.test_time_flip or spec.augmentation.only_flips:
        mirrored = trunk.pooled_features(frozen, f"{name}-pooled-mirrored")
        mirror, *_ = passes.run(mirrored, images.rows, lambda at: images.pixels[at][:, :, ::-1], "Mirrored images")
    sides = (lambda at, epoch: augmentation.mirrored(at, spec.seed, epoch)) if spec.augmentation.only_flips else None
    return Features(
        rows=images.rows,
        engine=passes.engine_name,
        table=table,
        columns=frozen.columns(spec.head.pooling),
        mean_columns=frozen.columns(MEAN),
        mirror=mirror,
        views=_views(plan, frozen, passes, name),
        originals=spec.originals,
        choose_side=sides,
        at_test_too=spec.test_time_flip,
        edge=rest[0] if with_boundary else None,
        edge_shape=frozen.shapes[-1],
    )


def of_part(plan: Plan, frozen: FrozenTrunk, part: int, parts: int) -> int:
    """Compute one of several parts of what ``of_run`` shares with other runs: features of images as they are. Returns
    how many images the part has."""
    rows = np.array_split(plan.images.rows, parts)[part]
    passes, wanted = _Passes(plan, frozen), trunk.pooled_features(frozen, f"{_name(plan, frozen)}-pooled")
    progress = part_of(plan.report, 0.1, 1.0, f"{ONE_PASS}: ")
    pixels = plan.images.pixels
    of = (plan.workspace, wanted, part, rows, lambda at: pixels[at], lambda: passes.engine)
    trunk.part_of_features(*of, progress)
    return len(rows)


def _name(plan: Plan, frozen: FrozenTrunk) -> str:
    """What the names of a run's features begin with: all that they depend on."""
    return f"{plan.images.dataset.pixels_key[:KEY_LENGTH]}{plan.images.suffix}-{frozen.key}"


class _Passes:
    """Passes of one run's images through its trunk, each with its part of the progress."""

    def __init__(self, plan: Plan, frozen: FrozenTrunk):
        self._plan = plan
        self._frozen = frozen
        self._count = 1 + _count_of_views(plan.spec) + (plan.spec.test_time_flip or plan.spec.augmentation.only_flips)
        self._done = 0

    @property
    def engine_name(self) -> str:
        file = self._plan.spec.backbone_file
        if file:
            return f"{trunk.APART[file.kind]} in a process of its own"
        return ON_GPU if self._plan.devices.names else trunk.LITE

    @cached_property
    def engine(self) -> Engine:
        """The fastest way to run the trunk here: the GPU where there is one, else LiteRT; an added backbone apart."""
        if self._plan.opened_apart:
            return trunk.engine_apart(self._plan.opened_apart(self._frozen.path).run, self._plan.spec.image_size)
        if self._plan.devices.names:
            return _gpu_engine(self._plan, self._frozen)
        return trunk.lite_engine(self._frozen, self._plan.spec.image_size)

    def run(
        self,
        wanted: Wanted,
        rows: np.ndarray,
        images: trunk.Images,
        name: str,
        edge: Wanted | None = None,
        must: bool = False,
    ) -> list[np.memmap]:
        """One pass; the activations at the edge are kept too where they must be or take little room."""
        plan, count = self._plan, len(self._plan.images.pixels)
        needed = [wanted, edge] if edge and must else [wanted]
        there = np.all([trunk.are_cached(plan.workspace, one, count, rows) for one in needed], axis=0)
        if there.any():
            path = trunk.path_of(plan.workspace, wanted.name)
            plan.reuse("features", trunk.seconds_it_took(path, int(there.sum())))
        is_small = edge is not None and len(rows) * edge.width * 4 <= SHARE_BY_THE_WAY * cache.limit()
        extra = [edge] if edge and not must and is_small else []
        progress = self._progress(name)
        return trunk.cached_features(plan.workspace, needed, count, rows, images, lambda: self.engine, progress, extra)

    def _progress(self, name: str) -> Progress:
        start = 0.1 + 0.9 * self._done / self._count
        self._done += 1
        return part_of(self._plan.report, start, 0.1 + 0.9 * self._done / self._count, f"{name}: ")


def _gpu_engine(plan: Plan, frozen: FrozenTrunk) -> Engine:
    import keras

    network = plan.trunk()
    whole = keras.Model(network.input, [network.get_layer(name).output for name in frozen.layers])

    def maps(images: np.ndarray) -> list[np.ndarray]:
        return keras.tree.flatten(whole.predict(images[..., None], batch_size=GPU_BATCH, verbose=0))

    return Engine(maps, GPU_BATCH, 1)


def _count_of_views(spec: TrainingSpec) -> int:
    """Augmented copies to be computed: none where mirrored images are all that is needed."""
    if spec.augmentation.is_off or spec.augmentation.only_flips:
        return 0
    return min(spec.views or spec.epochs, spec.epochs)


def frame_exchange(plan: Plan) -> augmentation.FrameExchange | None:
    """What exchanges frames between training images; None where the spec does not. Raises RunError without lungs."""
    if not plan.spec.augmentation.frames:
        return None
    images = plan.images
    rows = images.rows[images.learned]
    outlines = lungs.of_images(plan.workspace, images.dataset, rows)
    if outlines.available.sum() < 2:
        raise RunError("Frame exchange needs lung outlines, and there are none of the training images.")
    if images.cut is None:
        rows, masks = rows[outlines.available], outlines.masks[outlines.available]
    else:
        rows, masks = exchangeable([images.cut.box(row) for row in rows], outlines, rows)
    return augmentation.FrameExchange(images.pixels, rows, masks)


def _views(plan: Plan, frozen: FrozenTrunk, passes: _Passes, name: str) -> list[np.memmap]:
    """Features of augmented training images, one table per view, of the run's own pooling: of no use after the run, so
    they are removed when it is complete."""
    spec, images = plan.spec, plan.images
    train, pooling = images.rows[images.learned], spec.head.pooling
    tables, exchange = [], frame_exchange(plan)
    for number in range(_count_of_views(spec)):
        change = hashlib.sha256(
            f"{spec.augmentation.model_dump_json(exclude_defaults=True)}|{spec.seed}|{number}".encode()
        ).hexdigest()[:12]
        wanted = trunk.pooled_features(frozen, f"{name}-{pooling}-view-{change}", pooling)
        path = trunk.path_of(plan.workspace, wanted.name)
        plan.scratch += [path, path.with_suffix(trunk.TOOK)]

        def view(rows: np.ndarray, number: int = number) -> np.ndarray:
            return augmentation.view(
                images.pixels[rows], spec.augmentation, spec.seed, number, rows, exchange, spec.shown
            )

        tables += passes.run(wanted, train, view, f"Augmented view {number + 1}")
    return tables
