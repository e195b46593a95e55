"""The evidence check of models: the verdict beside an accuracy, the audit with its figures and pictures, and its job.

A page shows one run (``panel``) or several side by side (``show``). While an audit is at work, whoever calls ``panel``
draws it again and again (see ``active_audits``); ``show`` polls by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from covid_core.audit.model import evidence, model_audit, pictures
from covid_core.audit.model.pictures import Shown
from covid_core.errors import CovidCoreError, RunDamaged
from covid_core.evaluation.comparison import Candidate
from covid_core.figures import evidence as figures
from covid_core.formatting import count, interval, moment, p_value, plural, points, share
from covid_core.images.codec import png_bytes
from covid_core.jobs import queue
from covid_core.jobs.kinds import ModelAuditRequest
from covid_core.jobs.queue import Job
from covid_core.reports import evidence_text
from covid_core.reports.comparison_text import in_words
from covid_core.reports.evidence_text import DAMAGED, HEADING, HELP, NO_MODEL, NOT_YET, EvidenceCheck
from covid_core.runs.store import Run
from pages.shared import comparison_tables, job_panel, lung_segmenter, run_cache, shell
from pages.shared.comparison_tables import UNDEFINED

Audit = Mapping[str, Any]  # as ``model_audit`` stores it
MASKS = "Lung masks"  # the column beside HEADING
DRAWN_AT_ONCE = 6  # runs in one figure
PICTURE = 150  # pixels; two in a row at 390 px
COLOURS = {evidence.FRAME: "orange", evidence.LUNGS: "green", evidence.UNKNOWN: "gray", DAMAGED: "red"}
COLOURS |= {NOT_YET: "gray", NO_MODEL: "gray"}
WHAT_IT_DOES = (
    "The audit tests the finished model on its own test images again: as they are, with parts covered, and with the "
    "lungs of other images. Nothing is trained. It counts as a view of the test images."
)


# Beside the accuracy


def of(run: Run) -> EvidenceCheck:
    """The verdict on a run's model; read again only when one of the run's files has changed."""
    return run_cache.verdicts_of([run])[0]


def badge(check: EvidenceCheck) -> str:
    """The verdict as Markdown, to stand behind an accuracy."""
    return f":{COLOURS[check.verdict]}-badge[{check.in_passing}]"


def sentence(names: Sequence[str], runs: Sequence[Run]) -> str:
    """The verdicts on some runs, in one sentence."""
    return evidence_text.sentence(names, run_cache.verdicts_of(runs))


def columns(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Columns for a table with a row per run: the verdict, and, where one is known, whose lung masks it rests on."""
    checks = run_cache.verdicts_of(runs)
    masks = {MASKS: [one.masks for one in checks]} if any(one.masks for one in checks) else {}
    return {HEADING: [one.verdict for one in checks], **masks}


CONFIG = {
    HEADING: st.column_config.TextColumn(help=HELP),
    MASKS: st.column_config.TextColumn(help="Whose outlines of the lungs the verdict rests on."),
}


# The job


def active_audits() -> frozenset[str]:
    """Ids of the runs that are being audited."""
    return frozenset(job.request.run for job in queue.jobs(shell.workspace(), ModelAuditRequest) if job.is_active)


def _jobs(runs: Sequence[Run]) -> list[Job[ModelAuditRequest]]:
    return queue.jobs(shell.workspace(), ModelAuditRequest, run=[run.id for run in runs])


# One run


def panel(run: Run, place: str = "run") -> None:
    """The audit of one finished run: its verdict with all figures, or the way to one.

    ``place`` tells several panels of a page apart.
    """
    jobs = _jobs([run])
    job_panel.report(jobs)
    job_panel.outcomes(jobs, f"{place}-")
    job_panel.cards(jobs, f"{place}-")
    at_work = any(job.is_active for job in jobs)
    with shell.errors_shown():
        audit = _stored(run)
        if audit is not None:
            _show(run, audit, place, at_work)
        elif not at_work:
            _empty(run, place)


def _stored(run: Run, name: str = "") -> Audit | None:
    """The audit that is stored. A damaged one is an error on the page, and can be made anew."""
    try:
        return model_audit.stored(run)
    except RunDamaged as error:
        st.error(f"{shell.plain(name)}{shell.plain(error)} Audit it again to replace it.", icon=":material/error:")
        return None


def _empty(run: Run, place: str) -> None:
    with st.container(border=True, key=f"no-audit-{place}"):
        st.markdown(f"**{NOT_YET.capitalize()}.** An accuracy does not say what it rests on. {WHAT_IT_DOES}", help=HELP)
        _start_button(run, "Audit this model", place, "primary")


def _start_button(run: Run, label: str, place: str, kind: str = "secondary") -> None:
    key, options = f"audit-start-{place}-{run.id}", {"icon": ":material/troubleshoot:", "help": WHAT_IT_DOES}
    job_panel.start_button(label, ModelAuditRequest(run=run.id), key=key, type=kind, **options)


