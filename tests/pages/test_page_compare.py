"""The Compare page: empty, with runs, with a broken one, by address."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_runs import (
    CLASSES,
    COURSE_SIZES,
    all_parts,
    course_artefact,
    course_like_runs,
    history,
    made_run,
    run_on_shifted_labels,
    with_dataset,
)
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

from covid_core.data.imports import importing
from covid_core.evaluation import calibration
from covid_core.evaluation.comparison import CHANCE
from covid_core.evaluation.measures import BINS, CLASS_MEASURES, MEASURES
from covid_core.formatting import p_value
from covid_core.reports import run_text, study_text
from covid_core.reports.comparison_text import Summary
from covid_core.runs import candidates, pinned_dataset, store, temperature_scaling, test_set_access
from covid_core.runs.store import Run, Study
from covid_core.workspace import Workspace
from pages.panels.compare import clicks, image_browser
from pages.shared import comparison_tables, model_audit_panel, shell

SIZES = {"train": 60, "validation": 30, "test": 30}
OTHER_SIZES = {"train": 60, "validation": 30, "test": 33}


@pytest.fixture(scope="module")
def of_course(tmp_path_factory) -> dict[int, Workspace]:
    """Two and seven runs as the course had them, for tests that only look at them."""
    made = {count: Workspace(tmp_path_factory.mktemp("course")) for count in (2, 7)}
    for count, place in made.items():
        course_like_runs(place, count)
    return made


@pytest.fixture
def two(of_course, monkeypatch) -> None:
    monkeypatch.setenv("COVID_CORE_HOME", str(of_course[2].root))


@pytest.fixture
def seven(of_course, monkeypatch) -> None:
    monkeypatch.setenv("COVID_CORE_HOME", str(of_course[7].root))


def performance(page: AppTest):
    return page.container(key="table-performance").dataframe[0].value


def test_tabs_stand_in_the_order_of_what_one_asks(workspace):
    made_run(workspace, all_parts(SIZES, 1))
    page = opened("compare")
    groups = page.segmented_control(key="compare_tabs")
    assert groups.options == ["Performance", "Errors and evidence", "Calibration and external test", "Training"]
    shown = []
    for group in groups.options:
        page.segmented_control(key="compare_tabs").set_value(group).run()
        shown.append([tab.label for tab in page.tabs])
    assert shown == [
        ["Measures", "Per class", "Subgroups", "Pairs", "ROC and precision-recall", "Repeats"],
        ["Confusion", "Images", "Evidence check", "Robustness"],
        ["Calibration", "Scores", "Outside test"],
        ["Curves", "Hyper-parameters", "Cost"],
    ]


def test_an_address_opens_the_group_of_its_tab_and_a_choice_stands_in_the_address(two):
    page = opened("compare", view="Cost")
    assert page.segmented_control(key="compare_tabs").value == "Training"
    assert page.container(key="table-cost")
    page.segmented_control(key="compare_tabs").set_value("Errors and evidence").run()
    assert "Confusion" in page.query_params["view"]


def test_the_page_opens_with_every_runs_accuracy_before_any_sentence(seven):
    page = opened("compare")
    figure = json.loads(page.get("plotly_chart")[0].proto.spec)
    assert [len(trace["x"]) for trace in figure["data"]] == [1] * 7
    assert figure["layout"]["yaxis"]["ticktext"][0] == "MobileNetV2 aug"
    assert figure["layout"]["annotations"][0]["text"].startswith("majority baseline")


def colours(page: AppTest) -> dict[str, str]:
    """Of the runs of the first figure, by name."""
    figure = json.loads(page.get("plotly_chart")[0].proto.spec)
    return {trace["name"]: trace["marker"]["color"] for trace in figure["data"] if "marker" in trace}


def test_a_run_has_one_colour_whichever_others_are_chosen(workspace):
    runs = course_like_runs(workspace, 5)
    of_all, of_two = (colours(opened("compare", **address)) for address in ({}, {"runs": f"{runs[3].id},{runs[1].id}"}))
    assert len(set(of_all.values())) == 5
    assert of_two == {name: of_all[name] for name in of_two}
    curves = json.loads(opened("compare", runs=runs[3].id, view="Curves").get("plotly_chart")[1].proto.spec)
    assert curves["data"][0]["line"]["color"] == of_all[runs[3].name]


def test_a_run_is_named_tagged_and_pinned_as_the_reference(workspace):
    best, other = course_like_runs(workspace, 2)[::-1]
    page = opened("compare")
    page.selectbox(key="annotated_run").set_value(other.id).run()
    page.text_input(key=f"name-{other.id}").set_value("Final")
    page.multiselect(key=f"tags-{other.id}").set_value(["report"])
    page.toggle(key=f"reference-{other.id}").set_value(True)
    next(one for one in page.button if one.label == "Save").click().run()
    table = performance(page)
    assert table["Model"].tolist()[:2] == [best.name, "Final"]
    assert table["Remarks"].iat[1].startswith("report")
    assert table[comparison_tables.DIFFERENCE].iat[1] == "reference"
    assert re.fullmatch(r"\+\d+\.\d \[.*\], p . [\d.]+", table[comparison_tables.DIFFERENCE].iat[0])


def test_an_archived_run_leaves_the_page_and_comes_back(two):
    page = opened("compare")
    first = page.selectbox(key="annotated_run").value
    page.button(key=f"archive-{first}").click().run()
    assert len(performance(page)) == 3 and "is archived" in words(page)
    assert opened("compare", runs=first).title and len(performance(opened("compare", runs=first))) == 3
    page.button(key=f"restore-{first}").click().run()
    assert len(performance(page)) == 4


def test_the_columns_of_a_table_can_be_chosen_and_are_those_that_download(two):
    page = opened("compare")
    page.pills(key="columns-performance-10").set_value(["Test", "Remarks"]).run()
    assert list(performance(page).columns) == ["Model", "Test", "Remarks"]


def test_runs_of_unlike_image_sizes_are_compared_with_a_warning(workspace):
    made_run(workspace, all_parts(SIZES, 1), "large", image_size=224)
    made_run(workspace, all_parts(SIZES, 2), "small", image_size=96)
    assert "Image sizes differ, which alone can change accuracy. 224 px: large; 96 px: small." in words(
        opened("compare")
    )


def test_epochs_are_those_that_were_run_and_the_one_that_was_chosen(workspace):
    made_run(workspace, all_parts(SIZES, 1), "one")
    table = opened("compare", view="Hyper-parameters").container(key="table-hyperparameters").dataframe[0].value
    assert re.fullmatch(r"\d+ of at most 5(, weights of epoch \d+)?", table["Epochs"].iat[0])


def test_the_answer_comes_first_with_its_figures(seven):
    page = opened("compare")
    assert page.title[0].value == "Which model is better, on what, by how much?"
    assert "MobileNetV2 aug is the best of 7 runs: 98.0 % [96.6, 98.8] of 646 test images" in words(page)


def test_the_table_ranks_the_runs_and_ends_with_the_two_rows_to_beat(seven):
    table = performance(opened("compare"))
    assert table["Model"].iat[0] == "MobileNetV2 aug"
    assert table["Remarks"].iat[0] == "best on test; validation's choice"
    assert table["Model"].tolist()[-2:] == ["Majority baseline (COVID)", CHANCE]
    assert table["Test"].iloc[:-2].is_monotonic_decreasing


def test_the_course_artefact_is_marked_and_not_crowned(workspace):
    made_run(workspace, course_artefact(), "ResNet50")
    page = opened("compare")
    assert "ResNet50 does not beat the majority baseline (always COVID)" in words(page)
    assert "ResNet50: predicts one class only, does not beat the majority baseline." in words(page)
    assert performance(page)["Test"].round(2).tolist() == [89.63, 89.63, 33.33]


@pytest.mark.parametrize(
    ("tab", "charts"),
    [
        ("Curves", 2),
        ("Confusion", 2),
        ("Per class", 1),
        ("ROC and precision-recall", 2),
        ("Cost", 1),
        ("Pairs", 1),
        ("Scores", 1),
        ("Calibration", 1),
    ],
)
def test_every_tab_draws_its_charts(two, tab, charts):
    assert len(opened("compare", view=tab).get("plotly_chart")) == 1 + charts  # the first shows every run


def test_every_measure_has_its_interval_and_the_rows_to_beat(two):
    table = opened("compare", view="Measures").container(key="table-measures-test").dataframe[0].value
    read = table["Measure"].isin([model_audit_panel.HEADING, model_audit_panel.MASKS])
    assert table["Measure"][:2].tolist() == ["Accuracy", model_audit_panel.HEADING]
    assert (~read).sum() == len(MEASURES)
    assert table.columns[-2:].tolist() == ["Majority baseline", CHANCE]
    bounded = ~read & (table["Measure"] != MEASURES["expected_calibration_error"].title)
    assert table[bounded].iloc[:, 1].str.contains(r"\[.*, .*\]").all()
    assert (table[read].iloc[:, -2:] == "").all(axis=None)


def test_measures_of_validation_are_those_of_validation(workspace):
    run = made_run(workspace, all_parts(OTHER_SIZES, 1))
    page = opened("compare", view="Measures")
    page.segmented_control(key="compare_measures_part").set_value("validation").run()
    shown = page.container(key="table-measures-validation").dataframe[0].value[run.name].iat[0]
    assert shown.startswith(f"{100 * all_right(run, 'validation'):.1f} %")


def all_right(run, part: str) -> float:
    table = run.predictions().query("part == @part")
    scores = table[[f"score_{label}" for label in run.classes]].to_numpy()
    return float((np.asarray(run.classes)[scores.argmax(axis=1)] == table["label"]).mean())


def test_one_run_has_no_pairs_and_the_page_says_what_to_do(workspace):
    made_run(workspace, all_parts(SIZES, 1))
    assert "Choose two runs or more" in words(opened("compare", view="Pairs"))


def test_every_pair_has_its_p_value_corrected_for_all_of_them(seven):
    table = opened("compare", view="Pairs").container(key="table-pairs").dataframe[0].value
    assert len(table) == 7 * 6 / 2
    assert (table["p (Holm)"] >= table["p (McNemar)"]).all()


def test_a_small_p_is_written_as_small_and_not_as_zero_and_stays_a_number_to_sort_by(seven):
    shown = opened("compare", view="Pairs").container(key="table-pairs").dataframe[0]
    assert (shown.value["p (Holm)"] < 0.001).any()
    words = pa.ipc.open_stream(shown.proto.arrow_data.styler.display_values).read_pandas()
    for name, place in (("p (McNemar)", -2), ("p (Holm)", -1)):
        assert words.iloc[:, place].tolist() == [p_value(p) for p in shown.value[name]]
        assert "< 0.001" in words.iloc[:, place].tolist()


def test_a_printed_table_of_pairs_has_its_p_values_in_words():
    printed = comparison_tables.worded(pd.DataFrame({"Better": ["A"], "p (McNemar)": [1e-9], "p (Holm)": [0.04]}))
    assert printed.to_dict("records") == [{"Better": "A", "p (McNemar)": "< 0.001", "p (Holm)": "0.040"}]


def test_every_measure_says_what_it_is_and_where_its_interval_comes_from(two):
    caption = opened("compare", view="Measures").caption
    (told,) = [one for one in caption if "In brackets: 95 % interval" in one.value]
    assert told.value.startswith("On 646 test images.")
    for row in MEASURES.values():
        assert f"**{row.title}.** {row.explanation}" in told.proto.help
    shares = {"accuracy", "sensitivity", "specificity", "ppv", "npv"}
    for row in (*MEASURES.values(), *CLASS_MEASURES.values()):
        assert ("95 % interval: " + ("Wilson" if row.key in shares else "stratified")) in row.explanation


def test_the_prevalence_changes_ppv_and_leaves_sensitivity(workspace):
    course_like_runs(workspace, 1)
    page = opened("compare", view="Calibration")
    before = page.container(key="table-operating-point").dataframe[0].value.iloc[2]
    page.slider(key="point_prevalence").set_value(50.0).run()
    after = page.container(key="table-operating-point").dataframe[0].value.iloc[2]
    assert before["Sensitivity"] == after["Sensitivity"]
    assert before["PPV"] != after["PPV"]


def test_a_run_without_validation_images_says_why_it_has_no_temperature(workspace):
    made_run(workspace, all_parts({"train": 30, "validation": 0, "test": 30}, 1))
    assert "A temperature needs validation images" in words(opened("compare", view="Calibration"))


def test_the_calibration_tab_says_on_which_images_the_temperature_was_fitted(workspace):
    table = all_parts(COURSE_SIZES, 2)
    made_run(workspace, table, halved=True)
    told = words(opened("compare", view="Calibration"))
    assert "fitted on 322 validation images, which chose nothing else" in told
    assert "Chosen on the validation images that calibrate" in told


def test_the_calibration_tab_of_a_run_from_before_says_that_its_images_did_both(workspace):
    made_run(workspace, all_parts(SIZES, 1))
    told = words(opened("compare", view="Calibration"))
    assert "validation images, which also chose the epoch (validation has fewer than 200 images)" in told


def test_the_calibration_tab_shows_the_temperature_that_the_run_kept(workspace):
    kept = temperature_scaling.as_record(calibration.calibrate(all_parts(COURSE_SIZES, 2)))
    made_run(workspace, all_parts(COURSE_SIZES, 2), result={"calibration": {**kept, "temperature": 3.21}})
    assert "temperature 3.21" in words(opened("compare", view="Calibration"))


def test_a_damaged_calibration_is_one_sentence_in_its_tab(workspace):
    made_run(workspace, all_parts(COURSE_SIZES, 2), "Torn", result={"calibration": {"temperature": "warm"}})
    assert "Torn: the calibration in its result is damaged." in words(opened("compare", view="Calibration"))


def test_a_run_whose_cost_is_unknown_is_named_under_the_chart(workspace):
    made_run(workspace, all_parts(SIZES, 1), "Known")
    made_run(workspace, all_parts(SIZES, 2), "Old", result={"reused": ["features"]})
    assert "Not drawn, not recorded: Old." in words(opened("compare", view="Cost"))


def test_a_curve_that_is_undefined_is_named_with_its_reason(workspace):
    made_run(workspace, course_artefact(), "ResNet50")
    page = opened("compare", view="ROC and precision-recall")
    page.selectbox(key="compare_curve_class").set_value("Viral Pneumonia").run()
    assert "Not drawn, undefined: ResNet50: no image of this part is Viral Pneumonia." in words(page)


def test_only_the_open_tab_is_computed(two):
    assert len(opened("compare", view="Hyper-parameters").get("plotly_chart")) == 1


def test_hyperparameters_can_be_reduced_to_what_differs(workspace):
    made_run(workspace, all_parts(SIZES, 1), "a", seed=1)
    made_run(workspace, all_parts(SIZES, 2), "b", seed=2)
    page = opened("compare", view="Hyper-parameters")
    page.toggle(key="compare_differs").set_value(True).run()
    assert list(page.container(key="table-hyperparameters").dataframe[0].value.columns) == [
        "Model",
        "Special strategy",
        "Seed",
    ]


def test_the_filter_leaves_matching_runs_and_the_majority_class(seven):
    page = opened("compare")
    page.text_input(key="compare_filter").set_value("vgg").run()
    assert performance(page)["Model"].tolist() == ["VGG16", "Majority baseline (COVID)", CHANCE]


def test_a_filter_that_fits_nothing_says_so(two):
    page = opened("compare")
    page.text_input(key="compare_filter").set_value("xyz").run()
    assert not page.exception
    assert "No run matches" in words(page)


def test_the_address_opens_the_runs_that_it_names(workspace):
    runs = course_like_runs(workspace, 3)
    page = opened("compare", runs=f"{runs[0].id},{runs[2].id},../../etc,nothing")
    assert set(page.multiselect[0].value) == {runs[0].id, runs[2].id}


def test_the_address_opens_a_study_with_its_runs(workspace):
    runs = course_like_runs(workspace, 3)
    store.write_study(workspace, Study("mine-12345", "Mine", "", 1.0, (runs[0].id, runs[1].id, "gone-12345")))
    page = opened("compare", study="mine-12345")
    assert set(page.multiselect[0].value) == {runs[0].id, runs[1].id}
    assert "1 of 3 runs of this study have no result." in words(page)


def test_an_unknown_study_in_the_address_is_ignored(two):
    assert len(opened("compare", study="../x").multiselect[0].value) == 2


def test_a_choice_is_written_into_the_address(workspace):
    runs = course_like_runs(workspace, 3)
    page = opened("compare")
    page.multiselect[0].set_value([runs[1].id]).run()
    assert page.query_params["runs"] in (runs[1].id, [runs[1].id])


def test_runs_with_other_test_images_are_not_ranked_together(workspace):
    other = made_run(workspace, all_parts(OTHER_SIZES, 1), "other")
    runs = [made_run(workspace, all_parts(SIZES, skill), f"run {skill}") for skill in (1, 2)]
    page = opened("compare", runs=",".join(run.id for run in (*runs, other)))
    assert "Not comparable: different test images." in words(page)
    assert performance(page)["Model"].tolist() == ["run 2", "run 1", "Majority baseline (COVID)", CHANCE]
    page.selectbox(key="compare_group").set_value(1).run()
    assert performance(page)["Model"].tolist() == ["other", "Majority baseline (COVID)", CHANCE]


def test_a_study_by_source_has_test_images_of_its_own_for_each_run_and_no_warning(workspace):
    runs = []
    for away, sizes in (("A", SIZES), ("B", OTHER_SIZES)):
        table = all_parts(sizes, 1)
        source = np.where(table["part"] == "test", away, "C")
        parts = table[["image_id", "label", "part"]].assign(group=table["image_id"], source=source)
        split = {"method": "by_source", "held_out": (away,)}
        runs.append(made_run(workspace, table, f"without {away}", parts=parts, split=split))
    store.write_study(workspace, Study("away-12345", "Away", "sources", 1.0, tuple(run.id for run in runs)))
    page = opened("compare", study="away-12345")
    assert "Not comparable" not in words(page)
    assert study_text.OWN_IMAGES in words(page)


def test_a_stopped_run_is_compared_and_marked(workspace):
    made_run(workspace, all_parts(SIZES, 2), "halted", state=store.STOPPED)
    assert "halted: stopped before its end." in words(opened("compare"))


def test_a_loss_that_is_not_a_number_is_marked(workspace):
    made_run(workspace, all_parts(SIZES, 2), "lost", epochs=history(3).assign(loss=np.nan))
    assert "lost: loss is not a number." in words(opened("compare"))


@pytest.mark.parametrize("content", [b"", b"not parquet"])
def test_a_broken_run_is_listed_and_the_others_are_compared(workspace, content):
    course_like_runs(workspace, 2)
    broken = made_run(workspace, all_parts(COURSE_SIZES, 1), "broken")
    broken.predictions_path.write_bytes(content)
    page = opened("compare")
    assert "predictions.parquet is missing or damaged" in words(page)
    assert len(performance(page)) == 4


def test_a_run_whose_predictions_are_gone_does_not_break_the_page(workspace):
    made_run(workspace, all_parts(SIZES, 1), "gone").predictions_path.unlink()
    assert "predictions.parquet is missing or damaged" in words(opened("compare"))


def test_runs_of_one_name_are_told_apart(workspace):
    made_run(workspace, all_parts(SIZES, 1), "twin")
    made_run(workspace, all_parts(SIZES, 2, seed=1), "twin")
    models = performance(opened("compare"))["Model"]
    assert models.is_unique
    assert models.iat[0].startswith("twin (twin-")


def test_a_name_with_markdown_and_html_is_shown_letter_by_letter(workspace):
    made_run(workspace, all_parts(SIZES, 3), "**x** <b>$y$</b>")
    raw = "\n".join(element.value for element in opened("compare").markdown)
    assert "**x**" not in raw.replace("\\*\\*x\\*\\*", "")
    assert "\\*\\*x\\*\\* \\<b\\>\\$y\\$" in raw


def test_nothing_chosen_asks_for_a_choice(two):
    page = opened("compare")
    page.multiselect[0].set_value([]).run()
    assert not page.exception
    assert "Choose the runs to compare." in words(page)


def test_the_summary_that_leaves_the_page_names_the_images(workspace):
    runs = [with_dataset(made_run(workspace, all_parts(SIZES, 1)), synthetic=True)]
    assert "Images: Made (synthetic)." in comparison_tables.summary_text(Summary("Best."), runs)


def test_of_many_runs_the_newest_are_chosen_and_the_page_says_so(workspace):
    for number in range(14):
        made_run(workspace, all_parts(SIZES, 1, seed=number), f"run {number:02d}")
    page = opened("compare")
    assert len(page.multiselect[0].value) == 12
    assert "The newest 12 tested on the newest run's images; 14 can be chosen." in words(page)
    assert len(performance(page)) == 14


def test_more_runs_than_lines_can_be_told_apart_are_drawn_page_by_page(workspace):
    runs = [made_run(workspace, all_parts(SIZES, 1, seed=number), f"run {number:02d}") for number in range(14)]
    page = opened("compare", runs=",".join(run.id for run in runs), view="ROC and precision-recall")
    assert len(performance(page)) == 16
    assert "Runs 1 to 12 of 14, the best first" in words(page)


def test_a_run_that_is_trained_anew_is_measured_anew(workspace):
    run = made_run(workspace, all_parts(SIZES, 0, seed=1), "again")
    before = performance(opened("compare"))["Test"].iat[0]
    run.write_predictions(all_parts(SIZES, 9, seed=1))
    assert performance(opened("compare"))["Test"].iat[0] == 100 > before


def test_a_long_table_keeps_every_run(workspace, monkeypatch):
    monkeypatch.setattr(comparison_tables, "STYLED_ROWS", 2)
    course_like_runs(workspace, 3)
    assert len(performance(opened("compare"))) == 5


@pytest.fixture
def pair(workspace) -> list[Run]:
    """Two runs on the same test images; the second is the better one."""
    return [made_run(workspace, all_parts(SIZES, skill, seed=seed), f"run {seed}") for seed, skill in enumerate((1, 3))]


def right(run: Run) -> np.ndarray:
    test = run.predictions().query("part == 'test'")
    return called(run) == test["label"].to_numpy()


def called(run: Run) -> np.ndarray:
    test = run.predictions().query("part == 'test'")
    return np.asarray(run.classes)[test[[f"score_{label}" for label in run.classes]].to_numpy().argmax(axis=1)]


def labels(run: Run) -> np.ndarray:
    return run.predictions().query("part == 'test'")["label"].to_numpy()


def images_told(page: AppTest) -> list[int]:
    """The numbers of images in the headings of the page's lists of images."""
    return [int(number) for number in re.findall(r"^\*\*(\d+) images?\*\*$", words(page), re.MULTILINE)]


