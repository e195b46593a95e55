"""Lung masks of data sets: who has them, at which size they come, and which cannot be used."""

import numpy as np
import pytest
from made_data import COUNTS, SIDE, lung_mask, made_database, made_dataset

from covid_core.data import masks
from covid_core.errors import DataError
from covid_core.images.codec import png_bytes


def mask_file(dataset, row: int):
    return dataset.root / dataset.images["mask_path"].iat[row]


def test_only_data_sets_with_masks_are_listed(tmp_path, workspace):
    made_dataset(tmp_path, workspace)
    _, database = made_database(tmp_path, workspace)
    (found,) = masks.datasets_with_masks(workspace)
    images = sum(COUNTS.values())
    assert (found.id, found.images, found.masks, found.synthetic) == (database.id, images, images, False)


def test_a_damaged_data_set_hides_no_other(tmp_path, workspace):
    _, broken = made_database(tmp_path / "a", workspace)
    made_database(tmp_path / "b", workspace)
    (broken.folder / "manifest.parquet").write_bytes(b"no table")
    assert len(masks.datasets_with_masks(workspace)) == 1


def test_a_mask_comes_at_the_images_size(tmp_path, workspace):
    _, dataset = made_database(tmp_path, workspace)
    mask_file(dataset, 0).write_bytes(png_bytes(lung_mask(SIDE // 2)))
    found = masks.mask_of(dataset, dataset.images["image_id"].iat[0])
    assert found.shape == (SIDE, SIDE)
    assert np.mean(found == (lung_mask() > 0)) > 0.98


def test_a_image_without_a_mask_has_none(tmp_path, workspace):
    _, dataset = made_dataset(tmp_path, workspace)
    assert masks.mask_of(dataset, dataset.images["image_id"].iat[0]) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no picture", "not a readable"),
        (png_bytes(np.zeros((64, 64), np.uint8)), "no image content"),
        (png_bytes(lung_mask(64)[:40]), "other proportions"),
    ],
    ids=["unreadable", "empty", "other proportions"],
)
def test_a_mask_that_cannot_be_used_is_told_and_is_left_out_of_many(tmp_path, workspace, content, words):
    _, dataset = made_database(tmp_path, workspace)
    mask_file(dataset, 1).write_bytes(content)
    with pytest.raises(DataError, match=words):
        masks.mask_of(dataset, dataset.images["image_id"].iat[1])
    found, usable = masks.squares(dataset, [0, 1, 2], 32)
    assert usable.tolist() == [True, False, True]
    assert found.shape == (3, 32, 32)
    assert (found[0] == (lung_mask(32) > 0)).all()
    assert not found[1].any()
