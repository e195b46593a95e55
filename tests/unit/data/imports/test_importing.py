"""From folders of images to data sets: layouts, what is left out and why, and nothing half done."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
from made_images import write_images

from covid_core.data import duplicates
from covid_core.data.dataset import delete_dataset, list_datasets, open_dataset
from covid_core.data.imports import importing, layouts
from covid_core.data.pixels import pixels_path
from covid_core.errors import DataError, Stopped, UnknownId
from covid_core.images.codec import png_bytes
from covid_core.specs import LayoutSpec

IMAGE = png_bytes(np.arange(40 * 40, dtype=np.uint32).reshape(40, 40).astype(np.uint8))


def put(path, content=IMAGE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def database(root, numbers=(1, 2, 10)):
    """The COVID-19 Radiography Database's layout with one class of images, masks and sources."""
    for number in numbers:
        put(root / f"COVID/images/COVID-{number}.png")
        put(root / f"COVID/masks/COVID-{number}.png")
    rows = {"FILE NAME": [f"COVID-{n}" for n in numbers], "URL": [f"https://site/{n} " for n in numbers]}
    pd.DataFrame(rows).to_excel(root / "COVID.metadata.xlsx", index=False)
    put(root / "Normal/images/NORMAL-1.png")
    put(root / "Lung_Opacity/images/Lung_Opacity-1.png")
    return root


def test_plain_class_folders_become_a_data_set(workspace, image_folder):
    dataset = importing.import_folder(workspace, image_folder({"Normal": 3, "COVID": 2}))
    assert dataset.name == "images"
    assert dataset.classes == ("COVID", "Normal")
    assert dataset.counts == {"COVID": 2, "Normal": 3}
    assert dataset.images["width"].tolist() == [40] * 5


def test_the_same_images_imported_again_are_the_earlier_data_set_until_they_change(workspace, image_folder):
    folder = image_folder({"Normal": 3, "COVID": 2})
    first = importing.import_folder(workspace, folder)
    assert importing.reused(workspace, importing.import_folder(workspace, folder)).id == first.id
    named = importing.import_folder(workspace, folder, "Other")
    assert importing.reused(workspace, named).id == named.id
    put(folder / "Normal/new.png")
    changed = importing.import_folder(workspace, folder)
    assert importing.reused(workspace, changed).id == changed.id
    assert {info["id"] for info in list_datasets(workspace)} == {first.id, named.id, changed.id}


def test_the_radiography_databases_layout_gives_masks_and_sources(workspace, tmp_path):
    dataset = importing.import_folder(workspace, database(tmp_path / "images"))
    covid = dataset.images[dataset.images["label"] == "COVID"]
    assert covid["image_id"].tolist() == ["COVID/COVID-1.png", "COVID/COVID-2.png", "COVID/COVID-10.png"]
    assert covid["source"].tolist() == ["https://site/1", "https://site/2", "https://site/10"]
    assert covid["mask_path"].tolist()[0] == "COVID/masks/COVID-1.png"
    assert dataset.images["source"].tolist()[-1] == ""


def test_a_class_the_course_left_out_has_to_be_asked_for(workspace, tmp_path):
    root = database(tmp_path / "images")
    assert "Lung_Opacity" not in importing.import_folder(workspace, root).classes
    assert importing.import_folder(workspace, root, spec=LayoutSpec(classes=["Lung_Opacity"])).classes == (
        "Lung_Opacity",
    )


def test_a_survey_counts_without_reading(tmp_path):
    names = layouts.names_below(database(tmp_path / "images"))
    assert layouts.understood(names, "images").counts == {"COVID": 3, "Lung_Opacity": 1, "Normal": 1}


def test_class_folders_are_found_below_what_archives_wrap_around_them(workspace, tmp_path):
    write_images(tmp_path / "archive/COVID-19_Radiography_Dataset", {"a": 2, "b": 2})
    (tmp_path / "archive/__MACOSX").mkdir()
    assert importing.import_folder(workspace, tmp_path / "archive").name == "COVID-19_Radiography_Dataset"


def test_images_are_referred_to_and_not_copied(workspace, image_folder):
    root = image_folder({"a": 2})
    dataset = importing.import_folder(workspace, root)
    assert dataset.path_of(0) == root / "a/a-1.png"
    delete_dataset(workspace, dataset.id)
    assert (root / "a/a-1.png").exists()


def test_files_that_cannot_be_read_are_left_out_with_the_reason(workspace, image_folder):
    root = image_folder({"a": 2, "b": 2})
    put(root / "a/broken.png", IMAGE[:100])
    put(root / "a/empty.PNG", b"")
    dataset = importing.import_folder(workspace, root)
    assert len(dataset.images) == 4
    assert dataset.left_out["path"].tolist() == ["a/empty.PNG", "a/broken.png"]
    assert dataset.left_out["reason"].str.contains("empty|cut off").all()


def test_a_file_too_large_to_be_a_image_is_left_out_unread(workspace, image_folder):
    root = image_folder({"a": 2})
    with open(root / "a/huge.png", "wb") as handle:
        handle.truncate(2**33)
    assert importing.import_folder(workspace, root).left_out["reason"].tolist() == ["The file is larger than 48 MiB."]


