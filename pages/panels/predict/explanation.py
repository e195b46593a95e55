"""Why: the image in its viewer, heat maps over it, an image beside it, and the most similar training images."""

from collections.abc import Sequence

import streamlit as st

from covid_core.audit.model.randomisation_test import MEANINGLESS
from covid_core.data.dataset import Dataset
from covid_core.errors import CovidCoreError, UnknownId
from covid_core.formatting import decimals, probability
from covid_core.images.codec import GreyImage
from covid_core.images.image import Turn
from covid_core.images.regions import WHOLE, Box
from covid_core.inference.assessment import Assessment
from covid_core.inference.heatmap import share_inside
from covid_core.inference.lungs import LungOutline
from covid_core.reports import evidence_text, prediction_text
from covid_core.runs.store import Run
from pages.panels.predict import viewer
from pages.panels.predict.viewer import Overlay, Picture
from pages.shared import image_results, shell, uploads
from pages.shared.uploads import ImageSource

LONGEST_MAP = 256  # pixels of a heat map for the viewer, which enlarges it; the network's own is far smaller
OLD_MAP = "An earlier version trained this run. Its map also shows what all images have in common."
NOTHING, WHERE, WHAT_MOVES = "None", "Grad-CAM", "Occlusion"
MAP = "predict_map"  # session: the kind of map that is shown, for this image and those after it
ALONE = "None"
OF_PAGE = "page "  # before the key of an image of the page
MOST_BESIDE = 20  # images of the page that are offered
SIMILAR_TILE = 104  # pixels; three in a row at 390 px, six where there is room


@st.fragment
def show(answers: Sequence[tuple[Run, Assessment]], source: ImageSource, others: Sequence[ImageSource]) -> None:
    """The viewer with its choices; only this part runs again when one of them is changed.

    Args:
        answers: runs that answer with their assessments; where none does, the first: there is no map of it.
        source: where the image comes from.
        others: images of the page that can stand beside it.
    """
    view, choices, reasons = st.container(), st.container(), st.container()
    run, one = answers[0]
    label, kind = "", NOTHING
    with choices:
        if one.has_answer:
            run, one, label, kind = _pick_map(answers)
        beside = _pick_beside(*answers[0], source, others)
    with view, shell.errors_shown():
        outline = image_results.lungs(run, source)
        overlay, text = None, ""
        if kind == WHERE:
            overlay, text = _where(run, one, label, outline)
        elif kind == WHAT_MOVES:
            overlay, text = _what_moves(run, one, label, source)
        turned = viewer.show(
            _picture(one.image, one.name, one.shown_box),
            overlay=overlay,
            lungs=outline.mask,
            beside=beside,
            rereads=True,
        )
        if turned:
            uploads.turn(source, Turn(*turned))
            st.rerun()  # the whole page, not this part of it: the image is another one
        done = "; ".join(one.done) or "none"
        with reasons:
            st.markdown(shell.plain(text))
            st.caption(shell.plain(f"{evidence_text.outline(outline)} Image processing: {done}."))
            if kind == WHERE:
                _check_map(run)


def _check_map(run: Run) -> None:
    """Whether the run's heat maps mean anything at all; below the image, since the first time it takes long."""
    check = image_results.map_check(run)
    words = evidence_text.map_check(check)
    if check.verdict == MEANINGLESS:
        st.warning(shell.plain(words), icon=":material/warning:")
        return
    old = "" if image_results.predictor_of(run).head.usual else OLD_MAP
    st.caption(shell.plain(" ".join(filter(None, (words, old)))))


def _picture(image: GreyImage, name: str, box: Box = WHOLE) -> Picture:
    """The image for the viewer, with all the depth that it has, and the part that the network is shown."""
    pixels = image.pixels if image.deep is None else image.deep
    window = image.window and (image.window[0], max(1.0, image.window[1]))  # one of no width parts two greys, as 1 does
    alt = f"Image {name}" if box.is_whole else f"Image {name}. {prediction_text.region(box)}"
    return Picture(pixels, name, alt, window, image.spacing, box)


def _pick_map(answers: Sequence[tuple[Run, Assessment]]) -> tuple[Run, Assessment, str, str]:
    """Whose map, for which class, of which kind."""
    columns = st.columns(3 if len(answers) > 1 else 2)
    number = 0
    if len(answers) > 1:
        number = columns[0].selectbox("Map of", range(len(answers)), format_func=lambda place: answers[place][1].run)
    run, one = answers[number]
    label = columns[-2].selectbox("For the class", run.classes, index=run.classes.index(one.label))
    kind = columns[-1].selectbox(
        "Map",
        [NOTHING, WHERE, WHAT_MOVES] if run.spec.has_maps else [NOTHING, WHAT_MOVES],
        key=MAP if run.spec.has_maps else f"{MAP}_without_maps",
        help="The choice stays for the next images. Grad-CAM uses the network's last maps. Occlusion covers one place "
        "after the other and takes a few seconds. A backbone that gives a vector has no Grad-CAM.",
    )
    return run, one, label, kind


