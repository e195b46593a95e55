"""The form for a new run: what will be trained and the button on top, everything that can be changed below.

Not a form of Streamlit's own: fields depend on each other, and the preview moves with them.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import streamlit as st

from covid_core import presets, weights
from covid_core.backbones import BACKBONES, Backbone, backbone_named
from covid_core.data import augmentation, label_shift, pixels
from covid_core.data.dataset import Dataset
from covid_core.errors import CovidCoreError
from covid_core.formatting import count, file_size, plural
from covid_core.images.codec import data_url, jpeg_bytes
from covid_core.jobs import queue
from covid_core.specs import (
    AUGMENTATIONS,
    IMBALANCE_LABELS,
    MODE_LABELS,
    OPTIMIZER_LABELS,
    AugmentationSpec,
    SplitSpec,
    TrainingSpec,
    parse,
)
from pages.panels.train import run_view, split_form
from pages.panels.train.spec_fields import (
    augmentation_spec,
    choice,
    fill_missing,
    fill_suggested,
    kept,
    now,
    spec_of,
    split_fields,
    use_right_labels,
)
from pages.shared import run_cache, shell

PREVIEW_SIZE = 192  # pixels; what a screen shows of one of four pictures in a row
PREVIEW_IMAGES = 3
PREVIEW_VIEWS = 3
WEIGHTS_TTL = 60  # seconds for which the network's answer is believed

TAPS_LABELS = {"default": "Middle layers", "last": "Last layer"}
POOLING_LABELS = {"mean": "Mean", "mean_max": "Mean and maximum"}
FORMATS = {"°": "%d°", "%": "%d %%"}  # of sliders, by unit
WEIGHTS_LABELS = {"imagenet": "ImageNet", "file": "A local file", "random": "Random start"}
KEEP_LABELS = {"best": "Epoch of lowest validation loss", "last": "Last epoch"}
MODES_IN_SHORT = {"frozen": "frozen", "fine_tune": "last layers fine-tuned", "full": "all layers"}
MODE_CAPTIONS = {
    "frozen": "Fast: the backbone runs once per image, and only the head is trained.",
    "fine_tune": "A second stage trains the last layers too, with a small learning rate.",
    "full": "All layers are trained from the start. Slow on a processor, and needs many images.",
}
IMBALANCE_CAPTIONS = {
    "none": "Frequent classes weigh more in the loss.",
    "class_weights": "Every class has the same weight in the loss. All images are used.",
    "undersample": "Each epoch draws from every class as many images as the smallest class has.",
    "oversample": "Images of smaller classes are repeated within an epoch.",
}


def new_run(dataset: Dataset, classes: tuple[str, ...]) -> None:
    """The whole form."""
    default = _default(dataset.id, dataset.version)
    fill_missing(default)
    top = st.container(border=True, key="new-run")
    with _details("Split", split_form.in_short(), "call_split"):
        split_form.show(dataset, classes)
    with _details("Backbone and head", _backbone_in_short(), "account_tree"):
        _backbone(dataset, classes)
    with _details("Learning", f"{OPTIMIZER_LABELS[now('optimizer')]} at {now('learning_rate'):g}", "trending_up"):
        _learning()
    with _details("Class imbalance", IMBALANCE_LABELS[now("imbalance")].lower(), "balance"):
        _imbalance(dataset, classes)
    with _details("Augmentation", augmentation_spec().in_words or "none", "animation"):
        _augmentation(dataset, classes)
    with top:
        _summary(dataset, classes, default)


@contextlib.contextmanager
def _details(name: str, chosen: str, icon: str) -> Iterator[None]:
    """A part of the form that is folded up, with what is chosen in it."""
    with st.expander(f"{name}: {chosen}", icon=f":material/{icon}:", key=f"part-{icon}"), shell.errors_shown():
        yield


def _backbone_in_short() -> str:
    backbone = backbone_named(now("backbone"))
    return f"{backbone.label}, {MODES_IN_SHORT[now('mode')]}" if backbone.pretrained else backbone.label


@st.cache_data(ttl=WEIGHTS_TTL, max_entries=64, show_spinner="Looking for ImageNet weights")
def _default(dataset: str, version: str) -> TrainingSpec:
    return presets.default_spec(dataset, shell.workspace())


@st.cache_data(ttl=WEIGHTS_TTL, max_entries=64, show_spinner="Looking for ImageNet weights")
def _asked_state(backbone: str, size: int, folder: str) -> str:
    return presets.weights_state(backbone_named(backbone), size)


def _weights_state(backbone: Backbone, size: int) -> str:
    """As ``presets.weights_state``, but the network is asked at most once a minute."""
    if weights.is_cached(backbone, size):
        return presets.CACHED
    return _asked_state(backbone.name, size, str(weights.cache_folder()))


# What will be trained


def _summary(dataset: Dataset, classes: tuple[str, ...], default: TrainingSpec) -> None:
    if now("labels") == "shifted":
        _say_that_labels_are_shifted()
    try:
        spec = spec_of(dataset.id, classes)
        st.markdown(_in_words(spec, dataset))
    except CovidCoreError as error:
        spec = None
        st.error(shell.plain(error), icon=":material/error:")
    runs = now("folds") * now("seeds")
    if spec and runs > 1:
        st.caption(_repeats_in_words(spec, runs))
    if spec and (spec.backbone, spec.mode, spec.taps) == (default.backbone, default.mode, default.taps):
        st.caption(shell.plain(presets.default_reason(default)))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input("Name", placeholder="Named after its backbone", max_chars=80, width=320, **kept("name"))
        label = f"Train {plural(runs, 'run')}" if runs > 1 else "Train"
        if st.button(label, type="primary", icon=":material/play_arrow:", disabled=spec is None, key="train"):
            _start(spec)
    st.caption(run_view.device_in_words())


def _say_that_labels_are_shifted() -> None:
    """The way out of a mistake that came with the settings of a run."""
    st.warning(label_shift.ON_PURPOSE, icon=":material/warning:")
    st.button("Use the folder labels", key="right-labels", on_click=use_right_labels)


def _in_words(spec: TrainingSpec, dataset: Dataset) -> str:
    """The spec as a sentence, with how many images go where."""
    sizes = split_form.part_table(dataset, spec.classes, spec.split)["Images"]
    images = " / ".join(count(size) for size in sizes)
    patience = f", early stopping with patience {count(spec.patience)}" if spec.patience else ""
    return (
        f"**{backbone_named(spec.backbone).label}**: {spec.strategy}. {plural(len(spec.classes), 'class', 'classes')}, "
        f"{images} images (training / validation / test) at {spec.image_size} px. "
        f"{OPTIMIZER_LABELS[spec.optimizer]} at {spec.learning_rate:g}, batches of {spec.batch_size}, up to "
        f"{plural(spec.total_epochs, 'epoch')}{patience}."
    )


def _repeats_in_words(spec: TrainingSpec, runs: int) -> str:
    cost = (
        "The frozen backbone runs once for all of them, and each run trains its own head."
        if spec.mode == "frozen"
        else "Each run trains from the start."
    )
    return f"A study of {plural(runs, 'run')}: {plural(now('folds'), 'fold')} x {plural(now('seeds'), 'seed')}. {cost}"


def _start(spec: TrainingSpec) -> None:
    with shell.errors_shown():
        if now("folds") * now("seeds") > 1:
            wanted = presets.repeated(spec, now("folds"), now("seeds"))
            study = queue.submit_study(shell.workspace(), wanted)
            st.switch_page("train.py", query_params={"study": study.id})
        run = queue.submit_training(shell.workspace(), spec.model_copy(update={"name": _free_name(spec)}))
        run_view.show(run.id)


def _free_name(spec: TrainingSpec) -> str:
    """The name that was given, or the backbone's, with a number where another run has it already."""
    wanted = spec.name.strip() or backbone_named(spec.backbone).label
    taken = {one.run.name for one in run_cache.listed()[0]}
    names = [wanted, *(f"{wanted} {number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


# Backbone


def _backbone(dataset: Dataset, classes: tuple[str, ...]) -> None:
    def suggest() -> None:
        fill_suggested(presets.suggested_spec(dataset.id, classes, now("backbone"), now("mode")))

    left, right = st.columns(2, gap="medium")
    with left:
        st.radio(
            "Backbone",
            list(BACKBONES),
            format_func=lambda name: BACKBONES[name].label,
            captions=[_facts(backbone) for backbone in BACKBONES.values()],
            on_change=suggest,
            **kept("backbone"),
        )
    with right:
        backbone = backbone_named(now("backbone"))
        if backbone.pretrained:
            _mode(suggest)
            _starting_weights(backbone)
        else:
            st.caption("The baseline CNN starts from random weights, and all layers are trained.")
        _size_and_head(backbone)


def _facts(backbone: Backbone) -> str:
    size = f", {file_size(backbone.weights_megabytes * 1e6)}" if backbone.pretrained else ""
    return f"{backbone.good_at} {count(backbone.parameters)} parameters{size}."


def _mode(suggest: Callable[[], None]) -> None:
    choice(st.radio, "Trained layers", MODE_LABELS, "mode", captions=list(MODE_CAPTIONS.values()), on_change=suggest)
    if now("mode") == "frozen":
        choice(
            st.segmented_control,
            "Features from",
            TAPS_LABELS,
            "taps",
            required=True,
            help="Middle layers hold texture and edges. On X-rays they beat the last layer.",
        )
    if now("mode") == "fine_tune":
        with st.grid(3, min_column_width=120):
            st.number_input("Last layers", 1, 1000, help=_TUNED_HELP, **kept("tuned_layers"))
            st.number_input("Their learning rate", 1e-7, 1.0, step=1e-5, format="%g", **kept("tuning_rate"))
            st.number_input("Their epochs", 1, 1000, **kept("tuning_epochs"))


_TUNED_HELP = "Rounded up to the nearest place where the network can be cut. The run reports the number."


def _starting_weights(backbone: Backbone) -> None:
    choice(
        st.segmented_control,
        "Starting weights",
        WEIGHTS_LABELS,
        "weights",
        required=True,
        help="ImageNet: trained on 1.3 million photographs. Random weights need far more images and epochs.",
    )
    if now("weights") == "file":
        st.text_input(
            "Weights file",
            placeholder="/path/on/the/server/weights.h5",
            help="A file on the server.",
            **kept("weights_file"),
        )
    if now("weights") == "imagenet":
        _weights_note(backbone)


def _weights_note(backbone: Backbone) -> None:
    """Whether ImageNet weights are here, to be downloaded, or not to be had."""
    size = now("image_size")
    state = _weights_state(backbone, size)
    if state == presets.CACHED:
        st.caption(":material/check: On this machine.")
    elif state == presets.DOWNLOADABLE:
        megabytes = file_size(backbone.weights_megabytes * 1e6)
        st.caption(f":material/download: The run downloads them first: {megabytes}.")
    else:
        st.warning(
            f"ImageNet weights of {backbone.label} at {size} px are neither on this machine nor on the network. "
            "Connect, or choose a local file, another backbone or a random start.",
            icon=":material/cloud_off:",
        )


def _size_and_head(backbone: Backbone) -> None:
    with st.grid(2, min_column_width=130):
        st.number_input(
            "Image size, px",
            backbone.minimum_size,
            512,
            step=32,
            help="Images are resized to a square of this side. Twice the side takes four times as long.",
            **kept("image_size"),
        )
        st.text_input(
            "Dense units", help="Dense layers on top of the backbone, such as 256 or 256, 64.", **kept("units")
        )
        st.number_input(
            "Dropout",
            0.0,
            0.95,
            step=0.05,
            help="Share of dense units set to zero at random in each step.",
            **kept("dropout"),
        )
        if backbone.pretrained:
            choice(st.selectbox, "Pooling", POOLING_LABELS, "pooling", help="How each feature map becomes one number.")


# Learning


def _learning() -> None:
    with st.grid(3, min_column_width=150):
        choice(st.selectbox, "Optimizer", OPTIMIZER_LABELS, "optimizer")
        st.number_input("Learning rate", 1e-7, 10.0, step=1e-4, format="%g", **kept("learning_rate"))
        st.number_input("Batch size", 1, 1024, help="Images per step.", **kept("batch_size"))
        st.number_input("Epochs", 1, 1000, help="Passes over the training images, at most.", **kept("epochs"))
        st.number_input(
            "Early stopping (patience)",
            0,
            1000,
            help="Training stops after this many epochs without a lower validation loss. 0: never.",
            **kept("patience"),
        )
        choice(
            st.selectbox, "Restore weights from", KEEP_LABELS, "keep", help="The model gets the weights of this epoch."
        )
        st.number_input("Seed", 0, 2**32 - 1, help="Of initial weights, image order and augmentation.", **kept("seed"))
        st.number_input("Seeds", 1, 20, help="With 10, ten runs that differ only in their seed.", **kept("seeds"))
    st.text_area("Note", placeholder="Why this run?", max_chars=2000, height=80, **kept("note"))


# Imbalance


def _imbalance(dataset: Dataset, classes: tuple[str, ...]) -> None:
    choice(
        st.radio,
        "Ways to handle class imbalance (training part only)",
        IMBALANCE_LABELS,
        "imbalance",
        captions=list(IMBALANCE_CAPTIONS.values()),
    )
    try:
        parts = split_form.part_table(dataset, classes, parse(SplitSpec, split_fields()))
    except CovidCoreError:  # no split can be made; the split's own fields and the button say why
        return
    counts = parts.set_index("Part").loc["Train", list(classes)]
    st.caption(shell.plain(_effect(now("imbalance"), counts)))


def _effect(imbalance: str, counts: pd.Series) -> str:
    """What the choice does to these images. Class weights are n / (k * n_c)."""
    if imbalance == "class_weights":
        counts = counts[counts > 0]  # with labels of other images a class may have none
        weights_of = counts.sum() / (len(counts) * counts)
        return "Weight per image: " + ", ".join(f"{label} {value:.2f}" for label, value in weights_of.items()) + "."
    per_epoch = {
        "none": counts,
        "undersample": counts.clip(upper=counts.min()),
        "oversample": counts.clip(lower=counts.max()),
    }[imbalance]
    return "Images per epoch: " + ", ".join(f"{label} {count(value)}" for label, value in per_epoch.items()) + "."


# Augmentation


def _augmentation(dataset: Dataset, classes: tuple[str, ...]) -> None:
    st.caption("Training images change at random, up to these amounts in either direction. Test images stay unchanged.")
    with st.grid(3, min_column_width=200):
        for name, row in AUGMENTATIONS.items():
            if row.unit:
                most = round(row.scale * row.largest)
                st.slider(row.title, 0, most, format=FORMATS[row.unit], help=row.help, **kept(name))
    for name, row in AUGMENTATIONS.items():
        if not row.unit:
            st.toggle(row.title, help=row.help, **kept(name))
    if now("mode") == "frozen":
        st.toggle("Test-time augmentation (mirrored copy)", help=_MIRRORED_COPY_HELP, **kept("test_time_flip"))
    spec = augmentation_spec()
    if spec.is_off:
        st.caption("No augmentation is chosen. Move a slider to preview augmented images.")
        return
    if now("mode") == "frozen" and backbone_named(now("backbone")).pretrained:
        st.number_input("Augmented copies per image", 0, 1000, help=_VIEWS_HELP, width=240, **kept("views"))
    _preview(dataset, classes, spec)


_MIRRORED_COPY_HELP = "Logits are averaged over an image and its mirrored copy. A prediction takes twice as long."
_VIEWS_HELP = "0: one copy per epoch. Each copy costs one pass through the frozen backbone."


def _preview(dataset: Dataset, classes: tuple[str, ...], spec: AugmentationSpec) -> None:
    """An image of each class, and beside it augmented copies as in training."""
    draw = st.session_state.setdefault("preview_draw", 0)
    labels, images = _preview_images(dataset, dataset.version, classes)
    with st.grid(1 + PREVIEW_VIEWS, min_column_width=120, gap="xsmall"):
        for row, label in enumerate(labels):
            _picture(images[row], f"{shell.plain(label)}, original", f"Image of class {label}, unchanged")
            for number in range(PREVIEW_VIEWS):
                view = draw * PREVIEW_VIEWS + number
                changed = augmentation.view(images[row : row + 1], spec, now("seed"), view, np.array([row]))[0]
                _picture(changed, "augmented", f"Image of class {label}, augmented")
    st.button("Draw again", icon=":material/casino:", on_click=_draw_again, key="draw-again")


def _picture(image: np.ndarray, caption: str, alt: str) -> None:
    """As a data URL: a moved slider runs the page again before the browser has asked for a picture of the last run."""
    st.image(data_url(jpeg_bytes(image)), caption, width="stretch", alt=alt)


def _draw_again() -> None:
    st.session_state["preview_draw"] += 1


@st.cache_data(max_entries=8, show_spinner=False)
def _preview_images(_dataset: Dataset, version: str, classes: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """The first image of each of the first classes: labels, and uint8 (images, PREVIEW_SIZE, PREVIEW_SIZE)."""
    labels = list(classes[:PREVIEW_IMAGES])
    rows = [int(np.flatnonzero(_dataset.images["label"] == label)[0]) for label in labels]
    return labels, pixels.decode_rows(_dataset, rows, PREVIEW_SIZE)