def test_a_name_that_is_no_text_is_left_out_with_the_reason(workspace, image_folder):
    root = image_folder({"a": 2})
    shutil.copy(root / "a/a-1.png", os.fsencode(root / "a") + b"/\xff.png")
    left_out = importing.import_folder(workspace, root).left_out
    assert left_out["path"].tolist() == ["a/\\udcff.png"]
    assert "UTF-8" in left_out["reason"][0]


@pytest.mark.parametrize("label", ["<b>", "=1+1", "Lünge", "肺", "𓀀 x", "‮RTL", "a" * 200, "![x](http:)"])
def test_any_class_name_is_kept_as_it_is(workspace, tmp_path, label):
    put(tmp_path / "images" / label / "1.png")
    dataset = importing.import_folder(workspace, tmp_path / "images")
    assert open_dataset(workspace, dataset.id).classes == (label,)


def test_other_files_are_not_images(workspace, image_folder):
    root = image_folder({"a": 2})
    for name in ("Thumbs.db", ".hidden.png", "notes.txt"):
        put(root / "a" / name)
    dataset = importing.import_folder(workspace, root)
    assert len(dataset.images) == 2
    assert dataset.left_out["path"].tolist() == ["a/Thumbs.db", "a/notes.txt"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda root: None, "There is no folder"),
        (lambda root: root.mkdir(), "No class folders"),
        (lambda root: put(root / "1.png"), "No class folders"),
        (lambda root: put(root / "a/broken.png", b"?"), "None of the 1 files can be read. The first: .*not a readable"),
        (
            lambda root: (put(root / "a/1.png"), put(root / "a.metadata.xlsx", b"?")),
            "a.metadata.xlsx cannot be read as a table",
        ),
    ],
    ids=["missing", "empty", "no classes", "nothing readable", "broken metadata"],
)
def test_a_folder_that_cannot_become_a_data_set_leaves_nothing(workspace, tmp_path, make, reason):
    make(tmp_path / "images")
    with pytest.raises(DataError, match=reason):
        importing.import_folder(workspace, tmp_path / "images")
    assert list_datasets(workspace) == []
    assert os.listdir(workspace.pixels) == []


def test_a_class_that_does_not_exist_is_refused_with_those_that_do(workspace, image_folder):
    with pytest.raises(DataError, match="no class c in .*; found: a, b"):
        importing.import_folder(workspace, image_folder({"a": 1, "b": 1}), spec=LayoutSpec(classes=["a", "c"]))


def test_a_class_without_images_is_no_class(workspace, image_folder):
    root = image_folder({"a": 1, "b": 1})
    (root / "empty").mkdir()
    assert importing.import_folder(workspace, root).classes == ("a", "b")


def test_a_folder_that_cannot_be_opened_is_refused_in_a_sentence(workspace, tmp_path):
    with pytest.raises(DataError, match="cannot be opened: File name too long"):
        importing.import_path(workspace, tmp_path / ("x" * 300))


def test_a_stopped_import_leaves_nothing(workspace, image_folder):
    def stop(share, message):
        raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        importing.import_folder(workspace, image_folder({"a": 60}), progress=stop)
    assert os.listdir(workspace.datasets) == os.listdir(workspace.pixels) == []


def test_progress_reaches_its_end_and_never_goes_back(workspace, image_folder):
    told = []
    importing.import_folder(workspace, image_folder({"a": 100}), progress=lambda share, _: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1


def test_an_import_keeps_pixels_for_the_overview(workspace, image_folder):
    dataset = importing.import_folder(workspace, image_folder({"a": 3}))
    path = pixels_path(workspace, dataset.pixels_key, importing.SUMMARY_SIZE)
    assert path.stat().st_size == 3 * importing.SUMMARY_SIZE**2


def test_the_phantom_makes_a_data_set_with_masks_and_says_so(workspace):
    dataset = importing.import_phantom(workspace, images=6)
    assert dataset.is_synthetic
    assert all((dataset.root / path).is_file() for path in [*dataset.images["path"], *dataset.images["mask_path"]])
    assert os.listdir(workspace.uploads) == []


def test_the_version_changes_with_labels_and_the_pixels_do_not(workspace, image_folder):
    root = image_folder({"a": 2, "b": 2})
    first = importing.import_folder(workspace, root)
    relabelled = first.images.assign(label=["b", "a", "a", "b"])
    other = type(first)(first.id, first.folder, first.info, relabelled)
    assert other.version != first.version
    assert other.pixels_key == first.pixels_key


def test_equal_images_make_equal_versions(workspace, image_folder):
    root = image_folder({"a": 2})
    assert importing.import_folder(workspace, root).version == importing.import_folder(workspace, root).version


def test_a_data_set_from_when_a_difference_hash_was_kept_opens_at_the_same_version(workspace, image_folder):
    made = importing.import_folder(workspace, image_folder({"a": 2}))
    assert "dhash" not in pd.read_parquet(made.folder / "manifest.parquet")
    made.images.assign(dhash="f" * 16).to_parquet(made.folder / "manifest.parquet", index=False)
    again = open_dataset(workspace, made.id)
    assert again.version == made.version
    pd.testing.assert_frame_equal(again.images, made.images)


def test_a_image_is_found_by_its_id(workspace, image_folder):
    dataset = importing.import_folder(workspace, image_folder({"a": 3}))
    assert dataset.row_of("a/a-2.png") == 1
    with pytest.raises(DataError, match="has no image 'a/a-9.png'"):
        dataset.row_of("a/a-9.png")


def test_data_sets_are_listed_newest_first_and_damaged_ones_are_told(workspace, image_folder):
    root = image_folder({"a": 1})
    names = [importing.import_folder(workspace, root, name).id for name in ("one", "two", "three")]
    (workspace.datasets / names[1] / "import.json").write_text("[]")
    listed = list_datasets(workspace)
    assert [info["id"] for info in listed] == [names[2], names[0], names[1]]
    assert listed[-1]["damaged"]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"name": "x"}'])
