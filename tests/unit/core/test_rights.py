"""Roles and rights where work is done, and the log: who may call which function of the core, whatever a page shows."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from covid_core import access
from covid_core.access import Role, activity
from covid_core.data import dataset as data
from covid_core.data.decisions import LEAVE_OUT, Decision
from covid_core.data.imports.importing import import_folder
from covid_core.errors import CovidCoreError, JobRefused, NotPermitted
from covid_core.exchange.bundle import opening, packing
from covid_core.exchange.pacs import dicomweb
from covid_core.exchange.pacs.servers import Server
from covid_core.jobs import queue
from covid_core.jobs.kinds import KINDS, AuditRequest, PhantomRequest
from covid_core.lessons import classroom
from covid_core.runs import backbone_files, segmenters, storage, store
from covid_core.runs.store import Status
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace

ROLES = list(Role)
OWN, OTHERS = "owner@example.org", "other@example.org"


@pytest.fixture
def place(workspace, image_folder, acts, jobs_wait) -> Workspace:
    """A data set and a run of OWN, which was stopped."""
    dataset = import_folder(workspace, image_folder({"a": 8, "b": 8}))
    acts(Role.TRAINER)
    spec = TrainingSpec(dataset=dataset.id, classes=dataset.classes, backbone="baseline_cnn", image_size=32)
    queue.submit_training(workspace, spec).write_status(Status(store.STOPPED))
    return workspace


def leave_out(place: Workspace) -> object:
    opened = data.open_dataset(place, dataset_id(place))
    return data.decide(place, opened.id, [Decision(LEAVE_OUT, opened.images["image_id"].iat[0])], "Ada")


def dataset_id(place: Workspace) -> str:
    return str(data.list_datasets(place)[0]["id"])


def run_of(place: Workspace) -> store.Run:
    return store.list_runs(place)[0][0]


# What is called, the least role for what is one's own or new, and for what is another's.
MATRIX: dict[str, tuple[Callable[[Workspace], object], Role, Role]] = {
    "start a training": (lambda p: queue.submit_training(p, run_of(p).spec), Role.TRAINER, Role.TRAINER),
    "resume": (lambda p: queue.resume(run_of(p)), Role.TRAINER, Role.ADMIN),
    "stop": (lambda p: queue.stop(run_of(p)), Role.TRAINER, Role.ADMIN),
    "delete a run": (lambda p: queue.delete(run_of(p)), Role.TRAINER, Role.ADMIN),
    "annotate": (lambda p: store.annotate(run_of(p), name="x"), Role.TRAINER, Role.ADMIN),
    "start an audit": (
        lambda p: queue.submit(p, AuditRequest(dataset=dataset_id(p))),
        Role.TRAINER,
        Role.TRAINER,
    ),
    "draw images": (lambda p: queue.submit(p, PhantomRequest(images=9)), Role.ADMIN, Role.ADMIN),
    "decide": (leave_out, Role.TRAINER, Role.TRAINER),
    "take back": (lambda p: data.take_back(p, dataset_id(p), [1], "Ada"), Role.TRAINER, Role.TRAINER),
    "delete a data set": (lambda p: data.delete_dataset(p, dataset_id(p)), Role.ADMIN, Role.ADMIN),
    "delete a segmenter": (lambda p: segmenters.delete_segmenter(p, "x"), Role.ADMIN, Role.ADMIN),
    "remove a backbone": (lambda p: backbone_files.remove(p, "x"), Role.ADMIN, Role.ADMIN),
    "empty caches": (storage.clear, Role.ADMIN, Role.ADMIN),
    "take a run away": (lambda p: packing.pack(p, [run_of(p)], p.root / "x.zip"), Role.TRAINER, Role.TRAINER),
    "take images away": (
        lambda p: packing.pack(p, [run_of(p)], p.root / "x.zip", images=True),
        Role.ADMIN,
        Role.ADMIN,
    ),
    "open a bundle": (lambda p: opening.open_bundle(p, p.root / "x.zip"), Role.ADMIN, Role.ADMIN),
    "fetch from a PACS": (lambda p: next(dicomweb.images(p, Server("x", "x"), {}, 1, 1)), Role.TRAINER, Role.TRAINER),
    "send to a PACS": (lambda p: dicomweb.store(p, Server("x", "x"), []), Role.TRAINER, Role.TRAINER),
    "open a class": (lambda p: classroom.open_class(p, "me"), Role.TRAINER, Role.TRAINER),
}


def is_permitted(action: Callable[[Workspace], object], place: Workspace) -> bool:
    try:
        action(place)
    except NotPermitted:
        return False
    except CovidCoreError:  # refused by another rule, behind the right
        return True
    return True


@pytest.mark.parametrize("action", MATRIX)
@pytest.mark.parametrize("name", [OWN, OTHERS])
def test_each_action_is_for_its_roles_alone(place, acts, action, name):
    call, own, others = MATRIX[action]
    needed = own if name == OWN else others
    permitted = []
    for role in ROLES:  # the lowest first: what removes something is done by the first that may
        acts(role, name)
        permitted.append(is_permitted(call, place))
        if permitted[-1]:
            break
    assert ROLES[len(permitted) - 1] == needed


def test_a_refused_action_changes_nothing(place, acts):
    acts(Role.VIEWER)
    before = sorted(path.name for path in place.runs.iterdir())
    for call, own, _ in MATRIX.values():
        if own > Role.VIEWER:
            assert not is_permitted(call, place)
    assert sorted(path.name for path in place.runs.iterdir()) == before
    assert run_of(place).annotation.name == ""
    assert len(data.list_datasets(place)) == 1


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_no_kind_of_job_is_for_viewers(kind):
    assert access.RIGHTS[kind.right].own > Role.VIEWER or kind.right == access.LESSON


def test_whoever_works_on_this_machine_may_everything():
    assert all(access.local().may(right, owner) for right in access.RIGHTS for owner in (None, "", OTHERS))


def test_one_visitor_does_not_fill_the_queue(place, acts, monkeypatch):
    monkeypatch.setattr(queue, "MOST_OF_ONE", 1)
    acts(Role.TRAINER, OTHERS)
    spec = run_of(place).spec
    queue.submit_training(place, spec)
    with pytest.raises(JobRefused):
        queue.submit_training(place, spec)
    acts(Role.TRAINER, OWN)
    assert queue.submit_training(place, spec).owner == OWN


# The log


def test_what_is_done_is_noted_with_who_did_it(place, acts):
    acts(Role.TRAINER)
    run = queue.submit_training(place, run_of(place).spec)
    line = activity.lines(place, 1)[0]
    assert [line.who, line.role, line.what] == [OWN, "trainer", run.id]
    assert datetime.now(UTC) - datetime.fromisoformat(line.when) < timedelta(minutes=1)


def test_what_was_refused_is_noted(place, acts):
    acts(Role.VIEWER, "eve\n{}")
    assert not is_permitted(MATRIX["delete a run"][0], place)
    line = activity.lines(place, 1)[0]
    assert [line.who, line.what] == ["eve\n{}", run_of(place).id]
    assert line.did.startswith(activity.REFUSED)


def test_lines_come_newest_first_and_torn_ones_are_left_out(workspace, monkeypatch):
    monkeypatch.setattr(activity, "BLOCK", 7)
    for number in range(20):
        access.note(workspace, f"do {number}", "ü" * number)
    with open(workspace.root / activity.FILE, "ab") as handle:
        handle.write(b'{"when": "2026-')
    assert [one.did for one in activity.lines(workspace, 3)] == ["do 19", "do 18", "do 17"]
    assert len(activity.lines(workspace, 99)) == 20


def test_after_a_torn_line_the_next_one_is_whole(workspace):
    workspace.root.mkdir()
    (workspace.root / activity.FILE).write_bytes(b'{"when": "2026-')
    access.note(workspace, "do", "it")
    assert [one.did for one in activity.lines(workspace, 9)] == ["do"]


def test_a_log_that_cannot_be_written_stops_nobody(workspace, caplog):
    (workspace.root / activity.FILE).mkdir(parents=True)
    access.note(workspace, "delete run", "x")
    assert "delete run" in caplog.text


def test_old_lines_are_forgotten_and_others_stay(workspace):
    old = {"when": "2020-01-01T00:00:00.000Z", "who": "a", "role": "viewer", "did": "old", "what": ""}
    workspace.root.mkdir()
    (workspace.root / activity.FILE).write_text(json.dumps(old) + "\n")
    access.note(workspace, "new")
    assert [activity.forget(workspace, days) for days in (1e9, 1)] == [0, 1]
    assert [one.did for one in activity.lines(workspace, 9)] == ["new"]


def test_the_verb_lists_and_shortens_the_log(workspace, answer):
    access.note(workspace, "delete run", "x-1")
    code, listed = answer("activity", "--last", "5")
    assert code == 0
    assert [(one["did"], one["what"]) for one in listed["lines"]] == [("delete run", "x-1")]
    code, listed = answer("activity", "--forget", "0")
    assert [code, listed["forgotten"], len(listed["lines"])] == [0, 1, 1]
