"""What names mean: classes at any depth, parts, patients, masks, and what is asked about."""

import random

import pytest

from covid_core.data.imports import patterns
from covid_core.data.imports.layouts import understood
from covid_core.errors import DataError, InvalidChoice
from covid_core.specs import LayoutSpec, parse

CLASSES = ("COVID", "Normal")


def tree(*patterns: str, count: int = 4) -> list[str]:
    """Paths of ``count`` images of each class and pattern: {c} is the class, {n} the number, {p} the patient."""
    return [
        pattern.format(c=label, n=number, p=number // 2)
        for label in CLASSES
        for pattern in patterns
        for number in range(count)
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        "{c}/{n}.png",
        "{c}/images/{n}.png",
        "images/{c}/{n}.png",
        "a set/of images/{c}/{n}.png",
        "train/{c}/{n}.png",
        "{c}/Training/{n}.png",
        "{c}/patient000{p}/study1/view{n}.jpg",
        "p10/{c}/p1000000{p}/s5041426/{n}.jpg",
        "{c}/site A/1/{n}.png",
    ],
)
def test_a_class_is_found_at_any_depth(pattern):
    assert understood(tree(pattern), "it").counts == {"COVID": 4, "Normal": 4}


def test_images_in_a_folder_and_beside_it_are_all_of_the_class():
    assert understood(tree("{c}/images/{n}.png", "{c}/loose-{n}.png"), "it").counts == {"COVID": 8, "Normal": 8}


def test_an_image_outside_of_all_classes_is_left_out_with_the_reason():
    layout = understood(["figure.png", *tree("set/{c}/{n}.png"), "set/figure.png", "set/readme.txt"], "it")
    assert layout.counts == {"COVID": 4, "Normal": 4}
    assert layout.left_out == [(path, "It lies in no class folder.") for path in ("figure.png", "set/figure.png")]


def test_a_single_class_keeps_its_name_with_folders_inside():
    assert understood(["all/COVID/1.png", "all/COVID/more/2.png"], "it").counts == {"COVID": 2}


@pytest.mark.parametrize("names", [["train/1.png", "val/2.png", "test/3.png"], ["set/train/1.png", "set/test/2.png"]])
def test_parts_without_classes_are_asked_about_and_never_taken_for_classes(names):
    with pytest.raises(DataError, match=r"parts of a data set \(test, train.*Where are the labels"):
        understood(names, "it")


def test_a_person_can_say_that_folders_called_like_parts_are_classes():
    spec = LayoutSpec(classes=("train", "test"))
    assert understood(["train/1.png", "val/2.png", "test/3.png"], "it", spec).counts == {"train": 1, "test": 1}


def test_of_folders_on_two_levels_a_person_says_which_are_classes():
    names = tree("A/{c}/{n}.png", "B/{c}/{n}.png")
    assert (understood(names, "it").counts, understood(names, "it").below) == ({"A": 8, "B": 8}, CLASSES)
    assert understood(names, "it", LayoutSpec(classes=CLASSES)).counts == {"COVID": 8, "Normal": 8}


@pytest.mark.parametrize("names", ["train val test", "training valid Testing", "Train_set dev test-set"])
def test_the_parts_of_the_authors_are_kept(names):
    layout = understood([f"{part}/{label}/1.png" for part in names.split() for label in CLASSES], "it")
    assert [image.part for image in layout.listed["COVID"]] == sorted(["train", "validation", "test"], key=str) or {
        image.part for image in layout.listed["COVID"]
    } == {"train", "validation", "test"}


def test_a_person_says_which_folders_are_parts():
    spec = LayoutSpec(parts={"one": "train", "two": "test"})
    layout = understood(tree("one/{c}/{n}.png", "two/{c}/{n}.png"), "it", spec)
    assert layout.table()[["train", "test"]].to_numpy().tolist() == [[4, 4], [4, 4]]


@pytest.mark.parametrize(
    "pattern",
    ["{c}/patient{p}/study1/{n}.png", "{c}/person{p}_virus_{n}.jpeg", "train/{c}/person{p}-{n}.png"],
)
def test_numbers_of_patients_that_every_class_has_start_anew_in_each(pattern):
    layout = understood(tree(pattern), "it")
    assert layout.anew
    assert layout.table()["patients"].tolist() == [2, 2]
    assert not {one.patient for one in layout.listed["COVID"]} & {one.patient for one in layout.listed["Normal"]}


