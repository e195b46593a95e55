"""What a model reads, in a browser: from a trained run's page to its audit, and the verdict in Compare."""

import re

import pytest
from app_server import App
from playwright.sync_api import Page, expect
from waiting import until

from covid_core.audit.model import model_audit
from covid_core.audit.model.evidence import FRAME, LUNGS, UNKNOWN
from covid_core.reports import evidence_text
from covid_core.runs import store
from covid_core.workspace import Workspace

VERDICTS = re.compile(f"{FRAME}|{LUNGS}|{UNKNOWN}")


@pytest.fixture(scope="module")
def workspace(app: App) -> Workspace:
    return Workspace(app.home / "workspace")


@pytest.fixture(scope="module")
def run(workspace: Workspace, copy_of_trained) -> store.Run:
    """A trained run on images with lung masks."""
    return copy_of_trained(workspace)


def test_the_audit_of_a_run_is_started_watched_and_read(page: Page, app: App, run: store.Run):
    page.goto(f"{app.url}/train?run={run.id}")
    expect(page.get_by_text("not audited yet").first).to_be_visible()
    page.get_by_role("button", name="Audit this model").click()
    expect(page.get_by_text("Audit of Tiny")).to_be_visible()
    expect(page.get_by_role("button", name="Audit again")).to_be_visible()
    found = model_audit.stored(run)
    expect(page.get_by_text(evidence_text.conclusion(found)[:60], exact=False).first).to_be_visible()
    expect(page.get_by_text("The worst subgroups")).to_be_visible()
    expect(page.get_by_text("not audited yet")).to_have_count(0)
    page.get_by_text("What the model is shown").click()
    expect(page.get_by_alt_text(re.compile("^lungs of another image"))).to_be_visible()


def test_compare_has_the_verdict_beside_the_accuracy_and_the_audit_in_a_tab(page: Page, app: App, run: store.Run):
    found = model_audit.stored(run)
    page.goto(f"{app.url}/compare?view=Evidence+check")
    expect(page.get_by_text(evidence_text.conclusion(found)[:60], exact=False).first).to_be_visible()
    expect(page.get_by_text(re.compile("Evidence check: "))).to_be_visible()
    cells = page.locator("[data-testid=stDataFrame] table").first
    expect(cells.get_by_text(found["verdict"], exact=True).first).to_be_attached()
    assert VERDICTS.search(found["verdict"])


def test_an_audit_that_is_started_in_compare_is_followed_there(page: Page, app: App, run: store.Run):
    made = model_audit.stored(run)["made"]
    page.goto(f"{app.url}/compare?view=Evidence+check")
    page.get_by_role("button", name="Audit again").click()
    expect(page.get_by_text("Audit of Tiny")).to_be_visible()
    until(lambda: model_audit.stored(run)["made"] > made, "an audit made anew")
    expect(page.get_by_role("button", name="Audit again")).to_be_visible()
    expect(page.get_by_text("Audit of Tiny")).to_have_count(0)
