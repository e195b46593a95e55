"""The form for a new run: what will be trained and the button on top, everything that can be changed below.

Not a form of Streamlit's own: fields depend on each other, and the preview moves with them.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import pandas as pd
import streamlit as st

from covid_core import access, presets, weights
from covid_core.backbones import BACKBONES, Backbone
from covid_core.data import label_shift
from covid_core.data.dataset import Dataset
from covid_core.errors import CovidCoreError
from covid_core.formatting import count, decimals, file_size, in_full, plural, roughly
from covid_core.jobs import queue
from covid_core.reports import evidence_text, tables
from covid_core.reports.course import course_text
from covid_core.reports.elsewhere import drift_text
from covid_core.runs import architecture, backbone_files, segmenters, training_time
from covid_core.specs import (
    AUGMENTATIONS,
    IMBALANCE_LABELS,
    INTENSITY_LABELS,
    MODE_LABELS,
    OPTIMIZER_LABELS,
    REGION_LABELS,
    SplitSpec,
    TrainingSpec,
    parse,
)
from pages.panels.train import preview, run_view, split_form
from pages.panels.train.spec_fields import (
    RECIPE,
    SUGGESTED,
    augmentation_spec,
    backbone_now,
    field,
    fill,
    fill_missing,
    input_spec,
    key_of,
    now,
    options_of,
    spec_of,
    split_fields,
    use_right_labels,
)
from pages.shared import run_cache, shell

BELIEVED = 60  # seconds for which what lies in the cache of weights is believed

FORMATS = {"°": "%g°", "%": "%g %%"}  # of sliders, by unit
MODES_IN_SHORT = {"frozen": "frozen", "fine_tune": "last layers fine-tuned", "full": "all layers"}


def new_run(dataset: Dataset, classes: tuple[str, ...]) -> None:
    """The whole form."""
    default = _default(dataset.id, dataset.version)
    fill_missing(default)
    top = st.container(border=True, key="new-run")
    with _details("Split", split_form.in_short(), "call_split"):
        split_form.show(dataset, classes)
    with _details("Backbone and head", _backbone_in_short(), "account_tree"):
        _backbone(dataset, classes)
    with _details(
        "Learning", f"{OPTIMIZER_LABELS[now('optimizer')]} at {in_full(now('learning_rate'))}", "trending_up"
    ):
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
    backbone = backbone_now()
    mode = "frozen" if backbone.file else now("mode")
    label = shell.plain(backbone.label)
    return f"{label}, {MODES_IN_SHORT[mode]}" if backbone.pretrained else label


@st.cache_data(ttl=BELIEVED, max_entries=64, show_spinner=False)
def _default(dataset: str, version: str) -> TrainingSpec:
    spec = presets.default_spec(dataset, shell.workspace(), online=False)
    return presets.with_recipe(spec, presets.SAFER) if spec.mode == "frozen" else spec


# What will be trained


def _summary(dataset: Dataset, classes: tuple[str, ...], default: TrainingSpec) -> None:
    if now("labels") == "shifted":
        st.warning(label_shift.ON_PURPOSE, icon=":material/warning:")
        st.button("Use the folder labels", key="right-labels", on_click=use_right_labels)
    try:
        spec = spec_of(dataset.id, classes)
        _recipe(spec)
        st.markdown(_in_words(spec, dataset))
        if few := split_form.few_test_images(dataset, classes, spec.split):
            st.warning(few, icon=":material/warning:")
    except CovidCoreError as error:
        spec = None
        st.error(shell.plain(error), icon=":material/error:")
    runs = now("folds") * now("seeds")
    if spec and runs > 1:
        st.caption(_repeats_in_words(spec, runs))
    if spec and (spec.backbone, spec.mode, spec.taps) == (default.backbone, default.mode, default.taps):
        st.caption(shell.plain(presets.default_reason(default)))
    if spec:
        _how_it_is_built(spec)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        field("name")
        label = f"Train {plural(runs, 'run')}" if runs > 1 else "Train"
        options = {"type": "primary", "icon": ":material/play_arrow:", "disabled": spec is None}
        if shell.button(label, access.TRAIN, key="train", **options):
            _start(spec)
    estimate = [f"Expected time: {_expected_time(spec, dataset)}.", _drift_in_words(spec, dataset)] if spec else []
    st.caption(" ".join(filter(None, [*estimate, run_view.device_in_words()])))


def _drift_in_words(spec: TrainingSpec, dataset: Dataset) -> str:
    parts = split_form.part_table(dataset, spec.classes, spec.split).set_index("Part")
    return drift_text.too_few_own(int(parts.at["Validation", "Images"]))


def _recipe(spec: TrainingSpec) -> None:
    """One choice for what the network is shown and how images are changed; none is marked where neither holds."""
    key, now_chosen = key_of("recipe"), presets.recipe_of(spec)
    st.session_state[key] = now_chosen

    def follow() -> None:
        if name := st.session_state[key]:
            fill(presets.with_recipe(spec, name), RECIPE)

    labels = {name: recipe.label for name, recipe in presets.RECIPES.items()}
    st.segmented_control("Preset", list(labels), format_func=labels.__getitem__, key=key, on_change=follow)
    st.caption(presets.RECIPES[now_chosen].description if now_chosen else "Your own choice of region and augmentation.")


def _expected_time(spec: TrainingSpec, dataset: Dataset) -> str:
    wanted = presets.repeated(spec, now("folds"), now("seeds")).runs if now("folds") * now("seeds") > 1 else (spec,)
    return expected_time(wanted, dataset.version)


def expected_time(specs: Sequence[TrainingSpec], version: str) -> str:
    """In words, how long these trainings take, one after the other."""
    until_last = any(spec.patience for spec in specs)
    about = roughly(_expected_seconds([spec.model_dump_json() for spec in specs], version))
    return f"about {about}" + (", less where a run stops early" if until_last else "")


@st.cache_data(ttl=BELIEVED, max_entries=64, show_spinner=False)
def _expected_seconds(specs: Sequence[str], version: str) -> float:
    return training_time.expected_seconds(shell.workspace(), [parse(TrainingSpec, spec) for spec in specs])


def _how_it_is_built(spec: TrainingSpec) -> None:
    """Layers, shapes, parameters and loss, before anything is trained."""
    layers = architecture.planned(spec)
    total, head = layers["parameters"].sum(), layers.loc[layers["part"] == architecture.HEAD, "parameters"].sum()
    learned = {
        "frozen": f", of which {count(head)} are trained",
        "fine_tune": "; the head and the last layers are trained",
        "full": "; all are trained",
    }[spec.mode]
    network = spec.network
    of_all = f"{count(total)} parameters{learned}"
    if network.file and not network.parameters:
        of_all = f"{count(head)} parameters are trained; how many the file has is unknown"
    with st.expander(f"Layers: {of_all}", icon=":material/layers:", key="layers"):
        st.caption(f"Loss: {course_text.loss(spec)}.")
        table = tables.layers(layers, network.label)
        st.dataframe(table, hide_index=True, width="stretch", height="content", alt="Layers of the model to be trained")


def _in_words(spec: TrainingSpec, dataset: Dataset) -> str:
    sizes = split_form.part_table(dataset, spec.classes, spec.split)["Images"]
    images = " / ".join(count(size) for size in sizes)
    patience = f", early stopping with patience {count(spec.patience)}" if spec.patience else ""
    return (
        f"**{spec.network.label}**: {spec.strategy}. {plural(len(spec.classes), 'class', 'classes')}, "
        f"{images} images (training / validation / test) at {spec.image_size} px. "
        f"{OPTIMIZER_LABELS[spec.optimizer]} at {in_full(spec.learning_rate)}, batches of {spec.batch_size}, up to "
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
    """The name that was given, or what sets the run apart, with a number where another run has it already."""
    runs = [one.run for one in run_cache.listed()[0]]
    wanted = spec.name.strip() or tables.distinct_name(spec, [run.spec for run in runs])
    taken = {run.name for run in runs}
    names = [wanted, *(f"{wanted} {number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


# Backbone


def _backbone(dataset: Dataset, classes: tuple[str, ...]) -> None:
    def suggest() -> None:
        backbone = backbone_now()
        mode = "frozen" if backbone.file else now("mode")
        fill(presets.suggested_spec(dataset.id, classes, backbone, mode), SUGGESTED)

    added = [file.backbone for file in backbone_files.listed(shell.workspace())]
    offered = [*BACKBONES.values(), *added]
    backbone_now()  # before the widget is drawn: one that was removed since cannot be chosen
    left, right = st.columns(2, gap="medium")
    with left:
        field(
            "backbone",
            options={one.name: shell.plain(one.label) for one in offered},
            captions=[_facts(one) for one in offered],
            on_change=suggest,
        )
    with right:
        backbone = backbone_now()
        if backbone.file:
            st.caption("An added backbone is frozen: only the head is trained. It runs in a process of its own.")
        elif backbone.pretrained:
            _mode(suggest)
            _starting_weights(backbone)
        else:
            st.caption("The baseline CNN starts from random weights, and all layers are trained.")
        _size_and_head(backbone, dataset)


def _facts(backbone: Backbone) -> str:
    size = f", {file_size(backbone.weights_megabytes * 1e6)}" if backbone.pretrained else ""
    if backbone.file:  # whose parameters not every format tells
        return f"{shell.plain(backbone.good_at)} {count(backbone.last_maps)} features{size}."
    return f"{backbone.good_at} {count(backbone.parameters)} parameters without the head{size}."


def _mode(suggest: Callable[[], None]) -> None:
    field("mode", options=MODE_LABELS, on_change=suggest)
    if now("mode") == "frozen":
        field("taps")
    if now("mode") == "fine_tune":
        with st.grid(3, min_column_width=120):
            for name in ("tuned_layers", "tuning_rate", "tuning_epochs"):
                field(name)


def _starting_weights(backbone: Backbone) -> None:
    field("weights")
    if now("weights") == "file":
        field("weights_file")
    if now("weights") == "imagenet":
        _weights_note(backbone)


def _weights_note(backbone: Backbone) -> None:
    """Whether ImageNet weights are here. Nobody is asked for them before a button starts the run."""
    size = now("image_size")
    if weights.is_cached(backbone, size):
        st.caption(":material/check: On this computer.")
        return
    st.info(
        f"ImageNet weights of {shell.plain(backbone.label)} at {size} px are not on this computer. "
        f"The run downloads them first: {file_size(backbone.weights_megabytes * 1e6)}. "
        "Without a network, choose a local file, another backbone or a random start.",
        icon=":material/download:",
    )


def _lungs_note(dataset: Dataset) -> None:
    """Who outlines the lungs, and what becomes of images without an outline."""
    segmenter = segmenters.serving(shell.workspace(), dataset.id)
    st.caption(shell.plain(evidence_text.outline_by(segmenter.origin)))
    st.caption(
        "Training images without an outline take their middle and are counted. New images without one are refused."
    )


def _size_and_head(backbone: Backbone, dataset: Dataset) -> None:
    with st.grid(2, min_column_width=130):
        if backbone.file:
            _pick_size(backbone.file.sizes)
        else:
            field("image_size", min_value=backbone.minimum_size)
        field("units")
        field("dropout")
        if backbone.pretrained:
            field("pooling")
        field("region", options=REGION_LABELS)
        if now("region") == "centre":
            field("share")
        field("intensity", options=INTENSITY_LABELS)
    if now("region") == "lungs":
        _lungs_note(dataset)


def _pick_size(sizes: tuple[int, ...]) -> None:
    """One of the sizes that an added backbone takes."""
    if now("image_size") not in sizes:
        st.session_state[key_of("image_size")] = sizes[0]
    st.selectbox("Image size, px", sizes, help="The sizes that the file takes.", **options_of("image_size"))


# Learning


def _learning() -> None:
    with st.grid(3, min_column_width=150):
        field("optimizer", options=OPTIMIZER_LABELS)
        for name in ("learning_rate", "batch_size", "epochs", "patience", "keep", "seed", "seeds"):
            field(name)
    field("note")


# Imbalance


def _imbalance(dataset: Dataset, classes: tuple[str, ...]) -> None:
    field("imbalance", options=IMBALANCE_LABELS)
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
        return (
            "Weight per image: "
            + ", ".join(f"{label} {decimals(value, 2)}" for label, value in weights_of.items())
            + "."
        )
    per_epoch = {
        "none": counts,
        "undersample": counts.clip(upper=counts.min()),
        "oversample": counts.clip(lower=counts.max()),
    }[imbalance]
    return "Images per epoch: " + ", ".join(f"{label} {count(value)}" for label, value in per_epoch.items()) + "."


# Augmentation


def _augmentation(dataset: Dataset, classes: tuple[str, ...]) -> None:
    st.caption("Training images change at random, by at most these amounts. Test images stay unchanged.")
    st.caption("Blur, noise, JPEG and cut sides only take away. All other amounts act in either direction.")
    with st.grid(3, min_column_width=200):
        for name, row in AUGMENTATIONS.items():
            if row.unit:
                most, layout = float(row.scale * row.largest), FORMATS[row.unit]
                st.slider(row.title, 0.0, most, step=row.step, format=layout, help=row.help, **options_of(name))
    for name, row in AUGMENTATIONS.items():
        if not row.unit:
            st.toggle(row.title, help=row.help, **options_of(name))
    is_frozen = now("mode") == "frozen" or backbone_now().file is not None
    if is_frozen:
        field("test_time_flip")
    spec = augmentation_spec()
    if spec.is_off:
        st.caption("No augmentation is chosen. Move a slider to preview augmented images.")
    elif is_frozen and backbone_now().pretrained:
        field("views")
        field("originals")
    preview.show(dataset, classes, spec, input_spec(), now("seed"))
