"""Good choices, ready made: the spec that one click trains, and studies of several runs, the course's among them."""

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from covid_core import weights
from covid_core.backbones import BACKBONES, Backbone, backbone_named
from covid_core.data.dataset import open_dataset
from covid_core.data.downloads import can_be_reached
from covid_core.errors import InvalidChoice
from covid_core.formatting import file_size
from covid_core.runs.store import REPEATS
from covid_core.specs import AugmentationSpec, FineTuning, HeadSpec, StudySpec, TrainingSpec, parse
from covid_core.workspace import Workspace

COURSE_IMAGES_PER_CLASS = 1_344  # what the course drew of each class before it split
COURSE_SIZE = 128
COURSE_EPOCHS = 5
COURSE_BATCH = 16
COURSE_HEAD = HeadSpec(units=(128,), dropout=0.5, standardize=False)
COURSE_AUGMENTATION = AugmentationSpec(rotation=15, shift_x=0.1, shift_y=0.1, zoom=0.1, flip=True)

COURSE_DEVIATIONS = (
    "Labels belong to their images. The course trained on labels that were cut off in class order and did not match "
    "the images, so its accuracies cannot be compared with these. The setting labels=shifted makes that mistake again.",
    "Each backbone gets images in the range of greys that it was trained on, instead of 0 to 1 for all of them.",
    "Images are read straight from their files at 128 px, instead of being shrunk to 192 px and then to 128 px.",
    "Of several epochs, the one with the lowest validation loss is kept; the course kept the last.",
)

BASELINE_EPOCHS = 15  # without pretrained features the validation loss turns up again soon after
FULL_RATE = 2e-5  # with batch normalization at inference, training every layer at 3e-4 diverged on real images
FULL_EPOCHS = 10  # each is a pass through the whole network and back
FULL_BATCH = 16
DEFAULT_BACKBONE = "mobilenet_v2"
DEFAULT_SIZE = TrainingSpec.model_fields["image_size"].default

MOST_FOLDS = 20
MOST_REPEATS = 100  # runs of one study

CACHED, DOWNLOADABLE, MISSING = "cached", "downloadable", "missing"


@dataclass(frozen=True)
class Preset:
    """A study in one click. ``build`` takes what all runs share and the images per class of the chosen classes."""

    name: str
    label: str
    description: str
    build: Callable[[dict[str, Any], list[int]], tuple[TrainingSpec, ...]]


def study(
    preset: str,
    dataset: str,
    classes: tuple[str, ...],
    counts: Mapping[str, int],
    name: str = "",
    overrides: Mapping[str, Any] | None = None,
) -> StudySpec:
    """The runs of a preset on one data set, all with the same split.

    Args:
        preset: a key of STUDY_PRESETS.
        dataset: id of the data set.
        classes: labels to tell apart.
        counts: images per class of the data set; the course's balanced subset depends on the smallest.
        name: of the study; by default the preset's label.
        overrides: settings by dotted name (``epochs``, ``head.dropout``, ``split.seed``), applied to every run.

    Raises:
        InvalidChoice: no such preset or class, or an override breaks a rule.
    """
    if preset not in STUDY_PRESETS:
        raise InvalidChoice(f"The preset must be one of {', '.join(STUDY_PRESETS)}, received: {preset!r}.")
    unknown = [label for label in classes if label not in counts]
    if unknown:
        raise InvalidChoice(f"There is no class {unknown[0]!r}; there are {', '.join(counts)}.")
    chosen = STUDY_PRESETS[preset]
    runs = chosen.build({"dataset": dataset, "classes": tuple(classes)}, [counts[label] for label in classes])
    if overrides:
        runs = tuple(with_overrides(run, with_subset(overrides, run, counts)) for run in runs)
    return parse(StudySpec, {"name": name or chosen.label, "preset": preset, "runs": runs})


def with_overrides(spec: TrainingSpec, overrides: Mapping[str, Any]) -> TrainingSpec:
    """A spec with other settings, by dotted name; texts are read as JSON where a text is not what is asked for.

    Raises InvalidChoice naming the setting.
    """
    fields = spec.model_dump(mode="json")
    for key, value in overrides.items():
        _set(fields, key, value)
    try:
        return parse(TrainingSpec, fields)
    except InvalidChoice as error:
        if any(str(error).startswith(key) for key in overrides):
            raise
        changed = ", ".join(f"{key}={value}" for key, value in overrides.items())
        raise InvalidChoice(f"{changed}: {error}") from error


def with_subset(overrides: Mapping[str, Any], spec: TrainingSpec, counts: Mapping[str, int]) -> Mapping[str, Any]:
    """The settings, with the course's balanced subset where they ask for shifted labels and no subset is named.

    Without a subset there is nothing to shift. ``counts`` are the images per class of the data set.
    """
    if overrides.get("labels") != "shifted" or spec.split.images_per_class is not None:
        return overrides
    chosen = [images for label, images in counts.items() if label in spec.classes]
    return {"split.images_per_class": min([COURSE_IMAGES_PER_CLASS, *chosen]), **overrides}


