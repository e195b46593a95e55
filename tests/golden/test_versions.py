"""Workspaces of every earlier version that wrote other files: they open, and a run answers what it answered then.

``make_versions.py`` is the record of how the archives came to be. What each version brought:

==============  ====================================================================================================
11-22-bc35409   the first: images by their path, one run, no half, no calibration
11-23-1da69a1   heads without TensorFlow: which epoch is kept, mirrored copies, outputs of the backbone
11-23-652d65e   group splits, and a run notes them
11-25-28e4b23   validation in halves, a temperature; the labels of other images as a setting
11-25-32ceb2b   decisions, audits, outside tests: ``workspace.tar.xz``, which ``test_golden.py`` asks
11-29-d7404b6   "image" in place of "film", the reference by which new images are judged
11-29-943e41e   patients and their pattern in a data set, annotations, what a network is shown
11-29-3e4a916   original images beside augmented ones
==============  ====================================================================================================
"""

import json
import tarfile
from pathlib import Path

import pytest

from covid_core.data.dataset import open_dataset
from covid_core.runs import store
from covid_core.runs.pinned_dataset import version_of
from covid_core.workspace import Workspace

VERSIONS = sorted((Path(__file__).parent / "versions").glob("*.tar.xz"))
ALIKE = 1e-4  # of a logit: networks sum in another order on another processor


@pytest.mark.parametrize("archive", VERSIONS, ids=lambda path: path.name.partition(".")[0])
def test_a_workspace_of_an_earlier_version_opens_and_answers_as_it_did(archive, tmp_path, monkeypatch, answer):
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    then = json.loads((tmp_path / "answers.json").read_text())
    about = tmp_path / "workspace" / "datasets" / then["dataset"] / "import.json"
    about.write_text(about.read_text().replace("/home", str(tmp_path)))
    monkeypatch.setenv("COVID_CORE_HOME", str(tmp_path / "workspace"))

    _, listed = answer("runs")
    assert [(one["run"], one["state"]) for one in listed["runs"]] == [(then["run"], "completed")]
    assert not listed["damaged"]
    workspace = Workspace.default()
    run, dataset = store.open_run(workspace, then["run"]), open_dataset(workspace, then["dataset"])
    assert len(dataset.images) == len(run.split()) == sum(dataset.counts.values())
    assert version_of(run, dataset).is_present
    _, compared = answer("compare", run.id)
    assert [row["test"] for row in compared["groups"][0]["table"] if row["name"] == run.name] == [then["test"]]
    image = tmp_path / "images" / "COVID" / "COVID-1.png"
    _, predicted = answer("predict", run.id, str(image), "--anyway")
    assert predicted["images"][0]["logits"] == pytest.approx(then["logits"], abs=ALIKE)
    code, _ = answer("show", run.id)
    assert code == 0


def test_an_archive_stays_small():
    assert max(path.stat().st_size for path in VERSIONS) < 60_000
