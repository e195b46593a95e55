"""Data sets that are merged, and images that are added to one later."""

import shutil

import numpy as np
import pandas as pd
import pytest
from made_data import class_folders, database_folders, image

from covid_core.data import masks
from covid_core.data.dataset import decide, delete_dataset, list_datasets, open_dataset, take_back
from covid_core.data.decisions import LEAVE_OUT, RELABEL, Decision, together
from covid_core.data.duplicates import with_groups
from covid_core.data.imports import importing, merging
from covid_core.data.pixels import image_of, open_pixels
from covid_core.errors import DataError, InvalidChoice, Stopped
from covid_core.images.codec import png_bytes
from covid_core.specs import LayoutSpec, MergeSpec


def folder_of(root, **images):
    """``CLASS/NUMBER.png`` for each class and the numbers that its images are drawn from."""
    for label, numbers in images.items():
        (root / label).mkdir(parents=True)
        for number in numbers:
            (root / label / f"{number}.png").write_bytes(png_bytes(image(number)))
    return root


@pytest.fixture
def made(workspace, tmp_path):
    """Imports classes with the numbers that their images are drawn from."""

    def make(name, **images):
        return importing.import_folder(workspace, folder_of(tmp_path / name, **images), name)

    return make


def merge(workspace, *members, name="", **classes):
    return merging.merged(workspace, MergeSpec(members=[one.id for one in members], classes=classes), name)


def test_classes_add_up_and_the_source_is_the_member(workspace, made):
    one = merge(workspace, made("one", a=(1, 2), b=(3,)), made("two", a=(4,), b=(5, 6, 7)))
    assert one.counts == {"a": 3, "b": 4}
    assert one.images.groupby("source").size().to_dict() == {"one": 3, "two": 4}
    assert [info["counts"] for info in list_datasets(workspace) if info["id"] == one.id] == [{"a": 3, "b": 4}]


def test_a_shared_image_counts_once_and_the_first_member_wins(workspace, made):
    one = merge(workspace, made("one", a=(1, 2), b=(3,)), made("two", a=(2, 4), b=(5,)))
    assert one.counts == {"a": 3, "b": 2}
    assert one.images.loc[one.images["path"].str.endswith("/2.png"), "source"].tolist() == ["one"]
    assert len(one.left_out) == one.info["shared"] == 1
    assert one.info["conflicts"] == 0


def test_a_shared_image_with_two_classes_is_left_out_on_both_sides(workspace, made):
    first, second = made("one", a=(1, 2), b=(3,)), made("two", a=(4,), b=(2, 5))
    one = merge(workspace, first, second)
    assert one.counts == {"a": 2, "b": 2}
    assert one.info["conflicts"] == 2
    assert one.left_out["path"].tolist() == [f"{first.id}/a/2.png", f"{second.id}/b/2.png"]


def test_of_a_shared_image_with_two_classes_that_of_the_preferred_member_stays(workspace, made):
    first, second = made("one", a=(1, 2), b=(3,)), made("two", a=(4,), b=(2, 5))
    one = merging.merged(workspace, MergeSpec(members=(first.id, second.id), prefer=second.id))
    assert one.counts == {"a": 2, "b": 3}
    assert one.left_out["path"].tolist() == [f"{first.id}/a/2.png"]
    assert (one.info["conflicts"], one.info["in_common"]) == (1, 1)


def test_a_conflict_ends_where_the_class_gets_the_others_name(workspace, made):
    first, second = made("one", a=(1, 2), b=(3,)), made("two", c=(2, 4))
    one = merge(workspace, first, second, **{second.id: {"c": "a"}})
    assert one.counts == {"a": 3, "b": 1}
    assert one.info["members"][1]["map"] == {"c": "a"}


def test_a_dropped_class_does_not_count(workspace, made):
    first, second = made("one", a=(1, 2), b=(3,)), made("two", a=(4,), c=(2,))
    one = merge(workspace, first, second, **{second.id: {"c": ""}})
    assert one.counts == {"a": 3, "b": 1}
    assert one.info["conflicts"] == 0
    assert one.info["members"][1]["drop"] == ["c"]


@pytest.mark.parametrize(
    "classes",
    [
        {"nobody": {"a": "b"}},
        {"two": {"z": "b"}},
        {"two": {"a": "", "b": ""}, "one": {"b": ""}},
    ],
    ids=["unknown member", "unknown class", "one class left"],
)
def test_what_cannot_be_merged_is_refused(workspace, made, classes):
    members = {"one": made("one", a=(1,), b=(2,)), "two": made("two", a=(3,), b=(4,))}
    named = {members[name].id if name in members else name: of for name, of in classes.items()}
    with pytest.raises(DataError):
        merge(workspace, *members.values(), **named)
    assert len(list_datasets(workspace)) == 2


