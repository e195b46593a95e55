"""The audit of a model: made models that read the lungs or a corner, films without masks, and a trained run's job."""

import json

import numpy as np
import pytest
from made_runs import all_parts, made_run
from trained_runs import tiny_run

from covid_core import cli
from covid_core.data import importing
from covid_core.errors import JobRefused, RunDamaged, Stopped
from covid_core.evaluation.reads import FRAME, LUNGS, NO_LUNGS, UNKNOWN
from covid_core.inference.head import Head
from covid_core.inference.predictor import Predictor
from covid_core.runs import answers, jobs, model_audits, store
from covid_core.runs.model_audits import AuditFilms

SIDE, EACH = 48, 30
HEAD = Head("mean", (np.array([[1.0, -1.0]], np.float32),), (np.zeros(2, np.float32),))
IN_LUNGS, IN_CORNER = (slice(18, 30), slice(14, 34)), (slice(0, 6), slice(0, 6))
SIZES = {"train": 6, "validation": 3, "test": 3}


class Reader:
    """A network of one channel: the mean grey of one place, less what is usual there."""

    def __init__(self, place: tuple[slice, slice], usual: float):
        self._place, self._usual = place, usual

    def maps(self, films: np.ndarray) -> list[np.ndarray]:
        rows, columns = self._place
        value = (films[:, rows, columns].mean(axis=(1, 2), dtype=np.float32) - self._usual) / 8
        return [np.broadcast_to(value[:, None, None, None], (len(films), 6, 6, 1)).astype(np.float32)]


def predictor(place: tuple[slice, slice]) -> Predictor:
    return Predictor(("ill", "well"), SIDE, Reader(place, 60 if place == IN_LUNGS else 140), HEAD)


def films(with_lungs: bool = True) -> AuditFilms:
    """Ill films have brighter lungs, and a brighter corner: each alone tells the class."""
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], EACH).astype(np.int32)
    pixels = rng.integers(96, 105, (2 * EACH, SIDE, SIDE))
    lungs = np.zeros((2 * EACH, SIDE, SIDE), bool)
    for film, label in enumerate(labels):
        top, left = rng.integers(10, 14), rng.integers(8, 11)
        lungs[film, top : top + 24, left : left + 30] = True
        pixels[film][lungs[film]] -= 20 if label == 0 else 60
        pixels[film][IN_CORNER] += 60 if label == 0 else 20
    if not with_lungs:
        lungs[:] = False
    by = {"source": np.tile(np.array(["A", "B"], object), EACH)}
    known = np.full(2 * EACH, with_lungs)
    return AuditFilms(pixels.astype(np.uint8), labels, None, lungs, known, by, "made", 2 * EACH)


def of(found: dict, name: str) -> dict:
    return next(row for row in found["covers"] if row["name"] == name)


def test_a_model_that_reads_the_lungs_is_told_so():
    found = model_audits.audited(predictor(IN_LUNGS), films())
    assert found["verdict"] == LUNGS
    assert of(found, "as they are")["accuracy"]["value"] == 1
    assert of(found, "lungs only")["accuracy"]["value"] == of(found, "tags covered")["accuracy"]["value"] == 1
    assert of(found, "without the lungs")["accuracy"]["value"] == 0.5
    assert of(found, "without the lungs")["drop"]["value"] == 0.5


def test_a_model_that_reads_a_corner_is_told_so():
    found = model_audits.audited(predictor(IN_CORNER), films())
    assert found["verdict"] == FRAME
    assert found["effects"]["frame"]["value"] == 1 and found["effects"]["lungs"]["value"] == 0
    assert of(found, "border only")["accuracy"]["value"] == 1
    assert of(found, "tags covered")["accuracy"]["value"] == 0.5


def test_without_masks_only_what_needs_none_is_told():
    found = model_audits.audited(predictor(IN_CORNER), films(with_lungs=False))
    assert found["verdict"] == UNKNOWN and NO_LUNGS in found["in_words"]
    assert [row["name"] for row in found["covers"] if "note" in row] == ["without the lungs", "lungs only"]
    assert of(found, "border only")["accuracy"]["value"] == 1
    assert found["heat"]["share"] is None


def test_an_audit_is_plain_json_and_reads_as_lines():
    found = model_audits.audited(predictor(IN_LUNGS), films())
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    lines = model_audits.in_lines(found)
    assert lines[0].startswith(LUNGS) and "worst of 2 subgroups" in lines[-1]


def test_a_kept_audit_is_known_until_the_head_is_another(workspace):
    run = made_run(workspace, all_parts(SIZES, 1), result={"head_sha256": "one"})
    assert model_audits.known(run) is None and answers.of_audit(run) is None
    run.write_audit(model_audits.AUDIT, {"head_sha256": "one", "verdict": FRAME, "in_words": "Said."})
    assert answers.of_audit(run) == {"verdict": FRAME, "in_words": "Said.", "masks": ""}
    run.write_result({**run.result, "head_sha256": "two"})
    assert model_audits.known(store.open_run(workspace, run.id)) is None


def test_a_damaged_audit_is_an_error_and_the_other_figures_stand(workspace):
    run = made_run(workspace, all_parts(SIZES, 1), result={"head_sha256": "one"})
    run.write_audit(model_audits.AUDIT, {"head_sha256": "one", "verdict": "reads minds"})
    with pytest.raises(RunDamaged, match="audit of its model is damaged"):
        model_audits.known(run)
    told = answers.of_audit(run)
    assert told["verdict"] is None and "damaged" in told["in_words"]


def test_a_run_that_is_not_finished_is_not_audited(workspace):
    run = made_run(workspace, all_parts(SIZES, 1), state=store.FAILED)
    with pytest.raises(JobRefused, match="not finished"):
        jobs.submit_audit(workspace, run)


def test_an_audit_can_be_stopped():
    def stopped(share: float, _message: str) -> None:
        if share > 0.5:
            raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        model_audits.audited(predictor(IN_LUNGS), films(), stopped)


@pytest.mark.slow
def test_a_trained_run_is_audited_by_its_job(workspace, capsys):
    run = tiny_run(workspace, importing.import_phantom(workspace, 120, plant=("clear-lesions",)))
    assert cli.main(["audit-run", run.id, "--wait", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    audit = answer["audit"]
    assert answer["state"] == store.COMPLETED and audit["verdict"] in (LUNGS, FRAME, UNKNOWN)
    assert audit["with_lungs"] == audit["films"] == audit["of_all"] and len(audit["covers"]) == 7
    assert of(audit, "as they are")["accuracy"]["value"] == pytest.approx(run.accuracy("test"))
    assert [one.what for one in run.openings()] == [model_audits.LOOK]
    assert cli.main(["show", run.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audit"]["verdict"] == audit["verdict"]
    assert cli.main(["compare", run.id, "--json"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    assert group["runs"][run.id]["audit"]["verdict"] == audit["verdict"]
