"""Robustness curves on a run's page and on Compare: drawn, lacking, damaged, and started."""

import pytest
from made_audits import keep_audit, keep_curve
from made_runs import all_parts, made_run
from page_tests import opened
from streamlit.testing.v1 import AppTest

from covid_core.inference import robustness
from covid_core.jobs import kinds, queue
from covid_core.jobs.kinds import RobustnessRequest
from covid_core.reports import run_text
from covid_core.runs.store import Run
from pages.shared import shell

PARTS = {"train": 12, "validation": 6, "test": 12}

pytestmark = pytest.mark.usefixtures("jobs_wait")


@pytest.fixture
def runs(workspace, monkeypatch) -> list[Run]:
    monkeypatch.setattr(kinds, "dataset_of", lambda *_: None)  # the images of made runs lie nowhere
    return [made_run(workspace, all_parts(PARTS, 3.0), name, result={"head_sha256": name}) for name in ("One", "Other")]


def tab(runs: list[Run]) -> AppTest:
    return opened("compare", runs=",".join(run.id for run in runs), view="Robustness")


def charts(page: AppTest) -> list:
    return [one for one in page.get("plotly_chart") if "seven changes" in one.proto.alt]


def test_a_runs_page_shows_its_curve_with_the_verdict_and_the_conclusion(runs):
    keep_curve(runs[0])
    keep_audit(runs[0])
    page = opened("train", run=runs[0].id)
    conclusion = run_text.robustness(robustness.stored(runs[0]))[0]
    assert any(shell.plain(conclusion) in one.value and "badge" in one.value for one in page.markdown)
    assert len(charts(page)) == 1


def test_a_run_without_a_curve_offers_to_measure_it(workspace, runs):
    page = opened("train", run=runs[0].id)
    assert not charts(page)
    page.button(key=f"robustness-start-{runs[0].id}-1").click().run()
    assert [job.request for job in queue.jobs(workspace, RobustnessRequest)] == [RobustnessRequest(run=runs[0].id)]


def test_compare_draws_the_runs_that_have_curves_and_measures_the_rest(workspace, runs):
    keep_curve(runs[0])
    page = tab(runs)
    (chart,) = charts(page)
    assert "One unchanged 100.0 %" in chart.proto.alt and "Other" not in chart.proto.alt
    page.button(key=f"robustness-start-{runs[1].id}-2").click().run()
    assert [job.request.run for job in queue.jobs(workspace, RobustnessRequest)] == [runs[1].id]


def test_another_measure_is_drawn_for_all_runs(runs):
    for run in runs:
        keep_curve(run)
    page = tab(runs)
    page.selectbox(key="robustness-measure").select("Calibration error").run()
    (chart,) = charts(page)
    assert chart.proto.alt.startswith("Calibration error") and "Other unchanged" in chart.proto.alt


def test_a_damaged_curve_is_an_error_and_can_be_measured_again(runs):
    keep_curve(runs[0], changes={})
    page = tab(runs)
    assert any("robustness curve is damaged" in error.value for error in page.error)
    assert page.button(key=f"robustness-start-{runs[0].id}-2")
