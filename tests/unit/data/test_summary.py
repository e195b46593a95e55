"""What is in a data set, in numbers."""

import math
import os

import numpy as np
import pandas as pd
import pytest
from made_data import COUNTS, image, made_database, made_dataset

from covid_core.data import pixels, summary
from covid_core.errors import ImageError
from covid_core.images.codec import read_image

COURSE = {"COVID": 3616, "Normal": 10192, "Viral Pneumonia": 1345}


def test_class_weights_are_those_of_the_course():
    weights = summary.class_weights(COURSE)

    assert weights == {
        "COVID": 1.3968473451327434,
        "Normal": 0.49558477237048665,
        "Viral Pneumonia": 3.755390334572491,
    }


def test_class_weights_give_every_class_the_same_total():
    weights = summary.class_weights(COURSE)

    totals = [weights[label] * images for label, images in COURSE.items()]

    assert totals == pytest.approx([sum(COURSE.values()) / 3] * 3)


def test_shares_of_classes_sum_to_one():
    table = summary.class_table(COURSE)

    assert table["share"].sum() == pytest.approx(1)
    assert table.loc[1, "share"] == pytest.approx(10192 / 15153)


def test_imbalance_is_the_largest_class_over_the_smallest():
    assert summary.imbalance_ratio(COURSE) == pytest.approx(10192 / 1345)


def test_undersampling_keeps_the_smallest_class_and_throws_the_rest_away():
    table = summary.resampling_table(COURSE)

    assert table["kept"].tolist() == [1345, 1345, 1345]
    assert table["thrown_away"].tolist() == [2271, 8847, 0]


def test_oversampling_draws_every_class_up_to_the_largest():
    table = summary.resampling_table(COURSE)

    assert (table["images"] + table["repeated"]).tolist() == [10192, 10192, 10192]
    assert table["times"].tolist() == pytest.approx([10192 / 3616, 1, 10192 / 1345])


def test_sizes_are_counted_per_class_the_most_frequent_first():
    images = pd.DataFrame({"width": [64, 64, 80], "height": [64, 64, 64], "label": ["A", "A", "B"]})

    table = summary.format_table(images, "width", "height")

    assert table.to_dict("records") == [
        {"width": 64, "height": 64, "label": "A", "images": 2},
        {"width": 80, "height": 64, "label": "B", "images": 1},
    ]


def test_images_without_a_source_are_counted_as_unknown_and_come_last():
    images = pd.DataFrame({"source": ["", "", "", "x", "y", "y"], "label": ["A", "A", "B", "A", "B", "A"]})

    table = summary.source_table(images, ["A", "B"])

    assert table.index.tolist() == ["y", "x", summary.UNKNOWN_SOURCE]
    assert table.loc[summary.UNKNOWN_SOURCE].tolist() == [2, 1]


def test_a_source_of_its_own_per_class_gives_the_class_away():
    images = pd.DataFrame({"source": ["x"] * 6 + ["y"] * 4, "label": ["A"] * 6 + ["B"] * 4})

    told = summary.source_summary(summary.source_table(images, ["A", "B"]))

    assert (told.one_class, told.guessed, told.majority) == (1.0, 1.0, 0.6)


def test_one_source_for_all_says_nothing_of_the_class():
    images = pd.DataFrame({"source": ["x"] * 10, "label": ["A"] * 6 + ["B"] * 4})

    told = summary.source_summary(summary.source_table(images, ["A", "B"]))

    assert (told.one_class, told.guessed, told.majority) == (0.0, 0.6, 0.6)


def test_unknown_sources_are_not_taken_for_one_source():
    images = pd.DataFrame({"source": ["", "x", "y"], "label": ["A", "A", "B"]})

    told = summary.source_summary(summary.source_table(images, ["A", "B"]))

    assert (told.with_source, told.without_source, told.sources) == (2, 1, 2)