def _show(run: Run, audit: Audit, place: str, at_work: bool) -> None:
    """Verdict, figures, pictures, subgroups, and what it was made from."""
    lungs = evidence_text.lungs_in_short(audit)
    words = " ".join(filter(None, [evidence_text.conclusion(audit), lungs and f"Lungs: {lungs}."]))
    st.markdown(f"{badge(of(run))} {shell.plain(words)}", help=HELP)
    if "covers" in audit:
        name = f"{place}-{run.id}"
        _figures(run, audit, name)
        with st.expander("The same as a table", icon=":material/table_rows:"):
            alt = "Accuracy as the images are and under each cover"
            shell.table(_cover_table(audit), f"audit-covers-{name}", alt=alt)
        _pictures(run, name)
        st.markdown("**The worst subgroups**")
        st.caption(shell.plain(evidence_text.worst_subgroup(audit)))
        if audit["subgroups"]:
            alt = "Accuracy by source, size and brightness"
            shell.table(_subgroup_table(audit), f"audit-subgroups-{name}", height="content", alt=alt)
        with st.expander("The rule of the verdict, and its limits", icon=":material/rule:"):
            st.markdown("\n".join(f"{number}. {line}" for number, line in enumerate(evidence_text.RULE, start=1)))
            st.caption(evidence_text.LIMITS_OF_RULE)
        st.caption(shell.plain(_made_from(audit)))
    with st.container(horizontal=True):
        if not at_work:
            _start_button(run, "Audit again", place)


def _figures(run: Run, audit: Audit, name: str) -> None:
    version = f"{run.id} {audit.get('made')}"
    if audit.get("effects"):
        left, right = st.columns(2)
        with left:
            title, alt = "What the predictions follow", figures.effects_in_words(audit)
            _chart(title, f"audit-effects-{name}", version, lambda: figures.effects(audit), alt)
        with right:
            alt = evidence_text.heat(audit)
            _chart("Where the heat lies", f"audit-heat-{name}", version, lambda: figures.heat(audit), alt)
    title, alt = "Accuracy when a part is covered", figures.covers_in_words(audit)
    _chart(title, f"audit-covers-{name}", version, lambda: figures.covers(audit), alt)
    st.caption(
        "These figures do not decide the verdict: a covered image is no chest X-ray, so a model may predict anything."
    )


def _chart(title: str, name: str, version: str, draw: Callable[[], go.Figure], alt: str) -> None:
    st.markdown(f"**{title}**")
    shell.chart(shell.drawn(name, version, draw), name, alt=alt, title=title, caption=alt)


def _cover_table(audit: Audit) -> pd.DataFrame:
    """A row per cover, in words, with the images that it could be tried on."""
    rows = []
    for row in audit["covers"]:
        figures = {
            "Accuracy": evidence_text.cover_note(row).get("note", UNDEFINED),
            "Drop": UNDEFINED,
            "Same prediction": UNDEFINED,
        }
        if row.get("accuracy"):
            drop = row["drop"]
            figures["Accuracy"] = _interval(row["accuracy"])
            figures["Drop"] = points(drop["value"], drop["low"], drop["high"])
            figures["Same prediction"] = _interval(row["same_answer"])
        rows.append({"Images": row["name"], "Gone": row["destroys"], **figures, "n": row["images"]})
    return pd.DataFrame(rows)


def _interval(value: Mapping[str, Any]) -> str:
    return interval(value["value"], value["low"], value["high"])


def _pictures(run: Run, name: str) -> None:
    """One test image under every cover, made when the box is opened."""
    title, key = "What the model is shown", f"audit-pictures-{name}"
    box = st.expander(title, icon=":material/image:", key=key, on_change="rerun")
    if not box.open:
        return
    with box:
        try:
            shown = _examples(str(run.path), run_cache.stamp_of(run.path), lung_segmenter.in_use(run.spec.dataset), run)
        except CovidCoreError as error:
            st.warning(f"The images cannot be shown: {shell.plain(error)}", icon=":material/hide_image:")
            return
        grid = st.grid("auto", min_column_width=PICTURE, gap="small")
        for one in shown:
            with grid.cell().container(gap=None):
                st.image(png_bytes(one.pixels), width="stretch", alt=f"{one.name}: {evidence_text.picture(one)}")
                st.markdown(f"**{shell.plain(one.name)}**")
                st.caption(shell.plain(evidence_text.picture(one)))


@st.cache_resource(max_entries=16, show_spinner="Covering a test image")
def _examples(path: str, stamp: str, segmenter: str, _run: Run) -> list[Shown]:
    return pictures.examples(shell.workspace(), _run)


def _subgroup_table(audit: Audit) -> pd.DataFrame:
    """A row per subgroup, the worst first, each against all others."""
    return pd.DataFrame(
        [
            {
                "By": one["by"],
                "Images": one["name"],
                "Accuracy": _interval(one["accuracy"]),
                "n": one["accuracy"]["n"],
                "Accuracy of the others": _interval(one["others"]),
                "Others n": one["others"]["n"],
                "p (Holm)": p_value(one["p"]),
            }
            for one in audit["subgroups"]
        ]
    )


