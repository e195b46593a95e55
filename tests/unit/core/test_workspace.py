"""Where things lie, and which names are names."""

from pathlib import Path

import platformdirs
import pytest

import covid_core
from covid_core import workspace
from covid_core.errors import UnknownId
from covid_core.workspace import ID_PATTERN, Workspace, folder_of, list_folders, new_id

HOSTILE = [
    "",
    ".",
    "..",
    "../runs",
    "../../etc",
    "/etc",
    "a/b",
    "a\\b",
    "%2e%2e",
    "a\0b",
    "run-1\n",
    "RUN-1",
    "-run",
    ".hidden",
    "ａ",
    "a" * 65,
    "x" * 10_000,
]


def test_the_environment_says_where_the_workspace_is(tmp_path, monkeypatch):
    monkeypatch.setenv("COVID_CORE_HOME", str(tmp_path / "here"))
    assert Workspace.default().root == tmp_path / "here"


def test_a_checkout_keeps_its_workspace_beside_the_code_wherever_the_command_is_given(tmp_path, monkeypatch):
    monkeypatch.delenv("COVID_CORE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert Workspace.default().root == Path(covid_core.__file__).parents[1] / "workspace"


def test_an_installed_package_keeps_it_in_the_users_folder_for_data(tmp_path, monkeypatch):
    monkeypatch.delenv("COVID_CORE_HOME", raising=False)
    monkeypatch.setattr(workspace, "SOURCE", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    assert workspace.location().path == platformdirs.user_data_path("second-look", appauthor=False)


def test_an_earlier_workspace_of_the_current_folder_is_named_when_it_is_not_used(tmp_path, monkeypatch):
    monkeypatch.delenv("COVID_CORE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert workspace.location().unused is None
    (tmp_path / "workspace" / "datasets").mkdir(parents=True)
    assert workspace.location().unused == tmp_path / "workspace"
    monkeypatch.setenv("COVID_CORE_HOME", str(tmp_path / "here"))
    assert workspace.location().unused is None, "somebody chose"


def test_folders_are_made_when_they_are_asked_for(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    assert not workspace.root.exists()
    assert workspace.runs.is_dir()
    assert workspace.features.is_dir()


@pytest.mark.parametrize("name", ["ResNet50, last 10", "Lünge", "../../etc", "肺", "", "<script>", "x" * 300, "---"])
def test_any_name_gives_an_id_that_is_one(name):
    assert ID_PATTERN.fullmatch(new_id(name))


def test_an_id_still_tells_the_name():
    assert new_id("ResNet50, last 10").startswith("resnet50-last-10-")


def test_two_things_of_one_name_get_two_ids():
    assert new_id("run") != new_id("run")


@pytest.mark.parametrize("identifier", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_but_a_listed_id_opens_a_folder(tmp_path, identifier):
    (tmp_path / "runs" / "run-1").mkdir(parents=True)
    with pytest.raises(UnknownId, match="There is no run with the id"):
        folder_of(tmp_path / "runs", identifier, "run")


def test_a_link_out_of_the_workspace_is_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "run-1").symlink_to(tmp_path / "outside")
    with pytest.raises(UnknownId):
        folder_of(tmp_path / "runs", "run-1", "run")
    assert list_folders(tmp_path / "runs") == []


def test_staging_folders_and_foreign_files_are_not_listed(tmp_path):
    (tmp_path / ".run-2.0a1b2c3d.tmp").mkdir()
    (tmp_path / "Thumbs.db").touch()
    (tmp_path / "run-3").touch()
    (tmp_path / "run-1").mkdir()
    assert [folder.name for folder in list_folders(tmp_path)] == ["run-1"]


def test_the_refusal_shows_only_the_start_of_a_long_id(tmp_path):
    with pytest.raises(UnknownId) as refusal:
        folder_of(tmp_path, "x" * 10_000, "run")
    assert len(str(refusal.value)) < 150