def _where(run: Run, one: Assessment, label: str, outline: LungOutline) -> tuple[Overlay | None, str]:
    """Grad-CAM, and what share of it lies inside the lungs."""
    heat = one.heat(label, _map_shape(one.image))
    if not heat.any():
        return None, f"The map is empty: nothing in this image raises the score of {label}."
    alt = f"Heat map over the image: what raises the score of {label} in {run.name}"
    inside = "" if outline.mask is None else prediction_text.lung_share(share_inside(heat, outline.mask))
    return Overlay(heat, f"Raises the score of {label}", alt), inside


def _what_moves(run: Run, one: Assessment, label: str, source: ImageSource) -> tuple[Overlay, str]:
    """The occlusion map, computed now where it is not kept, with progress."""
    bar = st.progress(0.0, "Covering places of the image")
    occlusion = image_results.occlusion(run, source, label, bar.progress)
    bar.empty()
    _, _, least = occlusion.most
    text = (
        f"{label} has {probability(occlusion.answer)}, and {probability(least)} with its most important place "
        "covered. One colour marks places that raise the score, the other marks places that lower it."
    )
    alt = f"Map over the image: where covering it changes the score of {label} in {run.name}"
    return Overlay(occlusion.map(_map_shape(one.image)), f"Raises or lowers {label}", alt, signed=True), text


def _map_shape(image: GreyImage) -> tuple[int, int]:
    """Height and width of a heat map of the image's proportions."""
    height, width = image.pixels.shape
    scale = min(1.0, LONGEST_MAP / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _pick_beside(
    run: Run, assessment: Assessment, source: ImageSource, others: Sequence[ImageSource]
) -> Picture | None:
    """Another image of the page, such as a prior, or a similar training image next to the image, if one is wanted."""
    uploaded = {f"{OF_PAGE}{other.file}": other for other in others[:MOST_BESIDE]}
    names = {ALONE: ALONE} | {key: other.name for key, other in uploaded.items()}
    names |= {
        one.image_id: f"Similar training image {number}: {one.label}, distance {decimals(one.distance, 2)}"
        for number, one in enumerate(assessment.neighbours, 1)
    }
    if len(names) == 1:
        return None
    key = _beside_key(source)
    if st.session_state.get(key) not in names:  # another run's neighbours
        st.session_state[key] = ALONE
    chosen = st.selectbox("Second image", list(names), format_func=names.__getitem__, key=key)
    if chosen == ALONE:
        return None
    with shell.errors_shown():
        if chosen in uploaded:
            return _picture(uploads.beside(uploaded[chosen]), uploaded[chosen].name)
        similar = uploads.from_dataset(shell.dataset_of(run), chosen)
        label = similar.label
        return Picture(
            similar.read().pixels, title=f"{chosen}, labelled {label}", alt=f"Training image labelled {label}"
        )
    return None


def _beside_key(source: ImageSource) -> str:
    return f"beside-{source.key}"


def _put_beside(source: ImageSource, image_id: str) -> None:
    st.session_state[_beside_key(source)] = image_id


def _images_of(run: Run) -> tuple[Dataset | None, str]:
    """The data set that the run learned from, or why its images cannot be shown."""
    try:
        return shell.dataset_of(run), ""
    except UnknownId:
        return None, "The run's data set is not here any more: its images cannot be shown."
    except CovidCoreError:
        return None, "The data set has changed since the run: its images cannot be shown."


def similar(run: Run, assessment: Assessment, source: ImageSource, name: str = "") -> None:
    """The training images that look most like the image to the run, with labels and distances, to put beside it."""
    neighbours = assessment.neighbours
    if not neighbours:
        return
    st.markdown(f"**Most similar training images{shell.plain(f' of {name}') if name else ''}**")
    dataset, lacking = _images_of(run)
    if dataset is None:
        listed = "; ".join(f"{one.label}, distance {decimals(one.distance, 2)}" for one in neighbours)
        st.caption(shell.plain(f"{listed}. {lacking}"))
        return
    with shell.errors_shown():
        pictures = uploads.thumbnails(dataset, tuple(one.image_id for one in neighbours))
        grid = st.grid("auto", min_column_width=SIMILAR_TILE, gap="small")
        for one in neighbours:
            picture, label = pictures[one.image_id]
            with grid.cell().container(gap=None):
                st.image(picture, width="stretch", alt=f"Training image labelled {label}")
                st.caption(shell.plain(f"{label}, distance {decimals(one.distance, 2)}"))
                st.button(
                    "Show beside",
                    key=f"beside-{run.id}-{one.image_id}",
                    type="tertiary",
                    on_click=_put_beside,
                    args=(source, one.image_id),
                )
        st.caption(
            "The network calls these images similar; a physician may not. A run refuses an image that is far from all "
            "of its training images."
        )
