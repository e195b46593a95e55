"""What a model reads: the verdict beside its accuracy, its audit with figures and pictures, and the job that makes it.

A page shows one run (``panel``) or several side by side (``show``). While an audit is at work, whoever calls ``panel``
draws it again and again (see ``active_audits``); ``show`` polls by itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from covid_core.audit.model import evidence, model_audit, pictures
from covid_core.audit.model.pictures import Shown
from covid_core.data import masks
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
from covid_core.reports.evidence_text import DAMAGED, HEADING, HELP, NOT_YET, Told
from covid_core.runs.store import Run
from pages.shared import comparison_tables, job_panel, lung_segmenter, run_cache, shell

MASKS = "Lung masks"  # the column beside HEADING
DRAWN_AT_ONCE = 6  # runs in one figure
PICTURE = 150  # pixels; two in a row at 390 px
COLOURS = {evidence.FRAME: "orange", evidence.LUNGS: "green", evidence.UNKNOWN: "gray", DAMAGED: "red", NOT_YET: "gray"}
WHAT_IT_DOES = (
    "The audit asks the finished model again about its own test images: as they are, with parts covered, and with the "
    "lungs of other images. Nothing is trained. It counts as a look at the test images."
)
NO_MASKS = (
    "Nobody here knows where the lungs of these images are: the data set has no masks, and no segmenter is trained. "
    "An audit can still cover the border and the middle, but its verdict will be that it cannot say."
)
HOW_TO_GET_MASKS = (
    "**Lung masks are missing.** Train the segmenter that outlines lungs on the Predict page (under *What outlines the "
    "lungs*; it takes some minutes), then audit again."
)
MASKS_BY_NOW = (
    "**Lung masks were missing.** By now a segmenter can outline the lungs of these images: audit again for a verdict."
)


# Beside the accuracy


def of(run: Run) -> Told:
    """The verdict on a run's model; read again only when one of the run's files has changed."""
    return run_cache.verdicts_of([run])[0]


def badge(told: Told) -> str:
    """The verdict as Markdown, to stand behind an accuracy."""
    return f":{COLOURS[told.verdict]}-badge[{told.in_passing}]"


def sentence(names: Sequence[str], runs: Sequence[Run]) -> str:
    """What some runs read, in one sentence."""
    return evidence_text.sentence(names, run_cache.verdicts_of(runs))


def columns(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Columns for a table with a row per run: the verdict, and, where one is known, whose lung masks it rests on."""
    told = run_cache.verdicts_of(runs)
    masks = {MASKS: [one.masks for one in told]} if any(one.masks for one in told) else {}
    return {HEADING: [one.verdict for one in told], **masks}


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
        found = _known(run)
        if found is not None:
            _show(run, found, place, at_work)
        elif not at_work:
            _empty(run, place)


def _known(run: Run) -> dict[str, Any] | None:
    """The audit that is kept. A damaged one is told in a sentence, and can be made anew."""
    try:
        return model_audit.known(run)
    except RunDamaged as error:
        st.error(f"{shell.plain(error)} Audit it again to replace it.", icon=":material/error:")
        return None


def _empty(run: Run, place: str) -> None:
    with st.container(border=True, key=f"no-audit-{place}"):
        st.markdown(f"**{NOT_YET.capitalize()}.** An accuracy does not say what it rests on. {WHAT_IT_DOES}", help=HELP)
        if _nobody_knows_lungs(run):
            st.warning(NO_MASKS, icon=":material/pulmonology:")
            _to_the_segmenter(run)
        _start_button(run, "Audit this model", place, "primary")


def _start_button(run: Run, label: str, place: str, kind: str = "secondary") -> None:
    key, options = f"audit-start-{place}-{run.id}", {"icon": ":material/troubleshoot:", "help": WHAT_IT_DOES}
    job_panel.start_button(label, ModelAuditRequest(run=run.id), key=key, type=kind, **options)


