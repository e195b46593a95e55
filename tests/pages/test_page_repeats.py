"""Studies of folds and seeds on the Compare page: none yet, whole, half done, with a run deleted or damaged."""

from made_runs import all_parts, made_repeats, made_run
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

from covid_core import files
from covid_core.jobs import queue
from covid_core.runs import store

SIZES = {"train": 60, "validation": 30, "test": 30}


def table(page: AppTest, name: str):
    return page.container(key=f"table-{name}").dataframe[0].value


def test_without_repeats_the_tab_says_how_to_make_some(workspace):
    made_run(workspace, all_parts(SIZES, 1))
    page = opened("compare", view="Repeats")
    assert "No training has been repeated yet." in words(page)
    assert "Train with folds" in [link.label for link in page.get("page_link")]


def test_the_tab_compares_all_studies_of_the_newest_ones_data_set(workspace):
    made_repeats(workspace, "Good", 3), made_repeats(workspace, "Poor", 0.5)
    page = opened("compare", view="Repeats")
    assert "Good is ahead of Poor by" in words(page)
    assert "corrected resampled t-test" in words(page)
    assert table(page, "repeats")["Study"].tolist() == ["Good", "Poor"]
    assert table(page, "repeats-pairs")["Verdict"].tolist() == ["significant"]
    assert len(table(page, "repeats-measures")) == 2 * 6
    assert [one.key for one in page.get("plotly_chart")] == ["chart-test-accuracy", "chart-repeats"]


def test_a_study_of_folds_is_shown_by_its_repeats_first_and_is_no_dead_end(workspace):
    made_repeats(workspace, "Good", 3)
    study = made_repeats(workspace, "Poor", 0.5)
    page = opened("compare", study=study.id)
    assert page.markdown[1].value.startswith("**Good is ahead of Poor by")
    assert "Not comparable" not in words(page)
    assert "Each of the 3 folds has test images of its own" in words(page)
    assert "Poor, fold 3, seed 0 predicts" in words(page)
    assert "Repeats" not in [tab.label for tab in page.tabs]


def test_seeds_on_one_split_are_ranked_below_and_the_split_is_said_not_to_vary(workspace):
    study = made_repeats(workspace, "Good", 2, folds=1, seeds=(0, 1, 2))
    page = opened("compare", study=study.id)
    assert "Seeds share one split" in words(page)
    assert len(table(page, "performance")) == 3 + 2


def test_a_pair_that_cannot_be_tested_says_why(workspace):
    made_repeats(workspace, "Three", 2), made_repeats(workspace, "Two", 1, folds=2)
    row = table(opened("compare", view="Repeats"), "repeats-pairs").iloc[0]
    assert (row["Verdict"], row["Difference"]) == ("not tested", "–")
    assert row["Why not"] == "other folds: 3 folds (Three) against 2 folds (Two)"


def test_other_runs_of_unlike_images_are_shown_the_way_to_the_repeats(workspace):
    study = made_repeats(workspace, "Good", 2)
    page = opened("compare", runs=",".join(study.runs))
    assert "Not comparable: different test images." in words(page)
    assert "compared in the tab Repeats" in words(page)


def test_the_address_opens_the_studies_that_it_names(workspace):
    first, _, third = (made_repeats(workspace, name, 1) for name in ("One", "Two", "Three"))
    page = opened("compare", view="Repeats", studies=f"{first.id},{third.id},../x")
    assert set(page.multiselect(key="compare_studies_").value) == {first.id, third.id}


def test_the_choice_of_studies_is_written_into_the_address(workspace):
    first, _ = (made_repeats(workspace, name, 1) for name in ("One", "Two"))
    page = opened("compare", view="Repeats")
    page.multiselect(key="compare_studies_").set_value([first.id]).run()
    assert page.query_params["studies"] in (first.id, [first.id])
    page.multiselect(key="compare_studies_").set_value([]).run()
    assert "Choose the studies to compare." in words(page)


