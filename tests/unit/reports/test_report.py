"""Tables as files: nothing in them is run by a spreadsheet or by LaTeX."""

import io
import math

import docx
import numpy as np
import pandas as pd
import pytest

from covid_core.formatting import points
from covid_core.reports import tables
from covid_core.reports.course import word
from covid_core.reports.encode import encode
from covid_core.specs import AugmentationSpec, FineTuning, TrainingSpec

SPEC = TrainingSpec(dataset="d", classes=("A", "B"))


def read(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content), encoding="utf-8-sig", keep_default_na=False)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_name_that_a_spreadsheet_would_run_gets_an_apostrophe(name):
    frame = tables.to_csv(pd.DataFrame({"Model": [name]})).decode("utf-8-sig")
    assert frame.split("\n", 1)[1].lstrip('"').startswith("'" + name[0])


def test_a_column_name_that_a_spreadsheet_would_run_gets_an_apostrophe():
    assert tables.to_csv(pd.DataFrame({"=x": [1]})).decode("utf-8-sig").startswith("'=x")


def test_negative_numbers_stay_numbers_and_keep_all_digits():
    content = read(tables.to_csv(pd.DataFrame({"x": [-0.1234567890123456]})))
    assert content["x"].iat[0] == -0.1234567890123456


def test_files_that_programs_read_have_hyphens_where_people_read_minus_signs():
    text = points(-0.021, -0.04, 0.01)
    frame = pd.DataFrame({"Difference": [text]})
    ascii_text = "-2.1 points [-4.0, 1.0]"
    assert text != ascii_text
    assert read(tables.to_csv(frame))["Difference"].iat[0] == f"'{ascii_text}"
    assert ascii_text in tables.to_latex(frame) and encode(text) == ascii_text


def test_undefined_is_an_empty_cell():
    assert read(tables.to_csv(pd.DataFrame({"a": ["x"], "x": [np.nan]})))["x"].iat[0] == ""


def test_letters_beyond_ascii_come_back():
    assert read(tables.to_csv(pd.DataFrame({"Model": ["Ä 肺"]})))["Model"].iat[0] == "Ä 肺"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a & b_1", r"a \& b\_1"),
        ("90.4 %", r"90.4 \%"),
        (r"\input{x}", r"\textbackslash input\{x\}"),
        ("$#~^", r"\$\#\textasciitilde \textasciicircum"),
        ("two\nlines", "two lines"),
        (float("nan"), "--"),
        (None, "--"),
    ],
)
def test_latex_writes_out_what_it_would_obey(text, written):
    table = tables.to_latex(pd.DataFrame({"Model": pd.Series([text], dtype=object)}))
    assert written + r" \\" in table


def test_latex_has_the_rules_of_booktabs_the_caption_and_the_best_row_in_bold():
    frame = pd.DataFrame({"Model": ["one", "two"], "Test": [0.5, 0.75]})
    expected = [r"\caption{50 \% \& more}", r"\begin{tabular}{lr}", r"\toprule", r"Model & Test \\", r"\midrule"]
    expected += [r"one & 0.5 \\", r"\textbf{two} & \textbf{0.75} \\", r"\bottomrule"]
    lines = tables.to_latex(frame, caption=r"50 \% \& more", bold=[1]).splitlines()
    assert [line for line in lines if line in expected] == expected


def test_hyperparameters_are_in_words_and_in_the_order_given():
    course = SPEC.model_copy(update={"optimizer": "adam", "learning_rate": 1e-4, "epochs": 5, "taps": "last"})
    table = tables.hyperparameters(["first", "second"], [SPEC, course])
    assert list(table["Model"]) == ["first", "second"]
    assert list(table.columns[1:6]) == ["Learning rate", "Batch size", "Epochs", "Optimizer", "Image size"]
    assert table["Special strategy"].iat[1] == course.strategy
    assert (table["Optimizer"].iat[1], table["Imbalance"].iat[1]) == ("Adam", "Class weights")


def test_epochs_count_all_stages():
    tuned = TrainingSpec(
        dataset="d", classes=("A", "B"), mode="fine_tune", taps="last", epochs=5, fine_tuning=FineTuning(epochs=5)
    )
    assert tables.hyperparameters(["x"], [tuned])["Epochs"].iat[0] == 10


def test_augmentation_is_in_words():
    augmented = SPEC.model_copy(update={"augmentation": AugmentationSpec(rotation=15, shift_x=0.1, flip=True)})
    words = tables.hyperparameters(["one", "other"], [augmented, SPEC])["Augmentation"]
    assert words.tolist() == ["rotation 15°, shift across 10 %, horizontal flip (p = 0.5)", "None"]


def test_only_what_differs_keeps_the_model_and_drops_equal_columns():
    other = SPEC.model_copy(update={"seed": 7})
    table = tables.only_what_differs(tables.hyperparameters(["same", "same"], [SPEC, other]))
    assert list(table.columns) == ["Model", "Seed"]


def test_markdown_aligns_numbers_and_leaves_every_text_in_its_cell():
    frame = pd.DataFrame({"Model": ["a|b", "c\nd"], "Test": [0.5, math.nan]})
    assert tables.to_markdown(frame) == "| Model | Test |\n| --- | ---: |\n| a\\|b | 0.5 |\n| c d | – |\n"


def test_markdown_shows_a_name_that_is_a_picture_elsewhere_as_text():
    table = tables.to_markdown(pd.DataFrame({"Model": ["![p](https://evil.test/x) <img> $x$"]}))
    assert "| !\\[p\\](https://evil.test/x) \\<img\\> \\$x\\$ |" in table


def test_a_table_in_word_has_its_caption_its_cells_and_the_best_row_in_bold():
    frame = pd.DataFrame({"Model": ["a", "b"], "Test": ["81.3 %", None]})
    made = docx.Document(io.BytesIO(word.table_to_word(frame, "All runs", best=[1])))
    [table] = made.tables
    cells = [[cell.text.replace("\xa0", " ") for cell in row.cells] for row in table.rows]
    assert cells == [["Model", "Test"], ["a", "81.3 %"], ["b", "–"]]
    assert [row.cells[0].paragraphs[0].runs[0].bold for row in table.rows] == [True, False, True]
    assert "All runs" in [line.text for line in made.paragraphs]
