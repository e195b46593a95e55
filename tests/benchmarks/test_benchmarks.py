"""The parts of the benchmarks that compute and compare; nothing here is timed or trained."""

import importlib
import json
import sys
from itertools import count

import numpy as np
import pytest
from made_images import write_images
from made_runs import COURSE_SIZES, all_parts

from benchmarks import measuring
from benchmarks.models import comparison
from benchmarks.peers import bootstrap, keras_course, pytorch_frozen
from benchmarks.predicting import pictures
from benchmarks.training import course, fine_tuning, study
from covid_core import presets, weights
from covid_core.evaluation import assessment, measures, metrics, resampling

SCRIPTS = (
    "scorecard",
    "models.comparison",
    "datasets.copies",
    "predicting.coverage",
    "datasets.dicom",
    "training.fine_tuning",
    "training.floor",
    "training.folds",
    "training.frozen",
    "datasets.importing",
    "models.lungs",
    "models.outside",
    "screens.pages",
    "predicting.prediction",
    "training.pytorch",
    "predicting.refusals",
    "predicting.server",
    "training.repeats",
    "training.study",
    "peers.keras_course",
    "peers.pytorch_frozen",
)
KERAS_ANSWER = {
    "seconds": {"import": 5.0, "decode": 10.0, "total": 400.0},
    "runs": [
        {"model": "resnet50", "seconds": {"scale": 1.0, "build": 2.0, "fit": 100.0, "evaluate": 3.0, "save": 1.0}},
        {"model": "resnet50_last10", "seconds": {"scale": 1.0, "build": 0, "fit": 90.0, "evaluate": 3.0, "save": 1.0}},
    ],
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_explains_itself(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{script}").main()
    assert ended.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_a_result_holds_raw_times_medians_and_their_ratio():
    answer = measuring.result("x", {"ours": [2.0, 1.0, 9.0], "peer": [10.0, 30.0, 12.0]}, "ours", "peer", images=7)
    assert answer["seconds"] == {"ours": [2.0, 1.0, 9.0], "peer": [10.0, 30.0, 12.0]}
    assert answer["median"] == {"ours": 2.0, "peer": 12.0}
    assert answer["times_faster"] == 6.0
    assert answer["images"] == 7
    assert answer["machine"]["cores"] >= 1


def test_sides_run_in_turn():
    clock = count(1)
    assert measuring.in_turn({"a": lambda: next(clock), "b": lambda: next(clock)}, 3) == {
        "a": [1, 3, 5],
        "b": [2, 4, 6],
    }


def test_standard_output_holds_json_lines_only(capsys):
    measuring.in_turn({"a": lambda: 1.0}, 1)
    measuring.show({"benchmark": "x"})
    assert json.loads(capsys.readouterr().out) == {"benchmark": "x"}


def test_a_process_that_fails_ends_the_benchmark():
    with pytest.raises(SystemExit, match="ended with 3"):
        measuring.seconds_of([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_peers_names_are_the_runs_of_the_course():
    runs = presets.study("course", "images", ("a", "b", "c"), {"a": 40, "b": 40, "c": 40}).runs
    assert list(course.RUNS.values()) == [run.name for run in runs]
    assert set(course.RUNS) == set(keras_course.MODELS)


def test_both_sides_start_at_random_where_keras_has_no_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert course.weights_of("resnet50_last10") == "random"
    path = weights.cached_path(course.backbone_named("mobilenet_v2"), presets.COURSE["image_size"])
    path.parent.mkdir()
    path.touch()
    assert course.weights_of("mobilenet_v2_augmented") == "imagenet"
    assert course.weights_of("baseline") == "random"


def test_a_try_takes_the_first_images_of_each_class(tmp_path):
    write_images(tmp_path / "images" / "a", {"images": 5})
    write_images(tmp_path / "images", {"b": 3})
    chosen = course._images(tmp_path / "images", 2, tmp_path / "chosen")
    assert {path.parent.name for path in chosen.rglob("*.png")} == {"a", "b"}
    assert len(list(chosen.rglob("*.png"))) == 4


def test_the_peers_read_both_layouts_and_leave_the_fourth_class_out(tmp_path):
    write_images(tmp_path / "a", {"images": 5})
    write_images(tmp_path, {"b": 3, "Lung_Opacity": 2})
    images, labels, classes = keras_course.read(tmp_path, 4)
    assert images.shape == (7, keras_course.SIZE, keras_course.SIZE, 3)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert classes == ["a", "b"]
    assert sum(map(len, pytorch_frozen.split(tmp_path, 4).values())) == 7


def test_the_peers_split_is_stratified(tmp_path):
    write_images(tmp_path, {"a": 25, "b": 25})
    images, labels, _ = keras_course.read(tmp_path, None)
    parts = keras_course.split(images, labels)
    listed = pytorch_frozen.split(tmp_path, None)
    for name, size in {"train": 34, "validation": 8, "test": 8}.items():
        assert len(parts[name][1]) == len(listed[name]) == size
        assert parts[name][1].mean() == 0.5


def test_fine_tuning_is_counted_with_and_without_the_start_of_a_program():
    assert fine_tuning.peer_seconds(KERAS_ANSWER) == {"same_program": 94.0, "new_program": 112.0}


def test_the_floor_has_one_pass_per_backbone():
    needed = study.needed_trunks(["baseline", "resnet50", "resnet50_last10", "mobilenet_v2_augmented"])
    assert needed == {"resnet50": "resnet50", "mobilenet_v2": "mobilenet_v2_augmented"}


@pytest.mark.parametrize("in_pairs", [False, True])
def test_the_comparison_has_every_figure_of_every_run_and_every_pair(in_pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(resampling, "REPLICATES", 20)
    comparison.fill(tmp_path, runs=3, images=60, in_pairs=in_pairs)
    runs = comparison._runs(tmp_path)
    found = comparison.every_figure(runs)
    assert len(found["test"]) == len(found["validation"]) == len(found["calibration"]) == 3
    assert len(found["pairs"]) == 3
    assert {run.record.grouped for run in runs} == {in_pairs}
    assert comparison.facts(tmp_path) == {"runs": 3, "validation_images": 12, "test_images": 60}


def test_images_in_pairs_are_of_one_class_and_one_part(tmp_path):
    comparison.fill(tmp_path, runs=1, images=60, in_pairs=True)
    split = comparison._runs(tmp_path)[0].split()
    together = split.groupby("group")
    assert set(together.size()) == {2}
    assert (together[["label", "part"]].nunique() == 1).all(axis=None)


def test_the_peer_of_the_comparison_has_the_same_figures():
    given = metrics.answers(all_parts(COURSE_SIZES, skill=1.0), "test")
    ours, theirs = assessment.measured(given, intervals=False), bootstrap.figures(given.y_true, given.y_prob)
    of_classes = {name: theirs.pop(name) for name in ("f1", "auroc", "auprc")}
    assert {"accuracy", *theirs} == set(measures.MEASURES)
    assert {name: ours.overall[name].value for name in theirs} == pytest.approx(theirs, abs=1e-12)
    for k, label in enumerate(given.classes):
        found = {name: ours.per_class[label][name].value for name in of_classes}
        assert found == pytest.approx({name: values[k] for name, values in of_classes.items()}, abs=1e-12)


def test_the_peer_of_the_comparison_has_nearly_the_same_intervals():
    """Both draw images at random, so their ends differ by chance: by a small part of their width."""
    given = metrics.answers(all_parts({"train": 3, "validation": 3, "test": 200}, skill=1.0), "test")
    ours = assessment.measured(given).overall
    theirs = bootstrap.intervals(given.y_true, given.y_prob, replicates=300)
    for name in ("balanced_accuracy", "macro_auroc", "matthews_correlation", "log_loss"):
        low, high = theirs[name]
        assert np.allclose([ours[name].low, ours[name].high], [low, high], atol=0.2 * (high - low))


def test_the_peer_of_the_comparison_tests_a_pair_as_we_do():
    right = np.arange(100) % 10 > 0
    other = np.arange(100) % 5 > 0
    found = bootstrap.pair(right, other, np.zeros(100, int), replicates=100)
    assert found["p"] == pytest.approx(2 * 0.5**10)
    assert found["interval"][0] < 0.1 < found["interval"][1]


def test_drawn_pictures_are_the_same_every_time_and_all_different():
    drawn, again = pictures.drawn(), pictures.drawn()
    assert [one.sha256 for one in drawn] == [one.sha256 for one in again]
    assert len({one.sha256 for one in drawn}) == len({one.name for one in drawn}) == len(drawn)
    assert 0.2 < np.mean([one.reserved for one in drawn]) < 0.5