def headings(page: AppTest) -> list[str]:
    return [heading.value.replace("\\", "") for heading in page.subheader]


def clicked(place: str, of: object, mark: list[int]) -> dict[str, object]:
    """A session in which a mark of a chart was clicked."""
    return {clicks.key_of(place): ("a chart", of, mark)}


def test_nothing_is_listed_before_a_click(pair):
    for tab in ("Confusion", "Pairs", "Scores", "Calibration"):
        assert images_told(opened("compare", view=tab)) == []


def test_a_clicked_cell_lists_its_images(pair):
    worse = pair[0]
    page = opened("compare", clicked("cell", worse.id, [0, 1]), view="Confusion")
    assert "**COVID predicted Normal**" in words(page)
    assert images_told(page) == [((labels(worse) == "COVID") & (called(worse) == "Normal")).sum()]


def test_an_empty_cell_says_that_no_image_is_like_that(workspace):
    run = made_run(workspace, all_parts(SIZES, 40))
    page = opened("compare", clicked("cell", run.id, [0, 1]), view="Confusion")
    assert "No image." in words(page)


@pytest.mark.parametrize(("tab", "place"), [("Confusion", "cell"), ("Calibration", "bin")])
def test_a_click_on_a_run_that_is_not_shown_any_more_lists_nothing(pair, tab, place):
    assert images_told(opened("compare", clicked(place, "gone", [0, 1]), view=tab)) == []


