"""What every test may ask for: an empty workspace of its own, and a folder of made images."""

import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import cores  # before NumPy
import hypothesis
import pytest
import trained_runs
from made_images import write_images
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.scriptrunner import script_runner

from covid_core import access
from covid_core.access import Actor
from covid_core.commands import main
from covid_core.jobs import queue
from covid_core.runs.store import JobFolder, Run
from covid_core.workspace import Workspace

MadeFolder = Callable[..., Path]

hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one takes longer, and nothing is wrong
hypothesis.settings.load_profile("any machine")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, then those that train, then those in a browser: what is broken shows early.

    In several processes each file stays in one, as its tests share what takes long to make; there the files with tests
    in a browser begin, then those that train, so that no long one is left for the end.
    """
    weights = {item: 2 * ("browser" in item.keywords) + ("slow" in item.keywords) for item in items}
    if cores.WORKERS == 1:
        items.sort(key=weights.__getitem__)
        return
    heaviest: dict[Path, int] = {}
    for item, weight in weights.items():
        heaviest[item.path] = max(weight, heaviest.get(item.path, 0))
    items.sort(key=lambda item: -heaviest[item.path])


@pytest.fixture(scope="session", autouse=True)
def without_waiting() -> Iterator[None]:
    """After every page, Streamlit clears Keras's session where a test has imported Keras, which no page does; before
    it, AppTest searches all installed packages for components. Each takes longer than most pages. And no test outlives
    a loss of power, for which files wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        patch.setattr(script_runner, "_clean_problem_modules", lambda: None)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    """An empty workspace that is also the default one."""
    monkeypatch.setenv("COVID_CORE_HOME", str(tmp_path / "workspace"))
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workspace:
    """A workspace for all tests of a module, which can share what takes long to make."""
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="session")
def copy_of_trained(tmp_path_factory) -> Callable[[Workspace], Run]:
    """Copy a finished run with its data set into an empty workspace. It is trained once, for all processes."""
    own = tmp_path_factory.getbasetemp()
    return partial(trained_runs.copy_of_trained, own.parent if cores.WORKERS > 1 else own)


@pytest.fixture(scope="session")
def golden(tmp_path_factory) -> Path:
    """The workspace of an earlier version, unpacked; nobody writes into it."""
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(Path(__file__).parent / "golden" / "workspace.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "workspace"


@pytest.fixture
def launched(monkeypatch) -> list[str]:
    """Ids of the folders whose process would have been started; none is."""
    started: list[str] = []
    monkeypatch.setattr(queue, "launch", lambda *folders: started.extend(folder.id for folder in folders))
    return started


@pytest.fixture
def jobs_wait(monkeypatch) -> None:
    """A launched job waits: this process stands for its own."""

    def launch(*folders: JobFolder) -> None:
        for folder in folders:
            folder.write_launch(os.getpid(), folder.next_attempt())

    monkeypatch.setattr(queue, "launch", launch)


@pytest.fixture
def answer(capsys) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run a verb with --json; its exit code and its answer, of which there is exactly one."""

    def ask(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = main.main([*arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return ask


@pytest.fixture
def image_folder(tmp_path) -> MadeFolder:
    """Make a folder ``CLASS/*.png`` of small images that differ: counts per class, and their side in pixels."""

    def make(counts: Mapping[str, int], side: int = 40, name: str = "images") -> Path:
        return write_images(tmp_path / name, counts, side)

    return make


@pytest.fixture
def acts(monkeypatch) -> Callable[..., None]:
    """Say who acts from now on, until the test ends: a role, and a name."""
    return lambda role, name="owner@example.org": monkeypatch.setattr(access, "_present", lambda: Actor(name, role))
