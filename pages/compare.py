"""Which run is better, on what, by how much, how sure, and what does it cost?"""

from collections.abc import Callable, Sequence

import plotly.graph_objects as go
import streamlit as st

from covid_core.evaluation import comparison
from covid_core.evaluation.assessment import beats_majority
from covid_core.evaluation.comparison import Ranking
from covid_core.figures import evaluation as figures
from covid_core.formatting import bounds, decimals, p_in_words
from covid_core.jobs import queue
from covid_core.jobs.kinds import ExternalTestRequest, ModelAuditRequest, RobustnessRequest
from covid_core.reports import comparison_text, run_text
from covid_core.runs import store, test_set_access
from pages.panels.compare import (
    calibration,
    confusion,
    course_report,
    external_tests,
    image_browser,
    performance,
    repeats,
    run_choice,
    score_histogram,
    training_views,
)
from pages.shared import annotation_form, comparison_tables, model_audit_panel, presentation, shell, url_state
from pages.shared.exchange import bundles
from pages.shared.run_cache import RunCandidate
from pages.shared.test_part import robustness_panel, subgroup_panel, test_set_views

QUESTION = "Which model is better, on what, by how much?"
Tab = Callable[[list[RunCandidate]], None]


def main() -> None:
    shell.heading(QUESTION)
    answer = st.container()
    usable, broken = shell.usable_runs()
    if not usable:
        run_choice.nothing_to_compare()
        shell.broken_notice(broken)
        return
    study = run_choice.pick_study({study.id: study for study in store.list_studies(shell.workspace())})
    repeated = study if study and study.is_repeats else None
    if repeated:  # one training: what its runs say together stands before any single one of them
        with shell.errors_shown():
            repeats.show(answer, repeated)
        answer = run_choice.single_runs()
    elif study:
        with shell.errors_shown():
            by_id = {run.id: run for run in usable}
            comparison_tables.study_conclusion(study, [by_id[name] for name in study.runs if name in by_id])
    with st.container(horizontal=True, vertical_alignment="top"):
        with st.container(width="stretch", key="compare-runs"):
            runs = run_choice.pick_runs(usable, study)
        annotation_form.popover(runs)
    annotation_form.undo()
    loaded, unreadable = comparison_tables.load(runs)
    shell.broken_notice([*broken, *unreadable])
    group = run_choice.pick_group(loaded, study)
    if not group:
        answer.info("Choose the runs to compare.", icon=":material/arrow_downward:")
        return
    test_set_views.note([one.run for one in group], test_set_access.FIGURES)
    ranking = comparison_tables.ranking(group)
    outcome, order = comparison_text.summary(ranking), list(ranking.order)
    with answer:
        _dot_plot(order)
        st.markdown(f"**{shell.plain(outcome.headline)}**")
    _warnings(outcome, order)
    rows = _performance(ranking)
    _summary(outcome, order)
    with st.container(horizontal=True, vertical_alignment="center"):
        if models := [one.run for one in loaded if one.run.has_network]:
            bundles.download(models)
        course_report.show([one.run for one in loaded], study)
    splits = {one.split_hash for one in group}
    test_set_views.show([run for run in usable if run.split_hash in splits])
    st.page_link(
        "train.py",
        label="Compare with a model trained elsewhere",
        icon=":material/upload_file:",
        query_params={"section": "elsewhere"},
    )
    if rows:
        _details(ranking, rows, repeated is not None)
    else:
        st.info("No run matches the filter.", icon=":material/filter_alt_off:")
    _next_step(order)


def _dot_plot(order: Sequence[RunCandidate]) -> None:
    """Every run's test accuracy with its interval, and the majority baseline."""
    groups = [one.run.annotation.group for one in order]

    def draw() -> go.Figure:
        points = comparison.performance_table(order).head(len(order))
        points = points.assign(number=[one.number for one in order], group=groups)
        return figures.accuracies(points, order[0].assessment.majority["test"].value)

    figure = shell.drawn(f"accuracies of {groups}", order, draw)
    words = "; ".join(f"{one.name} {comparison_text.in_words(one.assessment.test)}" for one in order)
    shell.chart(figure, "test-accuracy", alt=f"Test accuracy with 95 % interval: {words}")