def test_without_any_source_its_shares_are_undefined():
    images = pd.DataFrame({"source": ["", ""], "label": ["A", "B"]})

    told = summary.source_summary(summary.source_table(images, ["A", "B"]))

    assert told.with_source == 0
    assert math.isnan(told.guessed)


def random_images(n: int = 600, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, size, size), dtype=np.uint8), rng.integers(0, 3, n)


def test_mean_and_deviation_images_are_those_of_numpy():
    images, codes = random_images()

    told = summary.summarise(images, codes, 3)

    for code in range(3):
        mine = images[codes == code].astype(float)
        assert told["means"][code] == pytest.approx(mine.mean(axis=0), abs=1e-4)
        assert told["deviations"][code] == pytest.approx(mine.std(axis=0), abs=1e-4)


def test_brightness_and_contrast_of_each_image_are_those_of_numpy():
    images, codes = random_images()

    told = summary.summarise(images, codes, 3)

    assert told["image_means"] == pytest.approx(images.mean(axis=(1, 2)), abs=1e-4)
    assert told["image_deviations"] == pytest.approx(images.std(axis=(1, 2)), abs=1e-4)


def test_histograms_count_every_pixel_once():
    images, codes = random_images()

    told = summary.summarise(images, codes, 3)

    for code in range(3):
        assert told["histograms"][code].tolist() == np.bincount(images[codes == code].ravel(), minlength=256).tolist()


def test_the_size_of_the_chunk_does_not_change_the_result(monkeypatch):
    images, codes = random_images()
    whole = summary.summarise(images, codes, 3)
    monkeypatch.setattr(summary, "CHUNK", 7)

    pieces = summary.summarise(images, codes, 3)

    assert all(np.array_equal(whole[name], pieces[name]) for name in whole)


def test_white_images_do_not_overflow_the_sums():
    images = np.full((300, 8, 8), 255, np.uint8)

    told = summary.summarise(images, np.zeros(300, int), 1)

    assert told["means"].min() == told["means"].max() == 255
    assert told["deviations"].max() == 0


def test_the_pixel_summary_is_computed_once_per_version(tmp_path, monkeypatch):
    workspace, dataset = made_dataset(tmp_path)
    first = summary.pixel_summary(workspace, dataset)
    monkeypatch.setattr(summary, "summarise", lambda *_: pytest.fail("computed again"))

    second = summary.pixel_summary(workspace, dataset)

    assert np.array_equal(first.means, second.means)
    assert second.images.tolist() == list(COUNTS.values())


