"""What probes are shown, and ladders of whole data sets: planted faults are found, clean images raise nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_data import class_folders, lung_mask, made_database, made_dataset

from covid_core.audit.shortcuts import probe_ladder, probes
from covid_core.audit.shortcuts.probe_ladder import Reason
from covid_core.data import masks
from covid_core.data.dataset import open_dataset
from covid_core.data.imports import importing
from covid_core.errors import DataError
from covid_core.images.codec import png_bytes
from covid_core.synthetic.phantom import image_at
from covid_core.workspace import Workspace

IMAGE = np.random.default_rng(0).integers(1, 256, (128, 128)).astype(np.uint8)
LUNGS = lung_mask(128) > 0
SHOWN = probes.Shown(None, np.arange(1), IMAGE[None], probes.LungMasks(LUNGS[None], np.ones(1, bool)))
FEW = {"COVID": 30, "Normal": 40}


def by_key(ladder):
    return {rung.probe.key: rung for rung in ladder.rungs}


def phantom(place: Workspace, *plant: str, images: int = 240):
    dataset = importing.import_phantom(place, images, seed=3, plant=plant)
    return probes.ladder(place, dataset)


# What is left of an image


def test_the_border_is_all_that_its_probe_sees():
    picture = probes.picture("border", IMAGE)
    assert not picture[10:-10, 10:-10].any()
    assert picture[:10].all() and picture[:, -10:].all()


def test_no_pixel_of_the_lungs_is_left_outside_of_them():
    picture = probes.picture("outside", IMAGE, LUNGS)
    assert not picture[LUNGS].any()
    assert picture[:10].all()


def test_nothing_but_the_lungs_is_left_of_them():
    picture = probes.picture("lungs", IMAGE, LUNGS)
    assert not picture[~LUNGS].any()
    assert picture[LUNGS].all()


def test_an_outline_is_the_same_for_every_image():
    pictures = [probes.picture("outline", image, LUNGS) for image in (IMAGE, 255 - IMAGE)]
    np.testing.assert_array_equal(*pictures)


def test_a_histogram_does_not_tell_where_a_grey_was():
    shuffled = np.random.default_rng(1).permutation(IMAGE.ravel()).reshape(IMAGE.shape)
    np.testing.assert_array_equal(*(probes.picture("histogram", image) for image in (IMAGE, shuffled)))
    np.testing.assert_array_equal(*(probes.histogram(image[None]) for image in (IMAGE, shuffled)))


def test_six_numbers_are_those_of_the_image():
    image = np.full((1, 64, 64), 50.0, np.float32)
    image[:, :8] = 90
    told = probes.six_numbers(image)[0]
    assert told == pytest.approx([55, image.std(), 90, 50, 55, 55])


def test_a_thumbnail_has_256_pixels():
    picture = probes.picture("thumbnail", IMAGE)
    assert len(np.unique(picture[::8, ::8])) == len(np.unique(picture)) <= 256
    np.testing.assert_array_equal(picture, picture[::8, ::8].repeat(8, 0).repeat(8, 1))


def test_a_probe_that_nobody_has_written_is_an_error():
    with pytest.raises(KeyError, match="clavicles"):
        probes.picture("clavicles", IMAGE)
    with pytest.raises(ValueError, match="either a picture or facts"):
        probes.ProbeKind(
            probe_ladder.Probe("clavicles", "The collar bones", "bones", probe_ladder.NO_LUNGS), np.asarray
        )


@pytest.mark.parametrize("key", [key for key, row in probes.PROBES.items() if row.probe.holds == probe_ladder.NO_LUNGS])
def test_a_probe_without_lungs_learns_nothing_from_their_pixels(key, workspace, tmp_path):
    """A new one that is handed the whole image would prove a shortcut that is none."""
    _, dataset = made_dataset(tmp_path, counts={"COVID": 1, "Normal": 1})
    black = np.where(LUNGS, 0, IMAGE)
    learned = [
        probes.PROBES[key].features(replace(SHOWN, dataset=dataset, pixels=image[None])) for image in (IMAGE, black)
    ]
    np.testing.assert_array_equal(*learned)


@pytest.mark.parametrize("key", ["full", "thumbnail", "outside", "lungs"])
def test_a_probe_learns_from_what_is_seen_of_it(key):
    learned = probes.PROBES[key].features(SHOWN)[0]
    step = 128 // round(len(learned) ** 0.5)
    np.testing.assert_array_equal(np.round(learned), probes.picture(key, IMAGE, LUNGS)[::step, ::step].ravel())


def test_a_probe_that_needs_a_mask_asks_for_it():
    with pytest.raises(ValueError, match="mask"):
        probes.picture("outside", IMAGE)


# Whole data sets


def test_clean_phantom_images_give_nothing_away(place):
    said = probe_ladder.verdict(phantom(place, images=300))
    assert said.level in (probe_ladder.NO_SHORTCUT, probe_ladder.INCONCLUSIVE)


def test_a_tag_in_the_corner_is_found_outside_the_lungs(place):
    ladder = phantom(place, "corner-tag")
    rungs = by_key(ladder)
    said = probe_ladder.verdict(ladder)
    assert said.level == probe_ladder.MUCH_IS_NOT
    assert said.by in ("border", "outside")
    assert rungs["outside"].accuracy.low > rungs["outside"].majority
    assert rungs["outside"].accuracy.value > rungs["lungs"].accuracy.value


def test_a_shift_of_brightness_is_found_in_six_numbers_and_in_the_border(place):
    ladder = phantom(place, "brightness-shift")
    rungs = by_key(ladder)
    assert probe_ladder.verdict(ladder).level == probe_ladder.MUCH_IS_NOT
    assert min(rungs[key].accuracy.low for key in ("six", "border", "histogram")) > rungs["six"].majority


def test_a_size_that_goes_with_the_class_is_found_in_the_facts_of_the_files(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts=FEW, sizes={"COVID": (80, 64)})
    rungs = by_key(probes.ladder(workspace, dataset))
    assert rungs["file"].accuracy.value == 1


def test_probes_that_need_masks_say_that_there_are_none(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts=FEW)
    ladder = probes.ladder(workspace, dataset)
    missing = {
        rung.probe.key: rung.reason for rung in ladder.rungs if not rung.was_run and rung.probe.key != probes.FROZEN
    }
    assert missing == dict.fromkeys(probes.NEED_LUNGS, Reason("no masks"))


def test_files_that_are_gone_cost_their_probe_only(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts=FEW)
    dataset.path_of(3).unlink()
    rungs = by_key(probes.ladder(workspace, dataset))
    assert "gone" in rungs["bytes"].reason
    assert rungs["border"].was_run


def test_a_class_of_few_images_is_left_out_and_named(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={**FEW, "Rare": 4})
    ladder = probes.ladder(workspace, dataset)
    assert ladder.classes == ("COVID", "Normal")
    assert "Rare" in ladder.note[0].labels


def with_copies(images, image: str, copies: int):
    """The folder with copies of one of its images beside it."""
    first = images / image
    for number in range(copies):
        first.with_stem(f"{first.stem}-copy-{number}").write_bytes(first.read_bytes())
    return images


def test_a_class_whose_images_all_belong_together_is_left_out_and_named(tmp_path):
    """They are in one fold: it would never be learned where it is asked."""
    images = with_copies(class_folders(tmp_path / "images", {**FEW, "Single": 1}), "Single/Single-1.png", 25)
    workspace = Workspace(tmp_path)
    ladder = probes.ladder(workspace, importing.import_folder(workspace, images))
    assert ladder.classes == ("COVID", "Normal") and ladder.images == 70
    assert ladder.note == (Reason("single group", ("Single",)),)


@pytest.mark.parametrize("seed", range(3))
def test_a_draw_of_a_class_has_two_groups_however_unequal(monkeypatch, seed):
    monkeypatch.setattr(probes, "MOST_IMAGES", 300)
    monkeypatch.setattr(probes, "SEED", seed)
    images = pd.DataFrame({"label": ["A"] * 500 + ["B"] * 500, "group": ["one"] * 499 + [str(i) for i in range(501)]})
    drawn, _ = probes._drawn(images, "label", probes.LEAST_IN_CLASS)
    assert drawn["label"].value_counts().to_dict() == {"A": 150, "B": 150}
    assert drawn.index.is_unique and drawn.groupby("label")["group"].nunique().min() >= 2


def test_a_class_whose_images_with_known_lungs_all_belong_together_makes_no_probe_of_them(tmp_path):
    images = with_copies(class_folders(tmp_path / "images", FEW), "COVID/COVID-1.png", 25)
    workspace = Workspace(tmp_path)
    dataset = importing.import_folder(workspace, images)

    def lungs_of_copies(workspace, dataset, rows, progress):
        about = dataset.images.iloc[rows]
        known = (about["label"] == "Normal") | about["image_id"].str.contains("copy")
        return masks.LungMasks(np.tile(LUNGS, (len(rows), 1, 1)), known.to_numpy(), masks.Origin(masks.OWN))

    rung = by_key(probes.ladder(workspace, dataset, lungs_of_copies))["outside"]
    assert rung.reason == Reason("one group outlined", ("COVID",))


def test_one_class_makes_no_ladder(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={"COVID": 30, "Rare": 4})
    with pytest.raises(DataError, match="two classes"):
        probes.ladder(workspace, dataset)


def test_of_many_images_some_are_drawn_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "MOST_IMAGES", 35)
    workspace, dataset = made_dataset(tmp_path, counts=FEW)
    ladder = probes.ladder(workspace, dataset)
    assert ladder.images == 35
    assert (ladder.note[0].images, ladder.note[0].of) == (35, 70)


def test_images_that_belong_together_are_in_one_fold(tmp_path):
    """Each image twice under different names, with labels at random: only twins across folds could tell the class."""
    images = class_folders(tmp_path / "images", {"COVID": 30, "Normal": 30})
    for path in sorted(images.rglob("*.png")):
        path.with_name(f"copy-{path.name}").write_bytes(path.read_bytes())
    workspace = Workspace(tmp_path)
    rungs = by_key(probes.ladder(workspace, importing.import_folder(workspace, images)))
    assert rungs["full"].p > 0.001


# Sources


def test_a_source_that_is_the_class_has_a_full_association(tmp_path):
    workspace, dataset = made_database(tmp_path, counts=FEW, sources={"COVID": "Here", "Normal": "There"})
    found = probes.sources(workspace, dataset)
    assert found.association == pytest.approx(1)
    assert (found.with_source, found.unknown, found.names) == (70, 0, 2)
    assert not found.ladders
    assert found.reason.why == "no two sources"


def test_sources_within_a_class_that_look_alike_are_not_told_apart(tmp_path):
    sources = {"Normal": ["Here", "There"]}
    workspace, dataset = made_database(tmp_path, counts={"COVID": 20, "Normal": 60}, sources=sources)
    found = probes.sources(workspace, dataset)
    assert list(found.ladders) == ["Normal"]
    assert all(rung.p > 0.01 for rung in found.ladders["Normal"].rungs)


def test_unknown_sources_are_said_to_be_unknown(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts=FEW)
    found = probes.sources(workspace, open_dataset(workspace, dataset.id))
    assert np.isnan(found.association)
    assert (found.with_source, found.unknown) == (0, 70)


SEEDS = 20
IMAGES_OF_SOURCES = 220


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory):
    """Phantom images of two classes, of two sources each: here every image has a tag in its corner, there none."""
    folder, images = tmp_path_factory.mktemp("sources"), IMAGES_OF_SOURCES
    names = {}
    for number in range(images):
        image = image_at(number, images, seed=4, size=128)
        pixels, of_class = image.pixels.copy(), names.setdefault(image.label, [])
        source = "There" if len(of_class) % 2 else "Here"
        if source == "Here":
            pixels[4:10, 4:14] = 230
        place = folder / "images" / image.label / "images"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{image.label}-{number}.png").write_bytes(png_bytes(pixels))
        of_class.append((f"{image.label}-{number}", source))
    for label, of in names.items():
        table = pd.DataFrame([(name, "PNG", "128*128", source) for name, source in of])
        table.columns = ["FILE NAME", "FORMAT", "SIZE", "URL"]
        table.to_excel(folder / "images" / f"{label}.metadata.xlsx", index=False)
    workspace = Workspace(folder / "workspace")
    return workspace, importing.import_folder(workspace, folder / "images")


def told_apart(found):
    return {(label, rung.probe.key) for label, rung, p in found.questions if p <= probe_ladder.ALPHA}


def test_sources_that_differ_by_a_tag_are_told_apart_within_each_class(two_sources):
    workspace, dataset = two_sources
    found = probes.sources(workspace, dataset)
    assert {"COVID", "Normal"} <= set(found.ladders)
    assert {(label, "border") for label in found.ladders} <= told_apart(found)


def test_sources_that_are_names_only_are_not_told_apart(two_sources):
    """Over 20 seeds, with p corrected over all questions of a seed: at 5 % more than three have a chance of 1.6 %."""
    workspace, dataset = two_sources
    tagged = dataset.images["source"].to_numpy()
    found = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        source = np.empty(len(tagged), object)
        for label in dataset.classes:  # as many tagged images in each of the two
            for tag in ("Here", "There"):
                rows = np.flatnonzero((dataset.images["label"] == label) & (tagged == tag))
                source[rng.permutation(rows)] = np.resize(["Here", "There"], len(rows))
        shuffled = replace(dataset, images=dataset.images.assign(source=source))
        found += bool(told_apart(probes.sources(workspace, shuffled)))
    assert found <= 3
