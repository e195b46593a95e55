"""The lung segmenter: no masks to train on, none yet, one in training, one that is trained and how well."""

import streamlit as st

from covid_core import access
from covid_core.data import dataset as data
from covid_core.data import masks
from covid_core.data.masks import BUILT_IN, MaskedDataset
from covid_core.formatting import count, duration, file_size, milliseconds, moment, number, plural
from covid_core.inference.lungs import Lungs
from covid_core.jobs import queue
from covid_core.jobs.kinds import SegmenterRequest
from covid_core.reports import evidence_text
from covid_core.reports.comparison_text import in_words
from covid_core.runs import segmenters
from covid_core.runs.segmenters import Segmenter
from covid_core.runs.store import BrokenRun
from pages.shared import job_panel, run_cache, shell

DICE_HELP = (
    "Overlap of outline and mask: 2 x common area over the sum of both areas. 1 is perfect agreement. Measured on "
    "test images, with a 95 % interval. One fixed outline for all of these images reaches {same}, because lungs are "
    "similar."
)


def show(dataset: str = "") -> None:
    """What outlines lungs for a run of that data set, and the way to a segmenter.

    Above everything stands what learns at this moment; what failed stays until it is dismissed.
    """
    active = job_panel.panel(lambda: queue.jobs(shell.workspace(), SegmenterRequest))
    with shell.errors_shown():
        _show_segmenters(dataset)
        if not active:
            _offer(dataset)


def opened(dataset: str = "") -> Lungs:
    """The segmenter that outlines lungs for a run of that data set, kept open.

    Raises RunDamaged.
    """
    chosen = segmenters.serving(shell.workspace(), dataset)
    return _opened(str(chosen.path), run_cache.stamp_of(chosen.path), chosen)


def in_use(dataset: str = "") -> str:
    """The id of the segmenter that outlines lungs for a run of that data set."""
    return segmenters.serving(shell.workspace(), dataset).id


@st.cache_resource(max_entries=4, show_spinner=False)
def _opened(path: str, stamp: str, _segmenter: Segmenter) -> Lungs:
    return Lungs.open(_segmenter)


# What has learned


def _show_segmenters(dataset: str) -> None:
    listed, broken = segmenters.list_segmenters(shell.workspace())
    chosen = segmenters.serving(shell.workspace(), dataset)
    _show_serving(chosen)
    others = [one for one in listed if one.id != chosen.id]
    if others or broken:
        with st.container(border=True, key="other-segmenters"):
            st.caption(
                "Not in use. A segmenter of the run's own data set goes first, then one of real images, then the "
                "built-in one."
            )
            for one in (*others, *broken):
                _show_unused(one)


def _show_serving(one: Segmenter) -> None:
    with st.container(border=True, key="serving-segmenter"):
        st.markdown(shell.plain(evidence_text.outline_by(one.origin)))
        with st.grid(3, min_column_width=290):  # a figure with its interval fits
            help_text = DICE_HELP.format(same=number(one.record.same_for_all_dice))
            is_built_in = one.origin.kind == BUILT_IN
            kind = "real" if is_built_in else "test"
            st.metric(f"Dice, {kind} images", evidence_text.dice(one.origin), help=help_text)
            worst = "95 % of the test images have at least this Dice."
            st.metric("Dice, worst 5 %", number(one.record.worst_dice), help=worst)
            refused = "Test images for which no outline is shown, because it is no plausible pair of lungs."
            st.metric("No outline shown", in_words(one.record.refused), help=refused)
        parts = ", ".join(f"{count(images)} {part}" for part, images in one.record.images.items())
        unused = one.record.left_out
        left_out = f" {plural(unused, 'mask')} could not be used." if unused else ""
        fixed = f"One fixed outline for the same images has a Dice of {number(one.record.same_for_all_dice)}."
        if is_built_in:
            st.caption(f"An outline takes {milliseconds(one.record.milliseconds_per_image)}. {fixed}")
            return
        st.caption(
            f"Trained {moment(one.record.created)} in {duration(one.record.seconds)} on images of "
            f"{shell.plain(one.dataset.name)} ({parts}).{left_out} An outline takes "
            f"{milliseconds(one.record.milliseconds_per_image)}. {fixed}"
        )
        _delete_button(one)


