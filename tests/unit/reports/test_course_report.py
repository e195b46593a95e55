"""The course report: its numbers are the app's and anybody's, and its page needs nothing else."""

import html
import re

import numpy as np
import pandas as pd
import pytest
from made_runs import all_parts, course_artefact, history, made_run, run_on_shifted_labels
from scipy.stats import binomtest

from covid_core.commands import main
from covid_core.evaluation import comparison
from covid_core.figures import training as training_figures
from covid_core.formatting import interval, p_value, points, share
from covid_core.reports.course import html as rendering
from covid_core.reports.course.document import Bullets, Chart, Discussion, Document, Paragraph, Picture, Section, Table
from covid_core.reports.course.formats import FORMATS
from covid_core.reports.course.sections import SECTIONS, document_of
from covid_core.reports.course.subject import subject_of
from covid_core.runs import architecture, candidates, store
from covid_core.workspace import Workspace

SIZES = {"train": 300, "validation": 90, "test": 150}
ALWAYS = [row.key for row in SECTIONS if row.key != "subgroups"]  # which needs facts on record
AUGMENTED = {"augmentation": {"rotation": 15.0}, "views": 4}
RUNS = {  # name: skill and settings
    "Baseline CNN": (0.5, {"backbone": "baseline_cnn", "imbalance": "none"}),
    "Frozen": (3.0, {"imbalance": "none"}),
    "Weighted": (2.0, {"imbalance": "class_weights"}),
    "Augmented": (1.0, {"imbalance": "none", **AUGMENTED}),
    "Tuned": (3.5, {"imbalance": "none", "taps": "last", "mode": "fine_tune", "fine_tuning": {}}),
    "DenseNet121": (2.5, {"imbalance": "none", "backbone": "densenet121"}),
}


@pytest.fixture(scope="module")
def runs(place) -> list[store.Run]:
    tables = [(name, all_parts(SIZES, skill, seed=n), s) for n, (name, (skill, s)) in enumerate(RUNS.items())]
    return [made_run(place, table, name, **settings) for name, table, settings in tables]


def course_document(*arguments) -> Document:
    return document_of(subject_of(*arguments))


@pytest.fixture(scope="module")
def document(place, runs) -> Document:
    return course_document(place, runs)


@pytest.fixture(scope="module")
def of_golden(golden) -> Document:
    """Real runs with models, images and audits, of an earlier version."""
    return course_document(Workspace(golden), store.list_runs(Workspace(golden))[0])


def section(document: Document, key: str) -> Section:
    return next(one for one in document.sections if one.key == key)


def table(document: Document, key: str) -> pd.DataFrame:
    return next(b.frame for s in document.sections for b in s.blocks if isinstance(b, Table) and b.key == key)


def words(section: Section) -> str:
    return " ".join(block.text for block in section.blocks if isinstance(block, Paragraph))


def right(run: store.Run) -> np.ndarray:
    """Which test images a run has right, from its prediction table alone."""
    test = run.predictions().query("part == 'test'").sort_values("image_id")
    scores = test[[f"score_{label}" for label in run.classes]].to_numpy()
    return np.asarray(run.classes)[scores.argmax(axis=1)] == test["label"].to_numpy()


def test_it_has_every_section_each_with_a_box_for_ones_own_discussion(document):
    assert [one.key for one in document.sections] == ALWAYS
    boxes = [sum(isinstance(b, Discussion) for b in one.blocks) for one in document.sections]
    assert boxes == [0, *[1] * (len(ALWAYS) - 1)]


def test_accuracies_and_their_intervals_are_those_of_the_predictions(document, runs):
    found = table(document, "performance").set_index("Model")
    for run in runs:
        hits = right(run)
        low, high = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
        assert found.at[run.name, "Test [95 % interval]"] == interval(hits.mean(), low, high)
        assert found.at[run.name, "Train"] == share(candidates.assess(run).accuracy["train"].value)
    assert found.at["Majority baseline (COVID)", "Test [95 % interval]"].startswith("33.3 %")


