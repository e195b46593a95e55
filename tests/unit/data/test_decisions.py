"""Decisions on images: what they do to a data set, its versions, its split, and what is refused."""

import json
import shutil
import threading

import numpy as np
import pytest

from covid_core.commands import main
from covid_core.data import dataset as data
from covid_core.data import decisions, duplicates
from covid_core.data.decisions import DISMISS, GROUP, LEAVE_OUT, RELABEL, Decision
from covid_core.data.imports import importing
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels, pixels_path
from covid_core.errors import CovidCoreError, DataError, InvalidChoice
from covid_core.workspace import Workspace

ME = "A reader"


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(scope="module")
def drawn(place) -> Workspace:
    importing.import_phantom(place, 30, 1)
    return place


@pytest.fixture
def images(workspace, drawn):
    shutil.copytree(drawn.root, workspace.root, dirs_exist_ok=True)
    (listed,) = data.list_datasets(workspace)
    return data.open_dataset(workspace, listed["id"])


def names_of(opened, label: str) -> list[str]:
    return opened.images.loc[opened.images["label"] == label, "image_id"].tolist()


def test_a_image_that_was_left_out_is_gone_and_its_file_stays(workspace, images):
    name = images.images["image_id"].iat[3]
    after = data.decide(workspace, images.id, [Decision(LEAVE_OUT, name)], ME)
    assert name not in after.images["image_id"].tolist()
    assert after.taken_out["image_id"].tolist() == [name]
    assert images.path_of(3).exists()
    assert after.version != images.version


def test_a_new_class_counts_and_changes_the_version_but_not_the_pixels(workspace, images):
    name = names_of(images, "COVID")[0]
    after = data.decide(workspace, images.id, [Decision(RELABEL, name, "Normal")], ME)
    assert after.images["label"].iat[after.row_of(name)] == "Normal"
    assert after.counts["COVID"] == images.counts["COVID"] - 1
    assert after.pixels_key == images.pixels_key
    assert after.version != images.version


def test_images_that_were_grouped_are_one_group_for_the_split(workspace, images):
    names = images.images["image_id"].iloc[[0, 5, 9]].tolist()
    after = data.decide(workspace, images.id, decisions.together(names[:2]), ME)
    after = data.decide(workspace, images.id, decisions.together(names[1:]), ME)
    groups = duplicates.with_groups(workspace, after).set_index("image_id")["group"]
    assert groups[names].nunique() == 1
    assert groups.nunique() == len(images.images) - 2
    assert after.version != images.version


def test_a_dismissed_finding_is_known_and_changes_no_image(workspace, images):
    name = images.images["image_id"].iat[0]
    after = data.decide(workspace, images.id, [Decision(DISMISS, name, finding="text")], ME)
    assert decisions.dismissed(after.decisions) == {(name, "text", "")}
    assert after.version == images.version


def test_taking_a_decision_back_restores_the_version_and_stays_on_record(workspace, images):
    name = images.images["image_id"].iat[0]
    after = data.decide(workspace, images.id, [Decision(LEAVE_OUT, name)], ME)
    back = data.take_back(workspace, images.id, [after.decisions[0].number], "Another")
    assert back.version == images.version
    assert back.images["image_id"].tolist() == images.images["image_id"].tolist()
    assert [one.author for one in back.decisions] == [ME, "Another"]


def test_every_earlier_version_can_be_opened_again(workspace, images):
    names = images.images["image_id"].tolist()
    first = data.decide(workspace, images.id, [Decision(LEAVE_OUT, names[0]), Decision(LEAVE_OUT, names[1])], ME)
    second = data.decide(workspace, images.id, [Decision(RELABEL, names_of(first, "COVID")[-1], "Normal")], ME)
    assert list(second.versions) == [images.version, first.version, second.version]
    for one in (images, first, second):
        assert data.open_dataset(workspace, images.id).at(one.version).images.equals(one.images)


def test_a_version_that_never_was_is_refused(workspace, images):
    with pytest.raises(DataError, match="never had"):
        data.open_dataset(workspace, images.id).at("0" * 64)


def test_each_decision_says_who_when_and_what_was_before(workspace, images):
    name = names_of(images, "COVID")[0]
    after = data.decide(workspace, images.id, [Decision(RELABEL, name, "Normal", note='so says "CT", and PCR')], ME)
    (one,) = after.decisions
    assert (one.number, one.author, one.before, one.after) == (1, ME, "COVID", "Normal")
    assert one.note == 'so says "CT", and PCR'
    assert one.when.endswith("Z")


