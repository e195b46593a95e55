"""The notebook of a course report, run by itself: its numbers are the app's."""

import nbformat
import numpy as np
import pandas as pd
import pytest
from made_runs import all_parts, made_run
from nbclient import NotebookClient

from covid_core.evaluation import calibration, comparison, metrics
from covid_core.reports.course import formats, sections, subject
from covid_core.reports.course.document import Chart, Table
from covid_core.runs import candidates

SIZES = {"train": 300, "validation": 90, "test": 180}
RESULTS = {  # what the notebook computes, by the name of a file
    "performance": "performance",
    "classes": "classes_table",
    "pairs": "pairs",
    "study": "against_first('Run 1', 'Run 2').iloc[1:].reset_index(names='name')",
    "costs": "costs().reset_index()",
    "bins": "bins_of('Run 2')",
    "counts": "class_counts('Run 0').reset_index()",
    "confusion": "confusion_counts('Run 2')",
}
SETTINGS = {  # so that the report has every kind of section
    "Run 0": {"backbone": "baseline_cnn"},
    "Run 1": {},
    "Run 2": {"augmentation": {"rotation": 15.0}, "views": 4},
}
EXACT = {"test_low", "test_high"} | {
    f"{key}_{end}" for key in ("sensitivity", "specificity", "ppv", "npv") for end in ("low", "high")
}
ENDS = ("low", "high")
NOT_COMPUTED = {"baseline-layers", "transfer-layers"}  # layers stand in a model, which does not lie beside


def split_of(table: pd.DataFrame, together: int) -> pd.DataFrame:
    """A split in which ``together`` images of a part and class follow each other as one group."""
    place = table.groupby(["part", "label"]).cumcount() // together
    group = table["part"] + table["label"] + place.astype(str)
    return table[["image_id", "label", "part"]].assign(group=group)


@pytest.mark.parametrize("together", [1, 3])
def test_a_notebook_finds_the_numbers_of_the_app_without_it(workspace, tmp_path, together):
    tables = [all_parts(SIZES, skill, seed=n) for n, skill in enumerate((0.3, 1.5, 1.8))]
    grouping = {"split": {"method": "grouped"}} if together > 1 else {}
    runs = [
        made_run(workspace, table, name, parts=split_of(table, together), **settings, **grouping)
        for table, (name, settings) in zip(tables, SETTINGS.items(), strict=True)
    ]
    assert [run.groups() is not None for run in runs] == [together > 1] * 3
    about = subject.subject_of(workspace, runs)
    document = sections.document_of(about)
    path, *beside = formats.write(document, about, "ipynb", tmp_path)
    blocks = [block for section in document.sections for block in section.blocks]
    assert all(block.recipe for block in blocks if isinstance(block, Chart))
    assert {block.key for block in blocks if isinstance(block, Table) and not block.recipe} <= NOT_COMPUTED
    assert len([one for one in beside if one.name in ("predictions.parquet", "history.csv")]) == 6
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "covid_core" not in path.read_text(encoding="utf-8")
    writing = [f"{what}.to_parquet('{file}.parquet')" for file, what in RESULTS.items()]
    notebook.cells.append(nbformat.v4.new_code_cell("\n".join(writing)))
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    found = {file: pd.read_parquet(tmp_path / f"{file}.parquet") for file in RESULTS}

    order = about.ranking.order
    by_name = {one.name: one for one in order}
    table = metrics.answers(about.run_of(by_name["Run 2"]).predictions(), "test")
    bins = [(one.mean_score, one.right.value, one.right.low, one.right.high) for one in calibration.reliability(table)]
    counted = next(block for block in blocks if isinstance(block, Table) and block.key == "classes").frame
    app = [
        comparison.performance_table(order).head(len(order)).drop(columns=["id", "marks"]),
        comparison.class_table({one.name: one.assessment.tested for one in order}).head(3 * len(order)),
        comparison.pair_table(about.ranking).drop(columns="images"),
        comparison.against_first([by_name["Run 1"], by_name["Run 2"]]).drop(columns="images"),
        candidates.costs([about.run_of(one) for one in order], list(by_name))[found["costs"].columns],
        pd.DataFrame(bins, columns=["score", "right", "low", "high"]),
        counted.iloc[:-1, [0, 3, 4, 5]].set_axis(["label", "train", "validation", "test"], axis=1),
        by_name["Run 2"].assessment.tested.confusion,
    ]
    for own, theirs in zip(found.values(), app, strict=True):
        for column in theirs:
            if theirs[column].dtype.kind not in "fiu":
                assert list(map(str, own[column])) == list(theirs[column])
                continue
            drawn = column.endswith(ENDS) and column not in EXACT
            allowed = 0.005 if drawn else 1e-9
            assert np.allclose(own[column], theirs[column], rtol=0, atol=allowed, equal_nan=True), column
    assert list(found["performance"]["p_majority"]) == pytest.approx(
        [one.assessment.p_majority for one in order], abs=1e-12
    )


def test_the_numbers_of_patients_are_no_names(workspace, tmp_path):
    table = all_parts(SIZES, 1.0)
    run = made_run(workspace, table, parts=split_of(table, 3), split={"method": "grouped"})
    about = subject.subject_of(workspace, [run])
    written = formats.write(sections.document_of(about), about, "ipynb", tmp_path)
    groups = pd.read_csv(next(path for path in written if path.name == "groups.csv"))
    assert groups["group"].dtype.kind == "i" and groups["group"].nunique() == run.groups().nunique()
