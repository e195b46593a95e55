"""What a model reads: beside every accuracy, and its audit in every state, on a run's page and in Compare."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from made_audits import keep_audit
from made_runs import all_parts, made_repeats, made_run
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

from covid_core.audit.model.evidence import FRAME, LUNGS, UNKNOWN
from covid_core.jobs import kinds, queue
from covid_core.jobs.kinds import ModelAuditRequest
from covid_core.reports import evidence_text, run_text
from covid_core.reports.evidence_text import DAMAGED, NOT_YET, EvidenceCheck
from covid_core.runs import pinned_dataset, store
from covid_core.runs.store import JobFolder, Run, Status
from covid_core.workspace import Workspace
from pages.shared import model_audit_panel, shell

PARTS = {"train": 12, "validation": 6, "test": 12}
RUNS, STUDIES = ":material/list: Runs", ":material/playlist_play: Studies"
TAB = "Evidence check"


pytestmark = pytest.mark.usefixtures("jobs_wait")


@pytest.fixture
def run(workspace) -> Run:
    return finished(workspace)


def finished(workspace: Workspace, name: str = "Mine", skill: float = 3.0) -> Run:
    return made_run(workspace, all_parts(PARTS, skill), name, result={"accuracy": {"test": 11 / 12}})


@contextmanager
def working(workspace: Workspace, run: Run, **told) -> Iterator[JobFolder]:
    """An audit of the run that is at work."""
    job, now = store.create_job(workspace, "audit-run", {"run": run.id}), time.time()
    lock = job.lock
    assert lock.try_acquire()
    job.write_status(Status(store.RUNNING, started=now - 10, updated=now, **told))
    try:
        yield job
    finally:
        lock.release()


def ended(workspace: Workspace, run: Run, state: str, reason: str = "") -> JobFolder:
    job = store.create_job(workspace, "audit-run", {"run": run.id})
    job.write_status(Status(state, reason=reason, started=1.0, updated=2.0, ended=2.0))
    return job


def page_of(run: Run) -> AppTest:
    return opened("train", run=run.id)


def tab(*runs: Run) -> AppTest:
    return opened("compare", runs=",".join(run.id for run in runs), view=TAB)


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def audits_of(workspace: Workspace) -> list[str]:
    return [job.request.run for job in queue.jobs(workspace, ModelAuditRequest)]


# Beside the accuracy


def test_the_list_of_runs_has_it_beside_each_accuracy(workspace, run):
    keep_audit(run)
    finished(workspace, "Other")
    told = words(opened("train", {"train-sections": RUNS}))
    assert f"majority baseline 33.3 % (COVID) :orange-badge[{FRAME}]" in told
    assert f":gray-badge[{EvidenceCheck(NOT_YET).in_passing}]" in told


def test_an_inconclusive_audit_is_called_one_behind_an_accuracy(workspace, run):
    keep_audit(run, "lungs", with_lungs=False)
    assert f":gray-badge[evidence check {UNKNOWN}]" in words(opened("train", {"train-sections": RUNS}))


def test_the_table_of_a_study_has_it_beside_each_accuracy(workspace):
    study = made_repeats(workspace, "Seeds", 2.0, folds=1, seeds=(0, 1))
    for number, one in enumerate(study.runs):
        run = store.open_run(workspace, one)
        run.write_result({**run.result, "accuracy": {"test": 0.5}})
        if number:
            keep_audit(run, "lungs")
    page = opened("train", {"train-sections": STUDIES})
    table = page.dataframe[0].value
    assert table[model_audit_panel.HEADING].tolist() == [NOT_YET, LUNGS]
    assert table[model_audit_panel.MASKS].tolist() == ["", "own masks"]


def test_studies_of_repeats_count_the_verdicts_of_their_runs(workspace):
    study = made_repeats(workspace, "Seeds", 2.0, folds=1, seeds=(0, 1))
    keep_audit(store.open_run(workspace, study.runs[0]))
    page = opened("compare", study=study.id)
    told = page.container(key="table-repeats").dataframe[0].value[model_audit_panel.HEADING].iat[0]
    assert told == f"{FRAME} (1 of 2), {NOT_YET} (1 of 2)"


def test_the_ranking_and_the_summary_have_it(workspace, run):
    keep_audit(run)
    other = finished(workspace, "Other", skill=0.5)
    page = opened("compare", runs=f"{run.id},{other.id}")
    table = page.container(key="table-performance").dataframe[0].value
    assert table[model_audit_panel.HEADING].tolist() == [FRAME, NOT_YET, "", ""]
    assert table[model_audit_panel.MASKS].tolist() == ["own masks", "", "", ""]
    assert "Evidence check: Mine (frame effect 100 %) reads the frame; Other is not audited yet." in words(page)


def test_measures_and_confusion_have_it(workspace, run):
    keep_audit(run, "lungs")
    table = opened("compare", view="Measures").container(key="table-measures-test").dataframe[0].value
    assert table.iloc[1].tolist()[:2] == [model_audit_panel.HEADING, LUNGS]
    assert f":green-badge[{LUNGS}]" in words(opened("compare", view="Confusion"))


def test_the_filter_finds_runs_by_their_verdict(workspace, run):
    keep_audit(run)
    other = finished(workspace, "Other", skill=0.5)
    page = opened("compare", runs=f"{run.id},{other.id}")
    page.text_input(key="compare_filter").set_value("reads the frame").run()
    table = page.container(key="table-performance").dataframe[0].value
    assert table["Model"].tolist()[:-2] == ["Mine"]


def test_predict_names_a_run_with_it(workspace, run):
    keep_audit(run)
    options = opened("predict").multiselect[0].options
    assert options == ["Mine · Made · test 91.7 %, reads the frame"]


# A run's page


def test_a_run_that_was_not_audited_offers_it(workspace, run):
    told = words(page_of(run))
    assert "Not audited yet. An accuracy does not say what it rests on." in told.replace("**", "")
    assert "It counts as a view of the test images." in told
    assert "Audit this model" in labels(page_of(run))


def test_a_run_that_is_not_finished_has_no_panel(workspace):
    failed = made_run(workspace, all_parts(PARTS, 1), "Torn", state=store.FAILED)
    page = page_of(failed)
    assert "Evidence check" not in [heading.value for heading in page.subheader]
    assert "Audit this model" not in labels(page)


def test_a_click_starts_the_audit(workspace, run, monkeypatch):
    monkeypatch.setattr(kinds, "dataset_of", lambda *_: None)  # the made run's images lie nowhere
    page = page_of(run)
    page.button(key=f"audit-start-run-{run.id}").click().run()
    assert not page.exception and audits_of(workspace) == [run.id]
    assert "Audit of Mine" in words(page) and "Stop" in labels(page)
    assert "Audit this model" not in labels(page)


def test_an_audit_whose_images_are_gone_is_refused_in_one_sentence(workspace, run):
    page = page_of(run)
    page.button(key=f"audit-start-run-{run.id}").click().run()
    assert not page.exception and audits_of(workspace) == []


def test_an_audit_at_work_shows_time_spent_and_left_and_can_be_stopped(workspace, run):
    with working(workspace, run, progress=0.5, seconds_left=9.0, message="Test images, low-pass") as job:
        page = page_of(run)
        assert "s so far, about 9.0 s left." in words(page)
        assert "Audit this model" not in labels(page)
        page.button(key=f"stop-run-{job.id}").click().run()
        assert job.stop_requested()


def test_while_a_second_audit_is_at_work_the_first_stays_in_sight(workspace, run):
    keep_audit(run)
    with working(workspace, run):
        page = page_of(run)
        assert "Audit of Mine" in words(page) and "The worst subgroups" in words(page)
        assert "Audit again" not in labels(page)


def test_a_failed_audit_says_why_and_can_be_tried_again(workspace, run):
    ended(workspace, run, store.FAILED, "The data set is gone.")
    page = page_of(run)
    assert "**Audit of Mine** failed. The data set is gone." in words(page)
    assert "Audit this model" in labels(page)


def test_a_stopped_audit_says_that_nothing_was_kept(workspace, run):
    ended(workspace, run, store.STOPPED)
    page = page_of(run)
    assert "**Audit of Mine** was stopped. Nothing of this audit is kept" in words(page)
    page.button(key=next(one.key for one in page.button if one.label == "Dismiss")).click().run()
    assert "was stopped" not in words(page) and audits_of(workspace) == []


def test_what_is_left_of_a_failed_audit_goes_when_the_next_one_starts(workspace, run, monkeypatch):
    monkeypatch.setattr(kinds, "dataset_of", lambda *_: None)
    old = ended(workspace, run, store.FAILED, "The data set is gone.")
    page = page_of(run)
    page.button(key=f"audit-start-run-{run.id}").click().run()
    assert not old.path.exists() and audits_of(workspace) == [run.id]
    assert "failed" not in words(page)


def test_a_damaged_audit_is_told_and_the_rest_of_the_page_stands(workspace, run):
    keep_audit(run, verdict="reads minds")
    page = page_of(run)
    assert "the audit of its model is damaged. Audit it again to replace it." in words(page)
    assert f":red-badge[{DAMAGED}]" in words(page)
    assert "Audit this model" in labels(page)
    assert "Test accuracy: **91.7 %** of 12 images" in words(page)


def test_a_finished_audit_shows_verdict_figures_subgroups_and_whose_masks(workspace, run):
    found = keep_audit(run)
    page = page_of(run)
    told = words(page)
    assert f":orange-badge[{FRAME}] {evidence_text.conclusion(found)}" in told
    assert evidence_text.worst_subgroup(found) in told
    assert "60 test images. Lungs known of 60: the data set's own lung masks. Made " in told
    tables = [frame.value for frame in page.dataframe]
    (covers,) = [table for table in tables if "Gone" in table]
    assert covers["Images"].tolist()[0] == "as they are" and len(covers) == 7
    (groups,) = [table for table in tables if "Others n" in table]
    assert groups["n"].tolist() == [30, 30]
    assert "Audit again" in labels(page)


def test_an_audit_of_an_earlier_version_is_shown_as_far_as_it_goes(workspace, run):
    run.write_audit("model", {"head_sha256": None, "verdict": FRAME, "in_words": "The frame turns it."})
    page = page_of(run)
    assert "The frame turns it." in words(page)
    assert "Audit again" in labels(page)


def test_an_audit_without_masks_has_a_verdict_and_says_what_it_rests_on(workspace, run):
    keep_audit(run, with_lungs=False)
    told = words(page_of(run))
    assert f":orange-badge[{FRAME}" in told and "outside a fixed oval" in told


# Compare


def test_the_tab_offers_to_audit_all_that_lack_one(workspace, run, monkeypatch):
    monkeypatch.setattr(kinds, "dataset_of", lambda *_: None)
    others = [finished(workspace, name, skill) for name, skill in (("Second", 2.0), ("Third", 1.0))]
    keep_audit(others[0])
    page = tab(run, *others)
    assert "2 of 3 runs are not audited yet." in words(page)
    page.button(key="audit-all").click().run()
    assert not page.exception and sorted(audits_of(workspace)) == sorted([run.id, others[1].id])
    assert "audit-all" not in [button.key for button in page.button]


def test_runs_stand_side_by_side_with_what_their_answers_follow(workspace, run):
    keep_audit(run, "lungs")
    others = [finished(workspace, name, skill) for name, skill in (("Second", 2.0), ("Third", 1.0))]
    keep_audit(others[0], "corner")
    page = tab(run, *others)
    table = page.container(key="table-reads").dataframe[0].value.set_index("Model")
    assert table[model_audit_panel.HEADING].to_dict() == {"Mine": LUNGS, "Second": FRAME, "Third": NOT_YET}
    assert table.loc["Second", "Frame"].startswith("100.0 %") and table.loc["Second", "Lungs"].startswith("0.0 %")
    assert table.loc["Third", "Frame"] == "–" and table["Images"].isna().tolist().count(True) == 1
    assert page.selectbox(key="compare_audit_run").options == ["Mine", "Second"]


def test_a_damaged_audit_takes_nothing_from_the_others(workspace, run):
    keep_audit(run, verdict="reads minds")
    other = finished(workspace, "Other", 1.0)
    keep_audit(other, "lungs")
    page = tab(run, other)
    assert "the audit of its model is damaged" in words(page)
    table = page.container(key="table-reads").dataframe[0].value.set_index("Model")
    assert table[model_audit_panel.HEADING].to_dict() == {"Mine": DAMAGED, "Other": LUNGS}
    assert "1 of 2 runs is not audited yet." in words(page)


def test_audits_at_work_are_watched_and_those_that_wait_can_be_taken_out(workspace, run):
    other = finished(workspace, "Other", 1.0)
    waiting = store.create_job(workspace, "audit-run", {"run": other.id})
    waiting.write_launch(os.getpid(), 1)
    with working(workspace, run, progress=0.25, message="Reading the test images"):
        page = tab(run, other)
        assert "Audit of Mine" in words(page) and "1 job waits." in words(page)
        page.button(key="unqueue-compare-").click().run()
        assert waiting.status().state == store.STOPPED


def test_the_version_of_the_images_that_a_made_run_used_cannot_be_told(workspace, run):
    assert pinned_dataset.used_by(workspace, run).before is None
    assert shell.version_of(run).missing == "gone"
    assert run_text.MISSING["gone"] in words(page_of(run))