def test_the_list_of_data_sets_counts_images_after_decisions(workspace, images):
    covid, normal = names_of(images, "COVID"), names_of(images, "Normal")
    data.decide(workspace, images.id, [Decision(LEAVE_OUT, covid[0]), Decision(RELABEL, normal[0], "COVID")], ME)
    data.take_back(workspace, images.id, [2], ME)
    after = data.decide(workspace, images.id, [Decision(RELABEL, normal[1], "COVID")], ME)
    after = data.decide(workspace, images.id, [Decision(LEAVE_OUT, normal[1])], ME)
    assert data.list_datasets(workspace)[0]["counts"] == after.counts


def test_pixels_of_the_images_that_stay_are_copied_not_decoded(workspace, images):
    before = np.array(open_pixels(workspace, images, SUMMARY_SIZE))
    after = data.decide(workspace, images.id, [Decision(LEAVE_OUT, images.images["image_id"].iat[4])], ME)
    for row in range(len(images.images)):
        images.path_of(row).unlink()
    assert np.array_equal(open_pixels(workspace, after, SUMMARY_SIZE), np.delete(before, 4, axis=0))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (lambda name: Decision("burn", name), "burn"),
        (lambda name: Decision(LEAVE_OUT, "nobody"), "no image 'nobody'"),
        (lambda name: Decision(RELABEL, name, "Cat"), "received: 'Cat'"),
        (lambda name: Decision(RELABEL, name, "COVID"), "already"),
        (lambda name: Decision(GROUP, name, "nobody"), "no image 'nobody'"),
        (lambda name: Decision(DISMISS, name), "which finding"),
        (lambda name: Decision(LEAVE_OUT, name, note="two\nlines"), "one line"),
    ],
)
def test_a_decision_that_breaks_a_rule_is_refused_and_none_is_written(workspace, images, wanted, said):
    name = names_of(images, "COVID")[0]
    other = Decision(LEAVE_OUT, images.images["image_id"].iat[-1])
    with pytest.raises(CovidCoreError, match=said):
        data.decide(workspace, images.id, [other, wanted(name)], ME)
    assert data.open_dataset(workspace, images.id).decisions == ()


@pytest.mark.parametrize("author", ["", "  ", "x" * 81])
def test_nobody_decides_without_a_name(workspace, images, author):
    with pytest.raises(InvalidChoice, match="who decides"):
        data.decide(workspace, images.id, [Decision(LEAVE_OUT, images.images["image_id"].iat[0])], author)


def test_the_last_image_cannot_be_left_out(workspace, images):
    everything = [Decision(LEAVE_OUT, name) for name in images.images["image_id"]]
    with pytest.raises(DataError, match="all 30 images"):
        data.decide(workspace, images.id, everything, ME)


def test_what_is_not_in_force_cannot_be_taken_back(workspace, images):
    data.decide(workspace, images.id, [Decision(LEAVE_OUT, images.images["image_id"].iat[0])], ME)
    data.take_back(workspace, images.id, [1], ME)
    for numbers in ([1], [2], [7], []):
        with pytest.raises(InvalidChoice, match="in force"):
            data.take_back(workspace, images.id, numbers, ME)


def test_a_torn_last_line_is_dropped_and_the_next_decision_mends_the_file(workspace, images):
    names = images.images["image_id"].tolist()
    data.decide(workspace, images.id, [Decision(LEAVE_OUT, names[0])], ME)
    with open(images.folder / decisions.FILE, "a") as handle:
        handle.write('2,2026-01-01T00:00:00Z,Somebody,"leave')
    assert len(data.open_dataset(workspace, images.id).decisions) == 1
    after = data.decide(workspace, images.id, [Decision(LEAVE_OUT, names[1])], ME)
    assert [one.image_id for one in after.decisions] == names[:2]


def test_a_damaged_line_is_an_error_in_one_sentence_and_the_list_says_damaged(workspace, images):
    data.decide(workspace, images.id, [Decision(LEAVE_OUT, images.images["image_id"].iat[0])], ME)
    path = images.folder / decisions.FILE
    path.write_text(path.read_text().replace("leave out", "leave"))
    with pytest.raises(DataError, match="Line 1 of decisions.csv"):
        data.open_dataset(workspace, images.id)
    assert data.list_datasets(workspace)[0]["damaged"]


