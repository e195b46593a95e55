"""A run's page offers its model in other formats: refused, started, and downloaded."""

import json
from zipfile import ZipFile

import pytest
from made_runs import all_parts, made_run
from page_tests import opened

from covid_core.exchange.forms import exported
from covid_core.exchange.forms.formats import FORMATS
from covid_core.jobs import queue
from covid_core.jobs.kinds import ExportRequest
from covid_core.runs import temperature_scaling
from covid_core.runs.store import Run
from pages.shared import shell

PARTS = {"train": 12, "validation": 6, "test": 12}

pytestmark = pytest.mark.usefixtures("jobs_wait")


@pytest.fixture
def run(workspace) -> Run:
    return made_run(workspace, all_parts(PARTS, 3.0), "One")


def test_a_format_is_exported_by_a_job(workspace, run):
    page = opened("train", run=run.id)
    assert page.selectbox(key=f"export-format-{run.id}").options == [one.label for one in FORMATS.values()]
    page.selectbox(key=f"export-format-{run.id}").select("litert").run()
    page.button(key=f"export-start-{run.id}-litert").click().run()
    assert [job.request for job in queue.jobs(workspace, ExportRequest)] == [ExportRequest(run=run.id, format="litert")]
    assert f"export-start-{run.id}-litert" not in [one.key for one in page.button]


def test_a_format_that_lacks_something_says_what(run):
    page = opened("train", run=run.id)
    page.selectbox(key=f"export-format-{run.id}").select("web").run()
    assert any("npm install" in one.value for one in page.info)
    assert f"export-start-{run.id}-web" not in [one.key for one in page.button]


def test_a_finished_export_is_offered_with_its_difference_from_the_app(workspace, run):
    facts = exported.facts(run, "keras", temperature_scaling.of(run))
    parity = {"images": 32, "source": exported.DRAWN, "largest_difference": 2e-7, "limit": exported.PARITY_LIMIT}
    with ZipFile(exported.path_of(workspace, run, "keras"), "w") as archive:
        archive.writestr(exported.FACTS, json.dumps({**facts, "parity": parity}))
    page = opened("train", run=run.id)
    (_, difference) = exported.in_words({**facts, "parity": parity})
    assert any(shell.plain(difference) in one.value for one in page.markdown)
    assert [one.proto.label for one in page.get("download_button") if one.proto.label.startswith("Download (")]
