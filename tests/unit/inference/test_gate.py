"""Does a picture look like a frontal chest image? On phantom images, as they are, changed, and on pictures drawn
here."""

import math

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.datasets import views
from covid_core.evaluation import conformal
from covid_core.inference import gate
from covid_core.inference.gate import DOWN, ENOUGH, INVERTED, LEAST, LEFT, READINGS, RIGHT, SHARE, Gate, Limit
from covid_core.synthetic.phantom import image_at

SIDE = 64
TURNS = {LEFT: 1, DOWN: 2, RIGHT: 3}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """uint8 (300, 64, 64): the first 180 to learn from, 60 to set the limit, 60 that were never seen."""
    return np.stack([image_at(index, 300, 4, size=SIDE).pixels for index in range(300)])[
        np.random.default_rng(1).permutation(300)
    ]


@pytest.fixture(scope="module")
def fitted(images) -> Gate:
    return Gate.fit(images.__getitem__, np.arange(180), np.arange(180, 240))


def changed(images: np.ndarray, reading: str) -> np.ndarray:
    return 255 - images if reading == INVERTED else np.ascontiguousarray(np.rot90(images, TURNS[reading], axes=(1, 2)))


def photograph_like(number: int) -> np.ndarray:
    """Light from above, a horizon, a few things with edges, and texture."""
    rng = np.random.default_rng(number)
    rows = np.linspace(220, 120, SIDE)[:, None] * np.ones((1, SIDE))
    rows[rng.integers(20, 50) :] = 80
    for _ in range(rng.integers(2, 6)):
        top, left, side = rng.integers(5, 40), rng.integers(0, 48), rng.integers(6, 20)
        rows[top : top + side, left : left + side] = rng.integers(0, 256)
    return np.clip(rows + 15 * ndimage.gaussian_filter(rng.normal(size=rows.shape), 1), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("reading", list(TURNS) + [INVERTED])
def test_histograms_of_changed_images_need_no_pixels(images, reading):
    of_pixels = gate.histograms(changed(images[:20], reading))
    assert np.allclose(gate.changed(gate.histograms(images[:20]), reading), of_pixels, atol=0.01)


@pytest.mark.parametrize("reading", READINGS)
def test_what_was_changed_can_be_undone(images, reading):
    found = gate.histograms(images[:5])
    assert np.array_equal(gate.undone(gate.changed(found, reading), reading), found)


def test_brightness_and_contrast_do_not_count(images):
    plain, faint = (gate.histograms(some) for some in (images[:10], (60 + images[:10] * 0.5).astype(np.uint8)))
    assert np.abs(plain - faint).max() < 0.05


def test_images_that_were_never_seen_pass(images, fitted):
    checks = fitted.checks(images[240:])
    assert np.mean([one.passed for one in checks]) >= 0.9


@pytest.mark.parametrize("reading", list(TURNS) + [INVERTED])
def test_turned_and_inverted_images_are_refused_and_it_is_said_how_they_lie(images, fitted, reading):
    checks = fitted.checks(changed(images[240:], reading))
    assert not any(one.passed for one in checks)
    assert np.mean([one.reading == reading for one in checks]) >= 0.9


def test_photograph_like_pictures_and_noise_are_refused(fitted):
    noise = np.random.default_rng(0).integers(0, 256, (10, SIDE, SIDE)).astype(np.uint8)
    pictures = np.concatenate([np.stack([photograph_like(number) for number in range(30)]), noise])
    assert not any(one.passed for one in fitted.checks(pictures))


def test_lateral_views_and_ct_slices_are_refused_even_without_a_limit(images):
    """A gate that every reading passes and one without validation images: the evidence of drawn images is left."""
    made = Gate.fit(images.__getitem__, np.arange(180), np.arange(0))
    rng = np.random.default_rng(0)
    others = np.stack([draw(rng) for draw in (views.lateral, views.across, views.along) for _ in range(8)])
    assert np.mean([one.passed is False for one in made.checks(others)]) >= 0.7
    assert [one.passed for one in made.checks(images[240:])] == [None] * 60


def test_histograms_of_mirror_images_need_no_pixels(images):
    of_pixels = gate.histograms(np.ascontiguousarray(images[:20, :, ::-1]))
    assert np.allclose(gate.mirrored(gate.histograms(images[:20])), of_pixels, atol=0.01)


def test_a_mirrored_image_is_no_reason_to_refuse(images, fitted):
    checks = fitted.checks(np.ascontiguousarray(images[240:, :, ::-1]))
    assert np.mean([one.passed for one in checks]) >= 0.85


def test_a_slightly_tilted_image_is_no_reason_to_refuse(images, fitted):
    tilted = np.stack([ndimage.rotate(image, 6, reshape=False, order=1, mode="nearest") for image in images[240:]])
    assert np.mean([one.passed for one in fitted.checks(tilted)]) >= 0.85


def test_the_limit_is_what_nearly_all_validation_images_reach(images):
    upside_down = changed(images[180:210], DOWN)  # whose leads are low, so that the limit is below the highest one
    mixed = np.concatenate([images[:180], upside_down, images[210:240]])
    made = Gate.fit(mixed.__getitem__, np.arange(180), np.arange(180, 240))
    leads = made.leads(gate.histograms(mixed[180:]))
    assert made.limit.value == pytest.approx(-conformal.quantile(-leads, min(1 - SHARE, 60 / 61)))


def test_validation_images_that_are_all_alike_refuse_no_image_that_leads_clearly(images):
    """Of 38 of them the lowest lead was 0.88 once, and 6 of 39 other good images were refused."""
    made = Gate.fit(images.__getitem__, np.arange(180), np.repeat(180, 38))
    assert made.leads(gate.histograms(images[180:181]))[0] > ENOUGH
    assert made.limit.value == ENOUGH
    assert np.mean([one.passed for one in made.checks(images[240:])]) == 1


def test_a_image_is_judged_alike_alone_and_among_others(images, fitted):
    among = fitted.checks(images[240:250])
    assert [fitted.checks(image[None])[0].figure for image in images[240:250]] == pytest.approx(
        [one.figure for one in among], abs=1e-5
    )


def test_a_image_without_contrast_is_refused_and_no_error(fitted):
    flat = np.full((1, SIDE, SIDE), 90, np.uint8)
    flat[0, 0, 0] = 91
    assert fitted.checks(flat)[0].passed is False


def test_with_too_few_validation_images_there_is_no_verdict(images):
    few = Gate.fit(images.__getitem__, np.arange(50), np.arange(180, 180 + LEAST - 1))
    assert few.checks(images[:1])[0].passed is None
    assert few.checks(images[:1])[0].reading == ""


@pytest.mark.parametrize(
    ("images", "refused", "value", "kept"),
    [
        (18, 0.02, math.nan, math.nan),
        (19, 0.02, 18, 19 / 20),
        (49, 0.02, 48, 0.98),
        (99, 0.02, 97, 0.98),
        (321, 0.02, 315, 0.98),
        (98, 0.01, 97, 98 / 99),
        (1000, 0.01, 990, 0.99),
    ],
)
def test_a_limit_refuses_no_more_than_its_share_of_good_images(images, refused, value, kept):
    limit = Limit.above(np.random.default_rng(0).permutation(images).astype(float), refused)
    assert (limit.value, limit.share) == pytest.approx((value, kept), nan_ok=True)
    assert limit.images == images


def test_further_images_are_refused_at_the_rate_that_was_promised():
    rng = np.random.default_rng(2)
    refused = [np.mean(rng.normal(size=200) > Limit.above(rng.normal(size=321), 0.02).value) for _ in range(300)]
    assert 0.014 < np.mean(refused) <= 0.02


def test_images_of_full_size_are_read_a_few_at_a_time(images):
    together = []

    def pixels(positions):
        together.append(len(positions))
        return images[positions]

    Gate.fit(pixels, np.arange(150), np.arange(150, 300))
    assert max(together) == gate.AT_ONCE
