"""The fields of a new run and the spec that they stand for. Fields live in the session and outlast a change of page."""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from covid_core import presets
from covid_core.backbones import Backbone, backbone_named
from covid_core.errors import InvalidChoice
from covid_core.runs import backbone_files
from covid_core.specs import (
    AUGMENTATIONS,
    DEFAULT_BACKBONE,
    OWN_WEIGHTS,
    AugmentationSpec,
    FineTuning,
    InputSpec,
    TrainingSpec,
    parse,
)
from pages.shared import shell

FIELDS = tomllib.loads(Path(__file__).with_name("fields.toml").read_text(encoding="utf-8"))
SAME_NAME = (
    *("backbone", "mode", "taps", "image_size", "optimizer", "learning_rate", "batch_size", "epochs", "patience"),
    *("keep", "imbalance", "seed", "name", "note"),
    "labels",  # has no widget: it is a mistake, not a choice, but a run that made it keeps it in its variants
)
RECIPE = ("region", "share", "intensity", *AUGMENTATIONS, *presets.FROZEN_ONLY)
SUGGESTED = ("image_size", "optimizer", "learning_rate", "batch_size", "epochs", "taps", "units", "dropout")


def key_of(name: str) -> str:
    """Where a field lies in the session."""
    return f"new_{name}"


def options_of(name: str) -> dict[str, Any]:
    """Arguments of a field's widget: its key, and that it outlasts a change of page."""
    return {"key": key_of(name), "persist_state": "session"}


def field(name: str, **more: Any) -> None:
    """Draw a field as ``fields.toml`` has it, with ``more`` arguments of its widget. ``options`` may be a mapping: the
    field then has its keys, each shown by its label."""
    arguments = {**FIELDS[name], **more, **options_of(name)}
    if isinstance(labels := arguments.get("options"), Mapping):
        arguments |= {"options": list(labels), "format_func": labels.__getitem__}
    getattr(st, arguments.pop("widget"))(**arguments)


def now(name: str) -> Any:
    """The value of a field."""
    return st.session_state[key_of(name)]


def backbone_now() -> Backbone:
    """The backbone that is chosen, built in or added; the usual one where an added one was removed since."""
    try:
        return backbone_files.named(shell.workspace(), now("backbone"))
    except InvalidChoice:
        st.session_state[key_of("backbone")] = DEFAULT_BACKBONE
        return backbone_named(DEFAULT_BACKBONE)


def fill(spec: TrainingSpec, names: Collection[str] = ()) -> None:
    """Write a spec into the fields, or into those of ``names``. Before the widgets are drawn, or in a callback."""
    for name, value in _values(spec).items():
        if not names or name in names:
            st.session_state[key_of(name)] = value


def fill_missing(spec: TrainingSpec) -> None:
    """Write a spec into the fields that have no value yet."""
    for name, value in _values(spec).items():
        st.session_state.setdefault(key_of(name), value)


def use_right_labels() -> None:
    """Learn the labels of the images' folders again. In a callback."""
    st.session_state[key_of("labels")] = "folder"


def spec_of(dataset: str, classes: tuple[str, ...]) -> TrainingSpec:
    """The spec that the fields stand for. Raises InvalidChoice where they do not fit together."""
    backbone = backbone_now()
    tuning = {"layers": now("tuned_layers"), "learning_rate": now("tuning_rate"), "epochs": now("tuning_epochs")}
    mode = now("mode") if backbone.pretrained else "full"
    mode = "frozen" if backbone.file else mode
    augmentation = augmentation_spec()
    has_views = mode == "frozen" and not augmentation.is_off and now("views")
    fields = {name: now(name) for name in SAME_NAME} | {
        "dataset": dataset,
        "classes": classes,
        "mode": mode,
        "backbone_file": backbone.file,
        "split": split_fields(),
        "weights": f"file:{now('weights_file').strip()}" if now("weights") == "file" else now("weights"),
        "taps": now("taps") if mode == "frozen" else "last",
        "fine_tuning": tuning if mode == "fine_tune" else None,
        "head": {"units": _units(now("units")), "dropout": now("dropout"), "pooling": now("pooling")},
        "input": input_spec(),
        "augmentation": augmentation,
        "views": now("views") if has_views else None,
        "originals": now("originals") and mode == "frozen" and not augmentation.is_off,
        "test_time_flip": now("test_time_flip") and mode == "frozen",
    }
    return parse(TrainingSpec, fields)


def split_fields() -> dict[str, Any]:
    """What the split's fields say, as a SplitSpec takes it."""
    method = now("split_method")
    return {
        "method": method,
        "held_out": now("held_out") if method == "by_source" else (),
        "validation": now("validation") / 100,
        "test": now("test") / 100,
        "seed": now("split_seed"),
        "images_per_class": now("images_per_class") or None,
        "folds": 1 if method in ("by_source", "given") else now("folds"),
    }


def input_spec() -> InputSpec:
    """What the fields of the region and the greys say. Raises InvalidChoice."""
    share = {"share": now("share") / 100} if now("region") == "centre" else {}
    return parse(InputSpec, {"region": now("region"), "intensity": now("intensity"), **share})


def augmentation_spec() -> AugmentationSpec:
    """What the augmentation's fields say. Raises InvalidChoice."""
    return parse(
        AugmentationSpec,
        {name: now(name) / row.scale if row.unit else now(name) for name, row in AUGMENTATIONS.items()},
    )


def _units(text: str) -> list[int]:
    try:
        return [int(part) for part in text.replace("+", ",").split(",") if part.strip()]
    except ValueError as error:
        raise InvalidChoice(f"Dense units must be whole numbers such as 256 or 256, 64, received: {text!r}.") from error


def _values(spec: TrainingSpec) -> dict[str, Any]:
    tuning = spec.fine_tuning or FineTuning()
    changes = spec.augmentation.model_dump()
    changes_nothing = (
        spec.augmentation.is_off
    )  # a form that is about to get augmentation; a run that had it keeps its own
    is_file = spec.weights.startswith("file:")
    pretrained = spec.network.pretrained
    values = {
        **{name: getattr(spec, name) for name in SAME_NAME},
        **{
            name: round(row.scale * changes[name], 1) if row.unit else changes[name]
            for name, row in AUGMENTATIONS.items()
        },
        "views": presets.FEW_VIEWS if changes_nothing else spec.views or 0,
        "originals": spec.originals,
        "test_time_flip": spec.test_time_flip,
        "region": spec.input.region,
        "share": round(100 * spec.input.share),
        "intensity": spec.input.intensity,
        "folds": 1,
        "seeds": 1,
        "split_method": spec.split.method,
        "held_out": list(spec.split.held_out),
        "validation": round(100 * spec.split.validation),
        "test": round(100 * spec.split.test),
        "split_seed": spec.split.seed,
        "images_per_class": spec.split.images_per_class or 0,
        "weights": "file" if is_file else "imagenet" if spec.weights == OWN_WEIGHTS else spec.weights,
        "weights_file": spec.weights.removeprefix("file:") if is_file else "",
        "tuned_layers": tuning.layers,
        "tuning_rate": tuning.learning_rate,
        "tuning_epochs": tuning.epochs,
        "units": ", ".join(str(units) for units in spec.head.units),
        "dropout": spec.head.dropout,
        "pooling": spec.head.pooling,
    }
    # the baseline CNN has one mode and a random start; a backbone that is chosen after it must not inherit them
    if spec.backbone_file:
        return values | {"taps": "default"}
    return values if pretrained else values | {"mode": "frozen", "weights": "imagenet", "taps": "default"}
