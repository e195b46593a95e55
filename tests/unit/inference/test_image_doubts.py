"""What speaks against an answer beside the checks: an image of the training part, a map that is highest on letters."""

import io

import numpy as np
import pytest
from made_data import made_dataset
from made_runs import CLASSES
from PIL import Image

from covid_core.images.codec import png_bytes, read_image
from covid_core.images.image import GreyImage, Turn, turned
from covid_core.inference import hottest_place, training_match
from covid_core.inference.hottest_place import BETWEEN, ELSEWHERE, INSIDE, LETTERS, MARGIN, NOWHERE, OUTSIDE
from covid_core.inference.training_match import TrainingMatch
from covid_core.runs import store
from covid_core.specs import TrainingSpec


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data set and a run that was trained on every other image of it."""
    workspace, dataset = made_dataset(tmp_path_factory.mktemp("doubts"))
    split = dataset.images[["image_id", "label"]].assign(group=dataset.images["image_id"], part="test")
    split.loc[::2, "part"] = "train"
    run = store.create_run(workspace, TrainingSpec(dataset=dataset.id, classes=CLASSES, name="Half"), dataset, split)
    return workspace, dataset, run


def resaved(image: GreyImage) -> GreyImage:
    """Larger, and as a JPEG: other bytes, the same picture."""
    kept = io.BytesIO()
    Image.fromarray(image.pixels).resize((100, 100)).save(kept, "JPEG", quality=92)
    return read_image(kept.getvalue())


def test_an_image_of_the_training_part_is_known_by_its_pixels_and_no_other_is(trained):
    workspace, dataset, run = trained
    images = [read_image(dataset.path_of(row)) for row in range(4)]
    ids = dataset.images["image_id"].to_list()
    matches = training_match.of(workspace, run, [*images, resaved(images[2])])
    assert [match.image_id for match in matches] == [ids[0], "", ids[2], "", ids[2]]
    assert [match.is_in_training for match in matches] == [True, False, True, False, True]


@pytest.mark.parametrize(
    "turn",
    [Turn(0, True), Turn(2, True), Turn(1), Turn(2), Turn(3), Turn(0, False, True)],
    ids=lambda turn: turn.in_words,
)
def test_a_turned_or_mirrored_copy_is_known_as_well_and_how_it_differs(trained, turn):
    workspace, dataset, run = trained
    known = turned(read_image(dataset.path_of(2)), turn)
    other = turned(read_image(dataset.path_of(1)), turn)
    assert training_match.of(workspace, run, [known, other]) == [
        TrainingMatch(str(dataset.images["image_id"].iat[2]), turn=turn),
        TrainingMatch(),
    ]


def test_without_the_data_set_it_is_not_known_whether_an_image_was_in_training(workspace, trained):
    _, dataset, run = trained
    (match,) = training_match.of(workspace, run, [read_image(dataset.path_of(0))])
    assert match.is_in_training is None and match.why


def with_letter(at: tuple[int, int]) -> GreyImage:
    """A grey image with a bright cross as a marker."""
    pixels = np.full((256, 256), 60, np.uint8)
    row, column = at
    pixels[row - 8 : row + 8, column - 2 : column + 2] = 250
    pixels[row - 2 : row + 2, column - 8 : column + 8] = 250
    return read_image(png_bytes(pixels))


@pytest.mark.parametrize(
    ("hottest", "on"), [((40, 40), LETTERS), ((3, 128), MARGIN), ((128, 254), MARGIN), ((128, 128), ELSEWHERE)]
)
def test_the_hottest_place_is_named_by_what_lies_there(hottest, on):
    def heat(_label: str, shape: tuple[int, int]) -> np.ndarray:
        values = np.zeros(shape, np.float32)
        values[hottest] = 1
        return values

    place = hottest_place.of(heat, "COVID", with_letter((42, 44)))
    assert place.on == on
    assert place.down == pytest.approx(hottest[0] / 256, abs=0.01)


@pytest.mark.parametrize(
    ("hottest", "on"),
    [((128, 60), INSIDE), ((128, 128), BETWEEN), ((128, 30), OUTSIDE), ((220, 128), OUTSIDE), ((128, 254), MARGIN)],
)
def test_where_the_lungs_are_known_the_hottest_place_is_named_by_them(hottest, on):
    lungs = np.zeros((64, 64), bool)
    lungs[10:50, 10:25] = lungs[10:50, 40:55] = True
    heat = np.zeros((256, 256), np.float32)
    heat[hottest] = 1
    assert hottest_place.of(lambda _label, _shape: heat, "COVID", with_letter((42, 44)), lungs).on == on


def test_an_empty_map_is_highest_nowhere():
    assert hottest_place.of(lambda _label, shape: np.zeros(shape), "COVID", with_letter((42, 44))).on == NOWHERE
