"""A trained run on images from elsewhere, from the job and the command line to the figures. Trains one tiny network."""

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from local_jobs import completed
from trained_runs import tiny_run

from covid_core.commands import main
from covid_core.data.imports import importing
from covid_core.images.codec import png_bytes
from covid_core.inference import external_test
from covid_core.jobs.kinds import ExternalTestRequest
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.synthetic.phantom import image_at
from covid_core.workspace import Workspace

pytestmark = pytest.mark.slow
COPIED = 3


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Two folders of phantom images: ``inside``, and ``outside`` with other images and some of the same.

    Of the same ones one is called COVID inside and Normal outside. ``Other`` is a class that the run does not know.
    """
    root = tmp_path_factory.mktemp("images")
    drawn = iter(range(60))
    for place, classes in (("inside", {"COVID": 12, "Normal": 12}), ("outside", {"covid": 5, "Normal": 5, "Other": 4})):
        for label, count in classes.items():
            folder = root / place / label
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{place}-{label}-{number}.png").write_bytes(png_bytes(image_at(next(drawn), 60).pixels))
    for number in range(COPIED):
        label = "Normal" if number == 0 else "covid"
        shutil.copy(root / f"inside/COVID/inside-COVID-{number}.png", root / f"outside/{label}/copy-{number}.png")
    return root


@pytest.fixture(scope="module")
def run(place, images) -> Run:
    dataset = importing.import_folder(place, images / "inside", "Inside")
    return tiny_run(place, dataset)


@pytest.fixture(scope="module")
def job(place, images, run) -> store.JobFolder:
    """The job that the Compare page starts."""
    dataset = importing.import_folder(place, images / "outside", "Outside")
    classes = {"covid": "COVID", "Normal": "Normal"}
    job = completed(place, ExternalTestRequest(run=run.id, dataset=dataset.id, classes=classes))
    return store.open_job(place, job.id)


def test_the_job_keeps_the_outside_test_with_the_run_and_names_it(run, job):
    assert job.result["run"] == run.id
    assert job.result["evaluation"] in [one.id for one in run.evaluations()]


def test_images_of_both_data_sets_are_found_with_their_labels(run, job):
    (evaluation,) = [one for one in run.evaluations() if one.id == job.result["evaluation"]]
    shared = evaluation.table().dropna(subset="twin").set_index("twin")
    assert sorted(shared.index) == [f"COVID/inside-COVID-{number}.png" for number in range(COPIED)]
    assert shared.loc["COVID/inside-COVID-0.png", ["label", "twin_label"]].tolist() == ["Normal", "COVID"]
    assert (evaluation.record.shared, evaluation.record.conflicts) == (COPIED, 1)


def test_the_opening_of_the_outside_images_is_noted(run, job):
    assert "outside test: Outside" in [one.what for one in run.openings()]


@pytest.fixture(scope="module")
def told(place, images, run) -> dict[str, Any]:
    """What ``evaluate RUN FOLDER --json`` answers."""
    return _answer(place, run.id, str(images / "outside"), "--name", "Again")


def _answer(place: Workspace, *words: str) -> dict[str, Any]:
    """Standard output of the verb, which must be one JSON object."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as told:
        patch.setenv("COVID_CORE_HOME", str(place.root))
        assert main.main(["evaluate", *words, "--json"]) == 0
    return json.loads(told.getvalue())


def test_the_command_line_tells_the_drop_class_by_class_with_intervals(told):
    assert list(told["drop"]) == ["accuracy", "COVID", "Normal"]
    for name, drop in told["drop"].items():
        inside, beyond = (
            told[side]["overall"]["accuracy"] if name == "accuracy" else told[side]["per_class"][name]["sensitivity"]
            for side in ("inside", "outside")
        )
        assert drop["value"] == pytest.approx(inside["value"] - beyond["value"])
        assert drop["low"] <= drop["value"] <= drop["high"]


def test_figures_leave_out_shared_images_and_unknown_classes(told):
    assert (told["shared"], told["unknown"]) == (COPIED, {"Other": 4})
    assert told["images"] == 10
    assert {one["twin"] for one in told["shared_images"]} == {
        f"COVID/inside-COVID-{number}.png" for number in range(COPIED)
    }
    assert sum(told["called"]["Other"].values()) == 4


def test_a_mapping_counts_a_class_of_another_name(place, run, told):
    again = _answer(place, run.id, told["dataset"]["id"], "--map", "Other=Normal")
    assert (again["images"], again["unknown"]) == (14, {})


def test_images_that_no_check_could_judge_count_as_neither_refused_nor_passed(run, job):
    (evaluation,) = [one for one in run.evaluations() if one.id == job.result["evaluation"]]
    assert evaluation.table()["refused"].isna().all()  # so few validation images set no limit
    assert not external_test.report(run, evaluation).reliability["outside"]["refused"].is_defined