def test_every_pair_has_the_exact_mcnemar_p_and_the_difference_of_the_compare_page(document, runs):
    ranking = comparison.ranking([candidates.candidate(run) for run in runs])
    shown = comparison.pair_table(ranking).set_index(["first", "second"])
    by_name = {run.name: right(run) for run in runs}
    found = table(document, "pairs")
    assert len(found) == 15
    for row in found.to_dict("records"):
        first, second = by_name[row["Better"]], by_name[row["Other"]]
        only, other = int((first & ~second).sum()), int((second & ~first).sum())
        assert (row["Only better right"], row["Only other right"]) == (str(only), str(other))
        assert row["p (McNemar)"] == p_value(binomtest(only, only + other).pvalue)
        pair = shown.loc[row["Better"], row["Other"]]
        assert row["p (Holm)"] == p_value(pair["p_holm"])
        assert row["Difference [95 % interval]"] == points(pair["difference"], pair["low"], pair["high"])


def test_images_per_class_and_part_are_those_of_the_split(document, runs):
    split = runs[0].split()
    found = table(document, "classes").set_index("Class")
    for (label, part), of_both in split.groupby(["label", "part"]):
        assert found.at[label, part.capitalize()] == str(len(of_both))
    assert found.at["All", "Test"] == "150"


@pytest.mark.parametrize(
    ("key", "named", "members"),
    [
        ("data", "imbalance-1", ["Frozen", "Weighted"]),
        ("transfer", "transfer", ["Baseline CNN", "Frozen", "DenseNet121"]),
        ("transfer", "finetuning-1", ["Frozen", "Tuned"]),
        ("networks", "networks-1", ["DenseNet121", "Frozen"]),
        ("augmentation", "augmentation-1", ["Frozen", "Augmented"]),
    ],
)
def test_runs_that_differ_in_one_thing_are_tested_against_the_first_of_them(document, key, named, members):
    found = table(document, named)
    assert found["Run"].tolist() == members
    assert found["Difference"].iloc[0] == "reference"
    assert any(name in words(section(document, key)) for name in members)


def test_a_baseline_with_class_weights_is_compared_with_the_frozen_run_that_has_them_too(place, runs):
    other = made_run(place, all_parts(SIZES, 0.5), "Weighted baseline", backbone="baseline_cnn")
    assert other.spec.imbalance == "class_weights"
    made = course_document(place, [other, *runs[1:3]])
    assert table(made, "transfer")["Run"].tolist() == ["Weighted baseline", "Weighted"]


@pytest.mark.parametrize(
    ("key", "presets"),
    [
        ("data", ["imbalance"]),
        ("transfer", ["course", "finetuning", "start"]),
        ("networks", ["backbones"]),
        ("augmentation", ["augmentation"]),
    ],
)
def test_a_part_without_a_run_names_the_preset_that_makes_one(of_golden, key, presets):
    for preset in presets:
        assert f"study --preset {preset})" in words(section(of_golden, key))


def test_sentences_about_several_runs_agree_in_number_and_do_not_repeat_themselves(document):
    assert "All of them beat the majority baseline, and " in words(section(document, "comparison"))
    methods = " ".join(item for b in section(document, "methods").blocks if isinstance(b, Bullets) for item in b.items)
    assert "The loss is sparse categorical cross-entropy, weighted by class in 1 run; the" in methods
    assert "Training stops early without a lower validation loss for 10 epochs (6 runs)." in methods


def test_views_of_the_test_images_are_counted_as_on_the_compare_page(place, runs):
    made_with = [made_run(place, all_parts(SIZES, skill), f"Viewed {skill}") for skill in (1.0, 2.0)]
    for run, what in zip([*made_with, made_with[0]], ["Figures", "Images", "Figures"], strict=True):
        run.note_view(what)
    told = [b for b in section(course_document(place, made_with), "insights").blocks if isinstance(b, Bullets)]
    assert "Its test set was viewed 2 times; each view makes a later choice less honest." in told[1].items


def test_a_run_that_is_not_finished_or_damaged_is_named_and_left_out(place, runs):
    waiting = made_run(place, all_parts(SIZES, 1), "Waiting", state=store.QUEUED)
    broken = made_run(place, all_parts(SIZES, 1), "Broken")
    broken.predictions_path.write_bytes(b"no table")
    made = section(course_document(place, [*runs[:2], waiting, broken]), "summary")
    told = " ".join(made.blocks[-1].items)
    assert "Waiting has no result." in told and "Broken is left out:" in told