def _show_unused(one: Segmenter | BrokenRun) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if isinstance(one, BrokenRun):
            st.markdown(f":material/warning: {shell.plain(one.reason)}")
        else:
            st.markdown(
                f"{shell.plain(one.dataset.name)}, {moment(one.record.created)}, Dice {evidence_text.dice(one.origin)}"
            )
        _delete_button(one)


def _delete_button(one: Segmenter | BrokenRun) -> None:
    what = "this damaged segmenter"
    if isinstance(one, Segmenter):
        size = file_size(one.network_path.stat().st_size)
        what = f"the segmenter that learned from **{shell.plain(one.dataset.name)}** ({size})"
    question = f"Delete {what}? Runs and images stay. Its outlines are no longer shown."
    action = {"on_click": segmenters.delete_segmenter, "args": (shell.workspace(), one.id), "right": access.ADMINISTER}
    shell.confirm("Delete", question, "Delete for good", key=f"delete-segmenter-now-{one.id}", **action)


# The way to one


def _offer(dataset: str) -> None:
    """Which data set to learn from, what it will take, and the button; without masks, how to get some.

    A segmenter of another data set of synthetic images would not serve: the built-in one goes before it.
    """
    useful = [one for one in _masked() if one.id == dataset or not one.synthetic]
    masked = {one.id: one for one in useful if one.masks >= segmenters.LEAST_IMAGES}
    if not masked:
        with st.container(border=True):
            st.markdown(
                f"**{segmenters.NO_MASKS}** The COVID-19 Radiography Database comes with masks; at least "
                f"{segmenters.LEAST_IMAGES} are needed."
            )
            st.page_link("dataset.py", label="Add a data set with masks", icon=":material/arrow_forward:")
        return
    listed, _ = segmenters.list_segmenters(shell.workspace())
    options = sorted(masked, key=lambda one: (one != dataset, masked[one].synthetic))
    chosen = masked[options[0]]
    if len(options) > 1:
        chosen = masked[st.selectbox("Learn from", options, format_func=lambda one: masked[one].name, width=360)]
    st.caption(_plan_in_words(chosen))
    label = "Learn to outline lungs" if not listed else "Learn again"
    job_panel.start_button(label, _request(chosen), key="segment-start", icon=":material/play_arrow:")


def _request(chosen: MaskedDataset) -> SegmenterRequest:
    return SegmenterRequest(dataset=chosen.id, name=chosen.name)


def _plan_in_words(chosen: MaskedDataset) -> str:
    drawn = ""
    if chosen.masks > segmenters.MOST_IMAGES:
        drawn = f", of which {count(segmenters.MOST_IMAGES)} are drawn"
    kind = "synthetic image" if chosen.synthetic else "image"
    takes = job_panel.expected(_request(chosen))
    last_time = f"At the pace of the last time it takes about {takes}. " if takes else ""
    return (
        f"From {plural(chosen.masks, kind)} of {shell.plain(chosen.name)} with a lung mask{drawn}. {last_time}"
        "While it learns, the time left is measured on this computer. A stop keeps the best epoch so far."
    )


def _masked() -> list[MaskedDataset]:
    """Data sets with masks; read again only when a data set came or went."""
    listed = data.list_datasets(shell.workspace())
    return _cached_masked(str(shell.workspace().root), tuple((info["id"], info["created"]) for info in listed))


@st.cache_data(max_entries=4, show_spinner=False)
def _cached_masked(root: str, datasets: tuple[tuple[str, float], ...]) -> list[MaskedDataset]:
    return masks.datasets_with_masks(shell.workspace())
