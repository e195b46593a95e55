"""Predictions from a file become a run that is compared on the same images; what is no prediction is refused."""

import io

import made_predictions
import numpy as np
import pandas as pd
import pytest
from made_images import write_images

from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.errors import DataError, InvalidChoice, RunError
from covid_core.evaluation import comparison
from covid_core.exchange import predictions
from covid_core.inference.predictor import Predictor
from covid_core.jobs import queue
from covid_core.jobs.kinds import ModelAuditRequest
from covid_core.reports import tables
from covid_core.reports.course import sections, subject
from covid_core.reports.course.html import to_html
from covid_core.runs import candidates, store, temperature_scaling
from covid_core.runs.store import Run
from covid_core.runs.temperature_scaling import as_record
from covid_core.workspace import Workspace

CLASSES = ("COVID", "Normal", "Viral Pneumonia")


@pytest.fixture(scope="module")
def images(place, tmp_path_factory) -> Dataset:
    folder = write_images(tmp_path_factory.mktemp("made") / "images", dict.fromkeys(CLASSES, 20), 40)
    return importing.import_path(place, folder, "Made")


@pytest.fixture(scope="module")
def trained(place, images) -> Run:
    return made_predictions.finished_on(place, images)


table_of = made_predictions.handed_in


def handed_in(workspace: Workspace, table: pd.DataFrame | str | bytes, name: str = "others.csv", **options):
    text = table.to_csv(index=False) if isinstance(table, pd.DataFrame) else table
    return predictions.matched(workspace, name, text if isinstance(text, bytes) else text.encode(), **options)


def pair(*runs: Run) -> list[candidates.Candidate]:
    return [candidates.candidate(run) for run in candidates.on_common_images(runs)]


def test_predictions_that_leave_and_come_back_are_equal_to_the_last_digit(place, trained):
    content = tables.to_csv(predictions.split_table(trained, scores=True))
    back = predictions.publish(place, predictions.matched(place, "own.csv", content, like=trained.id))
    pd.testing.assert_frame_equal(back.predictions(), trained.predictions(), check_exact=True)
    first, second = pair(trained, back)
    assert first.assessment.tested.overall == second.assessment.tested.overall
    assert comparison.comparable(first.assessment, second.assessment)
    tested = comparison.pairs([first.assessment, second.assessment]).of(0, 1)
    assert (tested.p, tested.difference, tested.only_first, tested.only_second) == (1, 0, 0, 0)


def test_probabilities_alone_keep_every_digit_and_give_the_same_measures(place, trained):
    back = predictions.publish(place, handed_in(place, table_of(trained), like=trained.id))
    first, second = pair(trained, back)
    assert first.assessment.tested.overall == second.assessment.tested.overall


def test_an_imported_run_is_complete_and_has_no_network(place, trained):
    run = predictions.publish(place, handed_in(place, table_of(trained), like=trained.id, title="Theirs"))
    run = store.open_run(place, run.id)
    assert (run.name, run.status().state, run.has_model) == ("Theirs", store.COMPLETED, False)
    assert run.split_hash == trained.split_hash
    for refused in (
        lambda: Predictor.open(place, run),
        lambda: queue.submit(place, ModelAuditRequest(run=run.id)),
        lambda: queue.resume(run),
        lambda: queue.submit_training(place, run.spec),
    ):
        with pytest.raises((RunError, InvalidChoice)):
            refused()


def test_missing_test_images_are_listed_and_both_runs_are_compared_on_the_others(place, trained):
    table = table_of(trained)
    test = trained.split().query("part == 'test'")["image_id"]
    one = handed_in(place, table[~table["image"].isin(test.iloc[:2])], like=trained.id)
    assert one.facts["lacking_test"] == test.iloc[:2].tolist()
    first, second = pair(trained, predictions.publish(place, one))
    assert comparison.comparable(first.assessment, second.assessment)
    assert first.assessment.test.n == second.assessment.test.n == len(test) - 2
    assert candidates.candidate(trained).assessment.test.n == len(test)


def test_the_temperature_stays_and_its_figures_are_of_the_test_images_that_all_have(place, images):
    own = made_predictions.finished_on(place, images)
    table, split = own.predictions(), own.split()
    own.write_result({**own.result, "calibration": as_record(temperature_scaling.fitted(table, split))})
    own, scores = store.open_run(place, own.id), table_of(own)
    away = split.query("part == 'test'")["image_id"].iloc[:2]
    theirs = predictions.publish(place, handed_in(place, scores[~scores["image"].isin(away)], like=own.id))
    alone = temperature_scaling.of(own)
    beside = temperature_scaling.of(candidates.on_common_images([own, theirs])[0])
    expected = temperature_scaling.fitted(table[~table["image_id"].isin(away)], split)
    assert beside.temperature == alone.temperature and beside == expected
    assert beside.log_loss_after != alone.log_loss_after


