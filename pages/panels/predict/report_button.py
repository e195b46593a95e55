"""The report of one image, to take along."""

from collections.abc import Sequence

import streamlit as st

from covid_core.images.codec import GreyImage
from covid_core.inference.worklist import Opinion
from covid_core.reports import image_report
from covid_core.reports.image_report import Map
from covid_core.runs.store import Run
from pages.shared import image_results
from pages.shared.uploads import Given


def button(runs: Sequence[Run], opinions: Sequence[Opinion], given: Given, image: GreyImage, anyway: bool) -> None:
    """Download the report; it is made when it is asked for."""
    mark = image_report.mark_of(image)
    st.download_button(
        "Report of this image",
        lambda: _made(runs, opinions, given, image, anyway),
        f"second-look-{mark}.html",
        "text/html",
        icon=":material/lab_profile:",
        help="One page with the image, the heat maps, the answers, the checks and the limits. It holds no file name "
        "and no tag of the file.",
    )


def _made(runs: Sequence[Run], opinions: Sequence[Opinion], given: Given, image: GreyImage, anyway: bool) -> bytes:
    maps = []
    for run, opinion in zip(runs, opinions, strict=True):
        if anyway or not opinion.look.refused_by:
            label = opinion.called
            heat = image_results.heat(run, given, label, image_report.shape_of(image))
            note = image_report.note_of(heat, image_results.lungs(run, given).mask, image_results.map_check(run))
            maps.append(Map(opinion.run, label, heat, note))
    return image_report.to_html(image, runs, opinions, maps, anyway).encode()