ODD = {
    "no test images": lambda place: made_run(place, all_parts({**SIZES, "test": 0}, 1)),
    "no validation images": lambda place: made_run(place, all_parts({**SIZES, "validation": 0}, 1)),
    "a class without images": lambda place: made_run(place, course_artefact()),
    "labels of other images": run_on_shifted_labels,
    "no epoch": lambda place: made_run(place, all_parts(SIZES, 1), epochs=history(0)),
}


@pytest.mark.parametrize("odd", ODD)
def test_a_run_with_something_missing_has_a_report_all_the_same(workspace, odd):
    made = course_document(workspace, [ODD[odd](workspace)])
    assert [one.key for one in made.sections] == ALWAYS
    assert "nan" not in words(section(made, "insights")) + words(section(made, "data"))
    assert rendering.to_html(made)


def test_runs_on_other_test_images_have_a_table_of_their_own(place, runs):
    other = made_run(place, all_parts({**SIZES, "test": 99}, 2), "Elsewhere")
    made = course_document(place, [*runs[:2], other])
    assert table(made, "performance-2")["Model"].iloc[0] == "Elsewhere"
    assert "1 further run was tested on other images" in words(section(made, "comparison"))


def test_a_study_of_repeats_reports_all_of_its_runs_together(golden):
    workspace = Workspace(golden)
    (study,) = store.list_studies(workspace)
    made = course_document(workspace, [store.open_run(workspace, run) for run in study.runs], study)
    assert made.title == study.name
    mean = np.mean([store.open_run(workspace, run).accuracy("test") for run in study.runs])
    assert table(made, "repeats").set_index("Measure").at["Test accuracy", "Mean"] == share(mean)


def test_the_layers_add_up_to_the_parameters_of_the_result(golden, of_golden):
    run = store.open_run(Workspace(golden), "longer-00008")
    layers = architecture.layers(run)
    assert layers["parameters"].sum() == run.result["parameters"]
    assert layers.set_index("layer").at["conv_1", "shape"] == "30 x 30 x 32"
    found = table(of_golden, "baseline-layers").set_index("Layer")
    assert found.at["All", "Parameters"] == f"{run.result['parameters']:,}"


def test_the_epoch_of_the_weights_stands_below_the_curves(of_golden, golden):
    run = store.open_run(Workspace(golden), "longer-00008")
    history = run.history()
    best = training_figures.weights_epoch(history, run.spec.keep)
    (chart,) = (b for b in section(of_golden, "baseline").blocks if isinstance(b, Chart) and "accuracy" in b.key)
    assert f"epoch {best + 1} of {len(history)}" in chart.caption
    assert share(history["val_accuracy"].iloc[best]) in chart.caption


def test_the_page_loads_nothing_and_holds_plotly_once(of_golden):
    page = rendering.to_html(of_golden).decode()
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", outside)
    assert page.count("plotly.js v") == 1
    blocks = [block for one in of_golden.sections for block in one.blocks]
    charts = [block for block in blocks if isinstance(block, Chart)]
    assert outside.count('type="application/json"') == len(charts) > 8
    for block in [*charts, *(b for b in blocks if isinstance(b, Picture))]:
        assert len(block.alt) > 20 and html.escape(block.alt, quote=True).replace("&#x27;", "&#39;") in outside
    keys = [block.key for block in blocks if isinstance(block, Chart | Picture | Table)]
    assert len(keys) == len(set(keys))


def test_names_are_shown_letter_by_letter(place):
    odd = '<script>alert("x")</script> </b>'
    page = rendering.to_html(course_document(place, [made_run(place, all_parts(SIZES, 2), odd)])).decode()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_the_verb_writes_the_report_and_names_its_files(workspace, tmp_path, answer):
    run = made_run(workspace, all_parts(SIZES, 2), "One")
    code, said = answer("report", run.id, "--to", str(tmp_path / "there"))
    (written,) = said["files"]
    assert code == 0 and written == str(tmp_path / "there" / f"report-{run.id}.html")
    assert (tmp_path / "there" / f"report-{run.id}.html").read_bytes().startswith(b"<!doctype html>")


def test_the_verb_wants_a_study_or_a_run(workspace, capsys):
    assert main.main(["report"]) == 1
    assert "report STUDY_OR_RUN" in capsys.readouterr().err


def test_a_format_that_does_not_exist_is_refused_before_anything_is_measured(workspace, capsys):
    assert main.main(["report", "none", "--format", "stone"]) == 1
    assert f"must be one of {', '.join(FORMATS)}" in capsys.readouterr().err
