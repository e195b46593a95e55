"""The contract of ``--json``: every verb of the command line has a row here, with the keys that it must answer and of
which kind each is. More keys may be there. Nothing is trained: the verbs are asked of a workspace that was made once.
"""

import argparse
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple
from zipfile import ZipFile

import added_backbones
import dicomweb_server
import pytest
from made_dicom import as_dicom
from made_profiles import with_profile
from made_segmenters import made_segmenter

from covid_core import weights
from covid_core.commands import main
from covid_core.commands.verbs import VERBS
from covid_core.data.imports import importing
from covid_core.exchange import watched_folder
from covid_core.exchange.forms import exported
from covid_core.images.codec import read_image
from covid_core.jobs import queue
from covid_core.runs import store, temperature_scaling
from covid_core.workspace import Workspace

GOLDEN = Path(__file__).parents[1] / "golden" / "workspace.tar.xz"
FIRST, OTHER = "drawn-films-00002", "other-films-00004"
RUN, AGAIN, STUDY = "longer-00008", "two-seeds-seed-0-00006", "two-seeds-2-seeds-00005"
SEGMENTER = "{segmenter}"  # made for the tests that need one
IMAGE = f"datasets/{FIRST}/files/COVID/images/COVID-1.png"
TRAIN = ("train", FIRST, "--backbone", "baseline_cnn")

NUMBER = (int, float, NoneType)  # null where it is undefined
TEXT_OR_NULL = (str, NoneType)
MEASURE = {"value": NUMBER, "low": NUMBER, "high": NUMBER, "n": int, "note": str}


class By(NamedTuple):
    """An object whose keys are names of data: each value is of ``kind``."""

    kind: Any


