"""Bundles on the pages: taken away, opened, and runs without their images on every page."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from page_tests import PATIENCE, opened, words
from streamlit.testing.v1 import AppTest

from covid_core import files
from covid_core.access import Role
from covid_core.errors import RunError
from covid_core.exchange.bundle import opening, packing
from covid_core.jobs import queue, worker
from covid_core.jobs.kinds import OpenRequest
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


@pytest.fixture
def copies(workspace, copy_of_trained) -> list[Run]:
    """Two runs that are equal but for their ids."""
    run = copy_of_trained(workspace)
    other = shutil.copytree(run.path, run.path.with_name("copy-00000"))
    return [run, store.open_run(workspace, other.name)]


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


def test_of_runs_with_different_licences_each_keeps_its_own(workspace, copies, tmp_path):
    for run, licence in zip(copies, ("CC BY 4.0", "CC0"), strict=True):
        store.state_licence([run], licence)
    runs = [store.open_run(workspace, run.id) for run in copies]
    field = opened("compare", runs=",".join(run.id for run in runs)).text_input(_licence_of(runs))
    assert (field.value, field.placeholder) == ("", "CC BY 4.0; CC0")
    packing.note(workspace, runs, "  ", False)
    assert [store.open_run(workspace, run.id).licence for run in runs] == ["CC BY 4.0", "CC0"]
    packing.pack(workspace, runs, tmp_path / "runs.zip")
    elsewhere = opening.open_bundle(Workspace(tmp_path / "elsewhere"), tmp_path / "runs.zip").runs
    assert {one.run.id: one.run.licence for one in elsewhere} == {run.id: run.licence for run in runs}


def _licence_of(runs: list[Run]) -> str:
    return f"licence-{','.join(run.id for run in runs)}"


def test_a_licence_is_stated_on_no_run_of_somebody_else(workspace, copies, acts, tmp_path):
    record = copies[0].path / "spec.json"
    files.write_json(record, {**files.read_json(record), "owner": "me@example.org"})
    runs = [store.open_run(workspace, run.id) for run in copies]
    acts(Role.TRAINER, "me@example.org")
    packing.pack(workspace, runs, tmp_path / "runs.zip", "CC0")
    assert [store.open_run(workspace, run.id).licence for run in runs] == ["CC0", ""]


def test_the_page_of_an_opened_run_tells_the_licence_that_was_stated_here(run):
    store.state_licence([run], "ODbL")
    (note,) = [one.value for one in opened("train", run=run.id).info if "licence" in one.value.lower()]
    assert "ODbL" in note and "CC0" not in note


def test_the_size_told_is_that_of_all_files_with_a_shared_network_once(workspace, copies):
    shared = workspace.trunks / "shared.tflite"
    shared.parent.mkdir(exist_ok=True)
    runs = []
    for run in copies:
        run.trunk_path.replace(shared)
        runs.append(store.renamed_trunk(run, shared.stem))
    with ZipFile(io.BytesIO(bundles.content(runs, ""))) as archive:
        sizes = {one.filename: one.file_size for one in archive.infolist() if one.filename != "bundle.json"}
    assert f"trunks/{shared.name}" in sizes
    assert packing.measured(workspace, runs, images=False).bytes == sum(sizes.values())


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


@pytest.mark.parametrize("images", [False, True])
def test_a_bundle_that_is_too_large_for_a_browser_is_not_offered(workspace, copy_of_trained, monkeypatch, images):
    run = copy_of_trained(workspace)
    monkeypatch.setattr(bundles, "LARGEST", 1000)
    app = opened("train", run=run.id)
    app.checkbox(f"images-{run.id}").set_value(images).run()
    assert not app.exception
    assert ["--images" in one.value for one in app.warning if "second-look bundle" in one.value] == [images]
    assert not [one for one in app.get("download_button") if "bundle" in one.proto.label.lower()]


def test_images_that_are_not_here_are_named(run):
    app = opened("train", run=run.id)
    app.checkbox(f"images-{run.id}").check().run()
    assert not app.exception and not app.error and any("not here" in one.value for one in app.info)


def test_a_licence_that_cannot_be_stated_is_told_once_the_file_is_saved(run, monkeypatch):
    def refused(*_: object) -> None:
        raise RunError("Another program is writing on runs.")

    monkeypatch.setattr(packing, "note", refused)
    app = AppTest.from_function(_saved, args=(run.id,), default_timeout=PATIENCE).run()
    app.button("save").click().run()
    assert not app.exception and not app.error
    assert ["Another program" in one.value for one in app.toast] == [True]


def _saved(identifier: str) -> None:
    import streamlit as st

    from covid_core import access
    from covid_core.runs import store
    from pages.shared import shell
    from pages.shared.exchange import bundles

    run = store.open_run(shell.workspace(), identifier)
    st.button("Save", key="save", on_click=bundles._taken, args=([run], "CC0", False))
    shell.button("Runs", access.VIEW)


def test_who_may_not_take_images_cannot_choose_them(run, acts):
    acts(Role.TRAINER)
    assert opened("train", run=run.id).checkbox(f"images-{run.id}").disabled


@pytest.mark.parametrize("is_open", [True, False])
def test_the_menu_stays_as_it_is_while_somebody_else_opens_a_bundle(workspace, bundle, jobs_wait, is_open):
    queue.submit(workspace, OpenRequest(source=str(bundle)))
    assert opened(session={bundles.PLACE: is_open}).session_state[bundles.PLACE] == is_open


def test_home_opens_a_bundle_by_its_path(workspace, bundle, jobs_wait):
    app = opened(session={bundles.PLACE: True})
    app.text_input("open-bundle-path").set_value(str(bundle)).run()
    app.button("open-bundle-go").click().run()
    assert not app.exception
    assert not app.session_state[bundles.PLACE]
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
