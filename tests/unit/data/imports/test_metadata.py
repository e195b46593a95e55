"""Labels and facts from tables: collections by name, one's own columns, several labels, and tables that are none."""

import gzip
import io

import pandas as pd
import pytest

from covid_core.data.imports.importing import proposed
from covid_core.data.imports.metadata import age_of, likely, sex_of
from covid_core.errors import DataError
from covid_core.specs import LayoutSpec


def layout(images: list[str], tables: dict[str, str | bytes], **spec):
    """What the tables say of the images: file name to content."""
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in tables.items()}
    return proposed([*images, *tables], "it", LayoutSpec(tables=tuple(tables), **spec), contents.__getitem__)


def facts(made, *names: str) -> dict[str, tuple[str, ...]]:
    """By path: the named facts of each image."""
    return {one.path: tuple(getattr(one, name) for name in names) for one in made.images}


NIH = """Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position
00000001_000.png,Cardiomegaly,0,1,058Y,M,PA
00000001_001.png,Cardiomegaly|Emphysema,1,1,058Y,M,PA
00000002_000.png,No Finding,0,2,414,F,AP
"""
CHEXPERT = """Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Pneumonia
CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,,1.0,
CheXpert-v1.0-small/train/patient00002/study1/view1_frontal.jpg,Male,87,Frontal,PA,1.0,,
CheXpert-v1.0-small/valid/patient00003/study1/view1_frontal.jpg,Male,20,Frontal,PA,,1.0,-1.0
CheXpert-v1.0-small/valid/patient00004/study1/view1_frontal.jpg,Male,30,Frontal,PA,0.0,0.0,1.0
"""


def test_chestx_ray14_gives_labels_patients_and_facts_and_counts_several_labels():
    names = [f"images_001/images/{name}.png" for name in ("00000001_000", "00000001_001", "00000002_000")]
    made = layout(names, {"Data_Entry_2017.csv": NIH, "test_list.txt": "00000002_000.png\n"})
    assert made.collection == "ChestX-ray14"
    assert made.counts == {"Cardiomegaly": 1, "No Finding": 1}
    assert facts(made, "patient", "age", "sex", "view", "part") == {
        names[0]: ("1", "58", "M", "PA", ""),
        names[2]: ("2", "", "F", "AP", "test"),
    }
    assert made.left_out == [(names[1], "It has several labels.")]


def test_of_several_labels_the_chosen_one_counts_where_that_is_wanted():
    names = ["00000001_000.png", "00000001_001.png", "00000002_000.png"]
    made = layout(names, {"t.csv": NIH}, classes=("Emphysema", "No Finding"), several="chosen")
    assert made.counts == {"Emphysema": 1, "No Finding": 1}


def test_chexpert_has_a_column_per_label_and_what_is_uncertain_stays_so():
    paths = [line.split(",")[0].partition("/")[2] for line in CHEXPERT.splitlines()[1:]]
    made = layout(paths, {"train.csv": CHEXPERT})
    assert facts(made, "label", "sex", "age", "part", "patient") == {
        paths[0]: ("Edema", "F", "68", "train", "patient00001"),
        paths[1]: ("No Finding", "M", "87", "train", "patient00002"),
        paths[3]: ("Pneumonia", "M", "30", "validation", "patient00004"),
    }
    assert made.left_out == [(paths[2], "Its label is uncertain.")]
    without = layout(paths, {"train.csv": CHEXPERT}, classes=("Edema", "No Finding"))
    assert without.counts == {"Edema": 2, "No Finding": 1}


def test_mimic_joins_its_three_tables_packed_as_they_are():
    tables = {
        "mimic-cxr-2.0.0-chexpert.csv.gz": "subject_id,study_id,Edema,No Finding\n10,50,1.0,\n11,51,,1.0\n",
        "mimic-cxr-2.0.0-metadata.csv.gz": "dicom_id,subject_id,study_id,ViewPosition\na,10,50,PA\nb,10,50,LATERAL\n"
        "c,11,51,AP\n",
        "mimic-cxr-2.0.0-split.csv.gz": "dicom_id,study_id,subject_id,split\na,50,10,train\nb,50,10,train\n"
        "c,51,11,validate\n",
    }
    names = ["files/p10/p10/s50/a.jpg", "files/p10/p10/s50/b.jpg", "files/p11/p11/s51/c.jpg"]
    made = layout(names, {name: gzip.compress(text.encode()) for name, text in tables.items()})
    assert facts(made, "label", "patient", "view", "part") == {
        names[0]: ("Edema", "10", "PA", "train"),
        names[1]: ("Edema", "10", "LATERAL", "train"),
        names[2]: ("No Finding", "11", "AP", "validation"),
    }


def test_rsna_has_a_row_per_box_and_its_classes_in_a_second_table():
    labels = "patientId,x,y,width,height,Target\na,1,2,3,4,1\na,5,6,7,8,1\nb,,,,,0\n"
    classes = "patientId,class\na,Lung Opacity\na,Lung Opacity\nb,Normal\n"
    made = layout(["s/a.png", "s/b.png"], {"stage_2_train_labels.csv": labels, "stage_2_detailed.csv": classes})
    assert made.counts == {"Lung Opacity": 1, "Normal": 1}
    assert layout(["s/a.png", "s/b.png"], {"stage_2_train_labels.csv": labels}).counts == {"0": 1, "1": 1}


def test_vindr_takes_what_most_readers_say():
    rows = [
        "a,No finding,R1",
        "a,No finding,R2",
        "a,Nodule,R3",
        "b,Nodule,R1",
        "b,Nodule,R1",
        "b,Nodule,R2",
        "b,Mass,R3",
    ]
    table = "image_id,class_name,rad_id\n" + "\n".join(rows)
    made = layout(["train/a.png", "train/b.png"], {"train.csv": table})
    assert facts(made, "label") == {"train/a.png": ("No finding",), "train/b.png": ("Nodule",)}