def test_a_data_set_does_not_merge_with_itself(workspace, made):
    one = made("one", a=(1,), b=(2,))
    with pytest.raises(DataError):
        merge(workspace, one, one)


def test_decisions_of_the_members_count(workspace, made):
    first, second = made("one", a=(1, 2, 3, 9), b=(4,)), made("two", a=(5,), b=(6,))
    wanted = [Decision(LEAVE_OUT, "a/1.png"), Decision(RELABEL, "a/2.png", "b"), *together(["a/3.png", "a/9.png"])]
    one = merge(workspace, decide(workspace, first.id, wanted, "me"), second)
    assert one.counts == {"a": 3, "b": 3}
    group = with_groups(workspace, one).set_index("image_id")["group"]
    assert group["a/3.png"] == group["a/9.png"]
    assert [line.author for line in one.decisions] == ["me", "me"]


def test_a_merged_data_set_needs_no_member(workspace, made, tmp_path):
    members = [made("one", a=(1,), b=(2,)), made("two", a=(3,), b=(4,))]
    one = merge(workspace, *members)
    for member in members:
        delete_dataset(workspace, member.id)
        shutil.rmtree(tmp_path / member.name)
    assert [image_of(one, row)[0].pixels.shape for row in range(4)] == [(64, 64)] * 4


def test_patients_of_two_members_are_two_patients(workspace, made):
    members = [made("one", a=(1,), b=(2,)), made("two", a=(3,), b=(4,))]
    for member in members:
        path = member.folder / "manifest.parquet"
        pd.read_parquet(path).assign(patient_id=["1", ""]).to_parquet(path)
    one = merge(workspace, *members)
    assert one.images["patient_id"].tolist() == [f"{members[0].id}/1", "", f"{members[1].id}/1", ""]


def test_a_hashed_patient_is_the_same_in_both_members(workspace, made):
    members = [made("one", a=(1,), b=(2,)), made("two", a=(3,), b=(4,))]
    for member in members:
        path = member.folder / "manifest.parquet"
        pd.read_parquet(path).assign(patient_id=["0123456789abcdef", ""]).to_parquet(path)
    assert merge(workspace, *members).images["patient_id"].tolist() == ["0123456789abcdef", ""] * 2


def test_masks_come_along(workspace, tmp_path, made):
    database = database_folders(tmp_path / "database", {"a": 2, "b": 1}, {"a": "hospital"})
    member = importing.import_folder(workspace, database, "masked")
    one = merge(workspace, member, made("two", a=(5001,), b=(5002,)))
    assert masks.has_mask(one).sum() == 3
    assert masks.mask_of(one, one.images["image_id"][0]).any()
    assert one.images["source"][0] == "masked · hospital"


def test_images_of_one_name_get_ids_of_their_own(workspace, tmp_path):
    folders = [class_folders(tmp_path / name, {"a": 1, "b": 1}, {"a": level}) for name, level in (("x", 50), ("y", 90))]
    folders[1].joinpath("a/a-1.png").write_bytes(png_bytes(image(77)))
    folders[1].joinpath("b/b-1.png").write_bytes(png_bytes(image(78)))
    one = merge(workspace, *(importing.import_folder(workspace, folder) for folder in folders))
    assert one.images["image_id"].is_unique
    assert len(one.images) == 4


def test_pixels_are_those_of_the_images_that_remain(workspace, made):
    one = merge(workspace, made("one", a=(1, 2), b=(3,)), made("two", a=(2, 4), b=(5,)))
    stored = np.array(open_pixels(workspace, one, 128))
    for path in workspace.pixels.iterdir():
        path.unlink()
    assert np.array_equal(open_pixels(workspace, one, 128), stored)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_stop_leaves_nothing(workspace, made, share):
    members = [made("one", a=(1,), b=(2,)), made("two", a=(3,), b=(4,))]

    def stop(done, _message):
        if done >= share:
            raise Stopped("stopped")

    with pytest.raises(Stopped):
        merging.merged(workspace, MergeSpec(members=[one.id for one in members]), progress=stop)
    assert len(list(workspace.datasets.iterdir())) == 2
    assert not list(workspace.pixels.glob(".*"))


def test_a_broader_class_and_other_spellings_are_noticed(workspace, made):
    first = made("one", **{"COVID": (1,), "Viral Pneumonia": (2,)})
    second = made("two", **{"covid-19": (3,), "Pneumonia": (4,)})
    spec = MergeSpec(members=[first.id, second.id], classes={second.id: {"Pneumonia": "Viral Pneumonia"}})
    plan = merging.planned(workspace, spec)
    assert [(one.label, one.into) for one in plan.broader] == [("Pneumonia", "Viral Pneumonia")]
    assert plan.spellings == [("COVID", "covid-19")]
    assert merging.proposed([first, second]) == {second.id: {"covid-19": "COVID"}}


