"""Copies as the audit tells them: what each pair means, cropped and mirrored ones, shared images of two data sets."""

import numpy as np
import pytest
from scipy import ndimage

from covid_core.audit.duplicates import duplicate_pairs
from covid_core.commands.main import main
from covid_core.data import duplicates
from covid_core.data.imports import importing
from covid_core.images.codec import jpeg_bytes, png_bytes, read_image, to_square
from covid_core.synthetic.phantom import image_at

IMAGES = 60


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [image_at(index, IMAGES, seed=3, size=256).pixels for index in range(IMAGES)]


def squares(images):
    return np.stack([to_square(np.ascontiguousarray(image), 128) for image in images])


CHANGES = {
    "cropped": lambda image: image[8:-8, 8:-8],
    "turned": lambda image: ndimage.rotate(image, 2, reshape=False, order=1, mode="nearest"),
    "mirrored": lambda image: image[:, ::-1],
    "brighter": lambda image: np.round(255 * (image / 255) ** 0.8).astype(np.uint8),
    "coded": lambda image: read_image(jpeg_bytes(image, 60)).pixels,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("copy_first", [True, False], ids=["copies first", "images first"])
def test_changed_copies_are_found_and_nothing_else(images, change, copy_first):
    changed, plain = squares([change(image) for image in images[:10]]), squares(images)
    given = (changed, plain) if copy_first else (plain, changed)
    found = duplicate_pairs.pairs(*given)
    assert (found["first"] == found["second"]).all()
    assert found["first"].nunique() >= 9


def test_what_looks_alike_but_does_not_agree_once_aligned_is_no_copy(images):
    """What the plain search names is aligned like all others."""
    one = squares(images[:1])
    other = one.copy()
    other[:, 56:72, 56:72] = np.flip(one[:, 56:72, 56:72], axis=2)
    pair = np.concatenate([one, other])
    detail = duplicate_pairs.alignment.of_pairs(pair, pair, np.array([0]), np.array([1]))[0]
    assert len(duplicates.pairs(pair)) == 1
    assert not len(duplicate_pairs.pairs(pair, limit=detail + 0.01))
    assert len(duplicate_pairs.pairs(pair, limit=detail - 0.01)) == 1


def folder_of(root, images):
    for place, image in images.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(png_bytes(image))
    return root


def test_pairs_name_equal_files_and_conflicts(images, workspace, tmp_path):
    given = {"A/1.png": images[0], "A/2.png": images[0], "B/3.png": to_square(images[0], 200), "B/4.png": images[1]}
    dataset = importing.import_folder(workspace, folder_of(tmp_path / "images", given))
    found = duplicate_pairs.within(workspace, dataset).set_index(["first", "second"])
    assert set(found.index) == {("A/1.png", "A/2.png"), ("A/1.png", "B/3.png"), ("A/2.png", "B/3.png")}
    assert found["kind"].to_dict()["A/1.png", "A/2.png"] == duplicate_pairs.EXACT
    assert found["detail"].to_dict()["A/1.png", "A/2.png"] == 1
    assert found["conflict"].sum() == 2


def test_two_data_sets_share_images_whose_classes_disagree(images, workspace, tmp_path, capsys):
    one = importing.import_folder(workspace, folder_of(tmp_path / "one", {"A/1.png": images[0], "B/2.png": images[1]}))
    given = {"a/7.png": images[0], "A2/8.png": images[1], "A2/9.png": images[2]}
    other = importing.import_folder(workspace, folder_of(tmp_path / "other", given))
    shared = duplicate_pairs.Shared(duplicate_pairs.between(workspace, one, other))
    assert (shared.images, shared.others) == (2, 2)
    assert shared.conflicts[["first", "second"]].to_numpy().tolist() == [["B/2.png", "A2/8.png"]]
    assert main(["audit", one.id, "--against", other.id]) == 0
    assert "2 images are in other as well, in 2 pairs; 1 pair has another class there" in capsys.readouterr().out


@pytest.mark.parametrize("change", [CHANGES["cropped"], CHANGES["turned"]], ids=["cropped", "turned"])
@pytest.mark.parametrize("copy_first", [True, False])
def test_another_crop_or_tilt_is_no_difference(images, change, copy_first):
    pair = [images[0], to_square(np.ascontiguousarray(change(images[0])), 256)]
    shown = duplicate_pairs.difference(*(reversed(pair) if copy_first else pair)).astype(int)
    unmoved = np.abs(2 * (pair[0].astype(int) - pair[1])).mean()
    assert np.abs(shown - 128).mean() < 0.4 * unmoved


def test_a_difference_is_grey_where_only_the_exposure_differs(images):
    image = images[0]
    assert np.abs(duplicate_pairs.difference(image, (40 + image * 0.5).astype(np.uint8)).astype(int) - 128).max() <= 4
    changed = image.copy()
    changed[100:120, 100:120] = 255
    shown = duplicate_pairs.difference(changed, image).astype(int)
    assert shown[100:120, 100:120].mean() > 160
    assert np.abs(shown[:50] - 128).mean() < 10
