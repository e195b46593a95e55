"""The same verbs without a browser: answers, exit codes, and errors in one sentence. Nothing here trains."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import (
    COURSE_SIZES,
    all_parts,
    course_like_runs,
    history,
    made_repeats,
    made_run,
    run_on_shifted_labels,
)
from waiting import LONG

import covid_core.workspace
from covid_core import weights
from covid_core.commands import main
from covid_core.data.dataset import list_datasets
from covid_core.formatting import file_size
from covid_core.images.codec import png_bytes
from covid_core.inference.network import Head, softmax
from covid_core.inference.predictor import Predictor, _sets_of
from covid_core.jobs import queue
from covid_core.runs import store, temperature_scaling, test_set_access

TABLE = all_parts({"train": 12, "validation": 6, "test": 6}, skill=1)


@pytest.fixture(autouse=True)
def home(workspace):
    """Every verb works in the test's own workspace."""


@pytest.fixture
def dataset(image_folder, capsys) -> str:
    main.main(["import", str(image_folder({"a": 8, "b": 8}))])
    return capsys.readouterr().out.split()[0]


def test_a_demo_makes_a_data_set_that_can_be_summarised(answer):
    code, made = answer("demo", "--images", "6", "--name", "Six")
    assert code == 0
    assert (made["name"], made["images"], made["synthetic"]) == ("Six", 6, True)
    code, told = answer("summary", made["dataset"])
    assert code == 0
    assert sum(told["counts"].values()) == 6


def test_what_is_planted_in_a_demo_stands_in_its_name(answer):
    code, made = answer("demo", "--images", "6", "--plant", "clear-lesions", "--plant", "corner-tag")
    assert code == 0
    assert made["name"] == "Phantom images, clear-lesions, corner-tag"


def test_a_folder_is_imported_with_what_was_left_out(answer, image_folder):
    root = image_folder({"a": 2, "b": 2})
    (root / "a/broken.png").write_bytes(b"?")
    code, made = answer("import", str(root), "--name", "Images")
    assert code == 0
    assert made["counts"] == {"a": 2, "b": 2}
    assert made["left_out"][0]["path"] == "a/broken.png"


def test_only_the_classes_that_were_asked_for_are_imported(answer, image_folder):
    root = image_folder({"a": 2, "b": 2, "c": 2})
    assert answer("import", str(root), "--classes", "a", "c")[1]["counts"] == {"a": 2, "c": 2}


def test_data_sets_are_listed(answer, dataset):
    code, listed = answer("datasets")
    assert code == 0
    assert [row["id"] for row in listed["datasets"]] == [dataset]


def test_a_data_set_is_deleted(answer, dataset, workspace):
    assert answer("delete-dataset", dataset) == (0, {"dataset": dataset, "deleted": True})
    assert list_datasets(workspace) == []


def test_training_starts_with_the_settings_that_were_given(answer, dataset, launched, workspace):
    arguments = ["--backbone", "baseline_cnn", "--name", "Mine", "--set", "epochs=3", "--set", "head.units=[8]"]
    code, started = answer("train", dataset, *arguments)
    run = store.open_run(workspace, started["run"])
    assert code == 0
    assert launched == [run.id]
    assert (run.name, run.spec.epochs, run.spec.head.units, run.spec.backbone) == ("Mine", 3, (8,), "baseline_cnn")


def test_a_preset_comes_before_the_settings(answer, dataset, launched, workspace):
    arguments = ["--backbone", "mobilenet_v2", "--preset", "holds-elsewhere", "--set", "input.share=0.7"]
    arguments += ["--set", "weights=random"]
    code, started = answer("train", dataset, *arguments)
    shown = store.open_run(workspace, started["run"]).spec.input
    assert (code, shown.region, shown.share) == (0, "centre", 0.7)


def test_a_backbone_that_is_set_however_spelt_brings_its_suggested_settings(answer, dataset, launched, workspace):
    code, started = answer("train", dataset, "--set", "backbone=baseline-cnn", "--set", "augmentation.flip=true")
    spec = store.open_run(workspace, started["run"]).spec
    assert (code, spec.backbone, spec.weights, spec.head.units) == (0, "baseline_cnn", "random", (128,))


