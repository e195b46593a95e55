"""The installed package: one command, from any folder, with the pages in it and nothing of them loose beside it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from app_server import ROOT, App
from playwright.sync_api import Page, expect

import covid_core


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The package, built and installed into a folder; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    alone = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]  # nothing is downloaded
    subprocess.run([sys.executable, "-m", "pip", "install", *alone, "--target", folder, ROOT], check=True)
    return folder


@pytest.fixture(scope="module")
def environment(installed, tmp_path_factory) -> dict[str, str]:
    """That of a user who has set nothing."""
    of_user = {name: value for name, value in os.environ.items() if name != "COVID_CORE_HOME"}
    return {**of_user, "PYTHONPATH": str(installed), "XDG_DATA_HOME": str(tmp_path_factory.mktemp("data"))}


@pytest.fixture(scope="module")
def app(installed, environment, tmp_path_factory):
    """The dashboard as its command starts it, from a folder that is no checkout."""
    running = App(tmp_path_factory.mktemp("app"))
    running.start([sys.executable, str(installed / "bin" / "second-look"), "app"], running.home, environment)
    yield running
    running.kill()


def test_nothing_of_the_dashboard_lies_loose_beside_other_packages(installed):
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {
        "bin",
        "covid_core",
        "second_look",
    }
    assert (installed / "covid_core" / "py.typed").exists()


def test_dependencies_and_version_are_those_of_the_checkout(installed):
    (metadata,) = installed.glob("second_look-*.dist-info/METADATA")
    lines = metadata.read_text(encoding="utf-8").splitlines()
    required = {
        line.partition(": ")[2].replace(" ", "")
        for line in lines
        if line.startswith("Requires-Dist") and "extra ==" not in line
    }
    asked = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = {line.partition("#")[0].partition(">")[0].strip() for line in asked if not line.startswith("#")}
    assert {one.partition("<")[0].partition(">")[0] for one in required} == names
    assert f"Version: {covid_core.__version__}" in lines


@pytest.mark.skipif(sys.platform != "linux", reason="Where users keep their data is another place elsewhere.")
def test_data_lie_in_the_users_folder(installed, environment, tmp_path):
    command = [sys.executable, str(installed / "bin" / "second-look"), "where", "--json"]
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout)["workspace"] == str(Path(environment["XDG_DATA_HOME"]) / "second-look")


def test_its_dashboard_opens_by_a_deep_link(page: Page, app: App):
    page.goto(f"{app.url}/predict")
    expect(page.get_by_role("link", name="Data set")).to_be_visible()
    expect(page.get_by_role("heading", name="What do the models predict for this image?")).to_be_visible()
