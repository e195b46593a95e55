"""What the tests of all pages share: whoever opens one works at this machine."""

import pytest

import pages.server.access  # noqa: F401  says from now on who acts, and no test may be the first to have it do so
from covid_core import presets, weights


@pytest.fixture(autouse=True)
def on_this_machine(monkeypatch) -> None:
    monkeypatch.setenv("SECOND_LOOK_ALLOW_REMOTE", "1")


@pytest.fixture
def no_weights(monkeypatch, tmp_path) -> None:
    """No network, and no cached weights."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for module in (presets, weights):
        monkeypatch.setattr(module, "can_be_reached", lambda url: False)