def test_a_clicked_pair_lists_what_either_has_right_alone(pair):
    better, worse = pair[1], pair[0]
    page = opened("compare", clicked("pair", [better.id, worse.id], [0, 1]), view="Pairs")
    assert images_told(page) == [(right(better) & ~right(worse)).sum(), (right(worse) & ~right(better)).sum()]
    assert "run 1 correct, run 0 wrong" in headings(page)
    assert "run 0 correct, run 1 wrong" in headings(page)


def test_a_clicked_pair_of_which_one_run_is_gone_lists_nothing(pair):
    assert images_told(opened("compare", clicked("pair", ["gone", pair[0].id], [0, 1]), view="Pairs")) == []


@pytest.mark.parametrize(("scale", "name"), [(0, "before"), (1, "calibrated")])
def test_a_clicked_bin_lists_as_many_images_as_its_scale_counts(pair, scale, name):
    page = opened("compare", view="Calibration")
    table = page.container(key="table-reliability-bins").dataframe[0].value
    rows = table[table["Scale"] == name]
    for score, counted in zip(rows["Score"], rows["Images"], strict=True):
        number = image_browser.ranges_in_words(BINS).index(score)
        shown = opened("compare", clicked("bin", pair[1].id, [scale, number]), view="Calibration")
        assert images_told(shown) == [counted]


