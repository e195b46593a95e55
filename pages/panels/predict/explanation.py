"""Why: the image in its viewer, where a run looked, what moves its score, and which training images look alike."""

from collections.abc import Sequence

import streamlit as st

from covid_core.audit.model.randomisation_test import MEANINGLESS
from covid_core.data.dataset import Dataset
from covid_core.errors import CovidCoreError, NotFound
from covid_core.formatting import probability
from covid_core.images.codec import GreyImage
from covid_core.inference import lung_share
from covid_core.inference.lungs import LungOutline
from covid_core.inference.prediction import Neighbour
from covid_core.inference.worklist import Opinion
from covid_core.runs.store import Run
from pages.panels.predict.viewer import Overlay, Picture, forget_images
from pages.panels.predict.viewer import show as show_viewer
from pages.shared import image_results, shell, uploads
from pages.shared.uploads import Given

LONGEST_MAP = 256  # pixels of a heat map for the viewer, which enlarges it; the network's own is far smaller
OLD_MAP = (
    "An earlier version trained this run, so its map also shows what every image has, not only what is unusual in this "
    "one."
)
NOTHING, WHERE, WHAT_MOVES = "Nothing", "Where it looked", "What moves the score"
ALONE = "Nothing"
VIEWER = {"key": "viewer", "height": 620}  # pixels
SIMILAR_TILE = 104  # pixels; three in a row at 390 px, six where there is room


@st.fragment
def show(heard: Sequence[tuple[Run, Opinion]], given: Given, image: GreyImage, answered: bool) -> None:
    """The viewer with its choices; only this part runs again when one of them is changed.

    Args:
        heard: runs with what they say, at least one.
        given: the image that was handed in.
        image: as it was read.
        answered: whether scores may be shown. Without them there is no map of what raised them.
    """
    view, choices, reasons = st.container(), st.container(), st.container()
    run, opinion = heard[0]
    label, kind = "", NOTHING
    with choices:
        if answered:
            run, opinion, label, kind = _pick_map(heard)
        beside = _pick_beside(heard[0][0], given, heard[0][1].look.neighbours)
    with view, shell.told():
        outline = image_results.lungs(run, given)
        overlay, told = None, ""
        if kind == WHERE:
            overlay, told = _where(run, given, label, image, outline)
        elif kind == WHAT_MOVES:
            overlay, told = _what_moves(run, given, label, image)
        show_viewer(_picture(given, image), overlay=overlay, lungs=outline.mask, beside=beside, **VIEWER)
        done = "; ".join(opinion.look.prediction.done) or "nothing"
        with reasons:
            st.markdown(shell.plain(told))
            st.caption(shell.plain(" ".join((*outline.notes, f"Done to the picture: {done}."))))
            if kind == WHERE:
                _check_map(run)


def _check_map(run: Run) -> None:
    """Whether the run's heat maps mean anything at all; below the image, since the first time it takes long."""
    check = image_results.map_check(run)
    if check.verdict == MEANINGLESS:
        st.warning(shell.plain(check.in_words), icon=":material/warning:")
        return
    old = "" if image_results.knows_usual(run) else OLD_MAP
    st.caption(shell.plain(" ".join(filter(None, (check.in_words, old)))))


def forget() -> None:
    """Let go of the images that were sent to the viewer."""
    forget_images(VIEWER["key"])


def _picture(given: Given, image: GreyImage) -> Picture:
    """The image for the viewer, with all the depth that it has."""
    pixels = image.pixels if image.deep is None else image.deep
    window = image.window and (image.window[0], max(1.0, image.window[1]))  # one of no width parts two greys, as 1 does
    return Picture(pixels, given.name, f"Image {given.name}", window, image.spacing)


def _pick_map(heard: Sequence[tuple[Run, Opinion]]) -> tuple[Run, Opinion, str, str]:
    """Whose map, for which class, of which kind."""
    columns = st.columns(3 if len(heard) > 1 else 2)
    number = 0
    if len(heard) > 1:
        number = columns[0].selectbox("Map of", range(len(heard)), format_func=lambda place: heard[place][1].run)
    run, opinion = heard[number]
    predicted = run.classes.index(opinion.called)
    label = columns[-2].selectbox("For the class", run.classes, index=predicted)
    kind = columns[-1].selectbox(
        "Map",
        [WHERE, WHAT_MOVES, NOTHING],
        help="Where it looked: Grad-CAM, from the network's own last maps. What moves the score: a grey patch covers "
        "one place after the other, and the change of the number is drawn there; it takes a few seconds.",
    )
    return run, opinion, label, kind


