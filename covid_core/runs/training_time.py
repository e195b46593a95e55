"""How long trainings will take on this machine: from the speeds of networks on two cores, and from runs that ended.

Speeds are those of ``benchmarks``: milliseconds that a network takes for an image of 128 px, once. What an earlier run
of the same network and mode really took corrects them, so the second estimate on a machine is better than the first.
"""

from collections.abc import Mapping, Sequence

from covid_core.data.dataset import open_dataset
from covid_core.errors import CovidCoreError
from covid_core.runs import candidates, store
from covid_core.runs.store import Run
from covid_core.specs import TrainingSpec
from covid_core.work import cores
from covid_core.workspace import Workspace

START = 10.0  # seconds until the first image, and from the last epoch to the end: TensorFlow, export, saving, checks
SPEED_SIZE = 128  # px
BOX = 0.012  # seconds, times cores, to decode an image, outline its lungs and cut out their box; 256 px originals
HEAD = 4e-5  # seconds of a dense head per image and epoch
BACKWARD = 8.0  # times the time of one pass: a training step of all layers, forward and back
TAIL = 0.5  # of one pass: a training step of the last layers, on kept activations
LEAST = 10.0  # expected seconds of a run that tells the pace: in a shorter one, what does not grow counts too much
SLOWEST, FASTEST = 10.0, 0.1  # bounds of what an earlier run may correct


def expected_seconds(workspace: Workspace, specs: Sequence[TrainingSpec]) -> float:
    """Seconds of these trainings one after the other, if none stops early. Features of a network are computed once.

    Raises UnknownId or DataError.
    """
    total, networks = 0.0, set[tuple[object, ...]]()
    runs, _ = store.list_runs(workspace)
    for spec in specs:
        images, learned = _images(open_dataset(workspace, spec.dataset).counts, spec)
        first, repeated = _work(spec, images, learned, spec.total_epochs)
        network = (spec.backbone, spec.image_size, spec.input, spec.weights, spec.taps, spec.dataset)
        is_again = network in networks
        total += START * (not is_again or spec.mode != "frozen")
        total += BOX * images / min(cores(), 8) * (spec.input.region == "lungs" and not is_again)
        total += _pace(runs, spec) * (repeated + first * (not is_again))
        networks.add(network)
    return total


def _images(counts: Mapping[str, int], spec: TrainingSpec) -> tuple[float, float]:
    """Images of all parts, and of the training part, of a data set with ``counts`` images per class."""
    most = spec.split.images_per_class or max(counts.values())
    images = sum(min(counts.get(label, 0), most) for label in spec.classes)
    return images, images * spec.split.train


def _work(spec: TrainingSpec, images: float, learned: float, epochs: int) -> tuple[float, float]:
    """Seconds of the features of all images, which other runs share, and of the rest, on this many cores."""
    once = spec.network.milliseconds / 1000 * (spec.image_size / SPEED_SIZE) ** 2 * 2 / min(cores(), 8)
    if spec.mode == "full":
        return 0.0, BACKWARD * once * learned * epochs
    head = HEAD * learned * epochs
    if spec.augmentation.is_off or spec.augmentation.only_flips:
        copies = 0
    else:
        copies = min(spec.views or spec.epochs, spec.epochs)
    seconds = head + once * learned * copies + once * images * spec.test_time_flip
    if spec.fine_tuning:
        step = TAIL if spec.augmentation.is_off else 1 + TAIL
        seconds += step * once * learned * min(epochs, spec.fine_tuning.epochs)
    return once * images, seconds


def _pace(runs: Sequence[Run], spec: TrainingSpec) -> float:
    """How many times as long as expected the last long run of this network and mode took; 1 before the first."""
    for run in sorted(runs, key=lambda run: run.created, reverse=True):
        if run.bundle or (run.spec.backbone, run.spec.mode) != (spec.backbone, spec.mode):  # of another computer
            continue
        try:
            took, done = candidates.training_seconds(run), run.result.get("epochs_done")
        except CovidCoreError:  # a damaged run took an unknown time
            continue
        counts = run.dataset.counts  # an earlier version did not note them
        wanted = sum(_work(run.spec, *_images(counts, run.spec), done)) if done and counts else 0.0
        if wanted > LEAST and took > 0:  # not nan
            return min(max(took / wanted, FASTEST), SLOWEST)
    return 1.0