def _tabs(ranking: Ranking[RunCandidate], rows: list[int], with_repeats: bool) -> dict[str, dict[str, Tab]]:
    """Groups of tabs, what one asks first before the rest. ``rows`` are the runs that the filter leaves."""
    repeated: dict[str, Tab] = {"Repeats": lambda _order: repeats.show(st.container())} if with_repeats else {}
    return {
        "Performance": {
            "Measures": performance.measures,
            "Per class": performance.per_class,
            "Subgroups": _subgroups,
            "Pairs": lambda order: performance.pairs(ranking, rows, order),
            "ROC and precision-recall": performance.thresholds,
            **repeated,
        },
        "Errors and evidence": {
            "Confusion": confusion.show,
            "Images": image_browser.show,
            "Evidence check": lambda order: model_audit_panel.show(order, [one.run for one in order]),
            "Robustness": robustness_panel.show,
        },
        "Calibration and external test": {
            "Calibration": calibration.show,
            "Scores": score_histogram.show,
            "Outside test": external_tests.show,
        },
        "Training": {
            "Curves": training_views.learning_curves,
            "Hyper-parameters": training_views.hyperparameters,
            "Cost": training_views.cost,
        },
    }


def _subgroups(order: list[RunCandidate]) -> None:
    """The test images of one run by sex, age, view, source and device."""
    one = order[comparison_tables.pick_run(order, "compare_subgroups")] if len(order) > 1 else order[0]
    subgroup_panel.show(one.run)


def _details(ranking: Ranking[RunCandidate], rows: list[int], repeated: bool) -> None:
    """The tabs as a fragment, so that a choice in them draws nothing above them anew.

    While a job is followed they are none: a nested fragment that polls can outlive its tab (streamlit/streamlit#16708).
    """
    followed = _at_work()
    (_groups if followed else st.fragment(_groups))(ranking, rows, repeated, followed)


def _at_work() -> bool:
    return any(
        job.is_active
        for job in queue.jobs(shell.workspace(), ModelAuditRequest, ExternalTestRequest, RobustnessRequest)
    )


def _groups(ranking: Ranking[RunCandidate], rows: list[int], repeated: bool, followed: bool) -> None:
    """Groups of tabs; only the open tab is computed, and the address names it."""
    groups = _tabs(ranking, rows, with_repeats=not repeated)
    group_of = {tab: group for group, tabs in groups.items() for tab in tabs}
    wanted = st.query_params.get("view", "")
    if url_state.is_moved("view") or "compare_tabs" not in st.session_state:
        view = wanted if wanted in group_of else next(iter(group_of))
        st.session_state["compare_tabs"] = group_of[view]
        st.session_state[_key(group_of[view])] = view
    group = st.segmented_control(
        "Views", list(groups), required=True, key="compare_tabs", label_visibility="collapsed", width="stretch"
    )
    tabs = groups[group]
    places = {name: st.container() for name in groups}  # in one place, a browser draws the old tabs' charts once more
    shown = places[group].tabs(list(tabs), key=_key(group), on_change="rerun")
    for tab, show in zip(shown, tabs.values(), strict=True):
        if tab.open:
            with tab, shell.errors_shown():
                show([ranking.order[i] for i in rows])
    opened = st.session_state.get(_key(group)) or next(iter(tabs))
    url_state.write("view", "" if opened == next(iter(group_of)) else opened)
    if _at_work() and not followed:
        st.rerun()


def _key(group: str) -> str:
    return f"compare_tabs_{group}"


def _warnings(outcome: comparison_text.Summary, order: Sequence[RunCandidate]) -> None:
    if any(one.run.dataset.synthetic for one in order):
        st.info(shell.SYNTHETIC, icon=":material/draw:")
    if outcome.warnings:
        st.warning("  \n".join(shell.plain(sentence) for sentence in outcome.warnings), icon=":material/warning:")


def _summary(outcome: comparison_text.Summary, order: Sequence[RunCandidate]) -> None:
    """What the answer rests on, in sentences."""
    runs = [one.run for one in order]
    read = model_audit_panel.sentence([one.name for one in order], runs)
    sentences = (*outcome.details, *filter(None, [run_text.left_out(runs[0])]), *_images_since(order), read)
    st.markdown("\n".join(f"- {shell.plain(sentence)}" for sentence in sentences), help=model_audit_panel.HELP)
    st.download_button(
        "Summary",
        comparison_tables.summary_text(outcome, runs, read),
        "summary.txt",
        "text/plain",
        icon=":material/download:",
        type="tertiary",
    )


