"""The audit of a data set: found in stages, kept whole, read back equal, made by a job, gone with the data set."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
from made_data import image, made_database, made_dataset
from made_images import write_images
from made_segmenters import made_segmenter

from covid_core.audit import dataset_audit
from covid_core.audit.dataset_audit import DatasetAudit
from covid_core.audit.shortcuts import probe_ladder, probes
from covid_core.data.dataset import decide, delete_dataset, open_dataset, take_back
from covid_core.data.decisions import LEAVE_OUT, RELABEL, Decision
from covid_core.data.imports import importing
from covid_core.errors import DataError, JobRefused, Stopped, UnknownId
from covid_core.images.codec import png_bytes
from covid_core.jobs import queue, worker
from covid_core.jobs.kinds import AuditRequest
from covid_core.runs import store
from covid_core.workspace import Workspace

FEW = {"COVID": 24, "Normal": 60}
TWO_SOURCES = {"COVID": "Here", "Normal": ["Here", "There"]}


def plain(found: DatasetAudit) -> dict:
    """All that was found as values that compare: undefined numbers are words."""
    ladder = None if found.ladder is None else of_ladder(found.ladder)
    of_sources = {label: of_ladder(one) for label, one in found.sources.ladders.items()}
    whole = dataclasses.asdict(dataclasses.replace(found.sources, ladders={}))
    return in_words([ladder, found.ladder_reason, whole, of_sources, found.made, found.seconds])


def of_ladder(ladder: probe_ladder.Ladder) -> dict:
    return dataclasses.asdict(ladder)


def in_words(value):
    if isinstance(value, dict):
        return {key: in_words(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [in_words(item) for item in value]
    return str(value) if isinstance(value, float) else value


def same_tables(one: DatasetAudit, two: DatasetAudit) -> None:
    for name in ("scores", "findings", "summary"):
        pd.testing.assert_frame_equal(getattr(one.quality, name), getattr(two.quality, name))
    pd.testing.assert_frame_equal(one.pairs, two.pairs)


@pytest.fixture
def made(tmp_path):
    """A workspace and a data set with lung masks, two sources in one class, and one picture twice."""
    return made_database(tmp_path, counts=FEW, sources=TWO_SOURCES)


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The same after its audit, for all tests of this module: they work on copies."""
    workspace, dataset = made_database(tmp_path_factory.mktemp("audited"), counts=FEW, sources=TWO_SOURCES)
    dataset_audit.make(workspace, dataset)
    return workspace, dataset


def copied(folder, workspace, name="Copies"):
    """A data set of which one image is there twice, with two classes."""
    images = write_images(folder / name, {"a": 12, "b": 12}, 64)
    first = sorted((images / "a").iterdir())[0]
    (images / "b" / "again.png").write_bytes(first.read_bytes())
    return importing.import_folder(workspace, images, name=name)


def test_what_was_found_is_read_back_equal(made):
    workspace, dataset = made
    assert dataset_audit.stored(workspace, dataset) is None
    found = dataset_audit.make(workspace, dataset)
    again = dataset_audit.stored(workspace, dataset)
    assert found.ladder is not None and list(found.sources.ladders) == ["Normal"]
    assert plain(again) == plain(found)
    same_tables(again, found)
    assert probe_ladder.verdict(again.ladder) == probe_ladder.verdict(found.ladder)


def test_figures_that_are_undefined_are_so_when_they_are_read_back(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={"COVID": 12, "Normal": 12})
    found = dataset_audit.make(workspace, dataset)
    again = dataset_audit.stored(workspace, dataset)
    assert found.quality.scores["odd view"].isna().all()
    assert np.isnan(again.sources.association)
    assert any(np.isnan(rung.p) for rung in again.ladder.rungs)
    assert plain(again) == plain(found)
    same_tables(again, found)


def test_a_data_set_of_one_class_has_a_reason_instead_of_a_ladder(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={"COVID": 12})
    dataset_audit.make(workspace, dataset)
    found = dataset_audit.stored(workspace, dataset)
    assert found.ladder is None and "two classes" in found.ladder_reason


def test_with_a_damaged_segmenter_the_probes_that_need_lungs_say_so_and_the_others_run(tmp_path):
    workspace, dataset = made_dataset(tmp_path, counts={"COVID": 12, "Normal": 12})
    made_segmenter(workspace).network_path.write_bytes(b"another network")
    ladder = dataset_audit.make(workspace, dataset).ladder
    lacking = {rung.probe.key: rung.reason for rung in ladder.rungs if not rung.was_run}
    assert set(lacking) == {*probes.NEED_LUNGS, probes.FROZEN}
    assert all("is missing or was changed after training" in lacking[probe].error for probe in probes.NEED_LUNGS)
    assert dataset_audit.stored(workspace, dataset).outdated == ""