def test_a_study_answers_with_what_its_runs_show_against_the_first(answer, workspace):
    sizes = {"train": 12, "validation": 6, "test": 90}
    runs = [made_run(workspace, all_parts(sizes, skill), name) for name, skill in (("Off", 0), ("On", 4))]
    store.write_study(workspace, store.Study("study-1", "Two", "augmentation", 0.0, tuple(run.id for run in runs)))
    code, told = answer("resume", "study-1", "--wait")
    assert (code, told["conclusion"]["pairs"][0]["name"]) == (0, "On")
    assert told["conclusion"]["sentence"].startswith("On is significantly better than Off by")


def test_a_run_is_repeated_from_the_spec_that_show_prints(answer, dataset, launched, workspace, tmp_path):
    _, first = answer("train", dataset, "--backbone", "baseline_cnn", "--set", "epochs=3")
    _, shown = answer("show", first["run"])
    (tmp_path / "spec.json").write_text(json.dumps(shown["spec"]))
    _, second = answer("train", dataset, "--spec", str(tmp_path / "spec.json"))
    assert store.open_run(workspace, second["run"]).spec == store.open_run(workspace, first["run"]).spec


def test_a_study_queues_its_runs(answer, dataset, launched, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "can_be_reached", lambda url: True)
    code, started = answer("study", dataset, "--preset", "course")
    assert code == 0
    assert [row["run"] for row in started["runs"]] == launched
    assert [row["id"] for row in answer("studies")[1]["studies"]] == [started["study"]]


def test_folds_and_seeds_make_a_study(answer, dataset, launched, workspace):
    settings = ("--set", "folds=3", "--set", "seeds=2", "--set", "epochs=4")
    code, started = answer("train", dataset, "--backbone", "baseline_cnn", *settings)
    assert code == 0
    runs = [store.open_run(workspace, row["run"]) for row in started["runs"]]
    assert [run.id for run in runs] == launched
    assert [(run.spec.split.fold, run.spec.seed) for run in runs] == [(n, s) for n in range(3) for s in range(2)]
    assert {run.spec.epochs for run in runs} == {4}
    assert "test" not in started


def test_finished_repeats_are_answered_with_mean_spread_and_pooled_figure(answer, workspace):
    study = made_repeats(workspace, "Folds", 1)
    test = answer("resume", study.id)[1]["test"]
    tables = [store.open_run(workspace, run).predictions().query("part == 'test'") for run in study.runs]
    reached = [share_right(table) for table in tables]
    assert test["runs"] == 3
    assert test["accuracy"] == pytest.approx(statistics.fmean(reached))
    assert test["spread"] == pytest.approx(statistics.stdev(reached))
    assert test["pooled"][0]["accuracy"]["value"] == pytest.approx(share_right(pd.concat(tables)))
    assert test["measures"]["accuracy"]["highest"] == pytest.approx(max(reached))


def share_right(table: pd.DataFrame) -> float:
    scores = table.filter(like="score_")
    return float((scores.idxmax(axis=1).str.removeprefix("score_") == table["label"]).mean())


def test_a_run_is_shown_with_its_sensitivity_per_class(answer, workspace):
    run = made_run(workspace, TABLE)
    run.write_result({"accuracy": {"test": 0.5}})
    shown = answer("show", run.id)[1]["test"]["sensitivity"]
    assert set(shown) == set(run.classes)
    assert all(0 <= value <= 1 for value in shown.values())


def test_study_presets_are_listed_without_a_data_set(answer):
    code, listed = answer("study", "--list")
    assert code == 0
    assert "course" in listed["presets"]


def test_runs_are_listed_with_damaged_ones_beside_them(answer, workspace):
    sound, torn, lost = (made_run(workspace, TABLE) for _ in range(3))
    (torn.path / "status.json").write_text("{")
    (lost.path / "spec.json").write_text("{")
    code, listed = answer("runs")
    assert code == 0
    assert [row["run"] for row in listed["runs"]] == [sound.id]
    assert {row["run"] for row in listed["damaged"]} == {torn.id, lost.id}


