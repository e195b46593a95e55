"""Public collections, as they are downloaded, become data sets by one call of the command line."""

import json
from pathlib import Path

import pytest
from made_collections import COLLECTIONS, write

from covid_core.commands import main
from covid_core.data.dataset import open_dataset
from covid_core.workspace import Workspace


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_collection_is_imported_with_its_classes_and_patients(tmp_path, capsys, monkeypatch, name):
    monkeypatch.setenv("COVID_CORE_HOME", str(tmp_path / "home"))
    collection = COLLECTIONS[name]
    folder = write(collection, tmp_path / "set")
    labels = [] if name in WITHOUT_LABELS else collection.tables
    tables = [word for table in labels for word in ("--table", table)]

    assert main.main(["import", str(folder), *tables, "--json"]) == 0

    answer = json.loads(capsys.readouterr().out)
    made = open_dataset(Workspace(Path(tmp_path / "home")), answer["dataset"])
    assert (answer["counts"], answer["left_out"]) == (collection.counts, [])
    assert made.images["patient_id"].nunique() - made.images["patient_id"].eq("").any() == collection.patients


WITHOUT_LABELS = ("COVID-19 Radiography Database",)  # its tables stand beside class folders
