"""The verdict in the words that stand beside an accuracy: every state, several runs, and the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made_audits import keep_audit
from made_runs import all_parts, made_run

from covid_core.audit.model import randomisation_test
from covid_core.audit.model.evidence import BETWEEN, FRAME, LUNGS, NO_LUNGS, UNKNOWN
from covid_core.audit.model.randomisation_test import Likeness, MapCheck
from covid_core.commands import main
from covid_core.data.masks import BUILT_IN, OWN, TRAINED, Origin
from covid_core.evaluation.metrics import Measure
from covid_core.inference.lungs import MARGINS, LungOutline, Refusal
from covid_core.inference.region import lung_region
from covid_core.jobs import kinds, queue
from covid_core.jobs.kinds import ModelAuditRequest
from covid_core.reports import evidence_text, image_report
from covid_core.reports.evidence_text import DAMAGED, NOT_YET, EvidenceCheck
from covid_core.runs import store
from covid_core.runs.store import Run

SIZES = {"train": 6, "validation": 3, "test": 6}


@pytest.fixture
def run(workspace) -> store.Run:
    return made_run(workspace, all_parts(SIZES, 40), "Mine", result={"accuracy": {"test": 1.0}})


def checks_of(*verdicts: str) -> list[EvidenceCheck]:
    return [EvidenceCheck(verdict) for verdict in verdicts]


def check_of(whole: float, head: float = 0.1, defined: float = 1.0) -> MapCheck:
    return MapCheck(Likeness(whole, defined), Likeness(head, 1.0), images=16, shuffles=4)


def test_a_run_without_an_audit_says_so(run):
    assert evidence_text.of(run).verdict == NOT_YET


@pytest.mark.parametrize(("reads", "verdict"), [("corner", FRAME), ("lungs", LUNGS)])
def test_an_audit_is_told_with_whose_masks_it_rests_on(run, reads, verdict):
    found = keep_audit(run, reads)
    effect = found["effects"]["frame"]["value"]
    assert evidence_text.of(run) == EvidenceCheck(verdict, evidence_text.conclusion(found), "own masks", effect)
    assert evidence_text.of(run).in_short == f"{verdict} (own masks)"


def test_a_verdict_without_masks_names_the_oval_and_the_border_alone(run):
    keep_audit(run, with_lungs=False)
    check = evidence_text.of(run)
    assert (check.verdict, check.masks) == (FRAME, "fixed oval")
    assert check.in_words.startswith("The border alone gives a balanced accuracy of 100.0 %")
    assert check.in_words.endswith("The lungs were not outlined.")


def test_without_masks_a_model_that_reads_the_lungs_is_inconclusive_with_its_figures(run):
    keep_audit(run, "lungs", with_lungs=False)
    check = evidence_text.of(run)
    assert (check.verdict, check.masks, check.in_passing) == (UNKNOWN, "fixed oval", "evidence check inconclusive")
    assert check.in_words.startswith("No shortcut shows in the frame")


def test_an_audit_of_an_earlier_version_without_masks_says_to_audit_again(run):
    keep_audit(run, with_lungs=False, verdict=UNKNOWN, why=NO_LUNGS, effects=None, lungs_from=None)
    check = evidence_text.of(run)
    assert (check.verdict, check.masks) == (UNKNOWN, "")
    assert check.in_words.endswith("audit again.")


def test_a_verdict_names_the_built_in_segmenter_and_whether_it_is_good_enough():
    origin = Origin(BUILT_IN, "drawn", True, 2400, Measure(0.91, 0.87, 0.94, 11))
    assert evidence_text.of_lungs(origin, short=True) == "outlines by the built-in segmenter"
    assert "Its Dice is 0.910 [0.870, 0.940] on 11 real images" in evidence_text.outline_by(origin)
    doubtful = replace(origin, dice=Measure(0.85, 0.8, 0.9, 11))
    assert evidence_text.of_lungs(doubtful, short=True).endswith("which are doubtful")


def test_an_audit_of_an_earlier_version_says_what_it_said(run):
    run.write_audit("model", {"head_sha256": None, "verdict": "cannot say", "in_words": "It cannot be said."})
    assert evidence_text.of(run) == EvidenceCheck(UNKNOWN, "It cannot be said.")


def test_a_model_that_reads_both_is_called_so():
    effects = {part: {"value": 0.3, "low": 0.2, "high": 0.4} for part in ("frame", "lungs")}
    words = evidence_text.conclusion({"verdict": FRAME, "why": "", "effects": effects})
    assert "30.0 % [20.0, 40.0]" in words and "reads the lungs as well" in words
    words = evidence_text.conclusion({"verdict": UNKNOWN, "why": BETWEEN, "effects": effects})
    assert words.startswith("The evidence check is inconclusive: the frame changes 30.0 %")


def test_the_heat_of_an_audit_in_words():
    heat = {"share": 0.5, "low": 0.45, "high": 0.55, "chance": 0.25, "images": 40}
    words = evidence_text.heat({"why": "", "heat": heat})
    assert "40 images" in words and "2.0 times chance" in words
    assert "No image" in evidence_text.heat({"why": "", "heat": {**heat, "images": 0}})


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (check_of(0.08, 0.15), "The heat map depends on what was learned: its similarity"),
        (check_of(0.95), "The heat map means nothing, for it hardly depends on what was learned"),
        (check_of(0.6), "is inconclusive: its similarity"),
        (check_of(float("nan"), defined=0.1), "is inconclusive: most maps are the same everywhere."),
        (randomisation_test.unknown("the images are gone"), "is inconclusive: the images are gone."),
    ],
    ids=["depends", "means nothing", "between", "empty", "no images"],
)
def test_the_check_of_a_heat_map_is_one_sentence(check, words):
    sentence = evidence_text.map_check(check)
    assert words in sentence and sentence.endswith(".") and ". " not in sentence


def test_a_damaged_audit_is_told_and_is_no_error(run):
    keep_audit(run, verdict="reads minds")
    told = evidence_text.of(run)
    assert told.verdict == DAMAGED and "damaged" in told.in_words


def test_an_audit_of_weights_that_were_trained_on_since_counts_no_more(run):
    keep_audit(run, head_sha256="of another head")
    assert evidence_text.of(run).verdict == NOT_YET


def test_runs_of_one_training_are_counted():
    assert evidence_text.counted([]) == ""
    assert evidence_text.counted(checks_of(FRAME, FRAME)) == FRAME
    assert evidence_text.counted(checks_of(FRAME, NOT_YET, FRAME)) == f"{FRAME} (2 of 3), {NOT_YET} (1 of 3)"


def test_several_runs_are_told_in_one_sentence():
    checks = checks_of(LUNGS, FRAME, FRAME, NOT_YET, UNKNOWN, DAMAGED)
    assert evidence_text.sentence("ABCDEF", checks) == (
        "Evidence check: B and C read the frame; A reads the lungs; E is inconclusive; F has a damaged audit; "
        "D is not audited yet."
    )


def test_where_none_is_audited_the_sentence_says_only_that():
    assert "is not made yet" in evidence_text.sentence("AB", [EvidenceCheck(NOT_YET), EvidenceCheck(NOT_YET)])
    assert evidence_text.sentence("", []) == ""


def test_many_runs_of_one_verdict_are_not_all_named():
    assert "A, B, C, D and 2 more read the frame" in evidence_text.sentence("ABCDEF", [EvidenceCheck(FRAME)] * 6)


def test_the_help_states_the_limits_of_the_rule():
    assert all(words in evidence_text.HELP for words in ("10 %", "50 %", "20 %", "segmenter"))


def test_the_command_line_has_it_beside_every_accuracy(run, capsys):
    assert main.main(["runs"]) == 0
    assert f"test accuracy 100.0 %, {EvidenceCheck(NOT_YET).in_passing}" in capsys.readouterr().out
    keep_audit(run)
    for verb in (["runs"], ["show", run.id]):
        assert main.main(verb) == 0
        assert f"test accuracy 100.0 %, {FRAME}" in capsys.readouterr().out
    assert main.main(["compare", run.id]) == 0
    out = capsys.readouterr().out
    assert f"]  {FRAME}" in out and "Evidence check: Mine (frame effect 100 %) reads the frame." in out


def test_json_has_verdict_sentence_and_masks(run, capsys):
    assert main.main(["runs", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert (row["verdict"], row["audit"]) == (NOT_YET, None)
    words = evidence_text.conclusion(keep_audit(run))
    for verb in (["runs", "--json"], ["show", run.id, "--json"]):
        assert main.main(verb) == 0
        answer = json.loads(capsys.readouterr().out)
        row = answer["runs"][0] if verb[0] == "runs" else answer
        assert row["audit"] == {"verdict": FRAME, "in_words": words, "masks": "own masks"}
        assert row["verdict"] == FRAME
    assert main.main(["compare", run.id, "--json"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    assert [one["verdict"] for one in group["table"]] == [FRAME, "", ""]


def test_the_report_of_a_image_has_it_beside_the_accuracy(run):
    assert "The evidence check of this model is not made yet." in image_report.card_line(run)
    found = keep_audit(run)
    assert f"Evidence check: {FRAME} (own masks). {evidence_text.conclusion(found)}" in image_report.card_line(run)


def audits(*runs: Run) -> list[ModelAuditRequest]:
    return [ModelAuditRequest(run=run.id) for run in runs]


def test_several_audits_are_queued_for_one_process_or_none_of_them(workspace, run, monkeypatch):
    launched = []
    monkeypatch.setattr(queue, "launch", lambda *folders: launched.append(folders))
    monkeypatch.setattr(kinds, "dataset_of", lambda *_: None)
    unfinished = made_run(workspace, all_parts(SIZES, 1), state=store.FAILED)
    with pytest.raises(queue.JobRefused, match="not finished"):
        queue.submit_all(workspace, audits(run, unfinished))
    assert not store.list_jobs(workspace) and not launched
    other = made_run(workspace, all_parts(SIZES, 1))
    queued = queue.submit_all(workspace, audits(run, other))
    assert launched == [tuple(queued)]
    assert [job.request()["run"] for job in queued] == [run.id, other.id]
    assert queue.submit_all(workspace, []) == [] and len(launched) == 1


# Outlines of lungs


def test_an_outline_says_what_it_rests_on_and_how_far_to_trust_it():
    real = Origin(TRAINED, "The images", False, 68, Measure(0.95, 0.94, 0.96, 16))
    words = evidence_text.outline(LungOutline(np.ones((2, 2), bool), real))
    assert "trained on 68 images of The images. Its Dice on 16 test images there is 0.950 [0.940, 0.960]" in words
    assert "It may be wrong on other images" in words
    drawn = evidence_text.outline_by(replace(real, synthetic=True))
    assert "68 synthetic images" in drawn and "It may be wrong on a real image" in drawn
    assert evidence_text.outline_by(Origin(OWN)) == "The lung mask is the data set's own."


@pytest.mark.parametrize("figure", evidence_text.REFUSALS)
def test_an_outline_that_is_not_given_has_its_reason(figure):
    words = evidence_text.outline(LungOutline(None, None, Refusal(figure, 0.999, 0.1, 0.6)))
    assert words.startswith("No lungs were found in this image: ")
    assert figure != "area" or words.endswith("covers 99.9 % of it, and lungs cover 10 % to 60 %.")


def test_every_figure_of_an_outline_has_a_reason():
    assert set(evidence_text.REFUSALS) == {"", lung_region.SMALL, *MARGINS}
