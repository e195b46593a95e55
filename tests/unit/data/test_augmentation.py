"""Random changes of training images: what moves, what stays, and that an image's changes come again."""

import numpy as np
import pytest

from covid_core.data import augmentation
from covid_core.specs import AugmentationSpec

SIZE = 64
EVERYTHING = AugmentationSpec(
    **dict.fromkeys(AugmentationSpec.model_fields, 0.1)
    | {"rotation": 15, "flip": True, "blur": 0.02, "jpeg": 0.6, "frames": False}
)
SINGLE_AMOUNTS = [
    AugmentationSpec(**{name: getattr(EVERYTHING, name)}) for name in AugmentationSpec.model_fields if name != "frames"
]


@pytest.fixture
def images() -> np.ndarray:
    """Forty images with a bright square left of the middle on a grey ramp."""
    ramp = np.tile(np.linspace(40, 160, SIZE, dtype=np.uint8), (SIZE, 1))
    ramp[24:40, 16:28] = 240
    return np.repeat(ramp[None], 40, axis=0)


def centre_of_square(image: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(image > 220)
    return rows.mean(), columns.mean()


def test_a_spec_that_is_off_returns_the_images_themselves(images):
    assert augmentation.view(images, AugmentationSpec(), seed=1, view=0) is images


def test_a_single_image_is_returned_as_it_is_when_the_spec_is_off(images):
    first = images[0]
    assert augmentation.augmented_image(first, AugmentationSpec(), np.random.default_rng(0)) is first


@pytest.mark.parametrize(
    "spec", [*SINGLE_AMOUNTS, EVERYTHING], ids=lambda spec: ",".join(spec.model_dump(exclude_defaults=True))
)
def test_images_keep_their_shape_and_type(images, spec):
    changed = augmentation.view(images, spec, seed=0, view=0)
    assert (changed.shape, changed.dtype) == (images.shape, np.uint8)


@pytest.mark.parametrize("spec", SINGLE_AMOUNTS, ids=lambda spec: ",".join(spec.model_dump(exclude_defaults=True)))
def test_every_amount_alone_changes_images(images, spec):
    assert not np.array_equal(augmentation.view(images, spec, seed=0, view=0), images)


def test_the_images_that_are_given_stay_as_they_are(images):
    before = images.copy()
    augmentation.view(images, EVERYTHING, seed=0, view=0)
    assert np.array_equal(images, before)


def test_a_view_comes_again_with_its_seed(images):
    first, second = (augmentation.view(images, EVERYTHING, seed=7, view=2) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("other", [{"seed": 8, "view": 2}, {"seed": 7, "view": 3}], ids=["seed", "view"])
def test_another_seed_or_view_changes_images_differently(images, other):
    first = augmentation.view(images, EVERYTHING, seed=7, view=2)
    assert not np.array_equal(first, augmentation.view(images, EVERYTHING, **other))


def test_a_image_of_a_batch_is_changed_as_in_the_whole_view(images):
    whole, rows = augmentation.view(images, EVERYTHING, seed=7, view=2), np.array([31, 4])
    assert np.array_equal(augmentation.view(images[rows], EVERYTHING, seed=7, view=2, rows=rows), whole[rows])


def test_about_half_of_the_images_are_mirrored(images):
    changed = augmentation.view(images, AugmentationSpec(flip=True), seed=0, view=0)
    mirrored = sum(np.array_equal(image, images[0][:, ::-1]) for image in changed)
    assert 10 <= mirrored <= 30


def test_a_image_that_is_not_mirrored_is_exactly_unchanged(images):
    changed = augmentation.view(images, AugmentationSpec(flip=True), seed=0, view=0)
    assert all(np.array_equal(image, images[0]) or np.array_equal(image, images[0][:, ::-1]) for image in changed)


def test_a_shift_to_the_side_leaves_the_height(images):
    changed = augmentation.view(images, AugmentationSpec(shift_x=0.1), seed=0, view=0)
    assert all(abs(centre_of_square(image)[0] - centre_of_square(images[0])[0]) < 0.5 for image in changed)


def test_a_shift_stays_within_its_amount(images):
    changed = augmentation.view(images, AugmentationSpec(shift_x=0.1), seed=0, view=0)
    moved = [centre_of_square(image)[1] - centre_of_square(images[0])[1] for image in changed]
    assert max(map(abs, moved)) <= 0.1 * SIZE + 0.5


def test_a_shift_leaves_black_behind(images):
    changed = augmentation.view(images, AugmentationSpec(shift_x=0.1), seed=0, view=0)
    moved = [image for image in changed if abs(centre_of_square(image)[1] - centre_of_square(images[0])[1]) > 1]
    assert moved and all(image[:, 0].max() == 0 or image[:, -1].max() == 0 for image in moved)


def test_a_turn_leaves_the_middle_where_it_is():
    image = np.zeros((SIZE, SIZE), dtype=np.uint8)
    image[28:36, 28:36] = 240
    changed = augmentation.view(np.repeat(image[None], 10, axis=0), AugmentationSpec(rotation=45), seed=0, view=0)
    assert all(np.allclose(centre_of_square(turned), 31.5, atol=0.5) for turned in changed)


def test_contrast_leaves_the_mean(images):
    changed = augmentation.view(images, AugmentationSpec(contrast=0.2), seed=0, view=0)
    assert np.abs(changed.mean(axis=(1, 2)) - images[0].mean()).max() < 1.5


def test_brightness_shifts_all_greys_alike(images):
    changed = augmentation.view(images, AugmentationSpec(brightness=0.05), seed=0, view=0)
    shifts = changed.astype(int) - images
    assert (np.ptp(shifts, axis=(1, 2)) == 0).all()


def test_turning_on_one_amount_leaves_what_the_others_draw(images):
    mirrored = augmentation.view(images, AugmentationSpec(flip=True), seed=3, view=0)
    brighter = augmentation.view(images, AugmentationSpec(flip=True, brightness=0.02), seed=3, view=0)
    assert np.abs(brighter.astype(int) - mirrored).max() <= np.ceil(0.02 * 255)


@pytest.mark.parametrize("amounts", [{}, {"rotation": 10, "brightness": 0.1}], ids=["alone", "with others"])
def test_which_images_are_mirrored_can_be_asked_without_changing_them(images, amounts):
    rows = np.array([31, 4, 17, 8, 0])
    spec = AugmentationSpec(flip=True, **amounts)
    for view in range(3):
        turned = augmentation.mirrored(rows, seed=7, view=view)
        given = np.where(turned[:, None, None], images[rows][:, :, ::-1], images[rows])
        reference = augmentation.view(given, AugmentationSpec(**amounts), seed=7, view=view, rows=rows)
        assert np.array_equal(augmentation.view(images[rows], spec, seed=7, view=view, rows=rows), reference)


def test_other_images_are_mirrored_in_another_view():
    rows = np.arange(100)
    first, again, other = (augmentation.mirrored(rows, seed=7, view=view) for view in (0, 0, 1))
    assert np.array_equal(first, again)
    assert 20 < (first != other).sum() < 80
    assert 35 < first.sum() < 65


def test_a_image_is_mirrored_by_its_own_number_whatever_it_is_asked_with():
    rows = np.array([31, 4, 17])
    assert (
        augmentation.mirrored(rows[[2, 0]], seed=7, view=2).tolist()
        == augmentation.mirrored(rows, 7, 2)[[2, 0]].tolist()
    )


def test_a_crop_cuts_each_side_by_up_to_its_share(images):
    marked = np.zeros((1, SIZE, SIZE), np.uint8)
    marked[0, SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4] = 255
    views = [augmentation.view(marked, AugmentationSpec(crop=0.2), seed=0, view=view)[0] for view in range(50)]
    heights = [np.ptp(np.nonzero(view.max(axis=1) > 128)[0]) + 1 for view in views]
    assert SIZE / 2 <= min(heights) < max(heights) <= SIZE / 2 / 0.6 + 1
    assert np.mean([view[0, 0] for view in views]) == 0  # stretched, not moved: no border comes in


def test_noise_has_the_deviation_that_its_amount_draws():
    grey = np.full((200, SIZE, SIZE), 128, np.uint8)
    deviations = augmentation.view(grey, AugmentationSpec(noise=0.1), seed=0, view=0).std(axis=(1, 2)) / 255
    assert deviations.max() == pytest.approx(0.1, abs=0.005)
    assert np.median(deviations) == pytest.approx(0.05, abs=0.01)  # amounts are uniform from 0


def test_salt_and_pepper_changes_no_other_greys():
    grey = np.full((4, SIZE, SIZE), 128, np.uint8)
    changed = augmentation.view(grey, AugmentationSpec(salt=0.1), seed=0, view=0)
    assert set(np.unique(changed)) == {0, 128, 255}


FRAMED = AugmentationSpec(frames=True)


def framed_lungs() -> tuple[np.ndarray, np.ndarray]:
    """Twenty images whose frames and lungs have greys of their own, and where the lungs are."""
    lungs = np.zeros((20, SIZE, SIZE), bool)
    lungs[:, 20:44, 12:52] = True
    frames = np.arange(20, dtype=np.uint8)[:, None, None] * 6
    return np.where(lungs, np.uint8(200), np.broadcast_to(frames, lungs.shape)), lungs


def test_half_of_the_images_get_the_frame_of_another():
    images, lungs = framed_lungs()
    exchange = augmentation.FrameExchange(images, np.arange(20), lungs)
    changed = augmentation.view(images, FRAMED, 0, 0, None, exchange)
    is_other = changed[:, 0, 0] != images[:, 0, 0]
    assert 5 <= is_other.sum() <= 15
    assert set(changed[is_other, 0, 0]) <= set(images[:, 0, 0])
    assert np.array_equal(changed[~is_other], images[~is_other])


def test_an_image_without_an_outline_stays_in_its_frame():
    images, lungs = framed_lungs()
    exchange = augmentation.FrameExchange(images, np.arange(10), lungs[:10])
    changed = augmentation.view(images, FRAMED, 0, 0, None, exchange)
    assert np.array_equal(changed[10:], images[10:]) and not np.array_equal(changed[:10], images[:10])


def test_outlines_of_a_side_that_fills_no_whole_bytes_serve_too():
    images, lungs = framed_lungs()
    exchange = augmentation.FrameExchange(images, np.arange(20), lungs[:, 1::3, 1::3])
    assert not np.array_equal(augmentation.view(images, FRAMED, 0, 0, None, exchange), images)


def test_where_a_network_is_shown_the_middle_greys_change_there_alone(images):
    spec = AugmentationSpec(gamma=0.3, salt=0.1)
    part = augmentation.view(images, spec, seed=0, view=0, shown=0.5)
    cut = int(SIZE * (0.25 - augmentation.REACH))
    assert np.array_equal(part[:, :cut], images[:, :cut]) and np.array_equal(part[:, :, -cut:], images[:, :, -cut:])
    assert all((changed != image)[cut:].any() for changed, image in zip(part, images, strict=True))


def test_a_blur_is_as_wide_whatever_part_is_shown(images):
    spec, middle = AugmentationSpec(blur=0.02), slice(SIZE // 4, 3 * SIZE // 4)
    whole, part = (augmentation.view(images, spec, seed=0, view=0, shown=shown) for shown in (1, 0.5))
    assert np.abs(whole[:, middle, middle].astype(int) - part[:, middle, middle]).max() <= 2


def test_frames_are_not_exchanged_without_outlines():
    images, _ = framed_lungs()
    with pytest.raises(TypeError):
        augmentation.view(images, FRAMED, 0, 0)
