"""Two servers on one workspace: one queue for both, and each shows what the other has started."""

from collections.abc import Iterator

import pytest
from app_server import App
from playwright.sync_api import Page, expect
from states import train_an_epoch
from waiting import until

from covid_core.data.imports import importing
from covid_core.runs import store
from covid_core.workspace import Workspace


@pytest.fixture
def other(app: App) -> Iterator[App]:
    """A second server on the workspace of the first."""
    second = App(app.home)
    second.start()
    yield second
    second.kill()


def test_two_servers_share_one_queue(module_page: Page, app: App, other: App):
    workspace = Workspace(app.home / "workspace")
    dataset = importing.import_phantom(workspace, 60, 1).id
    running: list[int] = []

    def all_done() -> bool:
        states = [run.status() for run in store.list_runs(workspace)[0]]
        running.append(sum(status.state == store.RUNNING for status in states))
        return len(states) == 2 and all(status.is_final for status in states)

    train_an_epoch(module_page, app.url, dataset, "Of the first server")
    train_an_epoch(module_page, other.url, dataset, "Of the second server")
    app.kill()  # what it has started goes on, and the other shows it
    until(all_done, "two runs that have ended")
    assert [run.status().state for run in store.list_runs(workspace)[0]] == [store.COMPLETED] * 2
    assert max(running) == 1, "both trained at once"
    module_page.goto(f"{other.url}/compare")
    expect(module_page.get_by_text("Of the first server").first).to_be_visible()