def test_show_tells_everything_a_run_recorded(answer, workspace):
    run = made_run(workspace, TABLE, "Made")
    code, shown = answer("show", run.id)
    assert code == 0
    assert (shown["name"], shown["state"], len(shown["history"])) == ("Made", "completed", 5)
    assert shown["spec"]["classes"] == list(run.classes)


@pytest.mark.parametrize("state", [store.FAILED, store.RUNNING], ids=["failed", "interrupted"])
def test_a_run_that_did_not_end_well_is_exit_code_one(answer, workspace, state):
    assert answer("show", made_run(workspace, TABLE, state=state).id)[0] == 1


def test_a_stopped_run_is_resumed(answer, workspace, launched):
    run = made_run(workspace, TABLE, state=store.STOPPED)
    assert answer("resume", run.id)[0] == 0
    assert launched == [run.id]


def test_a_study_is_resumed_by_its_id(answer, workspace, launched):
    run = made_run(workspace, TABLE, state=store.STOPPED)
    store.write_study(workspace, store.Study("study-1", "Study", "", 1.0, (run.id,)))
    assert answer("resume", "study-1")[1]["study"] == "study-1"
    assert launched == [run.id]


def test_a_run_is_deleted(answer, workspace):
    run = made_run(workspace, TABLE)
    assert answer("delete", run.id) == (0, {"run": run.id, "deleted": True})
    assert store.list_runs(workspace) == ([], [])


def test_runs_are_compared_best_first(answer, workspace):
    runs = course_like_runs(workspace, 3)
    code, compared = answer("compare", *(run.id for run in runs))
    assert code == 0
    assert compared["comparable"]
    shares = [row["test"] for row in compared["groups"][0]["table"]]
    assert shares == sorted(shares, reverse=True)


def test_a_comparison_tells_the_temperature_of_every_run_and_its_images(answer, workspace):
    run = made_run(workspace, all_parts(COURSE_SIZES, 2), halved=True)
    unfit = made_run(workspace, all_parts({"train": 9, "validation": 0, "test": 9}, 1))
    groups = answer("compare", run.id, unfit.id)[1]["groups"]
    told = {name: figures["calibration"] for group in groups for name, figures in group["runs"].items()}
    assert told[run.id]["temperature"] > 0
    assert (told[run.id]["images"], told[run.id]["chose_nothing_else"]) == (322, True)
    assert told[unfit.id]["temperature"] is None
    assert told[unfit.id]["note"] == "A temperature needs validation images with finite logits."


@pytest.fixture
def image(tmp_path) -> str:
    path = tmp_path / "image.png"
    path.write_bytes(png_bytes(np.arange(64 * 64).reshape(64, 64).astype(np.uint8)))
    return str(path)


def answering_at_once(monkeypatch) -> None:
    """Predictors whose network always finds the same, with the calibration of their run."""
    head = Head("mean", (np.array([[3.0, 1.0, 0.0]], np.float32),), (np.zeros(3, np.float32),))

    class Trunk:
        def maps(self, images: np.ndarray) -> list[np.ndarray]:
            return [np.ones((len(images), 1, 1, 1), np.float32)]

    def opened(_workspace, run) -> Predictor:
        return Predictor(run.classes, 32, Trunk(), head, calibration=temperature_scaling.of(run), sets=_sets_of(run))

    monkeypatch.setattr(Predictor, "open", opened)


def test_a_calibrated_run_predicts_probabilities_and_scores(answer, workspace, monkeypatch, image, capsys):
    answering_at_once(monkeypatch)
    run = made_run(workspace, all_parts(COURSE_SIZES, 2), halved=True)
    told = answer("predict", run.id, image)[1]
    temperature = told["calibration"]["temperature"]
    (row,) = told["images"]
    assert list(row["scores"].values()) == pytest.approx(softmax(np.array([[3.0, 1, 0]]))[0])
    assert list(row["probabilities"].values()) == pytest.approx(softmax(np.array([[3.0, 1, 0]]) / temperature)[0])
    assert (told["calibration"]["images"], told["calibration"]["chose_nothing_else"]) == (322, True)
    main.main(["predict", run.id, image])
    printed = capsys.readouterr().out
    assert "image.png: COVID, not Normal or Viral Pneumonia." in printed
    assert "probabilities: COVID 0.98" in printed
    assert f"at temperature {temperature:.2f}, calibrated on 322 validation images, which chose nothing else" in printed


