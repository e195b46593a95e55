"""The Audit page's ladder: what gives the class away but the lungs, what probes see, and the sources."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.audit.shortcuts import probe_ladder, probes
from covid_core.audit.shortcuts.probe_ladder import FOLDS, Ladder, Probe, Rung
from covid_core.data import summary
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.evaluation.assessment import ALPHA
from covid_core.figures import audit as figures
from covid_core.figures import data as data_figures
from covid_core.formatting import count, interval, p_value, plural, share
from covid_core.images.codec import png_bytes
from covid_core.inference import lungs
from covid_core.reports import audit_text
from pages.shared import shell
from pages.shared.audit_panel import Audited

DRAWN = "probes-drawn"  # session: which images of each class are shown, as a seed
TRIES = 8  # images of a class that are asked for a lung outline, before the class goes without


def show(audited: Audited) -> None:
    ladder = audited.found.ladder
    if ladder is None:
        st.info(shell.plain(audited.found.ladder_reason), icon=":material/info:")
    else:
        _verdict(ladder)
        _bars(audited.found.made, ladder)
        _not_run(ladder)
        _shown_to(audited.dataset, ladder)
    _sources(audited)


def _verdict(ladder: Ladder) -> None:
    level, details = probe_ladder.verdict(ladder).level, audit_text.ladder(ladder).details
    st.markdown(f"**Verdict: {level}.**" + (" The figures stand above; besides them:" if details else ""))
    st.markdown("\n".join(f"- {shell.plain(detail)}" for detail in details))
    with st.expander("How this is measured, and by which rule it is judged", icon=":material/rule:"):
        st.markdown(
            "A probe is a classifier that is given only some of each image. All probes are the same classifier (kernel "
            f"ridge regression) and are cross-validated with the same {FOLDS} folds: every image is answered once, "
            f"by a "
            "classifier that has seen neither it nor a copy of it nor an image that was kept together with it.\n\n"
            "Only probes that show no lung decide. One of them beats the largest class where a one-sided exact "
            "binomial test says so (5 %, Holm's correction over these probes). What it then keeps of the full "
            f"picture's gain over the largest class makes the verdict: {share(probe_ladder.MUCH, 0)} or more is “much "
            f"is not the lungs”, {share(probe_ladder.SOME, 0)} or more “some is not the lungs”.\n\n"
            "“Nothing found” is no proof: a mark inside the lungs, or one too fine for 64 pixels, is not seen."
        )


def _bars(made: float, ladder: Ladder) -> None:
    st.subheader("How far does each view of the images reach?")
    st.markdown(
        "A bar is the share of images whose class the probe tells rightly, with its 95 % interval. Left of the dotted "
        "line nothing was learned; what reaches the dashed line needs no more than that probe sees."
    )
    figure = shell.drawn("ladder", str(made), lambda: figures.ladder_bars(ladder))
    shell.chart(figure, "ladder", alt=figures.ladder_in_words(ladder))
    note = f"{plural(ladder.images, 'image')}, {FOLDS} folds. {ladder.note}"
    st.caption(shell.plain(note))
    with st.expander("Figures", icon=":material/table:"):
        rows = [_row(ladder, rung) for rung in ladder.rungs]
        shell.table(pd.DataFrame(rows), "ladder-figures", alt="Every probe with what it reached")


def _row(ladder: Ladder, rung: Rung) -> dict[str, object]:
    cells = {"Probe": rung.probe.name, "It sees": rung.probe.sees}
    if not rung.was_run:
        return cells | {"Accuracy": "not run", "Note": rung.reason}
    return cells | {
        "Accuracy": interval(rung.accuracy.value, rung.accuracy.low, rung.accuracy.high),
        "Images": count(rung.images),
        "Largest class": share(rung.majority),
        "Keeps of the gain": share(ladder.kept(rung), 0),
        "p": p_value(rung.p),
        **{f"Sensitivity, {label}": share(measure.value) for label, measure in rung.sensitivity.items()},
        "Note": rung.note,
    }


def _not_run(ladder: Ladder) -> None:
    """How to come by the lungs, where probes need them."""
    if any(rung.probe.key in probes.NEED_LUNGS and not rung.was_run for rung in ladder.rungs):
        with st.container(border=True):
            st.markdown(
                ":material/pulmonology: **Where lungs are to be told from the rest, somebody has to outline them.** "
                "Masks come with a data set, or from a segmenter. That learns within minutes from a data set with "
                "masks (synthetic images have them), on the Predict page under “What outlines the lungs”. Then audit "
                "again."
            )
            st.page_link("predict.py", label="Train a segmenter on the Predict page", icon=":material/search:")


# What each probe sees


def _shown_to(dataset: Dataset, ladder: Ladder) -> None:
    st.subheader("What does each probe see?")
    row = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    row.markdown("One image of each class, as each probe is shown it. Of the others it knows nothing.", width="content")
    row.button("Other images", icon=":material/shuffle:", key="probes-again", on_click=_draw_again)
    shown = _examples(dataset, [label for label in ladder.classes if label in dataset.counts])
    with st.grid(2, min_column_width=330):
        for rung in filter(lambda one: one.was_run, ladder.rungs):
            with st.container(border=True, height="stretch"):
                st.markdown(f"**{shell.plain(rung.probe.name)}**, {share(rung.accuracy.value)}")
                st.caption(shell.plain(f"{rung.probe.sees[:1].upper()}{rung.probe.sees[1:]}."))
                _pictures(dataset, rung.probe, shown)


def _draw_again() -> None:
    st.session_state[DRAWN] = st.session_state.get(DRAWN, 0) + 1


def _examples(dataset: Dataset, classes: Sequence[str]) -> list[tuple[str, int, np.ndarray | None]]:
    """One image per class: its class, its row, and its lungs as bool (128, 128), None where they are not known."""
    rng = np.random.default_rng(st.session_state.get(DRAWN, 0))
    labels = dataset.images["label"].to_numpy()
    drawn = [rng.permutation(np.flatnonzero(labels == label))[:TRIES] for label in classes]
    outlines = _lungs(dataset, dataset.version, tuple(int(row) for rows in drawn for row in rows))
    examples = []
    for label, rows in zip(classes, drawn, strict=True):
        row = next((int(row) for row in rows if outlines[int(row)] is not None), int(rows[0]))
        examples.append((label, row, outlines[row]))
    return examples


@st.cache_data(max_entries=16, show_spinner="Looking for lungs")
def _lungs(_dataset: Dataset, version: str, rows: tuple[int, ...]) -> dict[int, np.ndarray | None]:
    outlines = lungs.of_images_or_why(shell.workspace(), _dataset, list(rows))
    return {row: outlines.masks[place] if outlines.known[place] else None for place, row in enumerate(rows)}


def _pictures(dataset: Dataset, probe: Probe, shown: list[tuple[str, int, np.ndarray | None]]) -> None:
    kind, pixels = probes.PROBES[probe.key], open_pixels(shell.workspace(), dataset, SUMMARY_SIZE)
    with st.grid(max(3, len(shown)), min_column_width=88, gap="small") as grid:
        for label, row, mask in shown:
            with grid.cell().container(gap=None):
                if kind.facts:
                    st.markdown(shell.plain(kind.facts(dataset, row)))
                elif kind.needs_lungs and mask is None:
                    st.markdown("Its lungs are not known.")
                else:
                    picture = png_bytes(probes.picture(probe.key, np.asarray(pixels[row]), mask))
                    st.image(picture, width="stretch", alt=f"What is shown of an image of {label}: {probe.sees}")
                st.caption(shell.plain(label))


# Sources


def _sources(audited: Audited) -> None:
    """How source and class go together, and whether a source can be told by its pictures."""
    result = audited.found.sources
    st.subheader("Does the source give it away?")
    st.markdown(f"**{shell.plain(audit_text.sources(result)[0])}**")
    if not result.known:
        st.caption(
            "Unknown does not mean one source. The COVID-19 Radiography Database has a table of sources "
            "(CLASS.metadata.xlsx) that is imported with its images."
        )
        return
    table = summary.source_table(audited.dataset.images, audited.dataset.classes)
    shell.chart(data_figures.source_bars(table), "audit-sources", alt="Images per source and class")
    with st.expander("Figures", icon=":material/table:"):
        shell.table(table.reset_index().rename(columns={"source": "Source"}), "audit-sources-figures")
    st.markdown("**Can the source be told from the picture, among images of one class?**")
    if result.reason:
        st.markdown(shell.plain(result.reason))
        return
    st.markdown(
        "Where it can, pictures carry the mark of their source; where source and class go together as well, a "
        "classifier can read the one for the other."
    )
    rows = [_source_row(label, rung) for label, one in result.ladders.items() for rung in one.rungs if rung.was_run]
    shell.table(pd.DataFrame(rows), "sources-within", alt="How often the source is told within one class")


def _source_row(label: str, rung: Rung) -> dict[str, object]:
    return {
        "Among images of": label,
        "From": rung.probe.name,
        "Source told rightly": interval(rung.accuracy.value, rung.accuracy.low, rung.accuracy.high),
        "Largest source": share(rung.majority),
        "Images": rung.images,
        "More than chance": "yes" if rung.p <= ALPHA else "no",
        "p": p_value(rung.p),
    }