def test_scores_of_test_images_alone_have_no_temperature(place, trained):
    test = trained.split().query("part == 'test'")["image_id"]
    table = table_of(trained)
    run = predictions.publish(place, handed_in(place, table[table["image"].isin(test)], like=trained.id))
    (figures,) = pair(run)
    assert not figures.assessment.validation.is_defined
    assert figures.assessment.test.is_defined
    assert run.result["calibration"]["temperature"] is None


@pytest.mark.parametrize(
    "called",
    [
        lambda row: row.path,
        lambda row: row.sha256,
        lambda row: row.sha256.upper(),
        lambda row: row.path.rpartition("/")[2],
        lambda row: row.path.rpartition("/")[2].removesuffix(".png"),
        lambda row: f"C:\\images\\{row.path}".replace("/", "\\"),
        lambda row: f"../../data/{row.path}",
    ],
)
def test_images_are_matched_by_path_name_or_hash(place, images, trained, called):
    names = {row.image_id: called(row) for row in images.images.itertuples()}
    table = table_of(trained)
    one = handed_in(place, table.assign(image=table["image"].map(names)), like=trained.id)
    assert sum(one.facts["images"].values()) == len(images.images)


@pytest.mark.parametrize("columns", ["{}", "p_{}", "PROB {}", "{}_score", "logit-{}"])
def test_columns_are_matched_by_class_in_any_order_and_case(place, trained, columns):
    table = table_of(trained)[["score_Viral Pneumonia", "score_COVID", "image", "score_Normal"]]
    names = {f"score_{label}": columns.format(label).lower() for label in CLASSES}
    if "logit" in columns:
        table = table.assign(**{name: np.log(table[name]) for name in names})
    one = handed_in(place, table.rename(columns=names), like=trained.id)
    assert list(one.table.columns[3:6]) == [f"score_{label}" for label in CLASSES]
    np.testing.assert_allclose(one.table["score_COVID"], trained.predictions()["score_COVID"], atol=1e-6)


def test_numbers_without_a_word_are_taken_for_logits_where_they_are_no_probabilities(place, trained):
    table = table_of(trained).rename(columns=lambda name: name.removeprefix("score_"))
    assert handed_in(place, table, like=trained.id).facts["scale"] == "probabilities"
    logits = table.assign(**{label: np.log(table[label]) for label in CLASSES})
    assert handed_in(place, logits, like=trained.id).facts["scale"] == "logits"


@pytest.mark.parametrize(
    ("value", "reason"),
    [("nan", "Line 4"), ("", "Line 4"), ("inf", "Line 4"), ("-0.1", "Line 4"), ("1.7", "Line 4"), ("0.9999", "Line 4")],
)
def test_what_is_no_probability_is_refused_with_its_line(place, trained, value, reason):
    table = table_of(trained).astype(str)
    table.loc[2, ["score_COVID", "score_Normal"]] = [value, "0.5"]
    with pytest.raises(DataError, match=reason):
        handed_in(place, table, like=trained.id)


def test_separate_outputs_per_class_and_per_cents_are_refused(place, trained):
    table = table_of(trained)
    for change in (lambda values: values / 2, lambda values: values * 100):
        with pytest.raises(DataError):
            handed_in(place, table.assign(**{name: change(table[name]) for name in table.columns[1:]}), like=trained.id)


def test_rounded_probabilities_are_divided_by_their_sum(place, trained):
    table = table_of(trained).round(2)
    one = handed_in(place, table, like=trained.id)
    assert one.facts["normalised"] > 0
    np.testing.assert_allclose(one.table.filter(like="score_").sum(axis=1), 1, atol=1e-9)


def test_two_rows_of_an_image_and_a_name_of_two_images_are_refused(place, images, trained):
    table = table_of(trained)
    with pytest.raises(DataError, match="Lines 2 and 62"):
        handed_in(place, pd.concat([table, table.head(1)]), like=trained.id)


def test_a_file_name_of_two_images_is_refused(workspace, image_folder):
    folder = image_folder({"A": 6, "B": 6})
    for path in folder.rglob("*.png"):
        path.rename(path.with_name(path.name.rpartition("-")[2]))
    made = importing.import_path(workspace, folder, "Same names")
    table = pd.DataFrame({"image": ["1.png"], "A": [0.5], "B": [0.5]})
    with pytest.raises(DataError, match="several images"):
        handed_in(workspace, table, dataset=made.id)
    one = handed_in(workspace, table.assign(image=made.images["image_id"].iat[0]), dataset=made.id)
    assert one.facts["images"]["test"] == 1