def repeated(spec: TrainingSpec, folds: int = 1, seeds: int = 1) -> StudySpec:
    """The same training on every fold and with several seeds: one run each, which share everything but their heads.

    Args:
        spec: what is repeated; its own seed is the first.
        folds: parts that the images are dealt into; each is tested on once. 1 keeps the spec's own split.
        seeds: how many seeds, counted up from the spec's own.

    Raises InvalidChoice.
    """
    if not (1 <= folds <= MOST_FOLDS and seeds >= 1 and folds * seeds <= MOST_REPEATS):
        raise InvalidChoice(
            f"folds must be 1 to {MOST_FOLDS} and folds x seeds at most {MOST_REPEATS}, received: {folds} and {seeds}."
        )
    title = spec.name or backbone_named(spec.backbone).label
    runs = []
    for fold in range(folds):
        split = spec.split.model_copy(update={"folds": folds, "fold": fold} if folds > 1 else {})
        for seed in range(spec.seed, spec.seed + seeds):
            words = ([f"fold {fold + 1} of {folds}"] if folds > 1 else []) + ([f"seed {seed}"] if seeds > 1 else [])
            changes = {"split": split, "seed": seed, "name": ", ".join([title, *words])[:80]}
            runs.append(spec.model_copy(update=changes))
    parts = ([f"{folds} folds"] if folds > 1 else []) + ([f"{seeds} seeds"] if seeds > 1 else [])
    return parse(StudySpec, {"name": f"{title[:50]}, {' x '.join(parts)}", "preset": REPEATS, "runs": runs})


def take_repeats(overrides: dict[str, str]) -> tuple[int, int]:
    """Take ``folds`` and ``seeds``, which make a study of a run, out of the settings. Raises InvalidChoice."""
    numbers = []
    for key in ("folds", "seeds"):
        text = overrides.pop(key, "1")
        if not text.isdecimal() or int(text) < 1:
            raise InvalidChoice(f"{key} must be a whole number from 1, received: {text!r}.")
        numbers.append(int(text))
    return numbers[0], numbers[1]


