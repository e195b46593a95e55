"""Images that show the same picture, and the groups that they form."""

import numpy as np
import pandas as pd
import pytest
from made_data import class_folders
from scipy import ndimage

from covid_core.data import duplicates
from covid_core.data.imports import importing
from covid_core.errors import NoRoom
from covid_core.workspace import Workspace

SIDE = 128


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, uint8 (count, SIDE, SIDE)."""
    noise = np.random.default_rng(seed).normal(size=(count, SIDE, SIDE))
    smooth = np.stack([ndimage.gaussian_filter(one, 8) for one in noise])
    return np.clip(128 + 1500 * smooth, 0, 255).astype(np.uint8)


def alike(*images: np.ndarray) -> set[tuple[int, int]]:
    table = duplicates.pairs(np.stack(images))
    return {(int(a), int(b)) for a, b in zip(table["first"], table["second"], strict=True)}


def test_a_brighter_and_a_noisier_copy_are_found_and_others_are_not():
    one, other, third = pictures(3)
    noise = np.random.default_rng(1).normal(0, 4, one.shape)
    noisy = np.clip(other + noise, 0, 255).astype(np.uint8)
    brighter = np.clip(0.7 * one + 60, 0, 255).astype(np.uint8)
    assert alike(one, other, third, brighter, noisy) == {(0, 3), (1, 4)}


def test_a_copy_that_was_resized_is_found():
    (one,) = pictures(1)
    smaller = ndimage.zoom(ndimage.zoom(one.astype(float), 0.5, order=1), 2, order=1)
    assert alike(one, np.clip(smaller, 0, 255).astype(np.uint8)) == {(0, 1)}


def test_blank_images_are_not_alike():
    assert alike(np.zeros((SIDE, SIDE), np.uint8), np.full((SIDE, SIDE), 9, np.uint8)) == set()


def test_chests_that_only_share_their_shape_are_not_the_same_picture():
    rng = np.random.default_rng(5)
    shape = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 16)
    detail = [ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 2) for _ in range(2)]
    images = np.stack([np.clip(128 + 4000 * shape + 80 * one, 0, 255).astype(np.uint8) for one in detail])
    one, other = duplicates.miniatures(images, duplicates.SIDE)
    assert one @ other > duplicates.ALIKE
    assert alike(*images) == set()


def test_pairs_across_two_sets_name_a_image_of_each(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    images = pictures(5)
    found = duplicates.pairs(images, images[[3, 0]])
    assert sorted(zip(found["first"], found["second"], strict=True)) == [(0, 1), (3, 0)]
    assert found["detail"].to_numpy() == pytest.approx(1, abs=1e-5)


def test_blocks_find_what_one_block_finds(monkeypatch):
    images = np.concatenate([pictures(7), pictures(7)])
    whole = duplicates.pairs(images)
    monkeypatch.setattr(duplicates, "BLOCK", 3)
    assert set(map(tuple, whole[["first", "second"]].to_numpy())) == {(i, i + 7) for i in range(7)}
    pd.testing.assert_frame_equal(
        duplicates.pairs(images)[["first", "second"]].sort_values("first", ignore_index=True),
        whole[["first", "second"]].sort_values("first", ignore_index=True),
    )


def images(sha256: str, patients: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"sha256": list(sha256), "patient_id": patients or [""] * len(sha256)})


def groups(table: pd.DataFrame, *pairs: tuple[int, int]) -> list[int]:
    return duplicates.groups(table, pd.DataFrame(pairs, columns=["first", "second"], dtype=int)).tolist()


def test_what_is_alike_equal_or_of_one_patient_is_one_group():
    assert groups(images("abcadef", ["", "p", "", "", "p", "", ""]), (2, 5)) == [0, 1, 2, 0, 1, 2, 6]


def test_groups_reach_over_a_chain():
    assert groups(images("abcd"), (2, 3), (1, 2)) == [0, 1, 1, 1]


def test_images_of_unknown_patients_stay_apart():
    assert groups(images("abc")) == [0, 1, 2]


def test_groups_of_a_data_set_are_kept_and_named_after_their_first_image(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    root = class_folders(tmp_path / "images", {"A": 4, "B": 4})
    (root / "B" / "B-9.png").write_bytes((root / "A" / "A-2.png").read_bytes())
    dataset = importing.import_folder(workspace, root)
    found = duplicates.with_groups(workspace, dataset).set_index("image_id")["group"]
    copies = found[found.duplicated(keep=False)]
    assert len(copies) == 2
    assert copies.iat[0] == copies.index[0]
    for path in workspace.pixels.iterdir():
        path.unlink()
    assert duplicates.with_groups(workspace, dataset)["group"].tolist() == found.tolist()
    assert not list(workspace.pixels.iterdir())


def test_import_has_the_groups_ready(tmp_path, monkeypatch):
    workspace = Workspace(tmp_path / "workspace")
    root = class_folders(tmp_path / "images", {"A": 4, "B": 4})
    (root / "B" / "B-9.png").write_bytes((root / "A" / "A-2.png").read_bytes())
    dataset = importing.import_folder(workspace, root)
    monkeypatch.delattr(duplicates, "pairs")  # whoever looks for them again fails
    assert duplicates.with_groups(workspace, dataset)["group"].duplicated().sum() == 1
    assert set(dataset.info["seconds"]) == {"images", "groups"}


def test_a_data_set_without_groups_gets_them_when_they_are_asked_for(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    dataset = importing.import_folder(workspace, class_folders(tmp_path / "images", {"A": 3, "B": 3}))
    before = duplicates.with_groups(workspace, dataset)
    (kept,) = workspace.tables.glob("*groups*")
    kept.unlink()
    pd.testing.assert_frame_equal(duplicates.with_groups(workspace, dataset), before)
    assert kept.exists()


def test_an_import_that_has_no_room_for_groups_is_an_import_all_the_same(tmp_path, monkeypatch):
    def no_room(*_given):
        raise NoRoom("full")

    monkeypatch.setattr(duplicates, "store_groups", no_room)
    workspace = Workspace(tmp_path / "workspace")
    dataset = importing.import_folder(workspace, class_folders(tmp_path / "images", {"A": 3, "B": 3}))
    assert len(dataset.images) == 6


def test_progress_of_the_search_never_falls_and_ends_at_one(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    told: list[float] = []
    duplicates.pairs(pictures(7), progress=lambda share, _message: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1


def test_of_very_many_copies_enough_pairs_are_kept_to_hold_them_together(monkeypatch):
    monkeypatch.setattr(duplicates, "MOST", 10)
    noise = np.random.default_rng(1).normal(0, 3, (12, SIDE, SIDE))
    images = np.clip(np.repeat(pictures(2), 6, axis=0) + noise, 0, 255).astype(np.uint8)
    some = duplicates.pairs(images)
    monkeypatch.setattr(duplicates, "MOST", 1000)
    every = duplicates.pairs(images)
    assert (len(some), len(every)) == (18, 30)
    table = pd.DataFrame({"sha256": "", "patient_id": ""}, index=range(12))
    assert duplicates.groups(table, some).tolist() == duplicates.groups(table, every).tolist() == [0] * 6 + [6] * 6
    for image in range(12):  # the one that it is most alike is among those kept
        best = every[(every[["first", "second"]] == image).any(axis=1)].iloc[0]
        assert ((some["first"] == best["first"]) & (some["second"] == best["second"])).any()


def test_the_blur_is_that_of_scipy():
    images = pictures(3)[:, : duplicates.FINE, : duplicates.FINE].astype(np.float32)
    expected = ndimage.gaussian_filter(images, (0, duplicates.BLUR, duplicates.BLUR))
    np.testing.assert_allclose(duplicates._blurred(images), expected, atol=1e-3)


def test_no_pair_of_alike_images_is_lost_by_the_sketch():
    """Images that share a part of their detail: around the threshold, the sketch must let all through that count."""
    rng = np.random.default_rng(2)
    common, other = rng.normal(size=(2, 300, SIDE, SIDE))
    share = np.sqrt(rng.uniform(0.8, 1, 300))[:, None, None]
    one = np.clip(128 + 40 * common, 0, 255).astype(np.uint8)
    two = np.clip(128 + 40 * (share * common + np.sqrt(1 - share**2) * other), 0, 255).astype(np.uint8)
    detail = duplicates.details(one) @ duplicates.details(two).T
    coarse = duplicates.miniatures(one, duplicates.SIDE) @ duplicates.miniatures(two, duplicates.SIDE).T
    expected = np.argwhere((detail >= duplicates.SAME_DETAIL) & (coarse >= duplicates.ALIKE))
    found = duplicates.pairs(one, two).sort_values("first")
    assert 20 < len(expected) < 280
    assert found[["first", "second"]].to_numpy().tolist() == expected.tolist()


def test_groups_whose_file_is_torn_are_computed_again(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    dataset = importing.import_folder(workspace, class_folders(tmp_path / "images", {"A": 3, "B": 3}))
    before = duplicates.with_groups(workspace, dataset)
    (kept,) = workspace.tables.glob("*groups*")
    kept.write_bytes(b"torn")
    pd.testing.assert_frame_equal(duplicates.with_groups(workspace, dataset), before)