def test_names_of_kermanys_set_give_patients_in_all_classes_and_those_of_dicom_series_none():
    names = [f"{label}/person{n}_{label}_{n}.jpeg" for label in ("bacteria", "virus") for n in range(4)]
    normal = ["IM-0115-0001.jpeg", "NORMAL2-IM-0115-0001.jpeg", "IM-0115-0001-0002.jpeg", "IM-0009-0001.jpeg"]
    layout = understood([*names, *(f"normal/{name}" for name in normal)], "it")
    assert layout.anew  # in bacteria and virus, whatever the other class has
    patients = [one.patient for one in layout.listed["normal"]]
    assert sorted(patients) == ["normal/IM-0009", "normal/IM-0115", "normal/IM-0115", "normal/NORMAL2-IM-0115"]
    series = understood(["a/IM-0001-0001.dcm", "b/IM-0001-0002.dcm"], "it")
    assert not series.patients


def test_a_patient_of_two_classes_stays_one_where_numbers_go_on():
    names = [f"COVID/{n:08}_000.png" for n in range(6)] + [f"Normal/{n:08}_001.png" for n in range(5, 12)]
    layout = understood(names, "it")
    assert not layout.anew
    assert layout.listed["COVID"][-1].patient == layout.listed["Normal"][0].patient == "00000005"


def test_a_pattern_says_who_the_patient_is_and_an_empty_one_that_nobody_knows():
    names = tree("{c}/scan_{p}_{n}.png")
    assert understood(names, "it").table()["patients"].tolist() == [0, 0]
    assert understood(names, "it", LayoutSpec(patients=r"scan_(\d+)")).table()["patients"].tolist() == [2, 2]
    named = tree("{c}/patient{p}/{n}.png")
    assert understood(named, "it", LayoutSpec(patients="")).table()["patients"].tolist() == [0, 0]


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}"])
def test_a_pattern_that_is_none_is_refused(pattern):
    with pytest.raises(InvalidChoice, match="regular expression"):
        parse(LayoutSpec, {"patients": pattern})


def test_a_pattern_that_takes_years_is_ended(monkeypatch):
    monkeypatch.setattr(patterns, "SECONDS", 0.3)
    with pytest.raises(DataError, match="takes longer"):
        understood([f"COVID/{'a' * 60}-{n}.png" for n in range(3)], "it", LayoutSpec(patients="(a+)+$"))


def test_patients_whose_images_lie_in_several_parts_are_counted():
    names = [f"{part}/COVID/person{n}_{part}.png" for part, last in (("train", 4), ("test", 2)) for n in range(last)]
    assert understood(names, "it").crossing == 2


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{c}/images/{n}.png", "{c}/masks/{n}.png"),
        ("{c}/images/{n}.jpg", "{c}/masks/{n}_mask.png"),
        ("images/{c}/{n}.png", "lung masks/{c}/{n}.png"),
        ("{c}/{n}.png", "{c}/{n}-lungmask.png"),
        ("train/{c}/{n}.png", "train/{c}/segmentation/{n}_seg.png"),
    ],
)
def test_a_mask_is_matched_by_any_usual_name(image, mask):
    layout = understood(tree(image, mask), "it")
    assert layout.table()[["images", "masks"]].to_numpy().tolist() == [[4, 4], [4, 4]]
    assert layout.left_out == []


def test_a_mask_of_no_image_is_listed():
    layout = understood([*tree("{c}/{n}.png"), "COVID/masks/9.png"], "it")
    assert layout.left_out == [("COVID/masks/9.png", "A mask without an image.")]


def test_files_of_one_name_have_ids_of_their_own():
    names = tree("{c}/patient{n}/view1.png")
    identifiers = [image.image_id for image in understood(names, "it").images]
    assert len(set(identifiers)) == len(names)


def test_no_image_of_any_tree_is_lost_or_taken_twice():
    draw = random.Random(0)
    folders = ["COVID", "Normal", "images", "train", "test", "patient1", "masks", "x", "study2", "Pneumonia"]
    for _ in range(300):
        ways = ["/".join(draw.sample(folders, draw.randint(0, 4))) for _ in range(draw.randint(1, 8))]
        names = sorted({f"{way}/{draw.randint(1, 3)}.png".lstrip("/") for way in ways})
        try:
            layout = understood(names, "it")
        except DataError:
            continue
        images = [image for label in layout.listed for image in layout.listed[label]]
        places = [one.path for one in images] + [path for path, _ in layout.left_out]
        masks = {one.mask_path for one in images} - {""}
        assert sorted([*places, *masks]) == names
        assert len({one.image_id for one in images}) == len(images)