COUNTS = By(int)
PART = {"images": COUNTS, "overall": By(MEASURE), "per_class": By(By(MEASURE)), "confusion": By(COUNTS)}
ENGINE = {
    "engine": str,
    "address": str,
    "cores": int,
    "gpus": int,
    "minutes": int,
    "set_outside": bool,
    "nodes": [{"name": str, "cores": int, "gpus": int}],
}
DATASET = {
    "dataset": str,
    "name": str,
    "images": int,
    "counts": COUNTS,
    "synthetic": bool,
    "version": str,
    "left_out": [{"path": str, "reason": str}],
}
MERGE = {
    "counts": COUNTS,
    "members": [{"id": str, "name": str, "version": str, "map": By(str), "drop": [str]}],
    "notes": [str],
}
SCORE = {"value": float, "limit": float}
DRIFT = {
    "run": str,
    "images": int,
    "own": int,
    "score": float,
    "differs": bool,
    "different": [str],
    "aspects": By(SCORE),
    "class_mix": SCORE,
    "class_mix_differs": bool,
    "estimated": By(float),
    "trained": By(float),
    "predicted": COUNTS,
    "in_words": [str],
    "advice": [str],
    "unread": [{"file": str, "error": str}],
}
DECISIONS = {
    "dataset": str,
    "images": int,
    "counts": COUNTS,
    "version": str,
    "decisions": [{"number": int, "when": str, "author": str, "action": str, "image_id": str, "in_force": bool}],
}
STARTED = {"run": str, "name": str, "state": str, "reason": str, "progress": float, "study": str, "dataset": str}
AUDIT = {"verdict": TEXT_OR_NULL, "in_words": str, "masks": str}
FINISHED = STARTED | {"test": {"accuracy": float}, "verdict": str, "weights": {"origin": str}, "split_hash": str}
STUDY_STARTED = {"study": str, "name": str, "runs": [STARTED], "failed": bool}
SPREAD = {"mean": NUMBER, "spread": NUMBER, "lowest": NUMBER, "highest": NUMBER, "count": int}
TESTED = {"test": str, "runs": int, "reason": str}
RUN_JOB = {"run": str, "job": str, "state": str, "reason": str}
BACKBONE = {"backbone": str, "label": str, "licence": str, "added": (dict, NoneType)}
EXPORT = {
    "run": str,
    "format": str,
    "folder": str,
    "model": str,
    "pixels": int,
    "classes": [str],
    "output": str,
    "temperature": NUMBER,
    "trained_on_synthetic": bool,
    "parity": {"images": int, "source": str, "largest_difference": float, "limit": float},
    "sha256": By(str),
}
POINT = {
    "amount": NUMBER,
    "accuracy": MEASURE,
    "sensitivity": By(MEASURE),
    "expected_calibration_error": MEASURE,
    "p_holm": NUMBER,
}
ROBUSTNESS = {
    "run": str,
    "images": int,
    "of_all": int,
    "of_class": COUNTS,
    "unchanged": POINT,
    "changes": By([POINT]),
    "worse_from": By(NUMBER),
    "audit": AUDIT,
    "in_words": [str],
}
IMPORTED = {
    **{"file": str, "sha256": str, "rows": int, "scale": str, "normalised": int, "images": COUNTS, "lacking": COUNTS},
    **{"lacking_test": [str], "unknown": int, "unknown_names": [str], "not_in_split": int, "other_label": int},
    "trained_on_test": int,
}
SEGMENTER_FIGURES = {"segmenter": str, "dataset": {"id": str}, "dice": {"value": float}, "images": COUNTS}
SETS = {"coverage": float, "covered": MEASURE, "of_class": By(MEASURE), "mean_size": NUMBER, "in_words": str}
CALIBRATION = {"temperature": NUMBER, "images": int, "note": str, "chose_nothing_else": bool}
OUTSIDE = {
    "run": str,
    "evaluation": str,
    "dataset": {"id": str, "name": str, "version": str},
    "images": int,
    "shared": int,
    "conflicts": int,
    "unknown": COUNTS,
    "outside": PART,
    "inside": PART,
    "drop": By(MEASURE),
    "called": By(COUNTS),
    "shared_images": [{"image_id": str, "twin": str, "twin_part": str}],
}
OF_RUN = {
    "validation": PART,
    "test": PART,
    "labels": {"images": int, "wrong": int, "in_words": str},
    "calibration": CALIBRATION,
    "reliability": By([{"low": float, "high": float, "mean_score": float, "right": MEASURE}]),
    "prediction_sets": SETS,
    "operating_points": [{"label": str, "aim": str, "threshold": NUMBER}],
    "curves": By({"roc": By(list), "precision_recall": By(list), "undefined": str}),
    "outside": [OUTSIDE],
    "openings": [{"time": NUMBER, "what": str}],
    "settings": {"backbone": str},
    "cost": {"training_seconds": NUMBER, "device": str},
    "history": [{"epoch": int, "loss": NUMBER}],
}
GROUP = {
    "images": str,
    "table": [{"name": str, "test": NUMBER, "test_low": NUMBER, "test_high": NUMBER, "verdict": str}],
    "pairs": [dict],
    "runs": By(OF_RUN),
    "test_images": {"answers": [{"image_id": str, "label": str}], "hardest": [str], "confident_errors": By([str])},
    "looks": [{"time": NUMBER, "what": str, "runs": int}],
    "looks_not_noted": [str],
    "summary": [str],
}
LADDER = {
    "verdict": {"level": str, "headline": str, "details": [str], "by": str},
    "rungs": [{"key": str, "name": str, "holds": str, "run": bool, "reason": str}],
    "folds": int,
}
TRACKED = {"run": str, "mlflow": (dict, NoneType), "tensorboard": TEXT_OR_NULL, "lacks": [str]}
KEPT = {"bytes": int, "files": int, "used": NUMBER}

