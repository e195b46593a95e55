from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from covid_core.synthetic.anatomy import PHANTOM_CLASSES, make_image
from covid_core.synthetic.phantom import BRIGHTNESS_SHIFT, FAULTS, PLANTS, PhantomImage, class_counts, image_at

SIZE = 64


def images(images: int = 12, seed: int = 0, plant: tuple[str, ...] = ()) -> list[PhantomImage]:
    return [image_at(index, images, seed, plant, SIZE) for index in range(images)]


def test_same_seed_gives_same_images_and_another_seed_gives_others():
    first, again, other = images(4, 7), images(4, 7), images(4, 8)
    assert all(np.array_equal(a.pixels, b.pixels) and a.source == b.source for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, other, strict=True))


def test_images_made_in_any_order_by_threads_equal_the_generated_ones():
    expected = images(24, 3, PLANTS)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda i: image_at(i, 24, 3, PLANTS, SIZE), reversed(range(24))))[::-1]
    for image, twin in zip(made, expected, strict=True):
        assert np.array_equal(image.pixels, twin.pixels) and np.array_equal(image.lung_mask, twin.lung_mask)
        assert (image.name, image.label, image.true_label, image.plants) == (
            twin.name,
            twin.label,
            twin.true_label,
            twin.plants,
        )


def test_a_image_does_not_depend_on_how_many_follow_in_its_class():
    few, many = image_at(0, 12, 5, (), SIZE), image_at(0, 100, 5, (), SIZE)
    assert np.array_equal(few.pixels, many.pixels)


@pytest.mark.parametrize("images", [3, 4, 5, 12, 599, 15153])
def test_class_counts_add_up_and_leave_no_class_empty(images: int):
    counts = class_counts(images)
    assert tuple(counts) == PHANTOM_CLASSES
    assert sum(counts.values()) == images and min(counts.values()) >= 1


def test_class_counts_are_out_of_balance_like_the_database():
    assert class_counts(15153) == {"COVID": 3616, "Normal": 10192, "Viral Pneumonia": 1345}


def test_images_keep_the_class_counts_and_have_unique_names():
    made = images(30, plant=PLANTS)
    assert Counter(image.label for image in made) == class_counts(30)
    assert len({image.name for image in made}) == 30
    assert all(image.name.startswith(f"{image.label}-") for image in made)


@pytest.mark.parametrize("size", [64, 97, 256])
def test_pixels_and_mask_are_grey_squares_of_the_size_asked_for(size: int):
    image = image_at(1, 5, 0, (), size)
    assert image.pixels.shape == image.lung_mask.shape == (size, size)
    assert image.pixels.dtype == image.lung_mask.dtype == np.uint8
    assert set(np.unique(image.lung_mask)) == {0, 255}


