"""Beside the work-list: whether its images differ from the training images, in what, and what to do."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from covid_core.figures import drift as figures
from covid_core.inference.assessment import Assessment
from covid_core.inference.drift import batch
from covid_core.inference.drift.batch import FEWEST, Drift
from covid_core.inference.drift.profile import ASPECTS, Profile, Traits
from covid_core.jobs import queue
from covid_core.jobs.kinds import ReferenceRequest
from covid_core.reports.elsewhere import drift_text
from covid_core.runs.store import Run
from pages.shared import image_results, job_panel, shell
from pages.shared.image_results import Entries
from pages.shared.uploads import memory

ASPECT = "drift-aspect"  # key: which aspect is drawn


def show(runs: Sequence[Run], entries: Entries) -> None:
    """For each run; nothing that a batch is too small for but how many images are missing."""
    for place, run in enumerate(runs):
        assessments = [entry[place] for entry in entries.values()]
        readable = [one for one in assessments if not one.error]
        if len(readable) < FEWEST:
            st.caption(drift_text.missing(len(readable)))
            return
        name = readable[0].run
        title = "Drift of this batch" if len(runs) == 1 else f"Drift of this batch: {shell.plain(name)}"
        with st.expander(title, icon=":material/compare:", expanded=len(runs) == 1), shell.errors_shown():
            _of_run(run, assessments)


def _of_run(run: Run, assessments: Sequence[Assessment]) -> None:
    reference = image_results.predictor_of(run).reference
    if reference is None or reference.profile is None:
        st.markdown(drift_text.MADE_AGAIN)
        request = ReferenceRequest(run=run.id)
        job_panel.panel(lambda: queue.jobs(shell.workspace(), ReferenceRequest, run=[run.id]), f"drift-{run.id}-")
        job_panel.start_button("Make the reference again", request, key=f"drift-reference-{run.id}")
        return
    drift = _measured(run, assessments)
    traits = Traits.joined([one.traits for one in assessments if one.traits])
    icon = ":material/warning:" if drift.differs else ":material/check_circle:"
    (st.warning if drift.differs else st.success)(shell.plain(drift_text.conclusion(drift)), icon=icon)
    st.markdown(shell.plain(drift_text.class_mix(drift)))
    if advice := drift_text.advice(drift, assessments):
        st.markdown("\n".join(f"- {line}" for line in advice))
    of_measures = drift_text.table(drift, reference.profile, traits)
    shell.table(drift_text.scores(of_measures), f"drift-{run.id}", downloaded=of_measures, digits=2)
    st.caption(f"{drift_text.LIMIT} Training images are weighted to the class mix of the batch.")
    order = sorted(ASPECTS, key=lambda aspect: -drift.aspects[aspect].value)
    aspect = st.selectbox("Aspect", order, format_func=ASPECTS.__getitem__, key=f"{ASPECT}-{run.id}")
    if means := drift_text.means(of_measures, aspect):
        st.caption(shell.plain(means))
    _figures(run, aspect, batch.class_weights(reference.profile, drift), reference.profile, traits)


def _measured(run: Run, assessments: Sequence[Assessment]) -> Drift:
    """Made once for each run and the images on the page, as long as these are the same."""
    key = run.result.get("reference_sha256"), hash(tuple(one.logits.tobytes() for one in assessments))
    made = memory("drift")
    if made.get(run.path, (None, None))[0] != key:
        with st.spinner("Comparing the batch with the training images"):
            made[run.path] = key, batch.of_assessments(run, image_results.predictor_of(run), assessments)
    drift: Drift = made[run.path][1]
    return drift


def _figures(run: Run, aspect: str, weights: np.ndarray, profile: Profile, traits: Traits) -> None:
    for place, (title, training, new) in enumerate(figures.measures(aspect, profile, traits)):
        shell.chart(
            figures.histogram(title, training, weights, new),
            f"drift-{aspect}-{place}-{run.id}",
            alt=f"{title}: training images as bars, the batch as a line",
        )