# VERB: what is asked, and what must be answered; several of a verb where it answers in more than one way
CONTRACT: dict[str, list[tuple[tuple[str, ...], dict[str, Any]]]] = {
    "where": [((), {"workspace": str, "reason": str, "unused": TEXT_OR_NULL})],
    "engine": [((), ENGINE), (("local", "--cores", "2"), ENGINE)],
    "demo": [(("--images", "6"), DATASET)],
    "import": [((f"datasets/{OTHER}/files",), DATASET)],
    "merge": [
        ((FIRST, OTHER, "--dry-run"), MERGE),
        ((FIRST, OTHER, "--map", f"{OTHER}:COVID=Normal"), DATASET | MERGE | {"shared": int, "conflicts": int}),
    ],
    "kaggle": [((), DATASET)],
    "datasets": [((), {"datasets": [{"id": str, "name": str, "counts": COUNTS, "created": float}]})],
    "summary": [((FIRST,), DATASET | {"imbalance_ratio": float, "class_weights": By(float), "sources": By(COUNTS)})],
    "audit": [
        (
            (FIRST, "--against", OTHER),
            {
                "dataset": str,
                "version": str,
                "images": int,
                "findings": [{"image_id": str, "finding": str, "score": NUMBER, "limit": NUMBER}],
                "copies": [{"first": str, "second": str, "kind": str, "conflict": bool}],
                "conflicts": int,
                "contradicting_patients": [{"patient_id": str, "counts": COUNTS, "image_ids": [str]}],
                "ladder": LADDER,
                "ladder_reason": str,
                "sources": {"known": int, "association": NUMBER, "within": By(list), "in_words": [str]},
                "outdated": str,
                "against": {"dataset": str, "images": int, "others": int, "pairs": [dict], "conflicts": int},
            },
        )
    ],
    "map": [
        (
            (OTHER,),
            {
                "dataset": str,
                "words": [str],
                "images": [{"image_id": str, "tsne_x": float, "pca_x": float, "outlier_score": float}],
                "outliers": [dict],
                "suspicious": [dict],
                "accuracy": NUMBER,
            },
        )
    ],
    "delete-dataset": [((OTHER,), {"dataset": str, "deleted": bool})],
    "decide": [((FIRST, "leave-out", "Normal/Normal-5.png"), DECISIONS)],
    "group-duplicates": [((FIRST,), DECISIONS)],
    "take-back": [((FIRST, "3"), DECISIONS)],
    "decisions": [((FIRST,), DECISIONS | {"versions": COUNTS})],
    "train": [(TRAIN[1:], STARTED), ((*TRAIN[1:], "--set", "seeds=2"), STUDY_STARTED)],
    "study": [(("--list",), {"presets": By(str)}), ((FIRST, "--preset", "quick"), STUDY_STARTED)],
    "studies": [((), {"studies": [{"id": str, "name": str, "preset": str, "runs": [str]}]})],
    "annotate": [((RUN, "--tags", "course"), FINISHED | {"annotation": {"tags": [str], "archived": bool}})],
    "runs": [((), {"runs": [FINISHED], "damaged": [{"run": str, "reason": str}]})],
    "show": [
        (
            (RUN,),
            FINISHED
            | {
                "test": {"accuracy": float, "sensitivity": By(NUMBER)},
                "audit": AUDIT,
                "marks": [str],
                "labels": {"images": int, "wrong": int, "in_words": str},
                "prediction_sets": SETS,
                "subgroups": {"rows": [dict], "tests": int, "worst": type(None), "in_words": str},
                "parts": {"balance": [{"fact": str, "value": str, "train": int, "validation": int, "test": int}]},
                "dataset_version": {"version": str, "before": NUMBER, "decisions": int, "in_words": str},
                "spec": {"dataset": str, "classes": [str], "backbone": str},
                "result": {"accuracy": By(float)},
                "history": [{"epoch": int, "loss": NUMBER}],
            },
        )
    ],
    "split": [((RUN, "--to", "split.csv", "--scores"), {"run": str, "file": str, "images": COUNTS})],
    "import-predictions": [
        (("{scores}", "--like", RUN, "--preview"), {"run": NoneType, "imported": IMPORTED, "in_words": [str]}),
        (("{scores}", "--like", RUN), FINISHED | {"imported": IMPORTED, "in_words": [str]}),
    ],
    "card": [
        ((RUN,), {"file": str, "checklists": By(COUNTS)}),
        ((FIRST, "--format", "md", "--to", "card.md"), {"file": str, "checklists": By(COUNTS)}),
    ],
    "stop": [(("{queued}",), STARTED)],
    "resume": [(("{stopped}",), STARTED), ((STUDY,), STUDY_STARTED | {"test": {"accuracy": float, "spread": float}})],
    "delete": [((RUN,), {"run": str, "deleted": bool})],
    "compare": [
        ((RUN, AGAIN), {"groups": [GROUP], "comparable": bool}),
        (
            ("--study", STUDY),
            {
                "groups": [GROUP],
                "comparable": bool,
                "repeats": {
                    "studies": [
                        {"study": str, "runs": [dict], "measures": By(SPREAD), "pooled": [dict]}
                        | {"planned": int, "above_majority": TESTED}
                    ],
                    "pairs": [TESTED | {"first": str, "second": str, "p_holm": NUMBER}],
                    "summary": [str],
                },
            },
        ),
    ],
    "report": [
        ((RUN, AGAIN), {"files": [str]}),
        ((STUDY, "--format", "html", "--to", "there"), {"files": [str]}),
        (("--study", STUDY), {"files": [str]}),
    ],
    "evaluate": [((RUN, OTHER), OUTSIDE)],
    "predict": [
        (
            (AGAIN, IMAGE, "--anyway"),
            {
                "run": str,
                "trained_on_synthetic": bool,
                "coverage": float,
                "calibration": CALIBRATION,
                "failed": bool,
                "images": [
                    {
                        "file": str,
                        "box": (dict, NoneType),
                        "predicted": TEXT_OR_NULL,
                        "scores": By(float),
                        "logits": By(float),
                        "probabilities": By(float),
                        "refused_by": TEXT_OR_NULL,
                        "checks": [{"name": str, "passed": (bool, NoneType), "in_words": str, "outcome": str}],
                        "warnings": [str],
                    }
                ],
            },
        )
    ],
    "track": [((RUN, "--tensorboard", "there"), {"runs": [TRACKED]})],
    "drift": [((RUN, "{batch}"), DRIFT)],
    "bundle": [
        (
            (RUN, AGAIN, "runs.zip", "--licence", "CC0"),
            {"file": str, "runs": [{"run": str, "name": str}], "bytes": int, "sha256": str, "images": int}
            | {"studies": [str], "licence": str, "note": str},
        )
    ],
    "open": [
        (
            ("{bundle}",),
            {"runs": [{"run": str, "name": str, "state": str, "lacks": [str]}], "sha256": str, "licence": str}
            | {"studies": [str], "note": str},
        )
    ],
    "fetch": [(("made", "--study", dicomweb_server.STUDY, "--to", "{there}"), {"pacs": str, "files": [str]})],
    "send": [
        (
            (AGAIN, "{dicom}", "--to", "{there}"),
            {
                "run": str,
                "pacs": TEXT_OR_NULL,
                "results": [{"file": str, "answer": TEXT_OR_NULL, "written": [str], "stored": bool}],
                "failed": bool,
            },
        )
    ],
    "watch": [((AGAIN, "datasets", "--to", "{there}"), {"run": str, "images": int, "answers": str})],
    "export": [((RUN, "--format", "litert", "--to", "out"), EXPORT)],
    "reference": [((RUN,), RUN_JOB)],
    "audit-run": [((RUN,), RUN_JOB)],
    "robustness": [((RUN,), {"runs": [ROBUSTNESS]})],
    "segment": [((FIRST,), {"job": str, "dataset": str, "state": str, "reason": str})],
    "segmenters": [
        ((), {"segmenters": [SEGMENTER_FIGURES], "damaged": [{"segmenter": str, "reason": str}], "jobs": [dict]})
    ],
    "delete-segmenter": [((SEGMENTER,), {"segmenter": str, "deleted": bool})],
    "add-backbone": [(("{file}",), BACKBONE)],
    "backbones": [((), {"backbones": [BACKBONE]})],
    "delete-backbone": [(("own_network",), {"backbone": str, "deleted": bool})],
    "cache": [
        ((), {"limit": int, "bytes": int, "kinds": By(KEPT), "unused_trunks": KEPT}),
        (("--clear",), {"freed": int, "in_use": [str]}),
    ],
    "activity": [
        (
            (),
            {
                "lines": [{"when": str, "who": str, "role": str, "did": str, "what": str}],
                "forgotten": (int, type(None)),
            },
        )
    ],
}
WITHOUT_JSON = {"app", "serve"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(folder, filter="data")
    return folder / "workspace"


@pytest.fixture
def verb(packed, tmp_path, monkeypatch, capsys):
    """Ask a verb of a copy of the workspace, with files named relative to it; no process is started."""
    home = tmp_path / "workspace"
    shutil.copytree(packed, home)
    monkeypatch.setenv("COVID_CORE_HOME", str(home))
    monkeypatch.chdir(home)
    monkeypatch.setattr(queue, "launch", lambda *jobs: [job.write_launch(os.getpid(), 1) for job in jobs])
    monkeypatch.setattr(weights, "can_be_reached", lambda url: True)
    monkeypatch.setattr(importing, "import_kaggle", lambda where, *_: importing.import_phantom(where, 6))

    def answered(*words: str) -> dict[str, Any]:
        code = main.main([*words, "--json"])
        printed = capsys.readouterr().out
        assert code == 0, printed
        return json.loads(printed)

    return answered


def faults(value: Any, kind: Any, place: str = "") -> Iterator[str]:
    """Where a JSON value is not of a kind: a type or types, [kind] for a list, a dict of required keys, or ``By``."""
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            yield f"{place} is {value!r}"
            return
        for name, inner in kind.items():
            yield from faults(value[name], inner, f"{place}/{name}") if name in value else [f"{place}/{name} is gone"]
    elif isinstance(kind, By):
        yield from faults(value, dict.fromkeys(value, kind.kind) if isinstance(value, dict) else {}, place)
    elif isinstance(kind, list):
        if not isinstance(value, list):
            yield f"{place} is {value!r}"
            return
        for number, item in enumerate(value):
            yield from faults(item, kind[0], f"{place}/{number}")
    elif not isinstance(value, kind) or (isinstance(value, bool) and kind in (int, NUMBER)):
        yield f"{place} is {value!r}"


def test_every_argument_and_option_has_a_help():
    assert [
        (verb, one) for verb, (_, options) in VERBS.items() for one, facts in options if not facts.get("help")
    ] == []


def verbs_of_parser() -> set[str]:
    (verbs,) = (one for one in main._parser()._actions if isinstance(one, argparse._SubParsersAction))
    return set(verbs.choices)


def test_every_verb_has_a_row():
    assert verbs_of_parser() == set(CONTRACT) | WITHOUT_JSON


def with_pacs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> dict[str, str]:
    """A PACS with an image, the image as a file, and a folder to write to; who watches is interrupted at once."""
    pixels = read_image(Workspace.default().root / IMAGE).pixels
    references = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "SOPInstanceUID": "1.2.3.4.5"}
    image = as_dicom(pixels, **references, SeriesInstanceUID="1.2.3.4", StudyInstanceUID=dicomweb_server.STUDY)
    (tmp_path / "image.dcm").write_bytes(image)
    opened = dicomweb_server.service()
    pacs = opened.__enter__()
    request.addfinalizer(lambda: opened.__exit__(None, None, None))
    pacs.files = [("DX", image)]
    monkeypatch.setenv("COVID_CORE_PACS", f"made={pacs.address}")
    monkeypatch.setattr(watched_folder, "pause", interrupted)
    return {"dicom": str(tmp_path / "image.dcm"), "there": str(tmp_path / "there")}