def _made_from(audit: Audit) -> str:
    drawn = "" if audit["images"] == audit["of_all"] else f" of {count(audit['of_all'])}, drawn at random"
    lungs = (
        f"Lungs known of {count(audit['with_lungs'])}: {evidence_text.lungs_from(audit)}"
        if audit["with_lungs"]
        else "No lung masks"
    )
    return f"{plural(audit['images'], 'test image')}{drawn}. {lungs.rstrip('.')}. Made {moment(audit['made'])}."


# Several runs


def show(order: Sequence[Candidate], runs: Sequence[Run]) -> None:
    """The tab of the Compare page: verdicts side by side, with the button that audits those that lack one."""
    job_panel.panel(lambda: _jobs(runs), "compare-")
    at_work = active_audits()
    _audit_all([run for run in runs if run.has_network and run.id not in at_work], len(runs))
    names = [candidate.name for candidate in order]
    audits = [_stored(run, f"{name}: ") for name, run in zip(names, runs, strict=True)]
    st.caption(
        "The lungs of one test image are put into the frame of another. *Frame* and *Lungs* are the shares of "
        "predictions that follow each alone.",
        help=HELP,
    )
    table = _side_by_side(order, runs, audits)
    comparison_tables.show_table(table, "reads", "Evidence checks of the models", config=CONFIG)
    rows = zip(order, audits, strict=True)
    audited = [(candidate, one) for candidate, one in rows if one and "covers" in one]
    if len(audited) > 1:
        _figures_of_runs(audited[:DRAWN_AT_ONCE], len(audited))
    stored = {place: one for place, one in enumerate(audits) if one}
    if stored:
        st.subheader("One model in full")
        place = st.selectbox("Run", list(stored), format_func=names.__getitem__, key="compare_audit_run", width=360)
        with shell.errors_shown():
            _show(runs[place], stored[place], "compare", runs[place].id in at_work)


def _audit_all(idle: Sequence[Run], of_all: int) -> None:
    checks = zip(idle, run_cache.verdicts_of(idle), strict=True)
    lacking = [run for run, check in checks if check.verdict in (NOT_YET, DAMAGED)]
    if not lacking:
        return
    are = "is" if len(lacking) == 1 else "are"
    st.markdown(f"**{count(len(lacking))} of {plural(of_all, 'run')} {are} {NOT_YET}.** {WHAT_IT_DOES}")
    label = "Audit it" if len(lacking) == 1 else f"Audit all {count(len(lacking))} that are {NOT_YET}"
    requests = [ModelAuditRequest(run=run.id) for run in lacking]
    job_panel.start_button(label, *requests, key="audit-all", icon=":material/troubleshoot:", type="primary")


def _side_by_side(order: Sequence[Candidate], runs: Sequence[Run], audits: Sequence[Audit | None]) -> pd.DataFrame:
    """A row per run: accuracy, verdict, and the figures that it rests on."""
    rows = []
    for candidate, run, stored in zip(order, runs, audits, strict=True):
        audit, check = stored or {}, of(run)
        effects, heat = audit.get("effects"), audit.get("heat") or {}
        row = {"Model": candidate.name, "Test accuracy": in_words(candidate.assessment.test), HEADING: check.verdict}
        row |= dict.fromkeys(("Frame", "Lungs", "Heat in the lungs", "By chance", "Worst subgroup"), UNDEFINED)
        if effects:
            row |= {"Frame": _interval(effects["frame"]), "Lungs": _interval(effects["lungs"])}
        if heat.get("share") is not None:
            row["Heat in the lungs"] = _interval({**heat, "value": heat["share"]})
            row["By chance"] = share(heat["chance"])
        if audit.get("subgroups"):
            one, accuracy = audit["subgroups"][0], audit["subgroups"][0]["accuracy"]
            row["Worst subgroup"] = f"{one['by']}: {one['name']}, {_interval(accuracy)} of {accuracy['n']:,} images"
        row |= {"Images": audit.get("images"), "With lungs known": audit.get("with_lungs"), MASKS: check.masks}
        rows.append(row)
    return pd.DataFrame(rows).astype({"Images": "Int64", "With lungs known": "Int64"})


def _figures_of_runs(audited: Sequence[tuple[Candidate, Audit]], of_all: int) -> None:
    names, audits = [candidate.name for candidate, _ in audited], [one for _, one in audited]
    version = "\n".join(f"{candidate.name} {candidate.number} {one.get('made')}" for candidate, one in audited)
    covers = partial(figures.covers_of_runs, numbers=[candidate.number for candidate, _ in audited])
    if of_all > len(audited):
        st.caption(f"Drawn: the best {len(audited)} of {plural(of_all, 'audited run')}.")
    left, right = st.columns(2)
    for column, title, name, draw, in_words_of in (
        (left, "What the predictions follow", "audits-effects", figures.effects_of_runs, figures.effects_in_words),
        (right, "Accuracy when a part is covered", "audits-covers", covers, figures.covers_in_words),
    ):
        with column:
            alt = " ".join(f"{candidate.name}: {in_words_of(one)}" for candidate, one in audited)
            _chart(title, name, version, partial(draw, names, audits), alt)
