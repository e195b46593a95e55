"""Good choices of ``presets.toml``: the spec that one click trains, and studies, the course's among them."""

import contextlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from covid_core import weights
from covid_core.backbones import BACKBONES, Backbone, backbone_named
from covid_core.data.dataset import open_dataset
from covid_core.data.imports.downloads import can_be_reached
from covid_core.errors import InvalidChoice
from covid_core.formatting import file_size
from covid_core.runs.store import REPEATS
from covid_core.specs import DEFAULT_BACKBONE, FineTuning, SplitMethod, SplitSpec, StudySpec, TrainingSpec, parse
from covid_core.workspace import Workspace

DEFAULT_SIZE = TrainingSpec.model_fields["image_size"].default

FEW_VIEWS = 4  # augmented copies per image: each costs as much as all images once, and more than a handful add little

BY_SOURCE: SplitMethod = "by_source"
NO_SOURCES = (
    "A study by source needs two sources with images of two classes each. Name sources in a table, or merge data sets."
)

MOST_FOLDS = 20
MOST_REPEATS = 100  # runs of one study

CACHED, DOWNLOADABLE, MISSING = "cached", "downloadable", "missing"


class Preset(BaseModel):
    """A study in one click: the ``settings`` that all runs share, and what each adds; without ``runs``, every
    pretrained backbone once. ``by_source`` repeats them for every source held out. ``deviations`` says where a study
    differs from its model."""

    label: str
    description: str
    settings: dict[str, Any] = {}
    runs: list[dict[str, Any]] = [{"backbone": name} for name, one in BACKBONES.items() if one.pretrained]
    by_source: bool = False
    deviations: list[str] = []


FROZEN_ONLY = ("views", "originals", "test_time_flip")


class Recipe(BaseModel):
    """What a network is shown and how training images are changed, as one choice: ``settings`` of RECIPE_FIELDS."""

    label: str
    description: str
    settings: dict[str, Any]


RECIPE_FIELDS = ("input", "augmentation", *FROZEN_ONLY)
_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
STUDY_PRESETS = {name: Preset(**row) for name, row in _TABLES["studies"].items()}
SAFER = "holds-elsewhere"  # what a new run on the page begins with: images of a later user come from elsewhere
RECIPES = {name: Recipe(**row) for name, row in _TABLES["recipes"].items()}
COURSE = STUDY_PRESETS["course"].settings
COURSE_IMAGES_PER_CLASS: int = COURSE["split"]["images_per_class"]


def study(
    preset: str,
    dataset: str,
    classes: tuple[str, ...],
    counts: Mapping[str, int],
    name: str = "",
    overrides: Mapping[str, Any] | None = None,
    sources: Sequence[str] = (),
) -> StudySpec:
    """The runs of a preset on one data set, all with the same split; of one by source, a split per source.

    Args:
        preset: a key of STUDY_PRESETS.
        dataset: id of the data set.
        classes: labels to tell apart.
        counts: images per class of the data set; the course's balanced subset depends on the smallest.
        name: of the study; by default the preset's label.
        overrides: settings by dotted name (``epochs``, ``head.dropout``, ``split.seed``), applied to every run.
        sources: those that can be held out one by one (``split.sources_to_hold_out``).

    Raises:
        InvalidChoice: no such preset or class, too few sources, or an override breaks a rule.
    """
    if preset not in STUDY_PRESETS:
        raise InvalidChoice(f"The preset must be one of {', '.join(STUDY_PRESETS)}, received: {preset!r}.")
    unknown = [label for label in classes if label not in counts]
    if unknown:
        raise InvalidChoice(f"There is no class {unknown[0]!r}; there are {', '.join(counts)}.")
    chosen = STUDY_PRESETS[preset]
    settings = dict(chosen.settings)
    if "split" in settings:
        most = min(counts[label] for label in classes)
        settings["split"] = {**settings["split"], "images_per_class": min(settings["split"]["images_per_class"], most)}
    own = chosen.runs
    if chosen.by_source:
        if len(sources) < 2:
            raise InvalidChoice(NO_SOURCES)
        away = {one: SplitSpec(method=BY_SOURCE, held_out=(one,)) for one in sources}
        own = [{**run, "name": f"Without {one}"[:80], "split": split} for one, split in away.items() for run in own]
    runs = [
        suggested_spec(dataset, classes, **{"name": backbone_named(run["backbone"]).label, **settings, **run})
        for run in own
    ]
    if overrides:
        changed = [with_overrides(run, with_subset(overrides, run, counts)) for run in runs]
        runs = [with_few_views(new) if old.augmentation.is_off else new for old, new in zip(runs, changed, strict=True)]
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
    title = spec.name or spec.network.label
    runs = []
    for fold in range(folds):
        split = spec.split.model_copy(update={"folds": folds, "fold": fold} if folds > 1 else {})
        for seed in range(spec.seed, spec.seed + seeds):
            words = ([f"fold {fold + 1} of {folds}"] if folds > 1 else []) + ([f"seed {seed}"] if seeds > 1 else [])
            changes = {"split": split, "seed": seed, "name": ", ".join([title, *words])[:80]}
            runs.append(spec.model_copy(update=changes))
    parts = ([f"{folds} folds"] if folds > 1 else []) + ([f"{seeds} seeds"] if seeds > 1 else [])
    return parse(StudySpec, {"name": f"{title[:50]}, {' x '.join(parts)}", "preset": REPEATS, "runs": runs})