def interrupted(_seconds: float) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("name", "words", "schema"),
    [(name, words, schema) for name, rows in CONTRACT.items() for words, schema in rows],
    ids=[f"{name} {number}" for name, rows in CONTRACT.items() for number in range(len(rows))],
)
def test_a_verb_answers_the_keys_of_its_contract(verb, name, words, schema, tmp_path, monkeypatch, request):
    made = {}
    if name in ("segmenters", "delete-segmenter"):
        made["segmenter"] = made_segmenter(Workspace.default(), FIRST).id
    if name in ("add-backbone", "delete-backbone"):
        made["file"] = added_backbones.small_onnx(tmp_path / "small.onnx")
        added_backbones.described(made["file"])
    if name == "delete-backbone":
        added_backbones.published(Workspace.default(), made["file"])
    if {"{queued}", "{stopped}"} & set(words):
        made["queued"] = made["stopped"] = verb(*TRAIN)["run"]
    if name == "drift":
        made["batch"] = f"datasets/{FIRST}/files"
        with_profile(store.open_run(Workspace.default(), RUN))
    if name == "open":
        made["bundle"] = verb("bundle", RUN, "runs.zip")["file"]
        verb("delete", RUN)
    if name == "import-predictions":
        made["scores"] = verb("split", RUN, "--to", "scores.csv", "--scores")["file"]
    if name == "export":
        export_made_before(store.open_run(Workspace.default(), RUN))
    if "{stopped}" in words:
        verb("stop", made["stopped"])
    if name in ("fetch", "send", "watch"):
        made |= with_pacs(tmp_path, monkeypatch, request)
    answer = verb(name, *(word.format(**made) for word in words))
    assert list(faults(answer, schema)) == []


def export_made_before(run: store.Run) -> None:
    """An archive as a job has left it: its facts alone."""
    facts = exported.facts(run, "litert", temperature_scaling.of(run))
    parity = {"images": 32, "source": exported.DRAWN, "largest_difference": 1e-7, "limit": exported.PARITY_LIMIT}
    with ZipFile(exported.path_of(run.workspace, run, "litert"), "w") as archive:
        archive.writestr(exported.FACTS, json.dumps({**facts, "parity": parity, "sha256": {}}))


def test_what_breaks_the_contract_is_named():
    schema = {"a": int, "b": [{"c": NUMBER}], "d": By(str)}
    assert list(faults({"a": 1, "b": [{"c": None}], "d": {"x": "y"}}, schema)) == []
    assert list(faults({"a": True, "b": [{}], "d": {"x": 1}}, schema)) == ["/a is True", "/b/0/c is gone", "/d/x is 1"]
    assert list(faults({"a": 1, "b": {}, "d": []}, schema)) == ["/b is {}", "/d is []"]