def test_a_clicked_bar_lists_its_images(pair):
    run = pair[1]
    page = opened("compare", clicked("bar", (run.id, "COVID"), [1, 0]), view="Scores")
    scores = run.predictions().query("part == 'test'")["score_COVID"].to_numpy()
    assert images_told(page) == [((labels(run) == "Normal") & (scores < 0.1)).sum()]
    assert "Normal: score of COVID 0 to 10 %" in headings(page)


def test_a_bar_of_another_class_than_the_one_shown_lists_nothing(pair):
    assert images_told(opened("compare", clicked("bar", (pair[1].id, "Normal"), [1, 0]), view="Scores")) == []


def test_scores_that_are_not_numbers_are_counted_under_the_histogram(workspace):
    table = all_parts(SIZES, 1)
    table.loc[table.index[-2:], "score_COVID"] = np.nan
    made_run(workspace, table)
    assert "In no bar, because the score is not a number: 2." in words(opened("compare", view="Scores"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (
            {
                "images": image_browser.KINDS[image_browser.CELL],
                "images_run": "run 0",
                "images_label": "Normal",
                "images_called": "COVID",
            },
            lambda worse, _: (labels(worse) == "Normal") & (called(worse) == "COVID"),
        ),
        (
            {"images": image_browser.KINDS[image_browser.PAIR], "images_right": "run 0", "images_wrong": "run 1"},
            lambda worse, better: right(worse) & ~right(better),
        ),
        ({"images": image_browser.KINDS[image_browser.SURE], "images_run": "run 0"}, lambda worse, _: ~right(worse)),
        (
            {"images": image_browser.KINDS[image_browser.BAR], "images_label": "Normal", "images_bar": "0 to 10 %"},
            lambda _, better: (
                (labels(better) == "Normal")
                & (better.predictions().query("part == 'test'")["score_COVID"].to_numpy() < 0.1)
            ),
        ),
        ({"images": "no such kind"}, lambda worse, better: ~(right(worse) & right(better))),
    ],
    ids=["cell", "pair", "errors", "bar", "unknown"],
)
def test_an_address_opens_the_images_that_it_names(pair, address, expected):
    assert images_told(opened("compare", view="Images", **address)) == [expected(*pair).sum()]


