"""What every test may ask for: an empty workspace of its own, and a folder of made images."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import cores  # before NumPy
import hypothesis
import pytest
import trained_runs
from made_images import write_images

from covid_core.runs.store import Run
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


@pytest.fixture
def image_folder(tmp_path) -> MadeFolder:
    """Make a folder ``CLASS/*.png`` of small images that differ: counts per class, and their side in pixels."""

    def make(counts: Mapping[str, int], side: int = 40, name: str = "images") -> Path:
        return write_images(tmp_path / name, counts, side)

    return make