def test_decisions_at_the_same_moment_are_all_kept(workspace, images):
    names = images.images["image_id"].tolist()[:8]
    threads = [
        threading.Thread(target=data.decide, args=(workspace, images.id, [Decision(LEAVE_OUT, name)], ME))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = data.open_dataset(workspace, images.id)
    assert sorted(after.taken_out["image_id"]) == sorted(names)
    assert [one.number for one in after.decisions] == list(range(1, 9))


def test_deleting_the_data_set_removes_the_caches_of_all_its_versions(workspace, images):
    after = data.decide(workspace, images.id, [Decision(LEAVE_OUT, images.images["image_id"].iat[4])], ME)
    open_pixels(workspace, after, SUMMARY_SIZE)
    paths = [pixels_path(workspace, one.pixels_key, SUMMARY_SIZE) for one in (images, after)]
    assert all(path.exists() for path in paths)
    data.delete_dataset(workspace, images.id)
    assert not any(path.exists() for path in paths)


# The command line


def told(capsys, *words: str) -> tuple[int, dict]:
    code = main.main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_verbs_decide_list_and_take_back(workspace, images, capsys, monkeypatch):
    monkeypatch.setenv("COVID_CORE_HOME", str(workspace.root))
    first, second = names_of(images, "COVID")[:2]
    code, answer = told(capsys, "decide", images.id, "relabel", first, second, "--to", "Normal", "--author", ME)
    assert code == 0
    assert [row["after"] for row in answer["decisions"]] == ["Normal", "Normal"]
    code, answer = told(capsys, "take-back", images.id, "1", "--author", ME)
    assert (code, answer["counts"]["COVID"]) == (0, images.counts["COVID"] - 1)
    code, answer = told(capsys, "decisions", images.id)
    assert [row["in_force"] for row in answer["decisions"]] == [False, True, False]
    assert answer["version"] in answer["versions"]


def test_a_group_of_one_image_is_refused_on_the_command_line(workspace, images, capsys, monkeypatch):
    monkeypatch.setenv("COVID_CORE_HOME", str(workspace.root))
    code, answer = told(capsys, "decide", images.id, "group", images.images["image_id"].iat[0], "--author", ME)
    assert (code, answer) == (1, {"error": "A group needs two images at least."})


def test_the_list_of_decisions_reads_as_lines(workspace, images, capsys, monkeypatch):
    monkeypatch.setenv("COVID_CORE_HOME", str(workspace.root))
    name = images.images["image_id"].iat[0]
    main.main(["decide", images.id, "dismiss", name, "--finding", "text", "--note", "a marker", "--author", ME])
    main.main(["take-back", images.id, "1", "--author", ME])
    capsys.readouterr()
    assert main.main(["decisions", images.id]) == 0
    first, second, last = capsys.readouterr().out.splitlines()
    assert f"{ME}  dismiss {name}: text  a marker  (taken back)" in first
    assert f"take back number 1 ({name})" in second
    assert "30 images in use" in last


def test_after_many_decisions_only_versions_that_keep_something_are_opened(workspace, images, monkeypatch):
    names = images.images["image_id"].tolist()
    for name in names[:6]:
        latest = data.decide(workspace, images.id, [Decision(LEAVE_OUT, name)], ME)
    versions, opened = list(latest.versions), []
    monkeypatch.setattr(data.Dataset, "_after", lambda self, number: opened.append(number) or self)
    again = data.open_dataset(workspace, images.id)
    assert list(again.versions) == versions
    assert len(list(again.holding(lambda version: version in versions[2:3]))) == 1
    assert opened == [2]


def test_what_was_found_before_a_image_was_taken_back_does_not_hold_for_it(workspace, images):
    first, second = images.images["image_id"].iloc[:2]
    less = data.decide(workspace, images.id, [Decision(LEAVE_OUT, first)], ME)
    data.take_back(workspace, images.id, [1], ME)
    latest = data.decide(workspace, images.id, [Decision(LEAVE_OUT, second)], ME)
    held = [one.version for one in latest.holding(lambda version: True)]
    assert less.version not in held and held == [latest.version, images.version]


def test_the_same_decision_twice_in_one_call_is_one(workspace, images):
    first, second, third = images.images["image_id"].iloc[:3]
    wanted = [*decisions.together([first, second]), *decisions.together([first, third])]
    data.decide(workspace, images.id, [Decision(LEAVE_OUT, images.images["image_id"].iat[9])], ME)
    after = data.decide(workspace, images.id, wanted, ME)
    assert [one.number for one in decisions.latest(after.decisions)] == [2, 3, 4]


def test_a_image_grouped_with_another_is_in_one_group_with_it(workspace, images):
    first, second = images.images["image_id"].iloc[:2]
    after = data.decide(workspace, images.id, [Decision(GROUP, second, after=first)], ME)
    assert after.images.set_index("image_id")["together"][[first, second]].tolist() == [first, first]


def test_a_class_before_that_no_image_had_is_damage_and_only_that_data_set_is_told_as_damaged(workspace, images):
    data.decide(workspace, images.id, [Decision(LEAVE_OUT, images.images["image_id"].iat[0])], ME)
    path = images.folder / decisions.FILE
    path.write_text(path.read_text().replace(",COVID,", ",Cat,"))
    other = importing.import_phantom(workspace, 30, 2)
    listed = {info["id"]: info.get("damaged", False) for info in data.list_datasets(workspace)}
    assert listed == {images.id: True, other.id: False}
