"""Robustness curves: what noise, blur, JPEG, exposure and framing leave of a run, on Compare and on its own page."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from covid_core.errors import RunDamaged
from covid_core.figures import robustness as figures
from covid_core.formatting import count, plural
from covid_core.inference import robustness
from covid_core.inference.robustness import Robustness
from covid_core.jobs import queue
from covid_core.jobs.kinds import RobustnessRequest
from covid_core.jobs.queue import Job
from covid_core.reports import evidence_text, run_text
from covid_core.runs.store import Run
from pages.shared import comparison_tables, job_panel, model_audit_panel, run_cache, shell
from pages.shared.run_cache import RunCandidate

ICON = ":material/monitoring:"
Named = tuple[str, Run, Robustness]


def panel(run: Run) -> None:
    """The curve of one finished run, or the way to one; whoever calls it draws it again while a job works."""
    jobs, place = _jobs([run]), "robustness-run-"
    job_panel.report(jobs)
    job_panel.outcomes(jobs, place)
    job_panel.cards(jobs, place)
    with shell.errors_shown():
        curves = _stored([(run.name, run)])
        if curves:
            _show(curves, f"robustness-{run.id}")
        if not any(job.is_active for job in jobs):
            _start([run], 1 - len(curves), 1)


def show(order: Sequence[RunCandidate]) -> None:
    """The tab of the Compare page: the curves of several runs in one figure, and how to measure those that lack one."""
    runs = [one.run for one in order]
    job_panel.panel(lambda: _jobs(runs), "robustness-")
    active = {job.request.run for job in _jobs(runs) if job.is_active}
    curves = _stored([(one.name, one.run) for one in order])
    measured = {run.id for _, run, _ in curves}
    lacking = [run for run in runs if run.has_network and run.id not in measured]
    if curves:
        _show(curves, "robustness")
    idle = [run for run in lacking if run.id not in active]
    if idle:
        _start(idle, len(idle), len(runs))


def _jobs(runs: Sequence[Run]) -> list[Job[RobustnessRequest]]:
    return queue.jobs(shell.workspace(), RobustnessRequest, run=[run.id for run in runs])


def _stored(runs: Sequence[tuple[str, Run]]) -> list[Named]:
    """The curves that are kept. A damaged one is an error on the page, and can be measured anew."""
    curves = []
    for name, run in runs:
        try:
            if curve := robustness.stored(run):
                curves.append((name, run, curve))
        except RunDamaged as error:
            st.error(f"{shell.plain(error)} Measure it again to replace it.", icon=":material/error:")
    return curves


def _start(runs: Sequence[Run], lacking: int, of_all: int) -> None:
    """The button that measures runs; before it, where they lack a curve, what that does."""
    if lacking:
        whose = "Not measured yet" if of_all == 1 else f"{count(lacking)} of {plural(of_all, 'run')} not measured yet"
        st.markdown(f"**{whose}.** {run_text.ROBUSTNESS}")
    label = "Measure robustness" if of_all == 1 else f"Measure {plural(lacking, 'run')}"
    requests = [RobustnessRequest(run=run.id) for run in runs]
    takes = job_panel.expected(requests[0])
    job_panel.start_button(
        label if lacking else "Measure again",
        *requests,
        key=f"robustness-start-{runs[0].id}-{of_all}",
        icon=ICON,
        type="primary" if lacking else "secondary",
        help=f"About {takes} per run." if takes else None,
    )


def _show(curves: Sequence[Named], name: str) -> None:
    """Conclusions with the verdict of the evidence check, the curves of one measure, and the limits as a table."""
    checks = run_cache.verdicts_of([run for _, run, _ in curves])
    lines = [
        (f"- **{shell.plain(title)}.** " if len(curves) > 1 else "")
        + f"{shell.plain(run_text.robustness(curve)[0])} {model_audit_panel.badge(check)}"
        for (title, _, curve), check in zip(curves, checks, strict=True)
    ]
    st.markdown("\n".join(lines), help=evidence_text.HELP)
    measures = list(curves[0][2].unchanged.measures)
    measure = st.selectbox("Measure", measures, key=f"{name}-measure", width=320)
    numbered = [(title, run.number, curve) for title, run, curve in curves]
    words = "; ".join(run_text.robustness_in_words(title, curve, measure) for title, _, curve in curves)
    figure = shell.drawn(
        f"{name} {measure}", [(title, run) for title, run, _ in curves], partial(figures.curves, numbered, measure)
    )
    based = run_text.robustness(curves[0][2])[1]
    caption = f"{based} {run_text.ROBUSTNESS_WAYS}"
    shell.chart(figure, name, alt=f"{measure} under seven changes: {words}", caption=caption)
    st.caption(shell.plain(caption))
    st.markdown("**Mildest strength that lowers accuracy**", help=run_text.LIMIT)
    limits = [
        {"Model": title, evidence_text.HEADING: check.verdict, **run_text.robustness_limits(curve)}
        for (title, _, curve), check in zip(curves, checks, strict=True)
    ]
    tables = [run_text.robustness_table(curve).assign(Model=title) for title, _, curve in curves]
    comparison_tables.show_table(pd.DataFrame(limits), f"{name}-limits", run_text.LIMIT, raw=pd.concat(tables))
