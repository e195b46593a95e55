"""The audit of a model: made models that read the lungs or a corner, images without masks, and a trained run's job."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made_audits import IN_CORNER, IN_LUNGS, images, predictor
from made_runs import all_parts, made_run

from covid_core.audit.model import model_audit
from covid_core.audit.model.evidence import FRAME, LUNGS, NO_OUTLINES, UNKNOWN
from covid_core.commands import main
from covid_core.data.masks import OVAL
from covid_core.errors import JobRefused, RunDamaged, Stopped
from covid_core.jobs import queue
from covid_core.jobs.kinds import ModelAuditRequest
from covid_core.reports import evidence_text, run_figures
from covid_core.runs import store

SIZES = {"train": 6, "validation": 3, "test": 3}


def of(found: dict, name: str) -> dict:
    return next(row for row in found["covers"] if row["name"] == name)


def test_a_model_that_reads_the_lungs_is_told_so():
    found = model_audit.audited(predictor(IN_LUNGS), images())
    assert found["verdict"] == LUNGS
    assert of(found, "as they are")["accuracy"]["value"] == 1
    assert of(found, "lungs only")["accuracy"]["value"] == of(found, "tags covered")["accuracy"]["value"] == 1
    assert of(found, "without the lungs")["accuracy"]["value"] == 0.5
    assert of(found, "without the lungs")["drop"]["value"] == 0.5


def test_a_model_that_reads_a_corner_is_told_so():
    found = model_audit.audited(predictor(IN_CORNER), images())
    assert found["verdict"] == FRAME
    assert found["effects"]["frame"]["value"] == 1 and found["effects"]["lungs"]["value"] == 0
    assert of(found, "border only")["accuracy"]["value"] == 1
    assert of(found, "tags covered")["accuracy"]["value"] == 0.5


def test_without_masks_a_model_that_reads_a_corner_is_convicted_by_what_needs_none():
    found = model_audit.audited(predictor(IN_CORNER), images(with_lungs=False))
    assert (found["verdict"], found["why"], found["lungs_from"]["kind"]) == (FRAME, "", OVAL)
    assert found["effects"]["frame"]["value"] == 1
    assert [row["name"] for row in found["covers"] if "accuracy" not in row] == ["without the lungs", "lungs only"]
    assert of(found, "border only")["accuracy"]["value"] == 1
    assert found["heat"]["share"] is None


def test_without_masks_a_model_that_reads_the_lungs_is_not_acquitted():
    found = model_audit.audited(predictor(IN_LUNGS), images(with_lungs=False))
    assert (found["verdict"], found["why"]) == (UNKNOWN, NO_OUTLINES)


def test_an_audit_names_the_largest_class_of_its_images():
    assert model_audit.audited(predictor(IN_LUNGS), images())["largest"] == {"label": "ill", "share": 0.5}


def test_whose_masks_are_told_in_short_also_by_audits_of_an_earlier_version():
    assert evidence_text.lungs_in_short({"masks_in_short": "own masks"}) == "own masks"
    assert evidence_text.lungs_in_short({"masks": evidence_text.OWN_MASKS}) == "own masks"
    assert evidence_text.lungs_in_short({"masks": f"{evidence_text.OUTLINED}: by one"}) == "outlines by a segmenter"
    assert evidence_text.lungs_in_short({"masks": "none"}) == evidence_text.lungs_in_short({}) == ""


def test_images_that_belong_together_count_for_fewer_in_an_audit_and_that_is_said():
    given = images()
    count = len(given.labels)
    plain, alone, fours = (
        model_audit.audited(predictor(IN_CORNER), replace(given, groups=groups))
        for groups in (None, np.arange(count), np.arange(count) // 4)
    )
    assert {**alone, "grouped": False} == plain and fours["grouped"]
    words = "Images of one cluster count for fewer."
    assert words in evidence_text.worst_subgroup(fours) and words not in evidence_text.worst_subgroup(plain)
    one, other = (of(found, "as they are")["accuracy"] for found in (plain, fours))
    assert other["value"] == one["value"] and other["high"] - other["low"] > one["high"] - one["low"]


def test_an_audit_is_plain_json_and_reads_as_lines():
    found = model_audit.audited(predictor(IN_LUNGS), images())
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    lines = evidence_text.lines(found)
    assert lines[0].startswith(LUNGS) and "worst of 2 subgroups" in lines[-1]


def test_a_kept_audit_is_known_until_the_head_is_another(workspace):
    run = made_run(workspace, all_parts(SIZES, 1), result={"head_sha256": "one"})
    assert model_audit.stored(run) is None and run_figures.model_audit_of(run) is None
    run.write_audit(model_audit.AUDIT, {"head_sha256": "one", "verdict": FRAME, "in_words": "Said."})
    assert run_figures.model_audit_of(run) == {"verdict": FRAME, "in_words": "Said.", "masks": ""}
    run.write_result({**run.result, "head_sha256": "two"})
    assert model_audit.stored(store.open_run(workspace, run.id)) is None


def test_a_damaged_audit_is_an_error_and_the_other_figures_stand(workspace):
    run = made_run(workspace, all_parts(SIZES, 1), result={"head_sha256": "one"})
    run.write_audit(model_audit.AUDIT, {"head_sha256": "one", "verdict": "reads minds"})
    with pytest.raises(RunDamaged, match="audit of its model is damaged"):
        model_audit.stored(run)
    told = run_figures.model_audit_of(run)
    assert told["verdict"] is None and "damaged" in told["in_words"]


def test_a_run_that_is_not_finished_is_not_audited(workspace):
    run = made_run(workspace, all_parts(SIZES, 1), state=store.FAILED)
    with pytest.raises(JobRefused, match="not finished"):
        queue.submit(workspace, ModelAuditRequest(run=run.id))


def test_an_audit_can_be_stopped():
    def stopped(share: float, _message: str) -> None:
        if share > 0.5:
            raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        model_audit.audited(predictor(IN_LUNGS), images(), stopped)


@pytest.mark.slow
def test_a_trained_run_is_audited_by_its_job(workspace, copy_of_trained, capsys):
    run = copy_of_trained(workspace)
    assert main.main(["audit-run", run.id, "--wait", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    audit = answer["audit"]
    assert answer["state"] == store.COMPLETED and audit["verdict"] in (LUNGS, FRAME, UNKNOWN)
    assert audit["with_lungs"] == audit["images"] == audit["of_all"] and len(audit["covers"]) == 7
    assert of(audit, "as they are")["accuracy"]["value"] == pytest.approx(run.accuracy("test"))
    assert [one.what for one in run.openings()] == [model_audit.LOOK]
    assert main.main(["show", run.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audit"]["verdict"] == audit["verdict"]
    assert main.main(["compare", run.id, "--json"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    assert group["runs"][run.id]["audit"]["verdict"] == audit["verdict"]