@pytest.mark.parametrize("name", ["import.json", "manifest.parquet"])
def test_a_damaged_data_set_is_refused_with_what_to_do(workspace, image_folder, name, content):
    dataset = importing.import_folder(workspace, image_folder({"a": 1}))
    (dataset.folder / name).write_text(content)
    with pytest.raises(DataError, match="is damaged: delete it and import it again"):
        open_dataset(workspace, dataset.id)


def test_a_deleted_data_set_is_not_found(workspace, image_folder):
    dataset = importing.import_folder(workspace, image_folder({"a": 1}))
    delete_dataset(workspace, dataset.id)
    with pytest.raises(UnknownId, match="no data set with the id"):
        open_dataset(workspace, dataset.id)


def test_kaggle_out_of_reach_says_what_to_do_instead(workspace, monkeypatch):
    import kagglehub

    def refuse(name):
        raise ConnectionError("no network")

    monkeypatch.setattr(kagglehub, "dataset_download", refuse)
    with pytest.raises(DataError, match="with a browser and import the zip file"):
        importing.import_kaggle(workspace)


def test_what_kaggle_fetched_is_imported(workspace, image_folder, monkeypatch):
    import kagglehub

    root = image_folder({"a": 2})
    monkeypatch.setattr(kagglehub, "dataset_download", lambda name: str(root))
    assert importing.import_kaggle(workspace).name == "covid19-radiography-database"


def test_deleting_a_data_set_removes_what_was_derived_from_its_images(workspace, image_folder):
    imported = importing.import_folder(workspace, image_folder({"A": 2, "B": 2}))
    assert list(workspace.pixels.iterdir())
    delete_dataset(workspace, imported.id)
    assert not list(workspace.pixels.iterdir())
    assert not list(workspace.datasets.iterdir())


def test_what_is_no_image_file_is_listed_and_left_out(workspace, image_folder):
    root = image_folder({"A": 2, "B": 2})
    (root / "A" / "scan.raw").write_bytes(b"II*")
    left_out = importing.import_folder(workspace, root).left_out
    assert left_out["path"].tolist() == ["A/scan.raw"]
    assert left_out["reason"].tolist() == ["Not a PNG, JPEG, TIFF or DICOM file."]


def test_a_sweep_removes_what_killed_imports_left_a_day_ago_and_nothing_else(workspace):
    old, fresh = workspace.uploads / "unpacked-old", workspace.uploads / "unpacked-fresh"
    half = workspace.pixels / ".half.tmp"
    whole = workspace.pixels / "whole-128.u8"
    old.mkdir(), fresh.mkdir(), half.touch(), whole.touch()
    for path in (old, half, whole):
        os.utime(path, (0, 0))
    importing.sweep(workspace)
    assert [path.exists() for path in (old, half, fresh, whole)] == [False, False, True, True]


def test_patients_and_parts_of_a_tree_are_in_the_table_and_a_patient_is_one_group(workspace, tmp_path):
    for number in range(6):
        part, noise = ("train", "val", "test")[number % 3], np.random.default_rng(number)
        for label in ("COVID", "NORMAL"):
            content = png_bytes(noise.integers(0, 256, (40, 40), dtype=np.uint8))
            put(tmp_path / f"chest_xray/{part}/{label}/person{number // 2}_{number}.png", content)
    dataset = importing.import_folder(workspace, tmp_path / "chest_xray")
    images = open_dataset(workspace, dataset.id).images
    assert images["given_part"].value_counts().to_dict() == {"train": 4, "validation": 4, "test": 4}
    assert images["patient_id"].nunique() == 6
    groups = duplicates.with_groups(workspace, dataset).groupby("patient_id")["group"].nunique()
    assert (groups == 1).all()


def test_a_table_of_sources_that_is_called_otherwise_than_its_class_counts(workspace, tmp_path):
    root = database(tmp_path / "images")
    (root / "COVID.metadata.xlsx").rename(root / "COVID-19.metadata.xlsx")
    images = importing.import_folder(workspace, root).images
    assert images.loc[images["label"] == "COVID", "source"].tolist() == [
        "https://site/1",
        "https://site/2",
        "https://site/10",
    ]
