"""The Compare page's view of a run on images from elsewhere: what is left of its figures."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from covid_core.data import dataset as data
from covid_core.formatting import count, number, plural, points
from covid_core.inference import external_test
from covid_core.inference.external_test import Outside
from covid_core.jobs import queue
from covid_core.jobs.kinds import ExternalTestRequest
from covid_core.reports import external_text
from covid_core.reports.comparison_text import in_words
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
    """Choose a run, see its outside tests, make another."""
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
        _form(run)


def _title(evaluation: Evaluation) -> str:
    record = evaluation.record
    return f"{record.dataset.name} ({pd.Timestamp(record.created, unit='s'):%Y-%m-%d})"


def _form(run: Run) -> None:
    """Which data set, and which of its classes is which of the run's."""
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
    request = ExternalTestRequest(run=run.id, dataset=chosen, classes=classes)
    options = {"type": "primary", "icon": ":material/play_arrow:", "disabled": not classes}
    job_panel.start_button("Test", request, key="outside_start", **options)


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
    words = external_text.conclusion(run, evaluation, report)
    st.markdown(f"{shell.plain(words)} {model_audit_panel.badge(model_audit_panel.of(run))}")
    if record.shared:
        conflicts = f"; {count(record.conflicts)} of them have another class there" if record.conflicts else ""
        images = f"{plural(record.shared, 'image')} of these are in the run's own data set too"
        st.warning(f"{images} and are left out{conflicts}.", icon=":material/content_copy:")
    for warning in external_text.broader(record.classes):
        st.warning(shell.plain(warning), icon=":material/warning:")
    comparison_tables.show_table(_drop_table(report), "outside", "Inside and outside, class by class", pinned="Figure")
    st.caption(
        "Inside: test images of the same classes. Intervals: Wilson, cluster-adjusted inside; of the drop, Newcombe's "
        "method 10. Images in both data sets are left out."
    )
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


def _drop_table(report: Outside) -> pd.DataFrame:
    rows = []
    for name, drop in report.drops.items():
        inside, beyond = (
            part.overall["accuracy"] if name == "accuracy" else part.per_class[name]["sensitivity"]
            for part in (report.inside, report.figures)
        )
        figure = "Accuracy" if name == "accuracy" else f"Sensitivity, {name}"
        row = {"Figure": figure, "Inside": in_words(inside), "Inside images": inside.n, "Outside": in_words(beyond)}
        rows.append({**row, "Outside images": beyond.n, "Drop": points(drop.value, drop.low, drop.high)})
    return pd.DataFrame(rows)


def _shared_table(shared: pd.DataFrame) -> pd.DataFrame:
    table = shared[list(SHARED_TITLES)].rename(columns=SHARED_TITLES)
    table.insert(5, "Classes differ", shared["label"] != shared["twin_label"])
    return table