def _to_the_segmenter(run: Run) -> None:
    label = "Train the segmenter on the Predict page"
    st.page_link("predict.py", label=label, icon=":material/arrow_forward:", query_params={"run": run.id})


def _nobody_knows_lungs(run: Run) -> bool:
    """Whether an audit would have neither the data set's masks nor a segmenter."""
    if lung_segmenter.in_use(run.dataset.id):
        return False
    try:
        return not masks.has_mask(shell.dataset_of(run)).any()
    except CovidCoreError:
        return True


def _show(run: Run, found: Mapping[str, Any], place: str, at_work: bool) -> None:
    """Verdict, figures, pictures, subgroups, and what it was made from."""
    st.markdown(f"{badge(of(run))} {shell.plain(found['in_words'])}", help=HELP)
    if found.get("effects") is None and not found.get("with_lungs"):
        _missing_masks(run)
    if "covers" in found:
        _figures(run, found, place)
        _cover_table(found, f"{place}-{run.id}")
        _pictures(run, place)
        _subgroups(found, f"{place}-{run.id}")
        _rule()
        st.caption(shell.plain(_made_from(found)))
    with st.container(horizontal=True):
        if not at_work:
            _start_button(run, "Audit again", place)


def _missing_masks(run: Run) -> None:
    """How to get masks, or that there are some by now."""
    if not _nobody_knows_lungs(run):
        st.info(MASKS_BY_NOW, icon=":material/pulmonology:")
        return
    st.warning(HOW_TO_GET_MASKS, icon=":material/pulmonology:")
    _to_the_segmenter(run)


def _figures(run: Run, found: Mapping[str, Any], place: str) -> None:
    version = f"{run.id} {found.get('made')}"
    if found.get("effects"):
        left, right = st.columns(2)
        with left:
            st.markdown("**What the answers follow**")
            drawn = shell.drawn("audit effects", version, lambda: figures.effects(found))
            shell.chart(drawn, f"audit-effects-{place}-{run.id}", alt=figures.effects_in_words(found))
        with right:
            st.markdown("**Where the heat lies**")
            drawn = shell.drawn("audit heat", version, lambda: figures.heat(found))
            shell.chart(drawn, f"audit-heat-{place}-{run.id}", alt=found["heat_in_words"])
    st.markdown("**What is left when a part is covered**")
    drawn = shell.drawn("audit covers", version, lambda: figures.covers(found))
    shell.chart(drawn, f"audit-covers-{place}-{run.id}", alt=figures.covers_in_words(found))
    st.caption(
        "Covered images are no images any more: a network may answer oddly to them, so these figures are told "
        "beside the verdict and do not decide it."
    )


def _cover_table(found: Mapping[str, Any], name: str) -> None:
    with st.expander("The same as a table", icon=":material/table_rows:"):
        table = cover_table(found)
        shell.table(table, f"audit-covers-{name}", alt="Accuracy as the images are and under each cover")


def cover_table(found: Mapping[str, Any]) -> pd.DataFrame:
    """A row per cover, in words, with the images that it could be tried on."""
    rows = []
    for row in found["covers"]:
        known = bool(row.get("accuracy"))
        drop = row["drop"] if known else {}
        rows.append(
            {
                "Images": row["name"],
                "Gone": row["destroys"],
                "Right": _interval(row["accuracy"]) if known else row.get("note", comparison_tables.UNDEFINED),
                "Drop": points(drop["value"], drop["low"], drop["high"]) if known else comparison_tables.UNDEFINED,
                "Same answer": _interval(row["same_answer"]) if known else comparison_tables.UNDEFINED,
                "n": row["images"],
            }
        )
    return pd.DataFrame(rows)


def _interval(value: Mapping[str, Any]) -> str:
    return interval(value["value"], value["low"], value["high"])