def test_an_address_opens_a_bin_of_the_calibrated_scores(pair):
    table = opened("compare", view="Calibration").container(key="table-reliability-bins").dataframe[0].value
    one = table[table["Scale"] == "calibrated"].iloc[0]
    address = {
        "images": image_browser.KINDS[image_browser.BIN],
        "images_scale": image_browser.CALIBRATED,
        "images_bin": one["Score"],
    }
    assert images_told(opened("compare", view="Images", **address)) == [one["Images"]]


def test_calibrated_bins_of_a_run_without_a_temperature_say_so(workspace):
    made_run(workspace, all_parts({"train": 30, "validation": 0, "test": 30}, 1))
    address = {"images": image_browser.KINDS[image_browser.BIN], "images_scale": image_browser.CALIBRATED}
    assert "has no temperature. A temperature needs" in words(opened("compare", view="Images", **address))


def test_images_of_a_data_set_that_is_gone_are_still_listed(pair):
    page = opened("compare", view="Images")
    assert "The images cannot be shown" in words(page)
    assert len(page.dataframe[-1].value) == images_told(page)[0]


@pytest.fixture
def shown_pair(workspace, image_folder, monkeypatch) -> list[Run]:
    """Two runs without models, of images that are there."""
    dataset = importing.import_folder(workspace, image_folder({label: 12 for label in CLASSES}))
    monkeypatch.setattr(shell, "dataset_of", lambda run: dataset)  # made runs name one that is nowhere
    by_class = [dataset.images.query("label == @label")["image_id"] for label in CLASSES]
    ids = [image_id for turn in zip(*by_class, strict=True) for image_id in turn]  # labels in turn, as in the tables
    tables = [all_parts({"train": 12, "validation": 12, "test": 12}, skill, seed=skill) for skill in (1, 3)]
    return [made_run(workspace, one.assign(image_id=ids), f"run {k}") for k, one in enumerate(tables)]


