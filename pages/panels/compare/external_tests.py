"""The Compare page's view of a run on images from elsewhere: what is left of its figures."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from covid_core.data import dataset as data
from covid_core.evaluation import recalibration
from covid_core.figures import evaluation as figures
from covid_core.formatting import count, number, plural, points
from covid_core.inference import external_test
from covid_core.inference.external_test import Outside
from covid_core.jobs import queue
from covid_core.jobs.kinds import ExternalTestRequest
from covid_core.reports import external_text, tables
from covid_core.reports.comparison_text import in_words
from covid_core.reports.external_text import MEASURES
from covid_core.reports.study_text import ENDS
from covid_core.runs.store import Evaluation, Run
from pages.shared import comparison_tables, job_panel, model_audit_panel, run_cache, shell
from pages.shared.run_cache import RunCandidate

NOT_ONE = ""  # an outside class that is none of the run's
SHARED_TITLES = {
    "image_id": "Image",
    "own_label": "Class outside",
    "twin": "Same picture inside",
    "twin_label": "Class inside",
    "twin_part": "Part inside",
    "detail": "Agreement of detail",
}


def show(order: Sequence[RunCandidate]) -> None:
    """All runs inside against outside; then choose a run, see its outside tests, make another."""
    order = [one for one in order if one.run.has_network]
    if not order:
        sentence = "An outside test needs a model. Imported predictions have none: choose another run."
        st.info(sentence, icon=":material/info:")
        return
    _inside_against_outside(order)
    run = order[comparison_tables.pick_run(order, "outside_run")].run
    evaluations = run.evaluations()
    if evaluations:
        chosen = st.selectbox(
            "Outside images",
            range(len(evaluations)),
            format_func=lambda i: _title(evaluations[i]),
            key=f"outside_{run.id}",
            width=360,
        )
        with shell.errors_shown():
            _show_evaluation(run, evaluations[chosen])
    else:
        st.markdown(
            "**No outside test yet.** The test images come from the sources of the training images. Images from other "
            "sources show how well the model generalises."
        )
    with st.expander("Test on other images", icon=":material/travel_explore:", expanded=not evaluations):
        _form(run, [one.run for one in order])


def _inside_against_outside(order: Sequence[RunCandidate]) -> None:
    """Every run that was tested on a data set, by its newest test: a sentence, a figure, what else is promised."""
    tests: dict[str, dict[int, Evaluation]] = {}
    for place, one in enumerate(order):
        for evaluation in one.run.evaluations():
            tests.setdefault(evaluation.record.dataset.name, {}).setdefault(place, evaluation)
    if not tests:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Outside images", list(tests), key="outside_all", width=360)
        measure = st.segmented_control(
            "Measure",
            list(MEASURES),
            default="accuracy",
            required=True,
            format_func=MEASURES.get,
            key="outside_measure",
        )
    tested: list[tuple[RunCandidate, Outside]] = []
    for place, evaluation in tests[chosen].items():
        with shell.errors_shown():
            tested.append((order[place], _report(order[place].run, evaluation.id, evaluation)))
    names, reports = [one.name for one, _ in tested], [report for _, report in tested]
    if sentence := external_text.choice(names, reports, measure):
        st.markdown(f"**{shell.plain(sentence)}**")
    rows, drawn = [], []
    for one, report in tested:
        inside, beyond = report.inside.overall[measure], report.figures.overall[measure]
        if inside.is_defined and beyond.is_defined:
            sides = {"inside": inside, "outside": beyond}
            bounds = {side + end: getattr(m, at) for side, m in sides.items() for end, at in ENDS.items()}
            rows.append({"name": one.name, "number": one.number, **bounds})
            words = (f"{side} {external_text.measured(m, measure)}" for side, m in sides.items())
            drawn.append(f"{one.name} {', '.join(words)}")
    if rows:
        title, points = MEASURES[measure], pd.DataFrame(rows)
        figure = figures.inside_outside(points, title, 1 if measure == "macro_auroc" else 100)
        shell.chart(figure, "inside-outside", alt=f"{title} inside and on {chosen}: {'; '.join(drawn)}")
        st.caption(
            f"Inside: test images of the run. Outside: {shell.plain(chosen)}. On the dotted line nothing is lost. "
            "Bars: 95 % intervals."
        )
    if untested := [one.name for place, one in enumerate(order) if place not in tests[chosen]]:
        st.caption(f"Not tested on {shell.plain(chosen)}: {shell.plain(', '.join(untested))}.")
    if tested:
        comparison_tables.show_table(
            external_text.beside(names, reports), "outside-beside", "Calibration, coverage and refusals outside"
        )
        st.caption(
            "Calibration error: before Predict lowers the probabilities of unusual images. Coverage: of prediction "
            "sets with a target of 90 %. Refused: by a check of the image; inside about 3 % by design."
        )
    st.divider()


def _title(evaluation: Evaluation) -> str:
    record = evaluation.record
    return f"{record.dataset.name} ({pd.Timestamp(record.created, unit='s'):%Y-%m-%d})"


def _form(run: Run, runs: Sequence[Run]) -> None:
    """Which data set, and which of its classes is which of the run's; for the run, or all ``runs`` that know these."""
    if job_panel.panel(lambda: queue.jobs(shell.workspace(), ExternalTestRequest, run=run.id)):
        return
    listed = [info for info in data.list_datasets(shell.workspace()) if not info.get("damaged")]
    listed.sort(key=lambda info: any(one["id"] == run.dataset.id for one in info.get("members", [])))  # its own last
    others = {info["id"]: info for info in listed if info["id"] != run.dataset.id}
    if not others:
        st.markdown("There is no other data set. Import the outside images first.")
        st.page_link("dataset.py", label="Add a data set", icon=":material/arrow_forward:")
        return
    chosen = st.selectbox(
        "Data set", list(others), format_func=lambda one: others[one]["name"], key="outside_dataset", width=360
    )
    classes = _pick_classes(run, list(others[chosen]["counts"]))
    for warning in external_text.broader(classes):
        st.warning(shell.plain(warning), icon=":material/warning:")
    alike = [one for one in runs if one.dataset.id != chosen and set(classes.values()) <= set(one.classes)]
    request, *requests = (ExternalTestRequest(run=of.id, dataset=chosen, classes=classes) for of in (run, *alike))
    options = {"icon": ":material/play_arrow:", "disabled": not classes}
    with st.container(horizontal=True):
        job_panel.start_button("Test", request, key="outside_start", type="primary", **options)
        if len(requests) > 1:
            job_panel.start_button(
                f"Test all {count(len(requests))} runs", *requests, key="outside_start_all", **options
            )