def _pictures(run: Run, place: str) -> None:
    """One test image under every cover, made when somebody looks."""
    box = st.expander(
        "What the model is shown", icon=":material/image:", key=f"audit-pictures-{place}-{run.id}", on_change="rerun"
    )
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
                st.image(png_bytes(one.pixels), width="stretch", alt=f"{one.name}: {one.in_words}")
                st.markdown(f"**{one.name}**")
                st.caption(shell.plain(one.in_words))


@st.cache_resource(max_entries=16, show_spinner="Covering a test image")
def _examples(path: str, stamp: str, segmenter: str, _run: Run) -> list[Shown]:
    return pictures.examples(shell.workspace(), _run)


def _subgroups(found: Mapping[str, Any], name: str) -> None:
    st.markdown("**The worst subgroups**")
    st.caption(shell.plain(found["worst_in_words"]))
    table = subgroup_table(found)
    if len(table):
        shell.table(table, f"audit-subgroups-{name}", height="content", alt="Accuracy by source, size and brightness")


def subgroup_table(found: Mapping[str, Any]) -> pd.DataFrame:
    """A row per subgroup, the worst first, each against all others."""
    return pd.DataFrame(
        [
            {
                "By": one["by"],
                "Images": one["name"],
                "Right": _interval(one["accuracy"]),
                "n": one["accuracy"]["n"],
                "Others right": _interval(one["others"]),
                "Others n": one["others"]["n"],
                "p (Holm)": p_value(one["p"]),
            }
            for one in found["subgroups"]
        ]
    )


def _rule() -> None:
    with st.expander("The rule, and what it does not see", icon=":material/rule:"):
        st.markdown("\n".join(f"{number}. {line}" for number, line in enumerate(evidence.RULE, start=1)))
        st.caption(evidence.BLIND_TO)


def _made_from(found: Mapping[str, Any]) -> str:
    drawn = "" if found["images"] == found["of_all"] else f" of {count(found['of_all'])}, drawn at random"
    lungs = f"Lungs known of {count(found['with_lungs'])}: {found['masks']}" if found["with_lungs"] else "No lung masks"
    return f"{plural(found['images'], 'test image')}{drawn}. {lungs.rstrip('.')}. Made {moment(found['made'])}."


# Several runs


def show(order: Sequence[Candidate], runs: Sequence[Run]) -> None:
    """The tab of the Compare page: verdicts side by side, with the button that audits those that lack one."""
    job_panel.panel(lambda: _jobs(runs), "compare-")
    at_work = active_audits()
    _audit_all([run for run in runs if run.id not in at_work], len(runs))
    names = [candidate.name for candidate in order]
    found = _audits(names, runs)
    st.caption(
        "Frame and lungs: how many of its answers follow each alone, when the lungs of one test image are put into the "
        "frame of another.",
        help=HELP,
    )
    table = side_by_side(order, runs, found)
    comparison_tables.show_table(table, "reads", "What the models read", config=CONFIG)
    audited = [(name, one) for name, one in zip(names, found, strict=True) if one and "covers" in one]
    if len(audited) > 1:
        _figures_of_runs(audited[:DRAWN_AT_ONCE], len(audited))
    _one_in_full(names, runs, found, at_work)


def _audit_all(idle: Sequence[Run], of_all: int) -> None:
    verdicts_of_idle = zip(idle, run_cache.verdicts_of(idle), strict=True)
    lacking = [run for run, one in verdicts_of_idle if one.verdict in (NOT_YET, DAMAGED)]
    if not lacking:
        return
    st.markdown(
        f"**{count(len(lacking))} of {plural(of_all, 'run')} {'is' if len(lacking) == 1 else 'are'} {NOT_YET}.** "
        f"{WHAT_IT_DOES}"
    )
    if any(_nobody_knows_lungs(run) for run in lacking):
        st.warning(NO_MASKS, icon=":material/pulmonology:")
        _to_the_segmenter(lacking[0])
    label = "Audit it" if len(lacking) == 1 else f"Audit all {count(len(lacking))} that are {NOT_YET}"
    requests = [ModelAuditRequest(run=run.id) for run in lacking]
    job_panel.start_button(label, *requests, key="audit-all", icon=":material/troubleshoot:", type="primary")