def test_a_image_that_is_there_twice_with_two_classes_is_found(tmp_path, workspace):
    found = dataset_audit.make(workspace, copied(tmp_path, workspace))
    assert found.pairs[["kind", "conflict"]].to_numpy().tolist() == [["exact", True]]


@pytest.mark.parametrize("part", ["*-audit-*", "*-pairs-*", "*-found-*"])
@pytest.mark.parametrize("harm", ["gone", "torn"])
def test_an_audit_of_which_a_part_is_gone_or_torn_is_none_until_it_is_made_again(audited, tmp_path, part, harm):
    audited_workspace, dataset = audited
    workspace = Workspace(shutil.copytree(audited_workspace.root, tmp_path / "workspace"))
    before = plain(dataset_audit.stored(workspace, dataset))[:4]
    (path,) = workspace.tables.glob(part)
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20])
    assert dataset_audit.stored(workspace, dataset) is None
    dataset_audit.make(workspace, dataset)
    assert plain(dataset_audit.stored(workspace, dataset))[:4] == before


def test_what_was_found_before_a_stop_is_taken_up(made):
    workspace, dataset = made

    def until_the_ladder(_share, message):
        if message.startswith("Probe 2"):
            raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        dataset_audit.make(workspace, dataset, progress=until_the_ladder)
    assert dataset_audit.stored(workspace, dataset) is None
    told = []
    dataset_audit.make(workspace, dataset, progress=lambda share, message: told.append((share, message)))
    assert not [message for _, message in told if "Looking at files" in message]
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[-1] == 1


def test_shared_images_are_found_and_told_from_either_side(tmp_path, workspace):
    one = copied(tmp_path, workspace)
    images = tmp_path / "other"
    (images / "c").mkdir(parents=True)
    twin = one.path_of(0).read_bytes()
    (images / "c" / "twin.png").write_bytes(twin)
    for number in range(5):
        (images / "c" / f"{number}.png").write_bytes(png_bytes(image(900 + number)))
    other = importing.import_folder(workspace, images, name="Other")
    assert dataset_audit.shared(workspace, one, other) is None
    dataset_audit.make(workspace, one, other)
    here, there = dataset_audit.shared(workspace, one, other), dataset_audit.shared(workspace, other, one)
    assert (here.images, here.others, len(here.conflicts)) == (2, 1, 2)
    assert (there.images, there.others, len(there.conflicts)) == (1, 2, 2)
    assert there.pairs["first_label"].tolist() == ["c", "c"]
    assert list(there.pairs) == list(here.pairs)


def test_comparing_with_another_data_set_does_not_make_the_audit_again(tmp_path, workspace):
    one, other = copied(tmp_path, workspace), copied(tmp_path, workspace, "Other")
    before = dataset_audit.make(workspace, one)
    assert dataset_audit.make(workspace, one, other).made == before.made


def test_what_was_kept_goes_with_the_data_set(tmp_path, workspace):
    one = copied(tmp_path, workspace)
    _, other = made_dataset(tmp_path, workspace, counts={"COVID": 4, "Normal": 4})
    dataset_audit.make(workspace, one, other)
    delete_dataset(workspace, other.id)
    assert not list(workspace.tables.glob("*shared*"))
    delete_dataset(workspace, one.id)
    assert not list(workspace.tables.iterdir())


def test_nothing_is_kept_of_a_data_set_that_was_deleted_while_it_was_audited(tmp_path, workspace):
    one = copied(tmp_path, workspace)

    def deleted_at_the_ladder(_share, message):
        if message.startswith("Probe 2"):
            delete_dataset(workspace, one.id)

    with pytest.raises((UnknownId, DataError)):
        dataset_audit.make(workspace, one, progress=deleted_at_the_ladder)
    assert not list(workspace.tables.glob("*found*"))


# Decisions