def test_studies_on_other_data_sets_are_not_chosen_by_themselves(workspace):
    made_repeats(workspace, "Here", 1)
    other = made_repeats(workspace, "Elsewhere", 1)
    for identifier in other.runs:
        path = workspace.runs / identifier / "spec.json"
        content = files.read_json(path)
        content["dataset"]["id"] = "other"
        files.write_json(path, content)
    page = opened("compare", view="Repeats")
    assert page.multiselect(key="compare_studies_").value == [other.id]


def test_another_measure_is_drawn_without_the_majority_line(workspace):
    made_repeats(workspace, "Good", 2)
    page = opened("compare", view="Repeats")
    assert "majority baseline" in page.get("plotly_chart")[1].proto.spec
    page.selectbox(key="compare_repeats_measure").set_value("sensitivity COVID").run()
    assert "majority baseline" not in page.get("plotly_chart")[1].proto.spec
    assert "Sensitivity for COVID" in page.get("plotly_chart")[1].proto.spec


def test_one_study_is_told_how_to_get_another_to_compare_with(workspace):
    made_repeats(workspace, "Good", 2)
    page = opened("compare", view="Repeats")
    assert "Good: test accuracy" in words(page)
    assert "One study of repeats so far" in words(page)
    assert not [one for one in page.dataframe if "Verdict" in one.value.columns]


def test_a_study_half_done_says_what_is_lacking(workspace):
    study = made_repeats(workspace, "Good", 2, ended=2)
    page = opened("compare", study=study.id)
    assert "Good: Good, fold 3, seed 0 has no result." in words(page)
    assert table(page, "repeats")["Finished runs"].tolist() == ["2 folds (2 of 3 runs)"]
    assert table(page, "repeats")["Pooled"].tolist() == ["–"]


def test_a_deleted_run_is_left_out_and_counted(workspace):
    study = made_repeats(workspace, "Good", 2)
    queue.delete(store.open_run(workspace, study.runs[1]))
    page = opened("compare", study=study.id)
    assert "Good: 1 run deleted or damaged." in words(page)
    assert "over 2 folds" in words(page)


def test_a_damaged_run_is_left_out_with_its_reason(workspace):
    study = made_repeats(workspace, "Good", 2)
    store.open_run(workspace, study.runs[1]).predictions_path.write_bytes(b"?")
    page = opened("compare", study=study.id)
    assert "Good, fold 2, seed 0 is left out" in words(page)
    assert "predictions.parquet is missing or damaged" in words(page)


def test_a_study_without_any_run_left_does_not_break_the_tab(workspace):
    study = made_repeats(workspace, "Gone", 2)
    for identifier in study.runs:
        queue.delete(store.open_run(workspace, identifier))
    made_run(workspace, all_parts(SIZES, 1))
    page = opened("compare", view="Repeats")
    assert "None of these studies has a finished run." in words(page)


def test_a_stopped_run_counts_and_is_marked(workspace):
    study = made_repeats(workspace, "Good", 2)
    run = store.open_run(workspace, study.runs[0])
    run.write_result({**run.result, "stopped": True})
    assert "Good, fold 1, seed 0: stopped before its end" in words(opened("compare", study=study.id))


def test_studies_of_one_name_are_told_apart(workspace):
    first = made_repeats(workspace, "Twin", 3)
    store.write_study(workspace, store.Study("twin-2", "Twin", store.REPEATS, 1.0, first.runs))
    assert set(table(opened("compare", view="Repeats"), "repeats")["Study"]) == {"Twin (twin-1)", "Twin (twin-2)"}


def test_a_name_with_markdown_is_shown_letter_by_letter(workspace):
    study = made_repeats(workspace, "**x**", 2)
    raw = "\n".join(element.value for element in opened("compare", study=study.id).markdown)
    assert "\\*\\*x\\*\\*\\: test accuracy" in raw


def test_a_run_that_is_trained_anew_is_measured_anew(workspace):
    study = made_repeats(workspace, "Again", 0.5)
    before = table(opened("compare", study=study.id), "repeats")["Highest"].iat[0]
    run = store.open_run(workspace, study.runs[0])
    right = run.predictions()
    for label in run.classes:
        right[f"score_{label}"] = (right["label"] == label).astype(float)
    run.write_predictions(right)
    assert before != table(opened("compare", study=study.id), "repeats")["Highest"].iat[0] == "100.0 %"
