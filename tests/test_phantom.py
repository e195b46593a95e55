from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from covid_core.synthetic.anatomy import PHANTOM_CLASSES, make_film
from covid_core.synthetic.phantom import BRIGHTNESS_SHIFT, FAULTS, PLANTS, PhantomFilm, class_counts, film_at

SIZE = 64


def films(images: int = 12, seed: int = 0, plant: tuple[str, ...] = ()) -> list[PhantomFilm]:
    return [film_at(index, images, seed, plant, SIZE) for index in range(images)]


def test_same_seed_gives_same_films_and_another_seed_gives_others():
    first, again, other = films(4, 7), films(4, 7), films(4, 8)
    assert all(np.array_equal(a.pixels, b.pixels) and a.source == b.source for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, other, strict=True))


def test_films_made_in_any_order_by_threads_equal_the_generated_ones():
    expected = films(24, 3, PLANTS)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda i: film_at(i, 24, 3, PLANTS, SIZE), reversed(range(24))))[::-1]
    for film, twin in zip(made, expected, strict=True):
        assert np.array_equal(film.pixels, twin.pixels) and np.array_equal(film.lung_mask, twin.lung_mask)
        assert (film.name, film.label, film.true_label, film.plants) == (
            twin.name,
            twin.label,
            twin.true_label,
            twin.plants,
        )


def test_a_film_does_not_depend_on_how_many_follow_in_its_class():
    few, many = film_at(0, 12, 5, (), SIZE), film_at(0, 100, 5, (), SIZE)
    assert np.array_equal(few.pixels, many.pixels)


@pytest.mark.parametrize("images", [3, 4, 5, 12, 599, 15153])
def test_class_counts_add_up_and_leave_no_class_empty(images: int):
    counts = class_counts(images)
    assert tuple(counts) == PHANTOM_CLASSES
    assert sum(counts.values()) == images and min(counts.values()) >= 1


def test_class_counts_are_out_of_balance_like_the_database():
    assert class_counts(15153) == {"COVID": 3616, "Normal": 10192, "Viral Pneumonia": 1345}


def test_films_keep_the_class_counts_and_have_unique_names():
    made = films(30, plant=PLANTS)
    assert Counter(film.label for film in made) == class_counts(30)
    assert len({film.name for film in made}) == 30
    assert all(film.name.startswith(f"{film.label}-") for film in made)


@pytest.mark.parametrize("size", [64, 97, 256])
def test_pixels_and_mask_are_grey_squares_of_the_size_asked_for(size: int):
    film = film_at(1, 5, 0, (), size)
    assert film.pixels.shape == film.lung_mask.shape == (size, size)
    assert film.pixels.dtype == film.lung_mask.dtype == np.uint8
    assert set(np.unique(film.lung_mask)) == {0, 255}


