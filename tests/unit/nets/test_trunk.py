"""Features of images, once per image: keys, tables, two workers at once. What runs the network is made up here."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_fits import spec
from waiting import LONG

from covid_core.errors import RunDamaged, Stopped
from covid_core.files import FileLock
from covid_core.inference.network import pooled
from covid_core.nets import trunk
from covid_core.nets.trunk import RAW, Engine, FrozenTrunk, Wanted
from covid_core.work import silent
from covid_core.workspace import Workspace

IMAGES, SIDE = 12, 2
MEANS = Wanted("means", "mean", (0,), 3)
WHOLE = Wanted("whole", RAW, (1,), SIDE * SIDE * 2)
NUMBERED = np.arange(IMAGES, dtype=np.uint8)[:, None, None] * np.ones((1, SIDE, SIDE), np.uint8)


def maps_of(images: np.ndarray) -> list[np.ndarray]:
    """Two outputs, of three channels and of two: the image times 1, 2, 3 and times 10, 20."""
    grey = images[..., None].astype(np.float32)
    return [grey * np.float32([1, 2, 3]), grey * np.float32([10, 20])]


class Asking:
    """Asks for features and notes which images were computed."""

    def __init__(self, workspace: Workspace, parallel: int = 2, batch: int = 2):
        self.workspace, self.parallel, self.batch = workspace, parallel, batch
        self.computed: list[int] = []
        self.engines = 0

    def maps(self, images: np.ndarray) -> list[np.ndarray]:
        self.computed.extend(images[:, 0, 0].tolist())
        return maps_of(images)

    def engine(self) -> Engine:
        self.engines += 1
        return Engine(self.maps, self.batch, self.parallel)

    def ask(self, rows: list[int], wanted=(MEANS,), by_the_way=(), progress=silent) -> list[np.ndarray]:
        at = np.array(rows)
        return trunk.cached_features(
            self.workspace, wanted, IMAGES, at, NUMBERED.__getitem__, self.engine, progress, by_the_way
        )


def kept(workspace: Workspace, wanted: Wanted) -> list[int]:
    """Images whose features are in the cache."""
    return np.flatnonzero(trunk.are_cached(workspace, wanted, IMAGES, np.arange(IMAGES))).tolist()


# What it took


def test_what_computing_features_took_stands_beside_them(tmp_path):
    workspace = Workspace(tmp_path)
    Asking(workspace).ask([0, 1, 2])
    assert trunk.seconds_it_took(trunk.path_of(workspace, MEANS.name), 3) >= 0


def test_what_a_stopped_pass_took_is_noted_with_the_images_that_it_did(tmp_path):
    workspace = Workspace(tmp_path)

    def stop(share: float, message: str) -> None:
        if share >= 0.5:
            raise Stopped("enough")

    with pytest.raises(Stopped):
        Asking(workspace, parallel=1).ask(list(range(8)), progress=stop)
    noted = trunk.path_of(workspace, MEANS.name).with_suffix(trunk.TOOK)
    assert json.loads(noted.read_text())["times"] == 4


def test_a_note_that_cannot_be_written_harms_nothing(tmp_path):
    trunk.note_seconds(tmp_path / "gone" / "features.f32", 1.0)
    assert np.isnan(trunk.seconds_it_took(tmp_path / "gone" / "features.f32"))


def test_seconds_of_several_passes_are_told_for_as_many_images_as_are_asked_for(tmp_path):
    trunk.note_seconds(tmp_path / "features.f32", 3.0, 10)
    trunk.note_seconds(tmp_path / "features.f32", 1.0, 10)
    assert trunk.seconds_it_took(tmp_path / "features.f32", 5) == pytest.approx(1.0)


@pytest.mark.parametrize("noted", ["", "{", "{}", '{"seconds": 1, "times": 0}', "[]"])
def test_seconds_that_nobody_can_read_are_not_a_number(tmp_path, noted):
    (tmp_path / "features.took").write_text(noted)
    assert np.isnan(trunk.seconds_it_took(tmp_path / "features.f32"))


def test_seconds_of_what_an_earlier_version_kept_are_not_a_number(tmp_path):
    assert np.isnan(trunk.seconds_it_took(tmp_path / "features.f32"))


# Which features a head takes


@pytest.mark.parametrize("channels", [(3,), (2, 3), (1, 2, 4)])
@pytest.mark.parametrize("pooling", ["mean", "mean_max"])
def test_a_head_takes_from_the_kept_features_what_it_would_pool_itself(channels, pooling):
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(5, SIDE, SIDE, count)).astype(np.float32) for count in channels]
    shapes = tuple((SIDE, SIDE, count) for count in channels)
    frozen = FrozenTrunk("key", Path("key.tflite"), ("layer",) * len(shapes), shapes, len(shapes))
    kept_of_all = trunk.pooled_features(frozen, "name").values(maps)
    assert np.array_equal(kept_of_all[:, frozen.columns(pooling)], pooled(maps, pooling))


# Keys


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"image_size": 64}, {"backbone": "vgg16"}], ids=["seed", "size", "backbone"]
)
def test_what_a_trunks_numbers_depend_on_is_in_its_key(other):
    assert trunk.key_of(spec(), None, ("last",)) != trunk.key_of(spec(**other), None, ("last",))


def test_other_outputs_and_other_weights_are_another_trunk(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    starts = [None, tmp_path / "a", tmp_path / "b"]
    keys = {trunk.key_of(spec(), start, outputs) for start in starts for outputs in (("last",), ("first", "last"))}
    assert len(keys) == 6


def test_what_a_trunks_numbers_do_not_depend_on_is_not_in_its_key():
    other = spec(epochs=3, head={"units": (8,)}, classes=("a", "b"))
    assert trunk.key_of(spec(), None, ("last",)) == trunk.key_of(other, None, ("last",))


def test_with_weights_from_a_file_the_seed_and_the_files_name_do_not_matter(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text("same")
    keys = {trunk.key_of(spec(seed=seed), tmp_path / name, ("last",)) for seed, name in ((0, "a"), (1, "b"))}
    assert len(keys) == 1


# The files of a trunk


def made_trunk(workspace: Workspace) -> tuple[FrozenTrunk, np.ndarray, list[np.ndarray]]:
    shapes = ((2, 2, 3), (2, 2, 2), (2, 2, 4))
    made = FrozenTrunk("key", workspace.trunks / "key.tflite", ("first", "second", "edge"), shapes, 2, 7)
    answers = [np.random.default_rng(n).normal(size=(4, *shape)).astype(np.float32) for n, shape in enumerate(shapes)]
    made.path.write_bytes(b"network")
    trunk.publish(made, NUMBERED[:4], answers)
    return made, NUMBERED[:4], answers


def test_a_kept_trunk_is_found_as_it_was(workspace):
    made, _, _ = made_trunk(workspace)
    assert trunk.load(workspace, "key") == made
    assert trunk.load(workspace, "other") is None


@pytest.mark.parametrize("suffix", [".tflite", ".npz", ".json"])
def test_a_trunk_of_which_a_file_is_missing_is_made_anew(workspace, suffix):
    made, _, _ = made_trunk(workspace)
    made.path.with_suffix(suffix).unlink()
    assert trunk.load(workspace, "key") is None


def test_what_keras_answered_is_kept_as_mean_and_maximum_of_every_channel_of_the_taps(workspace):
    made, images, answers = made_trunk(workspace)
    probe, taps = made.probe()
    assert np.array_equal(probe, images)
    assert len(taps) == 2
    for tap, answer in zip(taps, answers[:2], strict=True):
        assert np.allclose(tap[:, 0], pooled([answer], "mean"))
        assert np.allclose(tap.reshape(4, -1), pooled([answer], "mean_max"))


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_damaged_file_of_a_trunk_is_named(workspace, suffix):
    made, _, _ = made_trunk(workspace)
    made.path.with_suffix(suffix).write_bytes(b"{")
    with pytest.raises(RunDamaged, match=f"key{suffix}, kept of a frozen network, is damaged. Remove it from"):
        trunk.load(workspace, "key").probe()


def test_the_width_counts_the_taps_and_not_the_boundary(workspace):
    made, _, _ = made_trunk(workspace)
    assert (made.width("mean"), made.width("mean_max")) == (5, 10)
    kept_for_heads = trunk.pooled_features(made, "name")
    assert (kept_for_heads.outputs, kept_for_heads.width) == ((0, 1), 10)
    edge = trunk.boundary_activations(made, "name")
    assert (edge.outputs, edge.width) == ((2,), 16)


# Features, once per image


def test_features_are_the_pooled_maps(workspace):
    (table,) = Asking(workspace).ask([1, 5])
    assert table[[1, 5]].tolist() == [[1, 2, 3], [5, 10, 15]]


def test_a_image_is_computed_once(workspace):
    asking = Asking(workspace)
    asking.ask([1, 3])
    asking.ask([1, 3])
    assert sorted(asking.computed) == [1, 3]


def test_only_missing_images_are_computed_and_others_stay_unknown(workspace):
    asking = Asking(workspace)
    asking.ask([1, 3])
    (table,) = asking.ask([1, 2, 3])
    assert sorted(asking.computed) == [1, 2, 3]
    assert table[[1, 2, 3], 0].tolist() == [1, 2, 3]
    assert np.isnan(table[[0, 4, 11], 0]).all()


def test_nothing_that_runs_a_network_is_asked_for_when_nothing_is_missing(workspace):
    asking = Asking(workspace)
    asking.ask([1, 3])
    asking.ask([3])
    assert asking.engines == 1


def test_whole_maps_are_kept_cell_by_cell(workspace):
    _, whole = Asking(workspace).ask([4], wanted=(MEANS, WHOLE))
    assert whole[4].tolist() == maps_of(NUMBERED[4:5])[1].ravel().tolist()


def test_a_image_that_lacks_one_of_two_tables_is_computed_for_both(workspace):
    asking = Asking(workspace)
    asking.ask([1, 2])
    asking.ask([1, 2, 3], wanted=(MEANS, WHOLE))
    assert sorted(asking.computed) == [1, 1, 2, 2, 3]
    assert kept(workspace, WHOLE) == [1, 2, 3]


def test_what_is_kept_by_the_way_is_there_for_the_images_that_were_computed(workspace):
    asking = Asking(workspace)
    asking.ask([1, 2])
    asking.ask([1, 2, 3], by_the_way=(WHOLE,))
    assert kept(workspace, WHOLE) == [3]
    assert sorted(asking.computed) == [1, 2, 3]


def test_nothing_is_kept_by_the_way_where_nothing_is_computed(workspace):
    asking = Asking(workspace)
    asking.ask([1, 2])
    asking.ask([1, 2], by_the_way=(WHOLE,))
    assert not trunk.path_of(workspace, "whole").exists()


def test_features_kept_by_the_way_are_not_computed_again(workspace):
    asking = Asking(workspace)
    asking.ask([1, 2], by_the_way=(WHOLE,))
    _, whole = asking.ask([1, 2], wanted=(MEANS, WHOLE))
    assert asking.engines == 1
    assert whole[2].tolist() == maps_of(NUMBERED[2:3])[1].ravel().tolist()


@pytest.mark.parametrize("batch", [1, 5])
def test_many_cores_come_to_the_same_as_one(tmp_path, batch):
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    rows = list(range(IMAGES))[::-1]
    one = Asking(Workspace(tmp_path / "one"), parallel=1, batch=1).ask(rows, wanted=(MEANS, WHOLE))
    many = Asking(Workspace(tmp_path / "many"), parallel=4, batch=batch).ask(rows, wanted=(MEANS, WHOLE))
    assert all(np.array_equal(a, b) for a, b in zip(one, many, strict=True))


def test_parts_that_others_have_computed_are_joined_and_not_computed_again(workspace):
    asking, noted = Asking(workspace), []
    for part, rows in enumerate(np.array_split(np.array([5, 1, 3, 0]), 2)):
        of = (workspace, MEANS, part, rows, NUMBERED.__getitem__, asking.engine)
        trunk.part_of_features(*of, lambda share, message: noted.append(message))
    assert sorted(asking.computed) == [0, 1, 3, 5] and kept(workspace, MEANS) == []
    (table,) = asking.ask([0, 1, 2, 3, 5])
    assert sorted(asking.computed) == [0, 1, 2, 3, 5]
    (alone,) = Asking(Workspace(workspace.root / "alone")).ask([0, 1, 2, 3, 5])
    np.testing.assert_array_equal(table[[0, 1, 2, 3, 5]], alone[[0, 1, 2, 3, 5]])
    assert not list(workspace.features.glob("*-part-*.f32"))
    assert trunk.seconds_it_took(trunk.path_of(workspace, MEANS.name)) > 0


def test_a_part_that_was_left_in_the_middle_is_gone_on_with(workspace):
    asking, rows = Asking(workspace, parallel=1), np.arange(IMAGES)
    of = (workspace, MEANS, 0, rows, NUMBERED.__getitem__, asking.engine)
    with pytest.raises(Stopped):
        trunk.part_of_features(*of, stop)
    assert 0 < len(asking.computed) < IMAGES
    trunk.part_of_features(*of, silent)
    asking.ask(rows.tolist())
    assert sorted(asking.computed) == rows.tolist()


def test_a_part_that_a_training_on_other_images_has_left_is_computed_anew(workspace):
    asking = Asking(workspace)
    for rows in ([0, 1], [2, 3]):
        of = (workspace, MEANS, 0, np.array(rows), NUMBERED.__getitem__, asking.engine)
        trunk.part_of_features(*of, silent)
    (table,) = asking.ask([2, 3])
    (alone,) = Asking(Workspace(workspace.root / "alone")).ask([2, 3])
    np.testing.assert_array_equal(table[[2, 3]], alone[[2, 3]])


def test_a_part_that_is_still_being_filled_is_left_alone(workspace):
    asking = Asking(workspace)
    trunk.part_of_features(workspace, MEANS, 0, np.array([0, 1]), NUMBERED.__getitem__, asking.engine, silent)
    (part,) = workspace.features.glob("*-part-0.f32")
    lock = FileLock(part.with_suffix(".lock"))
    assert lock.try_acquire()
    asking.ask([0])
    assert part.exists() and asking.computed.count(0) == 2
    lock.release()


def test_progress_ends_with_all_images(workspace):
    told = []
    Asking(workspace).ask([0, 1, 2], progress=lambda *what: told.append(what))
    assert told == [(2 / 3, "2 of 3 images"), (1.0, "3 of 3 images")]


def stop(_share: float, _message: str) -> None:
    raise Stopped("Enough.")


def test_a_stop_keeps_what_is_computed_and_the_next_goes_on(workspace):
    asking = Asking(workspace, parallel=1)
    with pytest.raises(Stopped):
        asking.ask(list(range(IMAGES)), progress=stop)
    before = kept(workspace, MEANS)
    asking.computed.clear()
    (table,) = asking.ask(list(range(IMAGES)))
    assert {0, 1} <= set(before)
    assert sorted(asking.computed) == sorted(set(range(IMAGES)) - set(before))
    assert table[:, 0].tolist() == list(range(IMAGES))


def test_an_error_of_the_network_is_told_and_lets_the_lock_go(workspace):
    def broken(_images: np.ndarray) -> list[np.ndarray]:
        raise ValueError("no such layer")

    asking = Asking(workspace)
    with pytest.raises(ValueError, match="no such layer"):
        trunk.cached_features(
            workspace,
            [MEANS],
            IMAGES,
            np.arange(3),
            NUMBERED.__getitem__,
            lambda: Engine(broken, 2, 2),
            silent,
        )
    asking.ask([0, 1])
    assert sorted(asking.computed) == [0, 1]


def test_a_table_for_another_number_of_images_is_made_anew(workspace):
    trunk.path_of(workspace, "means").write_bytes(b"\0" * 48)
    (table,) = Asking(workspace).ask([1])
    assert table[1].tolist() == [1, 2, 3]
    assert kept(workspace, MEANS) == [1]


# Two workers at once


class Gate:
    """Holds the first worker within its first batch until it is opened."""

    def __init__(self):
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        self.reached.set()
        assert self.open.wait(LONG)
        return maps_of(images)


def at_once(workspace: Workspace, gate: Gate, second: Callable[[], None]) -> None:
    """Run ``second`` while another worker computes all images behind the gate; the gate is open afterwards."""
    first = Asking(workspace)
    first.maps = gate
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(first.ask, list(range(IMAGES)))
        try:
            assert gate.reached.wait(LONG)
            second()
        finally:
            gate.open.set()
        done.result(timeout=LONG)


def test_of_two_workers_one_computes_and_the_other_waits_and_says_so(workspace, monkeypatch):
    monkeypatch.setattr(trunk, "LOCK_POLL", 0.01)
    gate, other, told, tables = Gate(), Asking(workspace), [], []

    def progress(_share: float, message: str) -> None:
        told.append(message)
        gate.open.set()

    at_once(workspace, gate, lambda: tables.extend(other.ask(list(range(IMAGES)), progress=progress)))
    assert set(told) == {"another run computes the same features, waiting for it"}
    assert other.engines == 0
    assert tables[0][:, 0].tolist() == list(range(IMAGES))


def test_a_worker_that_waits_can_be_stopped(workspace, monkeypatch):
    monkeypatch.setattr(trunk, "LOCK_POLL", 0.01)

    def second() -> None:
        with pytest.raises(Stopped):
            Asking(workspace).ask([0], progress=stop)

    at_once(workspace, Gate(), second)
    assert kept(workspace, MEANS) == list(range(IMAGES))


def test_other_features_do_not_wait(workspace):
    other = Wanted("other", "mean", (0,), 3)
    at_once(workspace, Gate(), lambda: Asking(workspace).ask([0], wanted=(other,), progress=silent))
    assert kept(workspace, other) == [0]


def test_the_lock_is_free_afterwards(workspace):
    Asking(workspace).ask([0])
    assert not FileLock(workspace.features / "means.lock").is_held()