def _audits(names: Sequence[str], runs: Sequence[Run]) -> list[dict[str, Any] | None]:
    """The audits that are kept; a damaged one is told, and counts as none."""
    found = []
    for name, run in zip(names, runs, strict=True):
        try:
            found.append(model_audit.known(run))
        except RunDamaged as error:
            st.warning(f"{shell.plain(name)}: {shell.plain(error)}", icon=":material/error:")
            found.append(None)
    return found


def side_by_side(
    order: Sequence[Candidate], runs: Sequence[Run], found: Sequence[Mapping[str, Any] | None]
) -> pd.DataFrame:
    """A row per run: accuracy, verdict, and the figures that it rests on."""
    rows = []
    for candidate, run, one in zip(order, runs, found, strict=True):
        given, told, effects = one or {}, of(run), (one or {}).get("effects") or {}
        heat = given.get("heat") or {}
        known = heat.get("share") is not None
        rows.append(
            {
                "Model": candidate.name,
                "Test accuracy": in_words(candidate.assessment.test),
                HEADING: told.verdict,
                "Frame": _interval(effects["frame"]) if effects else comparison_tables.UNDEFINED,
                "Lungs": _interval(effects["lungs"]) if effects else comparison_tables.UNDEFINED,
                "Heat in the lungs": _interval({**heat, "value": heat["share"]})
                if known
                else comparison_tables.UNDEFINED,
                "By chance": share(heat["chance"]) if known else comparison_tables.UNDEFINED,
                "Worst subgroup": _worst(given),
                "Images": given.get("images"),
                "With lungs known": given.get("with_lungs"),
                MASKS: told.masks,
            }
        )
    return pd.DataFrame(rows).astype({"Images": "Int64", "With lungs known": "Int64"})


def _worst(found: Mapping[str, Any]) -> str:
    if not found.get("subgroups"):
        return comparison_tables.UNDEFINED
    one = found["subgroups"][0]
    return f"{one['by']}: {one['name']}, {_interval(one['accuracy'])} of {plural(one['accuracy']['n'], 'image')}"


def _figures_of_runs(audited: Sequence[tuple[str, Mapping[str, Any]]], of_all: int) -> None:
    names, found = [name for name, _ in audited], [one for _, one in audited]
    version = "\n".join(f"{name} {one.get('made')}" for name, one in audited)
    if of_all > len(audited):
        st.caption(f"Drawn: the best {len(audited)} of {plural(of_all, 'audited run')}.")
    left, right = st.columns(2)
    with left:
        st.markdown("**What the answers follow**")
        drawn = shell.drawn("audits effects", version, lambda: figures.effects_of_runs(names, found))
        alt = " ".join(f"{name}: {figures.effects_in_words(one)}" for name, one in zip(names, found, strict=True))
        shell.chart(drawn, "audits-effects", alt=alt)
    with right:
        st.markdown("**What is left when a part is covered**")
        drawn = shell.drawn("audits covers", version, lambda: figures.covers_of_runs(names, found))
        alt = " ".join(f"{name}: {figures.covers_in_words(one)}" for name, one in zip(names, found, strict=True))
        shell.chart(drawn, "audits-covers", alt=alt)


def _one_in_full(
    names: Sequence[str], runs: Sequence[Run], found: Sequence[Mapping[str, Any] | None], at_work: frozenset[str]
) -> None:
    """The whole audit of one of the runs."""
    known = [place for place, one in enumerate(found) if one]
    if not known:
        return
    st.subheader("One model in full")
    place = st.selectbox("Run", known, format_func=names.__getitem__, key="compare_audit_run", width=360)
    with shell.errors_shown():
        _show(runs[place], found[place], "compare", runs[place].id in at_work)