def test_thumbnails_tell_label_and_answers_the_best_run_first(shown_pair):
    best = shown_pair[1]
    page = opened("compare", view="Images", images=image_browser.KINDS[image_browser.CELL])
    assert "Under each image: its label and the predicted class with its score." in words(page)
    tiles = [caption for caption in page.caption if caption.value.startswith("COVID, ")]
    assert len(tiles) == images_told(page)[0]
    assert {caption.value for caption in tiles} <= {
        "COVID, correct in all runs",
        "COVID, wrong in 1 of 2 runs\\: run 0",
    }
    assert all(
        caption.proto.help.replace("\\", "").startswith("run 1: COVID") for caption in tiles
    )  # every run by name, the best first
    assert images_told(page) == [((labels(best) == "COVID") & (called(best) == "COVID")).sum()]


def test_of_more_runs_than_fit_the_dialog_it_tells_in_turn(shown_pair, monkeypatch):
    monkeypatch.setattr(image_browser, "MOST_RUNS", 1)
    image = shown_pair[0].predictions().query("part == 'test'")["image_id"].iat[0]
    page = opened("compare", {image_browser.OPEN: image}, view="Images", images=image_browser.KINDS[image_browser.CELL])
    assert "1 of 2 runs at once, the best first" in words(page)


def test_a_look_at_the_figures_is_noted_once_however_often_the_page_is_drawn(pair):
    page = opened("compare")
    page.run()
    opened("compare")
    assert [[one.what for one in run.openings()] for run in pair] == [[test_set_access.FIGURES]] * 2
    assert "Test set viewed 1 time" in page.expander[0].label


