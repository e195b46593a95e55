"""What every test may ask for: an empty workspace of its own, and a folder of made films."""

from collections.abc import Callable, Mapping
from pathlib import Path

import hypothesis
import pytest
from made_films import write_films

from covid_core.workspace import Workspace

MadeFolder = Callable[..., Path]

hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one takes longer, and nothing is wrong
hypothesis.settings.load_profile("any machine")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, then those that train, then those in a browser: what is broken shows early.

    In several processes, the slow tests of a file stay together, as they share what takes long to make, and the largest
    of these groups begin; quick tests fill what is left.
    """
    items.sort(key=lambda item: 2 * ("browser" in item.keywords) + ("slow" in item.keywords))
    for item in items:
        if "browser" in item.keywords or "slow" in item.keywords:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    """An empty workspace that is also the default one."""
    monkeypatch.setenv("COVID_CORE_HOME", str(tmp_path / "workspace"))
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workspace:
    """A workspace for all tests of a module, which can share what takes long to make."""
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def film_folder(tmp_path) -> MadeFolder:
    """Make a folder ``CLASS/*.png`` of small films that differ: counts per class, and their side in pixels."""

    def make(counts: Mapping[str, int], side: int = 40, name: str = "films") -> Path:
        return write_films(tmp_path / name, counts, side)

    return make