def _pick_classes(run: Run, labels: Sequence[str]) -> dict[str, str]:
    """The run's class for each outside class, matched by name at first."""
    by_name = {label.casefold(): label for label in run.classes}
    options = [NOT_ONE, *run.classes]
    classes = {}
    with st.grid(3, min_column_width=180):
        for label in labels:
            start = options.index(by_name.get(label.casefold(), NOT_ONE))
            classes[label] = st.selectbox(
                f"{shell.plain(label)} is",
                options,
                start,
                format_func=lambda one: one or "none of the run's classes",
                key=f"outside_class_{run.id}_{label}",
            )
    return {label: inside for label, inside in classes.items() if inside}


@st.cache_resource(max_entries=64, show_spinner="Drawing images again for intervals", hash_funcs=run_cache.BY_FILES)
def _report(run: Run, identifier: str, _evaluation: Evaluation) -> Outside:
    return external_test.report(run, _evaluation)


def _show_evaluation(run: Run, evaluation: Evaluation) -> None:
    report = _report(run, evaluation.id, evaluation)
    record = evaluation.record
    heading = external_text.HEADINGS[report.origin.kind]
    st.markdown(f"**{heading}.** {shell.plain(external_text.origin(report.origin))}")
    words = external_text.conclusion(run, evaluation, report)
    st.markdown(f"{shell.plain(words)} {model_audit_panel.badge(model_audit_panel.of(run))}")
    if record.shared:
        conflicts = f"; {count(record.conflicts)} of them have another class there" if record.conflicts else ""
        images = f"Left out: {plural(record.shared, 'image')} that the run's own data set has too"
        st.warning(f"{images}{conflicts}.", icon=":material/content_copy:")
    for warning in external_text.broader(record.classes):
        st.warning(shell.plain(warning), icon=":material/warning:")
    comparison_tables.show_table(_drop_table(report), "outside", "Inside and outside, class by class", pinned="Figure")
    st.caption(
        "Inside: test images of the same classes. Intervals: Wilson, cluster-adjusted inside; of the drop, Newcombe's "
        "method 10. Images in both data sets are left out."
    )
    _recalibration(run, report)
    st.markdown("**Predicted classes of the outside images**")
    called = report.called.rename_axis("Outside class").reset_index()
    comparison_tables.show_table(called, "outside-called", "Predictions for the outside images", pinned="Outside class")
    if len(report.shared):
        with st.expander(f"{plural(len(report.shared), 'image')} in both data sets", icon=":material/content_copy:"):
            table, agreement = _shared_table(report.shared), SHARED_TITLES["detail"]
            worded = table.assign(**{agreement: table[agreement].map(number)})
            comparison_tables.show_table(
                worded, "outside-shared", "Images in both data sets", raw=table, pinned="Image"
            )


def _recalibration(run: Run, report: Outside) -> None:
    """What a few labelled images of the new hospital would bring."""
    with st.expander("Recalibration on a labelled sample", icon=":material/tune:"):
        most, step = recalibration.MOST, recalibration.FEWEST
        images = st.slider(
            "Labelled images", step, most, recalibration.USUAL, step, key=f"outside_sample_{run.id}", width=360
        )
        with shell.errors_shown():
            fitted = external_test.recalibrated(report, images)
            st.markdown(f"**{external_text.recalibration(fitted)}**")
            st.caption(
                f"Drawn at random within each class, seed {fitted.seed}. Temperature and a shift per class are fitted "
                "on the sample. The run does not change, and the new head is not stored. Where each class has its own "
                "source, the new head can learn the source. Intervals: paired bootstrap over the other images."
            )
            names = pd.DataFrame({"image_id": fitted.sample})
            st.download_button(
                "Sample", tables.to_csv(names), "sample.csv", "text/csv", icon=":material/download:", type="tertiary"
            )


def _drop_table(report: Outside) -> pd.DataFrame:
    rows = []
    for name, drop in report.drops.items():
        inside, beyond = (
            part.overall["accuracy"] if name == "accuracy" else part.per_class[name]["sensitivity"]
            for part in (report.inside, report.figures)
        )
        figure = "Accuracy" if name == "accuracy" else f"Sensitivity, {name}"
        row = {"Figure": figure, "Inside": in_words(inside), "n inside": inside.n, "Outside": in_words(beyond)}
        rows.append({**row, "n outside": beyond.n, "Drop": points(drop.value, drop.low, drop.high)})
    return pd.DataFrame(rows)


def _shared_table(shared: pd.DataFrame) -> pd.DataFrame:
    table = shared[list(SHARED_TITLES)].rename(columns=SHARED_TITLES)
    table.insert(5, "Classes differ", shared["label"] != shared["twin_label"])
    return table