def test_padchest_writes_labels_as_lists():
    table = (
        "ImageID,PatientID,PatientSex_DICOM,Projection,Labels\n1.png,p,M,PA,\"['normal']\"\n"
        "2.png,q,F,L,\"['edema', 'normal']\"\n3.png,r,F,PA,\n"
    )
    made = layout(["1.png", "2.png", "3.png"], {"PADCHEST.csv": table})
    assert facts(made, "label", "patient", "sex", "view") == {"1.png": ("normal", "p", "M", "PA")}
    assert [reason for _, reason in made.left_out] == ["It has several labels.", "It has no label."]


def test_covidx_has_no_head_and_its_parts_are_folders():
    tables = {
        "train_split.txt": "1 a.png positive bimcv\n2 b.png negative rsna\n",
        "test_split.txt": "3 c.png positive x\n",
    }
    made = layout(["train/a.png", "train/b.png", "test/c.png"], tables)
    assert facts(made, "label", "patient", "source", "part") == {
        "train/b.png": ("negative", "2", "rsna", "train"),
        "test/c.png": ("positive", "3", "x", "test"),
        "train/a.png": ("positive", "1", "bimcv", "train"),
    }


def test_a_table_of_ones_own_is_read_by_the_names_of_its_columns():
    table = "File Name;Diagnosis;Hospital\r\na.png;COVID;north\r\nb.png;Normal;süd\n"
    made = layout(["x/a.png", "x/b.png"], {"mine.csv": table.encode("cp1252")})
    assert facts(made, "label", "source") == {"x/a.png": ("COVID", "north"), "x/b.png": ("Normal", "süd")}


def test_columns_can_be_chosen_and_one_that_does_not_exist_is_refused():
    table = "a,b,c\n1.png,x,COVID\n2.png,y,Normal\n"
    assert layout(["1.png", "2.png"], {"t.csv": table}, columns={"path": "a", "label": "c"}).counts == {
        "COVID": 1,
        "Normal": 1,
    }
    with pytest.raises(DataError, match="no column 'd'; it has a, b, c"):
        layout(["1.png"], {"t.csv": table}, columns={"path": "d"})
    with pytest.raises(DataError, match="No column of the table names the images"):
        layout(["1.png"], {"t.csv": table})


def test_a_workbook_is_a_table():
    content = io.BytesIO()
    pd.DataFrame({"file": ["1.png", "2.png"], "label": ["a", "b"], "age": [62, 1]}).to_excel(content, index=False)
    assert facts(layout(["1.png", "2.png"], {"t.xlsx": content.getvalue()}), "age") == {
        "1.png": ("62",),
        "2.png": ("1",),
    }


def test_rows_without_an_image_and_images_without_a_row_are_listed():
    made = layout(
        ["1.png", "2.png", "d/3.png", "e/3.png"], {"t.csv": "file,label\n1.png,a\n9.png,a\n3.png,b\n../2.png,b\n"}
    )
    assert made.counts == {"a": 1}
    assert dict(made.left_out)["3 rows of the table"] == "No image has that name."
    assert "2.png" in dict(made.left_out) and "d/3.png" in dict(made.left_out)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\x89PNG\0\0", "is no text"),
        ("t.xlsx", b"PK?", "cannot be read as a table"),
        ("t.csv.gz", b"?", "cannot be read as a table"),
        ("t.csv", b"file,file\n1.png,a\n", "two columns of one name|No column"),
        ("t.csv", b'file,label\n"1.png,a\n', "cannot be read as a table|None of the"),
        ("t.csv", b"file,label\n/etc/passwd,a\n", "None of the 1 rows names an image"),
    ],
)
def test_a_bad_table_gets_one_sentence(name, content, reason):
    with pytest.raises(DataError, match=reason):
        layout(["1.png"], {name: content})


def test_a_table_with_too_many_rows_is_refused(monkeypatch):
    monkeypatch.setattr("covid_core.data.imports.metadata.MOST_ROWS", 3)
    with pytest.raises(DataError, match="more than 3 rows"):
        layout(["1.png"], {"t.csv": "file,label\n" + "1.png,a\n" * 4})


@pytest.mark.parametrize(
    ("text", "age"), [("62", "62"), ("62.0", "62"), ("058Y", "58"), ("018M", "1.5"), ("414", ""), ("old", ""), ("", "")]
)
def test_an_age_is_in_years_or_unknown(text, age):
    assert age_of(text) == age


@pytest.mark.parametrize(
    ("birth", "date", "age"),
    [
        ("1950.0", "20140915", "64"),
        ("1950-09-16", "2014-09-15", "63"),
        ("15011950", "16092014", ""),
        ("1850", "2014", ""),
        ("", "2014", ""),
    ],
)
def test_an_age_is_computed_from_birth_and_study(birth, date, age):
    one = layout(["1.png"], {"t.csv": f"file,label,PatientBirth,StudyDate\n1.png,a,{birth},{date}\n"})
    assert [image.age for image in one.images] == [age]


def test_a_sex_is_read_in_any_spelling():
    assert [sex_of(text) for text in ("Male", "m", "F", "woman", "O", "")] == ["M", "M", "F", "F", "", ""]


def test_of_text_files_only_tables_and_lists_of_images_are_taken_unasked():
    contents = {"facts.csv": b"x", "README.txt": b"Thank you.\n\nCite us.", "test_list.txt": b"1.png\n2.png\n"}
    assert likely(list(contents), contents.__getitem__) == ["facts.csv", "test_list.txt"]
    assert likely(["README.txt", "test_list.txt"], contents.__getitem__) == []