def with_few_views(spec: TrainingSpec) -> TrainingSpec:
    """A new spec with FEW_VIEWS augmented copies per image, where it would else compute one per epoch."""
    augmented = not (spec.augmentation.is_off or spec.augmentation.only_flips)
    one_per_epoch = spec.mode == "frozen" and augmented and spec.views is None
    return spec.model_copy(update={"views": FEW_VIEWS}) if one_per_epoch else spec


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


def default_spec(dataset: str, workspace: Workspace, online: bool = True) -> TrainingSpec:
    """What is trained when nothing else is chosen: all classes, MobileNetV2 if its weights are to be had.

    ``default_reason`` says why. ``online``: whether the network may be asked where the weights are not cached. Raises
    UnknownId or DataError.
    """
    classes = open_dataset(workspace, dataset).classes
    state = weights_state(backbone_named(DEFAULT_BACKBONE), DEFAULT_SIZE, online)
    return suggested_spec(dataset, classes, DEFAULT_BACKBONE if state != MISSING else "baseline_cnn")


def suggested_spec(
    dataset: str,
    classes: tuple[str, ...],
    backbone: str | Backbone = DEFAULT_BACKBONE,
    mode: str = "frozen",
    **settings: Any,
) -> TrainingSpec:
    """Good settings for a backbone and a mode, and ``settings`` in their place. The baseline CNN has one mode only. An
    added backbone has the first of its own sizes.

    Raises InvalidChoice.
    """
    kind = backbone_named(backbone) if isinstance(backbone, str) else backbone
    suggested = _TABLES["suggested"].get(mode if kind.pretrained else kind.name, {})  # the spec refuses another mode
    shared = {"dataset": dataset, "classes": classes, "backbone": kind.name, "mode": mode}
    added = {"backbone_file": kind.file, "image_size": kind.file.sizes[0]} if kind.file else {}
    return parse(TrainingSpec, {**shared, **suggested, **added, **settings})


def with_recipe(spec: TrainingSpec, name: str) -> TrainingSpec:
    """The spec with what a recipe sets; FROZEN_ONLY only where the backbone is frozen. Raises InvalidChoice."""
    if name not in RECIPES:
        raise InvalidChoice(f"The preset must be one of {', '.join(RECIPES)}, received: {name!r}.")
    left_out = () if spec.mode == "frozen" else FROZEN_ONLY
    settings = {key: value for key, value in RECIPES[name].settings.items() if key not in left_out}
    return parse(TrainingSpec, {**spec.model_dump(exclude=set(RECIPE_FIELDS)), **settings})


def recipe_of(spec: TrainingSpec) -> str | None:
    """The recipe that the spec follows; None where its settings are those of no recipe."""
    return next((name for name in RECIPES if with_recipe(spec, name) == spec), None)


def default_reason(spec: TrainingSpec) -> str:
    """Why ``default_spec`` chose this one, in a sentence."""
    backbone = spec.network
    if not backbone.pretrained:
        wanted = backbone_named(DEFAULT_BACKBONE)
        return (
            f"{backbone.label}, because the ImageNet weights of {wanted.label} are not on this computer. A run of "
            f"{wanted.label} downloads them first ({file_size(wanted.weights_megabytes * 1e6)})."
        )
    if weights.is_cached(backbone, spec.image_size):
        where = "its ImageNet weights are on this computer"
    else:
        where = f"its ImageNet weights can be downloaded ({file_size(backbone.weights_megabytes * 1e6)})"
    return f"{backbone.label}, read at its middle layers: fast, among the most accurate on X-rays, and {where}."


def weights_state(backbone: Backbone, size: int, online: bool = True) -> str:
    """CACHED, DOWNLOADABLE or MISSING: can this backbone start from ImageNet weights?

    ``online``: whether the network may be asked; else weights that are not cached are MISSING.
    """
    if backbone.file or weights.is_cached(backbone, size):
        return CACHED
    reachable = online and backbone.pretrained and can_be_reached(backbone.weights_url(size))
    return DOWNLOADABLE if reachable else MISSING


def lacking_weights(spec: StudySpec, online: bool = True) -> tuple[str, ...]:
    """Backbones of a study that want ImageNet weights which are not to be had, in the order of the runs.

    ``online``: whether the network may be asked where they are not cached.
    """
    pairs = sorted({(run.backbone, run.image_size) for run in spec.runs if run.weights == "imagenet"})
    with ThreadPoolExecutor(max_workers=8) as pool:  # without a network each question may take its time limit
        states = list(pool.map(lambda pair: weights_state(backbone_named(pair[0]), pair[1], online), pairs))
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
        within = [f"{group}.{key}" for group, some in fields.items() if isinstance(some, dict) and key in some]
        raise InvalidChoice(f"There is no setting {key!r}; there are {', '.join(within or TrainingSpec.model_fields)}.")
    if isinstance(value, str) and not isinstance(place[last], str):
        with contextlib.suppress(ValueError):  # the spec then says what it wants instead of a text
            value = json.loads(value)
    place[last] = value