def test_labels_of_the_file_are_counted_where_they_differ_and_those_of_the_data_set_count(place, trained):
    table = table_of(trained).assign(label=trained.split()["label"].str.upper())
    table.loc[0, "label"] = "something else"
    one = handed_in(place, table, like=trained.id)
    assert one.facts["other_label"] == 1
    assert one.table["label"].tolist() == trained.predictions()["label"].tolist()


def test_test_images_that_were_trained_on_elsewhere_are_counted(place, trained):
    table = table_of(trained).assign(part="train")
    assert (
        handed_in(place, table, like=trained.id).facts["trained_on_test"] == (trained.split()["part"] == "test").sum()
    )


def test_with_a_data_set_alone_the_parts_are_those_of_the_file(place, images, trained):
    table = table_of(trained).assign(split=trained.split()["part"])
    one = handed_in(place, table, dataset=images.id)
    assert one.split.set_index("image_id")["part"].to_dict() == trained.split().set_index("image_id")["part"].to_dict()
    alone = handed_in(place, table.drop(columns="split").head(9), dataset=images.id)
    assert alone.facts["images"] == {"train": 0, "validation": 0, "test": 9}


def test_a_spreadsheets_semicolons_decimal_commas_and_mark_are_read(place, trained):
    table = table_of(trained)
    content = b"\xef\xbb\xbf" + table.to_csv(index=False, sep=";", decimal=",").encode()
    one = handed_in(place, content, like=trained.id)
    np.testing.assert_array_equal(one.table["score_COVID"], trained.predictions()["score_COVID"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("binary.csv", b"\0\1\2"),
        ("one.csv", b"image\n=cmd|' /C calc'!A1\n"),
        ("twice.csv", b"image,COVID,covid,Normal,Viral Pneumonia\na,1,0,0,0\n"),
        ("lacking.csv", b"image,COVID,Normal\na,1,0\n"),
        ("unnamed.csv", b"x,COVID,Normal,Viral Pneumonia\na,1,0,0\n"),
        ("nothing.csv", b"image,COVID,Normal,Viral Pneumonia\n"),
        ("formula.csv", b"image,COVID,Normal,Viral Pneumonia\n=1+1,=1,0,0\n"),
        ("archive.xlsx", b"PK\3\4 no archive"),
    ],
)
def test_what_is_no_table_of_predictions_is_refused_in_a_sentence(place, trained, name, content):
    with pytest.raises(DataError):
        handed_in(place, content, name, like=trained.id)


def test_a_table_of_too_many_rows_is_refused(place, trained, monkeypatch):
    monkeypatch.setattr(predictions.metadata, "MOST_ROWS", 50)
    with pytest.raises(DataError, match="more than 50 rows"):
        handed_in(place, table_of(trained), like=trained.id)


def test_names_that_a_spreadsheet_would_run_come_back_to_their_images(workspace, image_folder):
    folder = image_folder({"A": 3, "B": 3})
    for path in folder.rglob("*.png"):
        path.rename(path.with_name(f"{path.parent.name}=1+{path.name}"))
    (folder / "A").rename(folder / "=A")
    made = importing.import_path(workspace, folder, "Formulas")
    table = pd.DataFrame({"image": made.images["image_id"], "score_=A": 0.5, "score_B": 0.5})
    one = predictions.matched(workspace, "own.csv", tables.to_csv(table), dataset=made.id)
    assert one.facts["images"]["test"] == 6


def test_a_data_set_or_a_run_is_named_and_not_both(place, images, trained):
    for places in ({}, {"dataset": images.id, "like": trained.id}):
        with pytest.raises(InvalidChoice):
            handed_in(place, table_of(trained), **places)


def test_a_split_leaves_as_image_label_and_part(trained):
    table = pd.read_csv(io.BytesIO(tables.to_csv(predictions.split_table(trained))))
    assert list(table.columns) == ["image", "label", "part", "group"]
    assert table["part"].value_counts().to_dict() == trained.split()["part"].value_counts().to_dict()


def test_a_course_report_leaves_out_how_an_imported_model_was_trained(place, trained):
    run = predictions.publish(place, handed_in(place, table_of(trained), like=trained.id))
    document = sections.document_of(subject.subject_of(place, [run]))
    page = to_html(document).decode()
    assert run.name in page
    assert not [
        one for part in document.sections for one in part.blocks if getattr(one, "key", "").startswith("curves")
    ]
    assert not [word for word in ("AdamW", "learning rate of", "baseline CNN is trained") if word in page]


def test_without_validation_images_the_answer_says_what_calibration_is(place, images, trained):
    alone = handed_in(place, table_of(trained).head(9), dataset=images.id)
    whole = handed_in(place, table_of(trained), like=trained.id)
    assert [any("temperature" in line for line in one.sentences) for one in (alone, whole)] == [True, False]