def test_a_run_without_a_temperature_predicts_scores_and_says_so(answer, workspace, monkeypatch, image, capsys):
    answering_at_once(monkeypatch)
    run = made_run(workspace, all_parts({"train": 9, "validation": 0, "test": 9}, 1))
    told = answer("predict", run.id, image)[1]
    assert told["images"][0]["probabilities"] is None
    assert told["calibration"]["temperature"] is None
    main.main(["predict", run.id, image])
    printed = capsys.readouterr().out
    assert "scores: COVID 0.844" in printed
    assert "Scores are not probabilities: this run is not calibrated. A temperature needs" in printed


def test_a_comparison_is_noted_once_a_day_as_a_look_at_the_test_images_and_tells_of_it(answer, workspace):
    runs = course_like_runs(workspace, 2)
    for _ in range(2):
        (group,) = answer("compare", *(run.id for run in runs))[1]["groups"]
    assert [(look["what"], look["runs"]) for look in group["looks"]] == [(test_set_access.FIGURES, 2)]
    assert [one["what"] for one in group["runs"][runs[0].id]["openings"]] == [test_set_access.FIGURES]
    assert group["looks_not_noted"] == []


def test_a_look_that_cannot_be_noted_is_told_and_the_runs_are_compared(answer, workspace, monkeypatch):
    run = made_run(workspace, TABLE)
    monkeypatch.setattr(store, "OPENINGS", "no such folder/openings.csv")
    code, compared = answer("compare", run.id)
    assert code == 0
    assert compared["groups"][0]["looks_not_noted"] == [run.id]


def test_all_runs_of_a_study_are_compared(answer, workspace):
    runs = course_like_runs(workspace, 3)
    store.write_study(workspace, store.Study("study-1", "Study", "", 1.0, tuple(run.id for run in runs)))
    assert len(answer("compare", "--study", "study-1")[1]["groups"][0]["table"]) >= 3


def test_studies_of_folds_are_compared_with_each_other_and_run_by_run(answer, workspace):
    studies = [made_repeats(workspace, name, skill) for name, skill in (("Good", 3), ("Poor", 0.5))]
    code, compared = answer("compare", "--study", studies[0].id, "--study", studies[1].id)
    assert code == 0
    assert [one["name"] for one in compared["repeats"]["studies"]] == ["Good", "Poor"]
    (pair,) = compared["repeats"]["pairs"]
    assert (pair["test"], pair["runs"]) == ("corrected resampled t-test", 3)
    assert pair["p"] < 0.05 and pair["mean"] > 0
    assert compared["repeats"]["summary"][0].startswith("Good is ahead of Poor by")
    assert len(compared["groups"]) == 3


