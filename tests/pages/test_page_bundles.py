"""Bundles on the pages: taken away, opened, and runs without their images on every page."""

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

from covid_core.access import Role
from covid_core.exchange.bundle import opening, packing
from covid_core.jobs import worker
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.workspace import Workspace
from pages.shared.exchange import bundles

NAME = "![p](https://evil.test/x) *mine*"
LICENCE = "[CC0](https://evil.test)"


@pytest.fixture(scope="module")
def bundle(copy_of_trained, tmp_path_factory) -> Path:
    place = Workspace(tmp_path_factory.mktemp("origin"))
    run = copy_of_trained(place)
    store.annotate(run, name=NAME)
    packing.pack(place, [store.open_run(place, run.id)], place.root / "runs.zip", LICENCE)
    return place.root / "runs.zip"


@pytest.fixture
def run(workspace, bundle) -> Run:
    """A run that was opened in a workspace without any data set."""
    return opening.open_bundle(workspace, bundle).runs[0].run


PAGES: dict[str, Callable[[str], AppTest]] = {
    "home": lambda _: opened("home"),
    "dataset": lambda _: opened("dataset"),
    "audit": lambda _: opened("audit"),
    "runs": lambda _: opened("train"),
    "run": lambda run: opened("train", run=run),
    "compare": lambda run: opened("compare", runs=run),
    "images of a comparison": lambda run: opened("compare", runs=run, view="Images"),
    "subgroups of a comparison": lambda run: opened("compare", runs=run, view="Subgroups"),
    "predict": lambda run: opened("predict", run=run),
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_an_opened_run_without_its_images(run, page):
    app = PAGES[page](run.id)
    assert "![p](" not in "".join(one.value for one in [*app.markdown, *app.info, *app.caption, *app.error])
    assert "Traceback" not in words(app)


def test_the_page_of_an_opened_run_tells_the_licence_and_what_it_lacks(run):
    app = opened("train", run=run.id)
    (note,) = [one.value for one in app.info if "licence" in one.value.lower()]
    assert "[CC0](" not in note and "CC0" in note
    assert "galleries" in opening.lacks(run.workspace, run)[0] and "galleries" in words(app)
    assert not [one for one in app.button if one.key and one.key.startswith("resume-")]


def test_an_audit_that_is_refused_moves_nothing_on_the_page(run):
    app = opened("train", run=run.id)
    audit = next(one for one in app.button if one.label.startswith("Audit"))
    audit.click().run()
    assert not app.exception and not app.error
    assert ["not here" in one.value for one in app.toast] == [True]


def test_a_run_is_taken_away_with_the_licence_that_was_stated(run, tmp_path):
    opened("train", run=run.id)
    file = tmp_path / "runs.zip"
    file.write_bytes(bundles.content([run], "CC BY 4.0"))
    elsewhere = Workspace(tmp_path / "elsewhere")
    (one,) = opening.open_bundle(elsewhere, file).runs
    assert (one.run.id, one.run.bundle.licence) == (run.id, "CC BY 4.0")


def test_images_go_along_where_they_are_wanted_and_their_size_is_named_before(workspace, copy_of_trained, tmp_path):
    run = copy_of_trained(workspace)
    app = opened("train", run=run.id)
    assert "240 images" not in words(app)
    app.checkbox(f"images-{run.id}").check().run()
    assert not app.exception and "240 images" in words(app)
    file = tmp_path / "runs.zip"
    file.write_bytes(bundles.content([run], "", images=True))
    elsewhere = Workspace(tmp_path / "elsewhere")
    assert opening.open_bundle(elsewhere, file).runs[0].lacks == ()


def test_a_bundle_that_is_too_large_for_a_browser_is_not_offered(workspace, copy_of_trained, monkeypatch):
    run = copy_of_trained(workspace)
    monkeypatch.setattr(bundles, "LARGEST", 1000)
    app = opened("train", run=run.id)
    app.checkbox(f"images-{run.id}").check().run()
    assert not app.exception
    assert any("--images" in one.value for one in app.warning)
    assert not [one for one in app.get("download_button") if "bundle" in one.proto.label.lower()]


def test_images_that_are_not_here_are_named(run):
    app = opened("train", run=run.id)
    app.checkbox(f"images-{run.id}").check().run()
    assert not app.exception and any("not here" in one.value for one in app.error)


def test_who_may_not_take_images_cannot_choose_them(run, acts):
    acts(Role.TRAINER)
    assert opened("train", run=run.id).checkbox(f"images-{run.id}").disabled


def test_home_opens_a_bundle_by_its_path(workspace, bundle, jobs_wait):
    app = opened()
    app.text_input("open-bundle-path").set_value(str(bundle)).run()
    app.button("open-bundle-go").click().run()
    assert not app.exception
    (job,) = store.list_jobs(workspace)
    assert worker.do(job.path, 1) == 0
    app.run()
    assert not app.exception
    (run,), _ = store.list_runs(workspace)
    assert run.bundle is not None


def test_a_file_that_is_no_bundle_is_told_on_home(workspace, tmp_path, jobs_wait):
    with ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a/b.png", b"")
    app = opened()
    app.text_input("open-bundle-path").set_value(str(tmp_path / "images.zip")).run()
    app.button("open-bundle-go").click().run()
    (job,) = store.list_jobs(workspace)
    assert worker.do(job.path, 1) == 1
    app.run()
    assert not app.exception
    assert store.list_runs(workspace) == ([], [])
    assert any("bundle" in one.value for one in app.error)


def test_who_may_not_take_runs_away_gets_no_file(run, acts):
    acts(Role.VIEWER)
    app = opened("train", run=run.id)
    assert not [one for one in app.get("download_button") if "bundle" in one.proto.label.lower()]