def test_a_broader_class_that_stays_beside_a_narrower_one_is_noticed(workspace, made):
    first = made("one", **{"COVID": (1,), "Viral Pneumonia": (2,)})
    second = made("two", **{"COVID": (3,), "Pneumonia": (4,)})
    plan = merging.planned(workspace, MergeSpec(members=[first.id, second.id]))
    found = [(one.member, one.label, one.into) for one in plan.overlapping]
    assert found == [("two", "Pneumonia", "Viral Pneumonia")] and not plan.broader
    one_name = {second.id: {"Pneumonia": "Viral Pneumonia"}}
    assert not merging.planned(workspace, MergeSpec(members=[first.id, second.id], classes=one_name)).overlapping


# Later images


def add(workspace, dataset, folder, spec=None, progress=lambda done, message: None):
    return merging.added(workspace, dataset.id, folder, spec or LayoutSpec(), "me", progress)


def test_added_images_make_a_new_version_and_the_old_one_opens(workspace, made, tmp_path):
    before = decide(workspace, made("one", a=(1, 2), b=(3, 4)).id, [Decision(RELABEL, "a/2.png", "b")], "me")
    after = add(workspace, before, folder_of(tmp_path / "more", a=(5,), c=(6, 7)))
    assert after.counts == {"a": 2, "b": 3, "c": 2}
    assert after.at(before.version).counts == before.counts
    assert open_dataset(workspace, before.id).version == after.version != before.version
    assert [info["counts"] for info in list_datasets(workspace)] == [after.counts]
    assert len(open_pixels(workspace, after, 128)) == 7


def test_the_data_set_needs_no_other_folder_then(workspace, made, tmp_path):
    before = made("one", a=(1, 2), b=(3,))
    add(workspace, before, folder_of(tmp_path / "more", a=(5,), b=(6,)))
    shutil.rmtree(tmp_path / "one")
    shutil.rmtree(tmp_path / "more")
    after = open_dataset(workspace, before.id)
    assert [image_of(after, row)[0].pixels.shape for row in range(5)] == [(64, 64)] * 5
    assert image_of(after.at(before.version), 0)[0].pixels.shape == (64, 64)


def test_an_added_image_that_is_there_is_left_out_and_listed(workspace, made, tmp_path):
    before = made("one", a=(1, 2), b=(3,))
    after = add(workspace, before, folder_of(tmp_path / "more", a=(1, 5), b=(2,)))
    assert after.counts == {"a": 3, "b": 1}
    assert after.left_out["path"].tolist() == ["b/2.png", "a/1.png"]
    assert before.imported.left_out.empty


def test_nothing_changes_where_no_image_is_new(workspace, made, tmp_path):
    before = made("one", a=(1, 2), b=(3,))
    with pytest.raises(DataError):
        add(workspace, before, folder_of(tmp_path / "more", a=(1,), b=(3,)))
    assert open_dataset(workspace, before.id).decisions == ()
    assert not (before.folder / "files").exists()


def test_an_addition_can_be_taken_back_and_made_again(workspace, made, tmp_path):
    before, more = made("one", a=(1, 2), b=(3,)), folder_of(tmp_path / "more", a=(5,))
    added = add(workspace, before, more)
    back = take_back(workspace, before.id, [1], "me")
    assert (back.version, back.counts) == (before.version, before.counts)
    again = add(workspace, back, more)
    assert again.counts == added.counts
    assert again.images["image_id"].is_unique


def test_an_addition_is_not_taken_back_under_a_decision_about_its_images(workspace, made, tmp_path):
    before = made("one", a=(1, 2), b=(3,))
    add(workspace, before, folder_of(tmp_path / "more", a=(5,)))
    decide(workspace, before.id, [Decision(LEAVE_OUT, "a/5.png")], "me")
    with pytest.raises(InvalidChoice):
        take_back(workspace, before.id, [1], "me")
    assert take_back(workspace, before.id, [1, 2], "me").version == before.version


def test_a_second_addition_follows_the_first(workspace, made, tmp_path):
    one = made("one", a=(1,), b=(2,))
    for number in (5, 6):
        one = add(workspace, one, folder_of(tmp_path / f"more{number}", a=(number,)))
    assert one.counts == {"a": 3, "b": 1}
    assert len(one.versions) == 3


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.95])
def test_a_stop_adds_nothing(workspace, made, tmp_path, share):
    before = made("one", a=(1,), b=(2,))

    def stop(done, _message):
        if done >= share:
            raise Stopped("stopped")

    with pytest.raises(Stopped):
        add(workspace, before, folder_of(tmp_path / "more", a=(5,)), progress=stop)
    assert open_dataset(workspace, before.id).info == before.info
    assert not list(workspace.uploads.iterdir())
    assert not list(workspace.pixels.glob(".*"))