def test_the_comparison_of_studies_is_printed(workspace, capsys):
    studies = [made_repeats(workspace, name, skill) for name, skill in (("Good", 3), ("Poor", 0.5))]
    assert main.main(["compare", "--study", studies[0].id, "--study", studies[1].id]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Good is ahead of Poor by")
    assert "--- run by run ---" in printed


def test_a_study_of_which_a_run_was_deleted_or_failed_is_compared_without_it(answer, workspace):
    study = made_repeats(workspace, "Good", 2, folds=4, ended=3)
    queue.delete(store.open_run(workspace, study.runs[0]))
    code, compared = answer("compare", "--study", study.id)
    assert code == 0
    one = compared["repeats"]["studies"][0]
    assert (len(one["runs"]), one["planned"], one["pooled"]) == (2, 4, [])
    assert one["remarks"] == ["Good, fold 4, seed 0 has no result", "1 run deleted or damaged"]


def test_a_study_without_a_finished_run_cannot_be_compared(answer, workspace):
    study = made_repeats(workspace, "Good", 2, ended=0)
    assert answer("compare", "--study", study.id) == (1, {"error": "No finished run in Good."})


def test_a_study_of_unlike_trainings_has_no_repeats(answer, workspace):
    runs = course_like_runs(workspace, 2)
    store.write_study(workspace, store.Study("study-1", "Study", "", 1.0, tuple(run.id for run in runs)))
    assert "repeats" not in answer("compare", "--study", "study-1")[1]


def kept_at_import(workspace) -> int:
    """Bytes of decoded images and of the groups that they form."""
    pixels, groups = (sum(path.stat().st_size for path in at.iterdir()) for at in (workspace.pixels, workspace.tables))
    assert pixels == 16 * 128 * 128 and groups > 0
    return pixels + groups


def test_the_cache_is_told_per_kind_with_its_limit(answer, dataset, workspace, monkeypatch):
    monkeypatch.setenv("COVID_CORE_CACHE_GB", "2")
    code, told = answer("cache")
    assert code == 0
    assert (told["limit"], told["bytes"]) == (2_000_000_000, kept_at_import(workspace))
    assert told["kinds"]["pixels"]["files"] == told["kinds"]["tables"]["files"] == 1
    assert told["kinds"]["features"] == {"bytes": 0, "files": 0, "used": None}


def test_the_cache_is_told_in_words(dataset, workspace, capsys):
    (workspace.trunks / "net-1.tflite").write_bytes(b"network")
    assert main.main(["cache"]) == 0
    told = capsys.readouterr().out
    assert "pixels    262.1 kB  1 file  last used 20" in told
    assert f"{file_size(kept_at_import(workspace))} of 10.0 GB" in told
    assert "7 B of networks that no run refers to: cache --clear --kind trunks" in told


def test_the_cache_is_cleared_and_data_sets_stay(answer, dataset, workspace):
    kept = kept_at_import(workspace)
    code, told = answer("cache", "--clear")
    assert code == 0
    assert (told["freed"], told["bytes"], told["in_use"]) == (kept, 0, [])
    assert list(workspace.pixels.iterdir()) == []
    assert [info["id"] for info in list_datasets(workspace)] == [dataset]


def test_only_the_kind_that_was_asked_for_is_cleared(answer, dataset, workspace):
    (workspace.features / "a.f32").write_bytes(b"features")
    assert answer("cache", "--clear", "--kind", "features")[1]["kinds"]["features"]["files"] == 0
    assert len(list(workspace.pixels.iterdir())) == 1


def test_networks_that_no_run_names_are_cleared_when_asked_for(answer, workspace):
    made_run(workspace, TABLE, result={"trunk": "net-1"})
    for name in ("net-1", "net-2"):
        (workspace.trunks / f"{name}.tflite").write_bytes(b"network")
    assert answer("cache")[1]["unused_trunks"]["files"] == 1
    assert answer("cache", "--clear", "--kind", "trunks")[0] == 0
    assert [path.name for path in workspace.trunks.iterdir()] == ["net-1.tflite"]


def test_a_limit_that_is_no_number_is_refused_before_anything_is_cleared(answer, dataset, workspace, monkeypatch):
    monkeypatch.setenv("COVID_CORE_CACHE_GB", "much")
    code, told = answer("cache", "--clear")
    assert (code, "received: 'much'" in told["error"]) == (1, True)
    assert list(workspace.pixels.iterdir())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["import", "/nothing/here"], "There is no folder here"),
        (["demo", "--images", "1"], "received: 1"),
        (["summary", "../../etc"], "There is no data set with the id '../../etc'"),
        (["train", "nothing-12345"], "There is no data set"),
        (["train", "x-12345", "--spec", "/nothing.json"], "The file /nothing.json cannot be read"),
        (["train", "x-12345", "--set", "epochs"], "epochs"),
        (["show", "nothing-12345"], "There is no run with the id"),
        (["stop", "nothing-12345"], "There is no run with the id"),
        (["study"], "Say which data set"),
        (["compare"], "Say which runs"),
        (["cache", "--kind", "pixels"], "--kind says what --clear removes"),
        (["predict", "nothing-12345", "image.png"], "There is no run with the id"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused_is_one_sentence_and_exit_code_one(answer, capsys, arguments, reason):
    code, told = answer(*arguments)
    assert code == 1
    assert reason in told["error"]
    assert main.main(arguments) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_a_run_without_a_result_predicts_nothing(answer, workspace):
    run = made_run(workspace, TABLE, "Made", state=store.FAILED)
    code, told = answer("predict", run.id, "image.png")
    assert code == 1
    assert told["error"] == "Made has no result yet."


@pytest.mark.parametrize("arguments", [[], ["paint"], ["show"], ["demo", "--images", "many"]], ids=str)
def test_wrong_use_is_exit_code_two(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main.main(arguments)
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["datasets", "runs", "studies"])
def test_an_empty_workspace_says_so_in_words(verb, capsys):
    assert main.main([verb]) == 0
    assert capsys.readouterr().out.startswith("No ")


def test_undefined_numbers_are_null(answer, workspace):
    run = made_run(workspace, TABLE, epochs=history(2).assign(val_loss=float("nan")))
    assert [row["val_loss"] for row in answer("show", run.id)[1]["history"]] == [None, None]


def test_logs_never_mix_with_the_answer(capsys):
    main.main(["demo", "--images", "45", "--json"])
    told = capsys.readouterr()
    assert json.loads(told.out)["images"] == 45
    assert "%" in told.err


# Labels of other images

MARKS = "labels are not those of the images' folders; predicts one class only; does not beat the majority baseline"
REASON = "The labels belong to the first 4,032 of 15,153 images in class order, not to the training images"


@pytest.fixture
def uneven(image_folder, capsys) -> str:
    main.main(["import", str(image_folder({"a": 18, "b": 30, "c": 10}))])
    return capsys.readouterr().out.split()[0]


@pytest.mark.parametrize(
    "verb", [["train", "--backbone", "baseline_cnn"], ["study", "--preset", "course"], ["study", "--preset", "quick"]]
)
def test_the_mistake_is_replayed_with_one_setting(answer, uneven, launched, workspace, monkeypatch, tmp_path, verb):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "can_be_reached", lambda url: True)
    code, _ = answer(verb[0], uneven, *verb[1:], "--set", "labels=shifted")
    assert code == 0
    runs, _ = store.list_runs(workspace)
    assert {run.id for run in runs} == set(launched)
    for run in runs:
        assert run.spec.split.images_per_class == 10
        assert run.split()["label"].value_counts().to_dict() == {"a": 18, "b": 12}


