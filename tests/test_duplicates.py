"""Films that show the same picture, and the groups that they form."""

import numpy as np
import pandas as pd
import pytest
from made_data import class_folders
from scipy import ndimage

from covid_core.data import duplicates, importing
from covid_core.workspace import Workspace

SIDE = 128


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, uint8 (count, SIDE, SIDE)."""
    noise = np.random.default_rng(seed).normal(size=(count, SIDE, SIDE))
    smooth = np.stack([ndimage.gaussian_filter(one, 8) for one in noise])
    return np.clip(128 + 1500 * smooth, 0, 255).astype(np.uint8)


def alike(*films: np.ndarray) -> set[tuple[int, int]]:
    table = duplicates.pairs(np.stack(films))
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


def test_blank_films_are_not_alike():
    assert alike(np.zeros((SIDE, SIDE), np.uint8), np.full((SIDE, SIDE), 9, np.uint8)) == set()


def test_chests_that_only_share_their_shape_are_not_the_same_picture():
    rng = np.random.default_rng(5)
    shape = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 16)
    detail = [ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 2) for _ in range(2)]
    films = np.stack([np.clip(128 + 4000 * shape + 80 * one, 0, 255).astype(np.uint8) for one in detail])
    one, other = duplicates.miniatures(films, duplicates.SIDE)
    assert one @ other > duplicates.ALIKE
    assert alike(*films) == set()


def test_pairs_across_two_sets_name_a_film_of_each(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    films = pictures(5)
    found = duplicates.pairs(films, films[[3, 0]])
    assert sorted(zip(found["first"], found["second"], strict=True)) == [(0, 1), (3, 0)]
    assert found["detail"].to_numpy() == pytest.approx(1, abs=1e-5)


def test_blocks_find_what_one_block_finds(monkeypatch):
    films = np.concatenate([pictures(7), pictures(7)])
    whole = duplicates.pairs(films)
    monkeypatch.setattr(duplicates, "BLOCK", 3)
    assert set(map(tuple, whole[["first", "second"]].to_numpy())) == {(i, i + 7) for i in range(7)}
    pd.testing.assert_frame_equal(
        duplicates.pairs(films)[["first", "second"]].sort_values("first", ignore_index=True),
        whole[["first", "second"]].sort_values("first", ignore_index=True),
    )


def films(sha256: str, patients: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"sha256": list(sha256), "patient_id": patients or [""] * len(sha256)})


def groups(table: pd.DataFrame, *pairs: tuple[int, int]) -> list[int]:
    return duplicates.groups(table, pd.DataFrame(pairs, columns=["first", "second"], dtype=int)).tolist()


def test_what_is_alike_equal_or_of_one_patient_is_one_group():
    assert groups(films("abcadef", ["", "p", "", "", "p", "", ""]), (2, 5)) == [0, 1, 2, 0, 1, 2, 6]


def test_groups_reach_over_a_chain():
    assert groups(films("abcd"), (2, 3), (1, 2)) == [0, 1, 1, 1]


def test_films_of_unknown_patients_stay_apart():
    assert groups(films("abc")) == [0, 1, 2]


def test_groups_of_a_data_set_are_kept_and_named_after_their_first_film(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    root = class_folders(tmp_path / "films", {"A": 4, "B": 4})
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


def test_groups_whose_file_is_torn_are_computed_again(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    dataset = importing.import_folder(workspace, class_folders(tmp_path / "films", {"A": 3, "B": 3}))
    before = duplicates.with_groups(workspace, dataset)
    (kept,) = workspace.tables.glob("*groups*")
    kept.write_bytes(b"torn")
    pd.testing.assert_frame_equal(duplicates.with_groups(workspace, dataset), before)