def test_a_look_at_single_images_is_noted_too(pair):
    page = opened("compare", view="Images")
    assert [one.what for one in pair[0].openings()] == [test_set_access.FIGURES, test_set_access.IMAGES]
    page.run()
    assert "Test set viewed 2 times since" in page.expander[0].label
    assert page.expander[0].dataframe[0].value["Runs"].tolist() == [2, 2]


def test_looks_at_these_images_through_other_runs_count(pair):
    pair[0].note_opening("outside test: elsewhere")
    page = opened("compare", runs=pair[1].id)
    assert set(page.expander[0].dataframe[0].value["What"]) == {"outside test: elsewhere", test_set_access.FIGURES}


def test_a_run_folder_that_cannot_be_written_is_named_and_compared(pair, monkeypatch):
    monkeypatch.setattr(store, "OPENINGS", "no such folder/openings.csv")
    page = opened("compare")
    assert "This view could not be noted, because the run's folder cannot be written: run 1, run 0." in words(page)
    assert len(performance(page)) == 4


def test_looks_that_cannot_be_read_hide_nothing_else(pair):
    (pair[0].path / store.OPENINGS).mkdir()
    page = opened("compare")
    assert "The looks at run 0 cannot be read" in words(page)
    assert len(performance(page)) == 4


def test_shifted_labels_are_marked_in_the_table_and_explained_above_it(workspace):
    run_on_shifted_labels(workspace, "Replayed")
    page = opened("compare")
    assert performance(page)["Remarks"].iat[0].startswith("labels are not those of the images' folders; predicts one")
    assert "The labels belong to the first 4,032 of 15,153 images in class order" in words(page)
    assert performance(page)["Test"].round(2).iat[0] == 89.63