def test_after_decisions_the_findings_are_those_of_the_images_that_stay(tmp_path, workspace):
    one = copied(tmp_path, workspace)
    before = dataset_audit.make(workspace, one)
    left, relabelled = one.images["image_id"].iloc[3], "b/again.png"
    decide(workspace, one.id, [Decision(LEAVE_OUT, left), Decision(RELABEL, relabelled, "a")], "Somebody")
    now = open_dataset(workspace, one.id)
    found = dataset_audit.stored(workspace, now)
    assert left not in set(found.quality.scores["image_id"]) and len(found.quality.scores) == len(one.images) - 1
    assert found.pairs["conflict"].tolist() == [False]
    assert (found.made, found.ladder.images) == (before.made, before.ladder.images)
    assert found.outdated == "images"
    again = dataset_audit.make(workspace, now)
    assert again.ladder.images == before.ladder.images - 1
    assert dataset_audit.stored(workspace, now).outdated == ""


def test_a_pair_of_which_one_image_is_left_out_is_none(tmp_path, workspace):
    one, other = copied(tmp_path, workspace), copied(tmp_path, workspace, "Other")
    dataset_audit.make(workspace, one, other)
    before = dataset_audit.shared(workspace, one, other)
    (gone,) = set(dataset_audit.stored(workspace, one).pairs["second"])
    now = decide(workspace, one.id, [Decision(LEAVE_OUT, gone)], "Somebody")
    assert not len(dataset_audit.stored(workspace, now).pairs)
    assert dataset_audit.shared(workspace, now, other).images == before.images - 1
    assert gone not in set(dataset_audit.shared(workspace, other, now).pairs["second"])


def test_a_image_that_is_back_needs_an_audit_that_knew_it(tmp_path, workspace):
    one = copied(tmp_path, workspace)
    now = decide(workspace, one.id, [Decision(LEAVE_OUT, one.images["image_id"].iloc[0])], "Somebody")
    dataset_audit.make(workspace, now)
    assert dataset_audit.stored(workspace, take_back(workspace, one.id, [1], "Somebody")) is None


# The job


@pytest.fixture
def launched(monkeypatch):
    monkeypatch.setattr(queue, "launch", lambda *folders: [folder.next_attempt() for folder in folders])


def test_the_job_keeps_what_it_finds(tmp_path, workspace, launched):
    one, other = copied(tmp_path, workspace), copied(tmp_path, workspace, "Other")
    job = queue.submit(workspace, AuditRequest(dataset=one.id, against=other.id))
    assert worker.do(job.path, 1) == 0
    assert job.status().state == store.COMPLETED
    assert job.result == {"dataset": one.id, "against": other.id}
    assert dataset_audit.stored(workspace, one) is not None
    assert dataset_audit.shared(workspace, one, other).images


def test_a_data_set_is_audited_once_at_a_time(tmp_path, workspace, launched):
    one, other = copied(tmp_path, workspace), copied(tmp_path, workspace, "Other")
    job = queue.submit(workspace, AuditRequest(dataset=one.id))
    with pytest.raises(JobRefused, match="under way already"):
        queue.submit(workspace, AuditRequest(dataset=one.id))
    another = queue.submit(workspace, AuditRequest(dataset=other.id, against=one.id))
    asked = [(one.id, one.request.dataset, one.request.against) for one in queue.jobs(workspace, AuditRequest)]
    assert asked == [(job.id, one.id, None), (another.id, other.id, one.id)]
    queue.stop(job)
    queue.submit(workspace, AuditRequest(dataset=one.id))


def test_a_data_set_is_not_compared_with_itself_or_with_one_that_is_not_there(tmp_path, workspace, launched):
    one = copied(tmp_path, workspace)
    with pytest.raises(JobRefused, match="with itself"):
        queue.submit(workspace, AuditRequest(dataset=one.id, against=one.id))
    with pytest.raises(UnknownId):
        queue.submit(workspace, AuditRequest(dataset=one.id, against="no-such-00000"))


def test_the_same_images_imported_with_other_sources_have_an_audit_of_their_own(tmp_path, workspace):
    folder = write_images(tmp_path / "images", {"a": 12, "b": 12}, 64)
    first = importing.import_folder(workspace, folder, name="Without sources")
    dataset_audit.make(workspace, first)
    for label in ("a", "b"):
        names = [path.stem for path in (folder / label).iterdir()]
        pd.DataFrame({"FILE NAME": names, "URL": "https://example.org"}).to_excel(
            folder / f"{label}.metadata.xlsx", index=False
        )
    second = importing.import_folder(workspace, folder, name="With sources")
    assert second.version == first.version
    assert dataset_audit.stored(workspace, second) is None
    assert dataset_audit.make(workspace, second).sources.with_source == 24
    assert dataset_audit.stored(workspace, first).sources.with_source == 0