def test_lungs_cover_a_plausible_part_of_every_image_and_are_darker_than_what_lies_between_them():
    for image in images(40):
        lungs = image.lung_mask > 0
        between = image.pixels[SIZE // 2, SIZE // 2 - 3 : SIZE // 2 + 3]
        assert 0.15 < lungs.mean() < 0.50
        assert image.pixels[lungs].mean() < between.mean() - 20


@pytest.mark.parametrize("clear", [False, True], ids=["usual lesions", "clear lesions"])
@pytest.mark.parametrize("label", ["COVID", "Viral Pneumonia"])
def test_a_disease_shows_inside_the_lungs_only(label: str, clear: bool):
    inside, outside = [], []
    for seed in range(8):
        ill, healthy = (make_image(one, np.random.default_rng(seed), SIZE, clear) for one in (label, "Normal"))
        difference = np.abs(ill.pixels.astype(float) - healthy.pixels)
        inside.append(difference[ill.lung_mask > 0].mean())
        outside.append(difference[ill.lung_mask == 0].mean())
    assert np.mean(inside) > 4 * np.mean(outside)


@pytest.mark.parametrize("clear", [False, True], ids=["usual lesions", "clear lesions"])
@pytest.mark.parametrize("label", ["COVID", "Viral Pneumonia"])
def test_a_lesion_is_marked_where_the_image_differs_most_from_a_healthy_one(label: str, clear: bool):
    for seed in range(8):
        ill, healthy = (make_image(one, np.random.default_rng(seed), SIZE, clear) for one in (label, "Normal"))
        difference = np.abs(ill.pixels.astype(float) - healthy.pixels)
        assert 0.01 < ill.lesion.mean() < 0.35
        assert not (ill.lesion & (ill.lung_mask == 0)).any()
        assert difference[ill.lesion].mean() > 2 * difference[~ill.lesion & (ill.lung_mask > 0)].mean()


def test_healthy_images_have_no_lesion_whatever_their_label_says():
    for image in images(60, plant=("swapped-labels",)):
        assert image.lesion.any() == (image.true_label != "Normal")


def test_the_lesion_of_a_near_duplicate_moves_with_its_image():
    copies = [image for image in images(60, plant=("near-duplicates",)) if image.plants and image.label != "Normal"]
    assert copies
    for image in copies:
        assert image.lesion.dtype == bool
        assert (image.lesion & (image.lung_mask > 0)).sum() > 0.9 * image.lesion.sum() > 0


def test_images_of_a_seed_are_the_same_in_every_version():
    """Runs and figures made on them stay comparable: mean greys of four strips, and pixels of lung, of three images."""
    drawn = [image_at(number, 60, 3, FAULTS, SIZE) for number in range(0, 60, 20)]
    strips = [[float(strip.mean()) for strip in np.split(image.pixels, 4)] for image in drawn]
    known = [[90.1, 101.8, 160.9, 208.0], [72.4, 81.6, 115.2, 156.0], [65.6, 81.2, 115.4, 145.7]]
    assert np.allclose(strips, known, atol=0.06)
    assert np.allclose([(image.lung_mask > 0).sum() for image in drawn], [1757, 1246, 1252], atol=2)


def test_sites_do_not_follow_the_class():
    made = images(60)
    sites = {image.source for image in made}
    assert len(sites) == 4
    assert {image.source for image in made if image.label == "COVID"} == sites


def test_nothing_is_planted_unless_asked_for():
    assert all(image.plants == () and image.label == image.true_label for image in images(30))


def test_a_corner_tag_touches_one_upper_corner_that_the_class_decides():
    for plain, tagged in zip(images(12), images(12, plant=("corner-tag",)), strict=True):
        rows, columns = np.nonzero(plain.pixels != tagged.pixels)
        assert tagged.plants == ("corner-tag",)
        assert rows.max() < SIZE // 4
        if tagged.label == "COVID":
            assert columns.max() < SIZE // 4
        else:
            assert columns.min() > SIZE - SIZE // 4
        assert np.array_equal(plain.lung_mask, tagged.lung_mask)


def test_a_brightness_shift_moves_all_grey_levels_of_a_class_alike():
    for plain, shifted in zip(images(12), images(12, plant=("brightness-shift",)), strict=True):
        expected = np.clip(plain.pixels.astype(int) + BRIGHTNESS_SHIFT[plain.label], 0, 255)
        assert np.array_equal(shifted.pixels, expected)
        assert shifted.plants == ("brightness-shift",)


def test_clear_lesions_lie_where_the_usual_ones_do_and_leave_healthy_images_alone():
    for plain, clear in zip(images(60), images(60, plant=("clear-lesions",)), strict=True):
        assert (plain.label, plain.source) == (clear.label, clear.source)
        assert np.array_equal(plain.lung_mask, clear.lung_mask)
        if plain.label == "Normal":
            assert np.array_equal(plain.pixels, clear.pixels) and clear.plants == ()
        else:
            together = (plain.lesion & clear.lesion).sum() / (plain.lesion | clear.lesion).sum()
            assert together > 0.5 and clear.plants == ("clear-lesions",)


@pytest.mark.parametrize(("label", "times"), [("COVID", 1.5), ("Viral Pneumonia", 2.5)])
def test_clear_lesions_are_plain_on_every_image(label: str, times: float):
    """Brighter than the same lung without them by 15 grey levels or more, and by far more than usual lesions are."""
    usual, clear = [], []
    for seed in range(16):
        healthy = make_image("Normal", np.random.default_rng(seed), SIZE)
        for found, ill in (
            (usual, make_image(label, np.random.default_rng(seed), SIZE)),
            (clear, make_image(label, np.random.default_rng(seed), SIZE, clear=True)),
        ):
            found.append((ill.pixels.astype(float) - healthy.pixels)[ill.lesion].mean())
    assert min(clear) > 15
    assert np.mean(clear) > times * np.mean(usual)


def test_near_duplicates_resemble_one_earlier_image_of_their_class_and_leave_the_others_alone():
    plain, planted = images(60), images(60, plant=("near-duplicates",))
    copies = [i for i, image in enumerate(planted) if image.plants]
    assert len(copies) == 3
    for i, image in enumerate(planted):
        if i not in copies:
            assert np.array_equal(image.pixels, plain[i].pixels)
            continue
        likeness = [np.corrcoef(image.pixels.ravel(), earlier.pixels.ravel())[0, 1] for earlier in planted[:i]]
        original = planted[int(np.argmax(likeness))]
        assert max(likeness) > 0.97 and original.label == image.label
        assert not np.array_equal(original.pixels, image.pixels)


def test_swapped_labels_exchange_four_per_cent_and_keep_the_counts():
    swapped = images(100, plant=("swapped-labels",))
    wrong = [image for image in swapped if image.label != image.true_label]
    assert len(wrong) == 4
    assert all(image.plants == ("swapped-labels",) for image in wrong)
    assert Counter(image.true_label for image in swapped) == class_counts(100)


def test_a_swapped_image_shows_its_true_class():
    image, i = next((image, i) for i, image in enumerate(images(plant=("swapped-labels",))) if image.plants)
    drawn = make_image(image.true_label, np.random.default_rng((0, i)), SIZE)
    assert np.array_equal(image.pixels, drawn.pixels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": 2}, "`images` must be at least 3.*received: 2"),
        ({"size": 63}, "`size` must be at least 64.*received: 63"),
        ({"seed": -1}, "`seed` must not be negative.*received: -1"),
        ({"plant": ("ghost",)}, "`plant` must be.*ghost"),
        ({"plant": "corner-tag"}, "`plant` must be a collection.*corner-tag"),
    ],
    ids=["few images", "small size", "negative seed", "unknown plant", "plant as a bare word"],
)
def test_bad_arguments_are_refused_at_once_with_the_rule_and_the_value(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        image_at(0, **{"images": 600} | arguments)


@pytest.mark.parametrize("index", [-1, 12])
def test_an_index_outside_the_set_is_refused(index: int):
    with pytest.raises(ValueError, match="`index` must be between 0 and 11"):
        image_at(index, 12, 0, (), SIZE)


def test_an_unknown_class_is_refused():
    with pytest.raises(ValueError, match="`label` must be one of.*received: 'Flu'"):
        make_image("Flu", np.random.default_rng(0), SIZE)