def parse_assignments(texts: list[str]) -> dict[str, str]:
    """Overrides from texts of the form ``key=value``. Raises InvalidChoice for a text without a key or a value."""
    pairs = [text.partition("=") for text in texts]
    for key, equals, _ in pairs:
        if not (key.strip() and equals):
            raise InvalidChoice(f"A setting must be written key=value, received: {key + equals!r}.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def default_spec(dataset: str, workspace: Workspace) -> TrainingSpec:
    """What is trained when nothing else is chosen: all classes, MobileNetV2 if its weights are to be had.

    ``default_reason`` says why. Asks the network where the weights are not cached. Raises NotFound or DataError.
    """
    classes = open_dataset(workspace, dataset).classes
    state = weights_state(backbone_named(DEFAULT_BACKBONE), DEFAULT_SIZE)
    return pretrained_spec(dataset, classes) if state != MISSING else baseline_spec(dataset, classes)


def pretrained_spec(dataset: str, classes: tuple[str, ...], backbone: str = DEFAULT_BACKBONE) -> TrainingSpec:
    """A frozen backbone with a trained head: the settings that did best on real images in cross-validation."""
    return parse(TrainingSpec, {"dataset": dataset, "classes": classes, "backbone": backbone})


def suggested_spec(dataset: str, classes: tuple[str, ...], backbone: str, mode: str = "frozen") -> TrainingSpec:
    """Good settings for a backbone and a mode; the baseline CNN has one mode only."""
    if not backbone_named(backbone).pretrained:
        return baseline_spec(dataset, classes)
    changes: dict[str, Any] = {}
    if mode == "fine_tune":
        changes = {"taps": "last", "fine_tuning": FineTuning()}
    if mode == "full":
        changes = {"taps": "last", "learning_rate": FULL_RATE, "epochs": FULL_EPOCHS, "batch_size": FULL_BATCH}
    return parse(TrainingSpec, {"dataset": dataset, "classes": classes, "backbone": backbone, "mode": mode, **changes})


def baseline_spec(dataset: str, classes: tuple[str, ...]) -> TrainingSpec:
    """The small network that needs no weights, at the course's size."""
    return parse(
        TrainingSpec,
        {
            "dataset": dataset,
            "classes": classes,
            "backbone": "baseline_cnn",
            "head": COURSE_HEAD,
            "image_size": COURSE_SIZE,
            "optimizer": "adam",
            "epochs": BASELINE_EPOCHS,
        },
    )


def default_reason(spec: TrainingSpec) -> str:
    """Why ``default_spec`` chose this one, in a sentence."""
    backbone = backbone_named(spec.backbone)
    if not backbone.pretrained:
        wanted = backbone_named(DEFAULT_BACKBONE).label
        return (
            f"{backbone.label}, because the ImageNet weights of {wanted} are neither on this machine nor to be had "
            "from the network."
        )
    if weights.is_cached(backbone, spec.image_size):
        where = "its ImageNet weights are on this machine"
    else:
        where = f"its ImageNet weights can be downloaded ({file_size(backbone.weights_megabytes * 1e6)})"
    return f"{backbone.label}, read at its middle layers: fast, among the most accurate on X-rays, and {where}."


def weights_state(backbone: Backbone, size: int) -> str:
    """CACHED, DOWNLOADABLE or MISSING: can this backbone start from ImageNet weights? May ask the network."""
    if weights.is_cached(backbone, size):
        return CACHED
    reachable = backbone.pretrained and can_be_reached(backbone.weights_url(size))
    return DOWNLOADABLE if reachable else MISSING


def lacking_weights(spec: StudySpec) -> tuple[str, ...]:
    """Backbones of a study that want ImageNet weights which are not to be had, in the order of the runs."""
    pairs = sorted({(run.backbone, run.image_size) for run in spec.runs if run.weights == "imagenet"})
    with ThreadPoolExecutor(max_workers=8) as pool:  # without a network each question may take its time limit
        states = list(pool.map(lambda pair: weights_state(backbone_named(pair[0]), pair[1]), pairs))
    missing = {name for (name, _), state in zip(pairs, states, strict=True) if state == MISSING}
    return tuple(dict.fromkeys(run.backbone for run in spec.runs if run.backbone in missing))


def with_random_start(spec: StudySpec, backbones: tuple[str, ...]) -> StudySpec:
    """The study with random weights where a run would start one of ``backbones`` from ImageNet."""
    runs = [
        with_overrides(run, {"weights": "random"}) if run.backbone in backbones and run.weights == "imagenet" else run
        for run in spec.runs
    ]
    return parse(StudySpec, {**dict(spec), "runs": runs})


def _set(fields: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    place = fields
    for parent in parents:
        if parent == "fine_tuning" and place.get(parent) is None:
            place[parent] = FineTuning().model_dump(mode="json")
        place = place.get(parent) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        raise InvalidChoice(f"There is no setting {key!r}; there are {', '.join(TrainingSpec.model_fields)}.")
    place[last] = _read(value) if isinstance(value, str) and not isinstance(place[last], str) else value


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # the spec says what it wanted instead


def _course(shared: dict[str, Any], counts: list[int]) -> tuple[TrainingSpec, ...]:
    """The seven runs of the course study."""
    per_class = min(COURSE_IMAGES_PER_CLASS, *counts)
    common = shared | {
        "split": {"method": "stratified", "images_per_class": per_class},
        "head": COURSE_HEAD,
        "taps": "last",
        "image_size": COURSE_SIZE,
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "batch_size": COURSE_BATCH,
        "epochs": COURSE_EPOCHS,
        "patience": 0,
        "imbalance": "none",
    }
    fine_tuning = FineTuning(layers=10, learning_rate=1e-5, epochs=COURSE_EPOCHS)
    changes: list[dict[str, Any]] = [
        {"name": "Baseline CNN", "backbone": "baseline_cnn", "learning_rate": 1e-3},
        {"name": "ResNet50, frozen", "backbone": "resnet50"},
        {
            "name": "ResNet50, last 10 layers",
            "backbone": "resnet50",
            "mode": "fine_tune",
            "fine_tuning": fine_tuning,
        },
        {"name": "VGG16", "backbone": "vgg16"},
        {"name": "DenseNet121", "backbone": "densenet121"},
        {"name": "MobileNetV2", "backbone": "mobilenet_v2"},
        {"name": "MobileNetV2, augmented", "backbone": "mobilenet_v2", "augmentation": COURSE_AUGMENTATION},
    ]
    return tuple(parse(TrainingSpec, common | change) for change in changes)


def _backbones(shared: dict[str, Any], _counts: list[int]) -> tuple[TrainingSpec, ...]:
    """Every pretrained backbone once, with the defaults."""
    return _named(pretrained_spec(**shared, backbone=name) for name, one in BACKBONES.items() if one.pretrained)


def _quick(shared: dict[str, Any], _counts: list[int]) -> tuple[TrainingSpec, ...]:
    """The baseline CNN against the default."""
    return _named((baseline_spec(**shared), pretrained_spec(**shared)))


def _named(specs: Iterable[TrainingSpec]) -> tuple[TrainingSpec, ...]:
    """The specs, each with its backbone's label as its name."""
    return tuple(spec.model_copy(update={"name": backbone_named(spec.backbone).label}) for spec in specs)


STUDY_PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "course",
            "Course study",
            "The seven runs of the course on one balanced split: a baseline CNN, four pretrained backbones, one "
            "fine-tuned, one with augmentation; 128 px, 5 epochs.",
            _course,
        ),
        Preset(
            "backbones",
            "Every backbone",
            "Each pretrained backbone once, with the same head and the same split. Which one suits these images?",
            _backbones,
        ),
        Preset(
            "quick",
            "Quick comparison",
            "The baseline CNN against MobileNetV2 with its middle layers: what do pretrained features bring?",
            _quick,
        ),
    )
}