def _where(run: Run, given: Given, label: str, image: GreyImage, outline: LungOutline) -> tuple[Overlay | None, str]:
    """Grad-CAM, and what share of it lies inside the lungs."""
    heat = image_results.heat(run, given, label, _map_shape(image))
    if not heat.any():
        return None, f"Nothing in this image speaks for {label}, so the map is empty."
    alt = f"Heat map over the image: where {run.name} finds what speaks for {label}"
    inside = lung_share.share_inside(heat, outline.mask).in_words if outline.mask is not None else ""
    return Overlay(heat, f"What speaks for {label}", alt), inside


def _what_moves(run: Run, given: Given, label: str, image: GreyImage) -> tuple[Overlay, str]:
    """The occlusion map, computed now where it is not known, with progress."""
    bar = st.progress(0.0, "Covering places of the image")
    found = image_results.occlusion(run, given, label, bar.progress)
    bar.empty()
    _, _, least = found.most
    told = (
        f"{label} has {probability(found.answer)}; with the place covered that speaks most for it, "
        f"{probability(least)}. Each place is covered by the grey around it, one after the other. Two colours: what "
        "speaks for the class, and what against it."
    )
    alt = f"Map over the image: where covering it changes what {run.name} says of {label}"
    return Overlay(found.map(_map_shape(image)), f"What moves {label}", alt, signed=True), told


def _map_shape(image: GreyImage) -> tuple[int, int]:
    """Height and width of a heat map of the image's proportions."""
    height, width = image.pixels.shape
    scale = min(1.0, LONGEST_MAP / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _pick_beside(run: Run, given: Given, neighbours: Sequence[Neighbour]) -> Picture | None:
    """A similar training image next to the image, if one is wanted and still there."""
    if not neighbours:
        return None
    names = {ALONE: ALONE} | {
        one.image_id: f"{number}. {one.label}, distance {one.distance:.2f}" for number, one in enumerate(neighbours, 1)
    }
    key = _beside_key(given)
    if st.session_state.get(key) not in names:  # another run's neighbours
        st.session_state[key] = ALONE
    chosen = st.selectbox("Beside it, a similar training image", list(names), format_func=names.__getitem__, key=key)
    if chosen == ALONE:
        return None
    with shell.told():
        similar = uploads.from_dataset(shell.dataset_of(run), chosen)
        label = similar.label
        return Picture(
            similar.read().pixels, title=f"{chosen}, labelled {label}", alt=f"Training image labelled {label}"
        )
    return None


def _beside_key(given: Given) -> str:
    return f"beside-{given.key}"


def _put_beside(given: Given, image_id: str) -> None:
    st.session_state[_beside_key(given)] = image_id


def _images_of(run: Run) -> tuple[Dataset | None, str]:
    """The data set that the run learned from, or why its images cannot be shown."""
    try:
        return shell.dataset_of(run), ""
    except NotFound:
        return None, "The run's data set is not here any more, so the images themselves are not shown."
    except CovidCoreError:
        return None, "The data set has changed since the run, so the images themselves are not shown."


def similar(run: Run, given: Given, neighbours: Sequence[Neighbour], name: str = "") -> None:
    """The training images that look most like the image to the run, with labels and distances, to put beside it."""
    if not neighbours:
        return
    st.markdown(f"**Most similar training images{shell.plain(f' of {name}') if name else ''}**")
    dataset, lacking = _images_of(run)
    if dataset is None:
        told = "; ".join(f"{one.label}, distance {one.distance:.2f}" for one in neighbours)
        st.caption(shell.plain(f"{told}. {lacking}"))
        return
    with shell.told():
        pictures = uploads.thumbnails(dataset, tuple(one.image_id for one in neighbours))
        grid = st.grid("auto", min_column_width=SIMILAR_TILE, gap="small")
        for one in neighbours:
            picture, label = pictures[one.image_id]
            with grid.cell().container(gap=None):
                st.image(picture, width="stretch", alt=f"Training image labelled {label}")
                st.caption(shell.plain(f"{label}, distance {one.distance:.2f}"))
                st.button(
                    "Show beside",
                    key=f"beside-{run.id}-{one.image_id}",
                    type="tertiary",
                    on_click=_put_beside,
                    args=(given, one.image_id),
                )
        st.caption(
            "Similar to the network, which need not be similar to a physician. An image that is close to none of its "
            "training images is refused."
        )
