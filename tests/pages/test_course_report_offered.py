"""The course report on the Compare page: what is offered, and what a download holds."""

from made_runs import all_parts, made_run
from page_tests import opened, words

from covid_core.runs.store import Study, write_study
from pages.panels.compare import course_report

SIZES = {"train": 30, "validation": 30, "test": 30}


def test_the_page_offers_the_report_of_its_runs_and_says_how_long_it_takes(workspace):
    for number in range(3):
        made_run(workspace, all_parts(SIZES, 1 + number, seed=number), f"Run {number}")
    page = opened("compare")
    assert "HTML" in [one.label for one in page.get("download_button")]
    assert "3 runs: about 5 s." in words(page)


def test_the_report_of_a_study_has_its_name_and_its_runs(workspace):
    runs = [made_run(workspace, all_parts(SIZES, 1 + n, seed=n), f"Run {n}") for n in range(2)]
    study = Study("course-00001", "My course", "course", 1.0, tuple(run.id for run in runs))
    write_study(workspace, study)
    content = course_report.content(workspace, runs, study, "html").decode()
    assert "<title>My course</title>" in content and "Run 0" in content and "Run 1" in content