def test_a_torn_pixel_summary_is_made_again(tmp_path):
    workspace, dataset = made_dataset(tmp_path)
    whole = summary.pixel_summary(workspace, dataset)
    path = summary.summary_path(workspace, dataset)
    os.truncate(path, path.stat().st_size // 2)

    again = summary.pixel_summary(workspace, dataset)

    assert np.array_equal(whole.histograms, again.histograms)


def test_an_emptied_cache_is_filled_again_from_the_images(tmp_path):
    workspace, dataset = made_dataset(tmp_path)
    whole = summary.pixel_summary(workspace, dataset)
    summary.summary_path(workspace, dataset).unlink()
    pixels.pixels_path(workspace, dataset.pixels_key, summary.SUMMARY_SIZE).unlink()

    assert np.array_equal(whole.means, summary.pixel_summary(workspace, dataset).means)


def test_exposure_tells_bright_classes_from_dark_ones(tmp_path):
    workspace, dataset = made_dataset(tmp_path, levels={"COVID": 160, "Normal": 90})

    table = summary.exposure_table(summary.pixel_summary(workspace, dataset)).set_index("label")

    assert table.loc["COVID", "mean"] == pytest.approx(160, abs=1)
    assert table.loc["Normal", "p95"] < table.loc["COVID", "p5"]


def test_differences_are_given_for_every_pair_with_their_sign(tmp_path):
    workspace, dataset = made_dataset(tmp_path, levels={"COVID": 160, "Normal": 90, "Viral Pneumonia": 90})
    told = summary.pixel_summary(workspace, dataset)

    differences = summary.mean_differences(told)

    assert list(differences) == [("COVID", "Normal"), ("COVID", "Viral Pneumonia"), ("Normal", "Viral Pneumonia")]
    assert differences["COVID", "Normal"].mean() == pytest.approx(70, abs=1)


def test_a_black_margin_shows_as_a_difference_along_the_edge():
    images = np.full((2, 128, 128), 100, np.uint8)
    images[1][summary.border_mask(128)] = 0
    arrays = summary.summarise(images, np.array([0, 1]), 2)
    told = summary.PixelSummary(("A", "B"), codes=np.array([0, 1]), **arrays)

    row = summary.difference_table(told).iloc[0]

    assert (row["border"], row["inside"]) == (100, 0)


def test_thumbnails_are_pictures_on_a_stripe_of_their_class():
    images = np.stack([image(1), image(2)])

    pictures = summary.thumbnails(images, [1], ["#FFFFFF"])

    read = read_image(pictures[0]).pixels
    assert read.shape == (64 + 64 * summary.STRIPE, 64)
    assert read[-1].min() > 240
    assert read[:60].mean() == pytest.approx(images[1][:60].mean(), abs=2)


def test_a_image_is_shown_with_its_proportions_and_its_lungs(tmp_path):
    _, dataset = made_database(tmp_path)

    plain, marked = summary.image_view(dataset, 0), summary.image_view(dataset, 0, with_mask=True)

    assert plain.content != marked.content
    assert plain.file_bytes == dataset.path_of(0).stat().st_size


def test_a_image_without_a_mask_says_so(tmp_path):
    _, dataset = made_dataset(tmp_path)

    with pytest.raises(ImageError, match="no lung mask"):
        summary.image_view(dataset, 0, with_mask=True)


def test_the_balance_counts_images_patients_classes_and_facts_of_each_part():
    split = pd.DataFrame({"image_id": list("wxyz"), "label": list("abab"), "part": ["train", "train", "test", "test"]})
    images = pd.DataFrame(
        {"image_id": list("zyxwv"), "patient_id": ["1", "1", "2", "", "3"], "sex": ["M", "", "F", "F", ""]}
    )
    table = summary.part_balance(split, images.assign(age="", view="", given_part="train", source=""))
    assert table.to_numpy().tolist() == [
        ["images", "", 2, 0, 2],
        ["patients", "", 1, 0, 1],
        ["label", "a", 1, 0, 1],
        ["label", "b", 1, 0, 1],
        ["sex", "F", 2, 0, 0],
        ["sex", "M", 0, 0, 1],
        ["sex", "unknown", 0, 0, 1],
    ]


def test_what_is_on_record_is_counted_by_class_with_its_association():
    images = pd.DataFrame({"label": list("aabb"), "sex": ["M", "M", "F", ""], "age": ["17", "18", "80", ""]})
    sex, age = summary.recorded_facts(images.assign(view="", given_part="", source="", device="", spacing=""), "ab")
    assert sex.counts.to_dict("index") == {"F": {"a": 0, "b": 1}, "M": {"a": 2, "b": 0}}
    assert (sex.name, sex.missing, round(sex.association, 9)) == ("Sex", 1, 1)
    assert age.counts.index.tolist() == ["0 to 18 years", "18 to 40 years", "80 years and more"]


def test_a_class_is_of_one_source_where_all_its_images_are():
    table = pd.DataFrame({"A": [5, 5, 0], "B": [0, 4, 0], "C": [3, 0, 1]}, index=["one", "two", summary.UNKNOWN_SOURCE])
    assert summary.classes_of_one_source(table) == ["B"]
    assert summary.classes_of_one_source(table.loc[["one"]]) == []
