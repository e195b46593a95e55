"""Compare's outside tests: none yet, nothing to test on, the form and its job, the drop beside the inside figure."""

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_data import class_folders
from made_runs import CLASSES, all_parts, made_run
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

from covid_core.data.imports import importing
from covid_core.inference import external_test
from covid_core.runs import store
from covid_core.runs.store import EvaluationRecord, Run, Status

SIZES = {"train": 60, "validation": 30, "test": 90}


pytestmark = pytest.mark.usefixtures("jobs_wait")


@pytest.fixture
def run(workspace) -> Run:
    return made_run(workspace, all_parts(SIZES, 3), "Mine")


@pytest.fixture
def elsewhere(workspace, tmp_path):
    folder = class_folders(tmp_path / "images", {"covid": 3, "Normal": 4, "Other": 2})
    return importing.import_folder(workspace, folder, "Elsewhere")


def outside_tab(**session: object) -> AppTest:
    return opened("compare", session, view="Outside test")


def keep_evaluation(run: Run, shared: int = 2, right: int = 20, images: int = 40) -> None:
    """An outside test of COVID and Normal images: ``right`` of each ``images`` were answered rightly."""
    rows = []
    for label, wrong in (("COVID", "Normal"), ("Normal", "COVID")):
        rows += [(f"{label}-{i}", label, label if i < right else wrong) for i in range(images)]
    labels, called = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    scores = np.where(called[:, None] == np.array(CLASSES), 0.8, 0.1)
    table: dict[str, Any] = {"image_id": [row[0] for row in rows], "part": external_test.OUTSIDE, "own_label": labels}
    table |= {"label": labels, **{f"score_{label}": scores[:, k] for k, label in enumerate(CLASSES)}}
    twins = [f"test-{i:05d}" if i < shared else None for i in range(len(rows))]
    more = {"twin": twins, "twin_label": "Normal", "twin_part": "train", "detail": 0.99}
    facts = {
        "created": time.time(),
        "dataset": {"id": "elsewhere", "name": "Elsewhere", "version": "1"},
        "classes": {"COVID": "COVID", "Normal": "Normal"},
        "unknown": {},
        "shared": shared,
        "conflicts": shared,
    }
    run.write_evaluation(EvaluationRecord.model_validate(facts), pd.DataFrame(table).assign(**more))


def drops(page: AppTest) -> pd.DataFrame:
    return page.container(key="table-outside").dataframe[0].value.set_index("Figure")


def test_without_one_it_says_what_an_outside_test_is_for(run):
    assert "No outside test yet." in words(outside_tab())


def test_without_another_data_set_it_shows_the_way_to_one(run):
    page = outside_tab()
    assert "There is no other data set." in words(page)
    assert "Add a data set" in [link.label for link in page.get("page_link")]


def test_classes_are_matched_by_name_and_can_be_chosen(run, elsewhere):
    page = outside_tab()
    chosen = {label: page.selectbox(key=f"outside_class_{run.id}_{label}").value for label in elsewhere.counts}
    assert chosen == {"covid": "COVID", "Normal": "Normal", "Other": ""}


def test_without_a_class_in_common_nothing_can_be_tested(run, elsewhere):
    page = outside_tab()
    for label in ("covid", "Normal"):
        page.selectbox(key=f"outside_class_{run.id}_{label}").select("")
    assert page.run().button(key="outside_start").disabled


def test_a_click_starts_a_job_that_is_watched(run, elsewhere, workspace):
    page = outside_tab()
    page.button(key="outside_start").click().run()
    (job,) = store.list_jobs(workspace)
    expected = {"run": run.id, "dataset": elsewhere.id, "classes": {"covid": "COVID", "Normal": "Normal"}}
    assert expected.items() <= job.request().items()
    assert f"stop-{job.id}" in [button.key for button in page.button]


def test_one_click_tests_all_runs_that_are_compared(run, elsewhere, workspace):
    made_run(workspace, all_parts(SIZES, 2), "Other")
    outside_tab().button(key="outside_start_all").click().run()
    assert {job.request()["run"] for job in store.list_jobs(workspace)} == {
        one.id for one in store.list_runs(workspace)[0]
    }


def test_a_job_that_failed_tells_why_and_offers_the_form_again(run, elsewhere, workspace):
    page = outside_tab()
    page.button(key="outside_start").click().run()
    (job,) = store.list_jobs(workspace)
    now = time.time()
    job.write_status(Status(store.FAILED, reason="The disk is full.", started=now, updated=now, ended=now))
    page.run()
    assert "The disk is full." in words(page)
    assert page.button(key="outside_start")


def test_the_drop_stands_beside_the_inside_figure_with_intervals(run):
    keep_evaluation(run, shared=0)
    page = outside_tab()
    table = drops(page)
    assert list(table.index) == ["Accuracy", "Sensitivity, COVID", "Sensitivity, Normal"]
    assert table.loc["Accuracy", "Outside"] == "50.0 % [39.3, 60.7]"
    assert table.loc["Accuracy", ["n inside", "n outside"]].tolist() == [60, 80]
    assert "Mine predicts 50.0 % [39.3, 60.7] of 80 images of Elsewhere correctly" in words(page)


def test_shared_images_are_left_out_counted_and_listed_with_their_labels(run):
    keep_evaluation(run, shared=2)
    page = outside_tab()
    assert drops(page).loc["Accuracy", "n outside"] == 78
    assert "Left out: 2 images" in words(page) and "2 of them have another class" in words(page)
    listed = page.container(key="table-outside-shared").dataframe[0].value
    assert listed[["Image", "Class outside", "Class inside", "Classes differ"]].values.tolist() == [
        ["COVID-0", "COVID", "Normal", True],
        ["COVID-1", "COVID", "Normal", True],
    ]


def test_a_damaged_outside_test_is_told_and_another_can_be_made(run, elsewhere):
    keep_evaluation(run)
    (evaluation,) = run.evaluations()
    (evaluation.folder / f"{evaluation.id}.parquet").write_bytes(b"no table")
    page = outside_tab()
    assert f"{evaluation.id}.parquet is missing or damaged." in words(page)
    assert page.button(key="outside_start")


def test_runs_stand_inside_against_outside_with_what_else_is_promised(run, workspace):
    other = made_run(workspace, all_parts(SIZES, 2), "Other")
    for one, right in ((run, 20), (other, 30)):
        keep_evaluation(one, shared=0, right=right)
    page = outside_tab()
    (figure,) = [one for one in page.get("plotly_chart") if "Accuracy outside" in one.proto.spec]
    assert '"name":"Mine"' in figure.proto.spec and '"name":"Other"' in figure.proto.spec
    assert "Other has the highest accuracy outside" in words(page)
    beside = page.container(key="table-outside-beside").dataframe[0].value.set_index(["Model", "Images"])
    outside = beside.loc["Mine", f"outside, {external_test.UNNAMED}"]
    assert beside.loc["Mine", "inside"]["Coverage"] != outside["Refused"] == "not measured"
    page.segmented_control(key="outside_measure").set_value("macro_auroc").run()
    assert "AUROC" in words(page)


def test_a_run_without_the_outside_test_is_named(run, workspace):
    made_run(workspace, all_parts(SIZES, 2), "Other")
    keep_evaluation(run, shared=0)
    assert [caption.value for caption in outside_tab().caption if caption.value.endswith("Elsewhere: Other.")]


def test_a_test_that_shares_images_with_the_training_data_is_no_external_test(run):
    keep_evaluation(run, shared=2)
    assert "Same sources: not an external test" in words(outside_tab())
