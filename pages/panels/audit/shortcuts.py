"""The Audit page's view of shortcut learning: the ladder of probes, what each is shown, and the sources."""

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
    ladder = audited.audit.ladder
    if ladder is None:
        st.info(shell.plain(audited.audit.ladder_reason), icon=":material/info:")
    else:
        _verdict(ladder)
        _bars(audited.audit.made, ladder)
        _not_run(ladder)
        _shown_to(audited.dataset, ladder)
    _sources(audited)


def _verdict(ladder: Ladder) -> None:
    details = audit_text.ladder(ladder).details
    st.markdown(f"**Verdict: {probe_ladder.verdict(ladder).level}.**")
    st.markdown("\n".join(f"- {shell.plain(detail)}" for detail in details))
    with st.expander("The method, and the rule of the verdict", icon=":material/rule:"):
        st.markdown(audit_text.LADDER_RULE)


def _bars(made: float, ladder: Ladder) -> None:
    st.subheader("What accuracy does each probe reach?")
    st.markdown(
        "A bar is the accuracy of one probe with its 95 % interval. The dotted line is the majority baseline: a probe "
        "that stays there has learned nothing. The dashed line is the full picture."
    )
    figure = shell.drawn("ladder", str(made), lambda: figures.ladder_bars(ladder))
    shell.chart(figure, "ladder", alt=figures.ladder_in_words(ladder))
    st.caption(shell.plain(f"{plural(ladder.images, 'image')}, {FOLDS} folds. {audit_text.ladder_note(ladder)}"))
    with st.expander("Figures", icon=":material/table:"):
        rows = [_row(ladder, rung) for rung in ladder.rungs]
        shell.table(pd.DataFrame(rows), "ladder-figures", alt="Every probe with its accuracy")


def _row(ladder: Ladder, rung: Rung) -> dict[str, object]:
    cells = {"Probe": rung.probe.name, "Input": rung.probe.input}
    if not rung.was_run:
        return cells | {"Accuracy": "not run", "Note": audit_text.reason(rung.reason)}
    return cells | {
        "Accuracy": interval(rung.accuracy.value, rung.accuracy.low, rung.accuracy.high),
        "Images": count(rung.images),
        "Majority baseline": share(rung.majority),
        "Share of the gain": share(ladder.share_of_gain(rung), 0),
        "p": p_value(rung.p),
        **{f"Sensitivity, {label}": share(measure.value) for label, measure in rung.sensitivity.items()},
        "Note": audit_text.rung_note(rung),
    }


def _not_run(ladder: Ladder) -> None:
    """How to get lung masks, where probes need them."""
    if any(rung.probe.key in probes.NEED_LUNGS and not rung.was_run for rung in ladder.rungs):
        with st.container(border=True):
            st.markdown(
                ":material/pulmonology: **Some probes lacked lung outlines.** An audit of an earlier version needed "
                "masks: audit again. If too few of these images are outlined, train a segmenter on masks of similar "
                "images on the Predict page (under *What outlines the lungs*)."
            )
            st.page_link("predict.py", label="Train a segmenter on the Predict page", icon=":material/search:")


# What each probe is shown


def _shown_to(dataset: Dataset, ladder: Ladder) -> None:
    st.subheader("What is each probe shown?")
    row = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    row.markdown("One image of each class, as each probe is shown it.", width="content")
    row.button("Other images", icon=":material/shuffle:", key="probes-again", on_click=_draw_again)
    shown = _examples(dataset, [label for label in ladder.classes if label in dataset.counts])
    with st.grid(2, min_column_width=330):
        for rung in filter(lambda one: one.was_run, ladder.rungs):
            with st.container(border=True, height="stretch"):
                st.markdown(f"**{shell.plain(rung.probe.name)}**, {share(rung.accuracy.value)}")
                st.caption(shell.plain(f"{rung.probe.input[:1].upper()}{rung.probe.input[1:]}."))
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


@st.cache_data(max_entries=16, show_spinner="Outlining lungs")
def _lungs(_dataset: Dataset, version: str, rows: tuple[int, ...]) -> dict[int, np.ndarray | None]:
    outlines = lungs.of_images_or_why(shell.workspace(), _dataset, list(rows))
    return {row: outlines.masks[place] if outlines.available[place] else None for place, row in enumerate(rows)}


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
                    st.image(picture, width="stretch", alt=f"What is shown of an image of {label}: {probe.input}")
                st.caption(shell.plain(label))


# Sources


def _sources(audited: Audited) -> None:
    """How source and class go together, and whether a source can be told by its pictures."""
    result = audited.audit.sources
    st.subheader("Does the source go with the class?")
    st.markdown(f"**{shell.plain(audit_text.sources(result)[0])}**")
    if not result.with_source:
        st.caption(
            "Unknown does not mean one source. The COVID-19 Radiography Database has a table of sources "
            "(CLASS.metadata.xlsx), which is imported with its images."
        )
        return
    table = summary.source_table(audited.dataset.images, audited.dataset.classes)
    shell.chart(data_figures.source_bars(table), "audit-sources", alt="Images per source and class")
    with st.expander("Figures", icon=":material/table:"):
        shell.table(table.reset_index().rename(columns={"source": "Source"}), "audit-sources-figures")
    st.markdown("**Can a classifier tell the source from the image, within one class?**")
    if result.reason:
        st.markdown(shell.plain(audit_text.reason(result.reason)))
        return
    st.markdown(
        "If yes, images carry a mark of their source. If the source also goes with the class, this mark is a shortcut."
    )
    rows = [_source_row(label, rung) for label, one in result.ladders.items() for rung in one.rungs if rung.was_run]
    shell.table(pd.DataFrame(rows), "sources-within", alt="Accuracy for the source within one class")


def _source_row(label: str, rung: Rung) -> dict[str, object]:
    return {
        "Among images of": label,
        "From": rung.probe.name,
        "Accuracy for the source": interval(rung.accuracy.value, rung.accuracy.low, rung.accuracy.high),
        "Largest source": share(rung.majority),
        "Images": rung.images,
        "More than chance": "yes" if rung.p <= ALPHA else "no",
        "p": p_value(rung.p),
    }