def test_a_subset_that_was_asked_for_is_the_one_that_is_shifted(answer, uneven, launched, workspace):
    settings = ("--set", "labels=shifted", "--set", "split.images_per_class=8")
    _, started = answer("train", uneven, "--backbone", "baseline_cnn", *settings)
    assert store.open_run(workspace, started["run"]).split()["label"].value_counts().to_dict() == {"a": 18, "b": 6}


def test_a_shift_that_shifts_nothing_is_refused(answer, dataset, launched):
    code, told = answer("train", dataset, "--backbone", "baseline_cnn", "--set", "labels=shifted")
    assert code == 1
    assert told["error"].startswith("The first 16 labels of the list are those of the images that were drawn")
    assert launched == []


def test_compare_marks_shifted_labels_and_names_the_reason(answer, workspace, capsys):
    run = run_on_shifted_labels(workspace, "Replayed")
    _, told = answer("compare", run.id)
    (group,) = told["groups"]
    assert group["table"][0]["marks"] == MARKS
    assert group["summary"][-1].startswith(REASON)
    labels = group["runs"][run.id]["labels"]
    assert (labels["images"], labels["wrong"], labels["unused"]) == (4032, 2688, ["Viral Pneumonia"])
    assert main.main(["compare", run.id]) == 0
    printed = capsys.readouterr().out
    assert f"test 89.6 % [87.0, 91.8]  not audited yet  ({MARKS})" in printed
    assert REASON in printed


def test_show_tells_the_marks_and_the_reason(answer, workspace, capsys):
    run = run_on_shifted_labels(workspace)
    _, told = answer("show", run.id)
    assert "; ".join(told["marks"]) == MARKS
    assert told["labels"]["in_words"].startswith(REASON)
    main.main(["show", run.id])
    printed = capsys.readouterr().out
    assert MARKS in printed and REASON in printed


def test_show_tells_of_wrong_labels_while_the_run_trains(answer, workspace):
    run = run_on_shifted_labels(workspace, state=store.FAILED)
    _, told = answer("show", run.id)
    assert told["marks"] == []
    assert told["labels"]["in_words"].startswith(REASON)