def test_lungs_cover_a_plausible_part_of_every_film_and_are_darker_than_what_lies_between_them():
    for film in films(40):
        lungs = film.lung_mask > 0
        between = film.pixels[SIZE // 2, SIZE // 2 - 3 : SIZE // 2 + 3]
        assert 0.15 < lungs.mean() < 0.50
        assert film.pixels[lungs].mean() < between.mean() - 20


@pytest.mark.parametrize("clear", [False, True], ids=["usual lesions", "clear lesions"])
@pytest.mark.parametrize("label", ["COVID", "Viral Pneumonia"])
def test_a_disease_shows_inside_the_lungs_only(label: str, clear: bool):
    inside, outside = [], []
    for seed in range(8):
        ill, healthy = (make_film(one, np.random.default_rng(seed), SIZE, clear) for one in (label, "Normal"))
        difference = np.abs(ill.pixels.astype(float) - healthy.pixels)
        inside.append(difference[ill.lung_mask > 0].mean())
        outside.append(difference[ill.lung_mask == 0].mean())
    assert np.mean(inside) > 4 * np.mean(outside)


@pytest.mark.parametrize("clear", [False, True], ids=["usual lesions", "clear lesions"])
@pytest.mark.parametrize("label", ["COVID", "Viral Pneumonia"])
def test_a_lesion_is_marked_where_the_film_differs_most_from_a_healthy_one(label: str, clear: bool):
    for seed in range(8):
        ill, healthy = (make_film(one, np.random.default_rng(seed), SIZE, clear) for one in (label, "Normal"))
        difference = np.abs(ill.pixels.astype(float) - healthy.pixels)
        assert 0.01 < ill.lesion.mean() < 0.35
        assert not (ill.lesion & (ill.lung_mask == 0)).any()
        assert difference[ill.lesion].mean() > 2 * difference[~ill.lesion & (ill.lung_mask > 0)].mean()


def test_healthy_films_have_no_lesion_whatever_their_label_says():
    for film in films(60, plant=("swapped-labels",)):
        assert film.lesion.any() == (film.true_label != "Normal")


def test_the_lesion_of_a_near_duplicate_moves_with_its_film():
    copies = [film for film in films(60, plant=("near-duplicates",)) if film.plants and film.label != "Normal"]
    assert copies
    for film in copies:
        assert film.lesion.dtype == bool
        assert (film.lesion & (film.lung_mask > 0)).sum() > 0.9 * film.lesion.sum() > 0


def test_films_of_a_seed_are_the_same_in_every_version():
    """Runs and figures made on them stay comparable: mean greys of four strips, and pixels of lung, of three films."""
    drawn = [film_at(number, 60, 3, FAULTS, SIZE) for number in range(0, 60, 20)]
    strips = [[float(strip.mean()) for strip in np.split(film.pixels, 4)] for film in drawn]
    known = [[90.1, 101.8, 160.9, 208.0], [72.4, 81.6, 115.2, 156.0], [65.6, 81.2, 115.4, 145.7]]
    assert np.allclose(strips, known, atol=0.06)
    assert np.allclose([(film.lung_mask > 0).sum() for film in drawn], [1757, 1246, 1252], atol=2)


def test_sites_do_not_follow_the_class():
    made = films(60)
    sites = {film.source for film in made}
    assert len(sites) == 4
    assert {film.source for film in made if film.label == "COVID"} == sites


def test_nothing_is_planted_unless_asked_for():
    assert all(film.plants == () and film.label == film.true_label for film in films(30))


def test_a_corner_tag_touches_one_upper_corner_that_the_class_decides():
    for plain, tagged in zip(films(12), films(12, plant=("corner-tag",)), strict=True):
        rows, columns = np.nonzero(plain.pixels != tagged.pixels)
        assert tagged.plants == ("corner-tag",)
        assert rows.max() < SIZE // 4
        if tagged.label == "COVID":
            assert columns.max() < SIZE // 4
        else:
            assert columns.min() > SIZE - SIZE // 4
        assert np.array_equal(plain.lung_mask, tagged.lung_mask)


def test_a_brightness_shift_moves_all_grey_levels_of_a_class_alike():
    for plain, shifted in zip(films(12), films(12, plant=("brightness-shift",)), strict=True):
        expected = np.clip(plain.pixels.astype(int) + BRIGHTNESS_SHIFT[plain.label], 0, 255)
        assert np.array_equal(shifted.pixels, expected)
        assert shifted.plants == ("brightness-shift",)


def test_clear_lesions_lie_where_the_usual_ones_do_and_leave_healthy_films_alone():
    for plain, clear in zip(films(60), films(60, plant=("clear-lesions",)), strict=True):
        assert (plain.label, plain.source) == (clear.label, clear.source)
        assert np.array_equal(plain.lung_mask, clear.lung_mask)
        if plain.label == "Normal":
            assert np.array_equal(plain.pixels, clear.pixels) and clear.plants == ()
        else:
            together = (plain.lesion & clear.lesion).sum() / (plain.lesion | clear.lesion).sum()
            assert together > 0.5 and clear.plants == ("clear-lesions",)


@pytest.mark.parametrize(("label", "times"), [("COVID", 1.5), ("Viral Pneumonia", 2.5)])
def test_clear_lesions_are_plain_on_every_film(label: str, times: float):
    """Brighter than the same lung without them by 15 grey levels or more, and by far more than usual lesions are."""
    usual, clear = [], []
    for seed in range(16):
        healthy = make_film("Normal", np.random.default_rng(seed), SIZE)
        for found, ill in (
            (usual, make_film(label, np.random.default_rng(seed), SIZE)),
            (clear, make_film(label, np.random.default_rng(seed), SIZE, clear=True)),
        ):
            found.append((ill.pixels.astype(float) - healthy.pixels)[ill.lesion].mean())
    assert min(clear) > 15
    assert np.mean(clear) > times * np.mean(usual)


def test_near_duplicates_resemble_one_earlier_film_of_their_class_and_leave_the_others_alone():
    plain, planted = films(60), films(60, plant=("near-duplicates",))
    copies = [i for i, film in enumerate(planted) if film.plants]
    assert len(copies) == 3
    for i, film in enumerate(planted):
        if i not in copies:
            assert np.array_equal(film.pixels, plain[i].pixels)
            continue
        likeness = [np.corrcoef(film.pixels.ravel(), earlier.pixels.ravel())[0, 1] for earlier in planted[:i]]
        original = planted[int(np.argmax(likeness))]
        assert max(likeness) > 0.97 and original.label == film.label
        assert not np.array_equal(original.pixels, film.pixels)


def test_swapped_labels_exchange_four_per_cent_and_keep_the_counts():
    swapped = films(100, plant=("swapped-labels",))
    wrong = [film for film in swapped if film.label != film.true_label]
    assert len(wrong) == 4
    assert all(film.plants == ("swapped-labels",) for film in wrong)
    assert Counter(film.true_label for film in swapped) == class_counts(100)


def test_a_swapped_film_shows_its_true_class():
    film, i = next((film, i) for i, film in enumerate(films(plant=("swapped-labels",))) if film.plants)
    drawn = make_film(film.true_label, np.random.default_rng((0, i)), SIZE)
    assert np.array_equal(film.pixels, drawn.pixels)


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
        film_at(0, **{"images": 600} | arguments)


@pytest.mark.parametrize("index", [-1, 12])
def test_an_index_outside_the_set_is_refused(index: int):
    with pytest.raises(ValueError, match="`index` must be between 0 and 11"):
        film_at(index, 12, 0, (), SIZE)


def test_an_unknown_class_is_refused():
    with pytest.raises(ValueError, match="`label` must be one of.*received: 'Flu'"):
        make_film("Flu", np.random.default_rng(0), SIZE)