def _images_since(order: Sequence[RunCandidate]) -> list[str]:
    """Which runs used other images or classes than the data set has now."""
    names: dict[str, list[str]] = {}
    for one in order:
        version = shell.version_of(one.run)
        if version.before is not None and not version.is_present:
            names.setdefault(run_text.version(version), []).append(one.name)
    return [
        f"{'All runs' if len(of) == len(order) > 1 else comparison_text.named(of)} used "
        f"the data set as it was {version}."
        for version, of in names.items()
    ]


def _performance(ranking: Ranking[RunCandidate]) -> list[int]:
    """The course's first table. Returns which runs, by position, the filter leaves."""
    order = list(ranking.order)
    st.subheader("Performance")
    table = comparison_text.performance_table(order)
    reference = next((place for place, one in enumerate(order) if one.run.annotation.reference), None)
    against = {} if reference is None else {comparison_tables.DIFFERENCE: _differences(ranking, reference)}
    words = {**against, **model_audit_panel.columns([one.run for one in order])}
    view = comparison_tables.performance_view(table, _remarks(order), words)
    wanted = st.text_input(
        "Show only runs with",
        placeholder="Part of a name, tag, verdict or remark",
        key="compare_filter",
        width=presentation.enlarged(320),
    ).casefold()
    words = view[["Model", model_audit_panel.HEADING, "Remarks"]].agg(" ".join, axis=1)
    rows = [i for i in range(len(order)) if wanted in words.iat[i].casefold()]
    best = order[0].name if beats_majority(order[0].assessment) else ""
    shown = view.iloc[[*rows, len(order), len(order) + 1]]
    config, hidden = model_audit_panel.CONFIG, comparison_tables.AT_FIRST_HIDDEN
    quiet = view["Model"].iloc[-2:].tolist()
    comparison_tables.show_table(
        shown, "performance", "Performance", best=best, quiet=quiet, config=config, hidden=hidden
    )
    if reference is not None:
        st.caption(
            f"{comparison_tables.DIFFERENCE}: percentage points above {shell.plain(order[reference].name)}, with 95 % "
            "interval and exact McNemar test (Holm's correction for all pairs)."
        )
    return rows


def _differences(ranking: Ranking[RunCandidate], reference: int) -> list[str]:
    """Each run's accuracy minus that of the reference, with interval and test."""
    words = []
    for place in range(len(ranking.order)):
        pair = ranking.pairs.of(place, reference)
        sign = "+" if pair.difference > 0 else ""
        tested = f"{sign}{decimals(100 * pair.difference, 1)} {bounds(pair.low, pair.high)}, {p_in_words(pair.p_holm)}"
        words.append("reference" if place == reference else tested)
    return words


def _remarks(order: list[RunCandidate]) -> dict[str, list[str]]:
    """What stands in the column of remarks, by the run's id: its group and tags, and what chose it."""
    remarks = {one.id: [*filter(None, [one.run.annotation.group]), *one.run.annotation.tags] for one in order}
    by = ((order[0], "best on test"), (comparison.chosen_by_validation(order), "validation's choice"))
    for one, remark in by if len(order) > 1 else ():
        if one is not None and beats_majority(one.assessment):
            remarks[one.id].append(remark)
    return remarks


def _next_step(order: list[RunCandidate]) -> None:
    chosen = comparison.chosen_by_validation(order)
    st.divider()
    with st.container(horizontal=True, vertical_alignment="center"):
        if chosen is None or not beats_majority(chosen.assessment):
            st.markdown("Next: check the images and labels, then train with other settings.")
            st.page_link("dataset.py", label="Look at the data set", icon=":material/arrow_forward:")
            st.page_link("train.py", label="Train a model", icon=":material/arrow_forward:")
            return
        if not chosen.run.has_network:
            st.markdown(f"Validation chooses {shell.plain(chosen.name)}, which was trained elsewhere.")
            return
        st.markdown(f"Next: try {shell.plain(chosen.name)}, validation's choice, on single images.")
        st.page_link(
            "predict.py",
            label="Try it on an image",
            icon=":material/arrow_forward:",
            query_params={"run": chosen.id},
        )


main()