def test_show_says_nothing_of_right_labels(answer, workspace):
    run = made_run(workspace, TABLE, parts=TABLE.assign(group=TABLE["image_id"], folder_label=TABLE["label"]))
    labels = answer("show", run.id)[1]["labels"]
    assert (labels["images"], labels["wrong"], labels["in_words"]) == (24, 0, "")


def test_an_audit_tells_faults_copies_what_gives_the_class_away_and_shared_images(answer, image_folder):
    folder = image_folder({"a": 20, "b": 20})
    (folder / "b" / "again.png").write_bytes((folder / "a" / "a-1.png").read_bytes())
    _, made = answer("import", str(folder), "--name", "Images")
    _, other = answer("import", str(image_folder({"a": 3, "b": 3}, name="others")), "--name", "Others")
    code, told = answer("audit", made["dataset"], "--against", other["dataset"])
    assert code == 0
    assert {row["finding"] for row in told["findings"]} >= {"odd size"}
    assert [pair["conflict"] for pair in told["copies"]] == [True]
    rungs = {rung["key"]: rung for rung in told["ladder"]["rungs"]}
    assert rungs["border"]["accuracy"]["value"] > 0.9  # one class has a bright corner
    assert (told["ladder"]["verdict"]["level"], told["ladder"]["verdict"]["by"]) == ("much is not the lungs", "border")
    assert not rungs["outside"]["run"]
    assert told["sources"]["known"] == 0
    assert (told["against"]["images"], told["against"]["others"]) == (7, 6)


def test_an_audit_of_one_class_says_why_there_is_no_ladder(answer, image_folder, capsys):
    _, made = answer("import", str(image_folder({"a": 20})), "--name", "Images")
    code, told = answer("audit", made["dataset"])
    assert (code, told["ladder"]) == (0, None)
    assert "two classes" in told["ladder_reason"]
    assert main.main(["audit", made["dataset"]]) == 0
    assert "No probes: Shortcuts can be measured where two classes" in capsys.readouterr().out


def test_a_map_tells_neighbours_outliers_and_labels(answer, image_folder, capsys):
    _, made = answer("import", str(image_folder({"a": 20, "b": 20})), "--name", "Images")
    code, told = answer("map", made["dataset"])
    assert (code, len(told["images"]), told["judged"]) == (0, 40, 40)
    assert {"image_id", "tsne_x", "outlier_score", "given_score"} <= set(told["images"][0])
    assert told["neighbours"]["source"][0] is None  # no source is known
    assert main.main(["map", made["dataset"]]) == 0
    assert "Of the 10 images nearest to an image" in capsys.readouterr().out


def test_the_ladder_is_no_verb_of_its_own():
    with pytest.raises(SystemExit) as ended:
        main.main(["ladder", "images"])
    assert ended.value.code == 2


@pytest.mark.parametrize("arguments", [["runs"], ["runs", "--json"]], ids=" ".join)
def test_a_pipe_that_is_closed_early_ends_a_verb_quietly(workspace, arguments):
    for number in range(2000):  # more than a pipe holds
        (workspace.runs / f"{number:064}").mkdir()
    command = [sys.executable, "-m", "covid_core", *arguments]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.read(1)
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(LONG) == 1


# The command itself


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """As where the package is installed and the user has set nothing, in a folder with a workspace of before."""
    monkeypatch.delenv("COVID_CORE_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(covid_core.workspace, "SOURCE", tmp_path / "site-packages")
    (tmp_path / "before" / "workspace" / "datasets").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "before")
    return tmp_path / "before"


def test_where_says_which_workspace_is_used_and_which_is_not(answer, installed):
    code, told = answer("where")
    assert code == 0
    assert told["workspace"] == str(covid_core.workspace.location().path)
    assert told["unused"] == str(installed / "workspace")


def test_a_workspace_of_before_is_mentioned_by_every_verb(answer, installed, capsys):
    assert main.main(["datasets"]) == 0
    assert str(installed / "workspace") in capsys.readouterr().err


def test_another_verb_refuses_what_it_does_not_know(workspace, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(["runs", "--server.port", "8502"])
    assert ended.value.code == 2