TABS = ["Measures", "Pairs", "Hyper-parameters", "Curves", "Confusion", "Per class", "ROC and precision-recall"]


@pytest.mark.parametrize("tab", [*TABS, "Calibration", "Images", "Outside test", "Cost"])
def test_every_tab_bears_a_class_without_images(workspace, tab):
    for name in ("one", "two"):
        run_on_shifted_labels(workspace, name, drawn=150)
    page = opened("compare", view=tab)
    assert not page.exception and not page.error


def test_no_heading_and_no_name_of_a_run_is_cut_in_the_table(seven):
    proto = opened("compare").container(key="table-performance").dataframe[0].proto
    widths = {name: column["width"] for name, column in json.loads(proto.columns).items() if "width" in column}
    assert widths["Model"] >= 6 * len(CHANCE) and widths["Validation"] >= 7 * len("Validation")


def test_subgroups_of_a_run_are_on_compare_and_on_its_own_page(workspace, copy_of_trained):
    run = copy_of_trained(workspace)
    conclusion = run_text.subgroups(candidates.subgroups(run, pinned_dataset.dataset_of(workspace, run).images))[0]
    for page in (
        opened("compare", runs=run.id, view="Subgroups"),
        opened("train", {f"subgroups-{run.id}": True}, run=run.id),
    ):
        assert conclusion in words(page)
