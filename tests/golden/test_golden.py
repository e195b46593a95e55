"""A workspace that an earlier version made is read as that version read it: the same ids, versions, figures, answers.

``make_golden.py`` is the record of how ``workspace.tar.xz`` and ``expected.json`` came to be.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from covid_core.commands.main import main

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
LOOKS = ("openings", "looks", "looks_not_noted")  # of the day on which somebody asks
SENTENCES = ("details", "in_words", "outdated", "sees", "reason", "note", "headline", "figures", "summary", "done")
UNBOUNDED = "expected_calibration_error"  # its interval was biased and has gone
EXACT, OF_NETWORKS = 1e-9, 1e-5  # how far a figure may be off; networks sum in another order on another processor


@pytest.fixture(scope="module")
def unpacked(golden, tmp_path_factory) -> Path:
    """The workspace as it was packed, in a folder of its own."""
    return shutil.copytree(golden, tmp_path_factory.mktemp("golden") / "workspace")


@pytest.fixture
def ask(unpacked, monkeypatch, capsys):
    """Ask a verb of that workspace, with files named relative to it."""
    monkeypatch.setenv("COVID_CORE_HOME", str(unpacked))
    monkeypatch.chdir(unpacked)

    def answered(asked: list[str]) -> dict[str, Any]:
        code = main([*asked, "--json"])
        told = capsys.readouterr().out
        assert code == 0, told
        return json.loads(told)

    return answered


def image(name: str) -> str:
    """A name as it is now: what was called a film is an image, and the majority class the majority baseline."""
    return name.replace("film", "image").replace("Majority class", "Majority baseline")


def differences(found: Any, expected: Any, allowed: float, place: str = "") -> Iterator[str]:
    """Where two JSON values differ: numbers by more than ``allowed``, keys but for ``film``, which is ``image`` now.

    New keys are welcome, sentences may be put better, and what is told of looks depends on the day: neither is
    compared.
    """
    if isinstance(found, dict) and isinstance(expected, dict):
        expected = {image(name): value for name, value in expected.items()}
        for name in expected:
            if name in LOOKS or re.search(f"{UNBOUNDED}[/_](low|high)$", f"{place}/{name}"):
                continue
            if name in found:
                yield from differences(found[name], expected[name], allowed, f"{place}/{name}")
            else:
                yield f"{place}/{name} is gone"
    elif isinstance(found, list) and isinstance(expected, list) and place.endswith("/summary"):
        if bool(found) != bool(expected):  # one long sentence may have become two
            yield f"{place}: {found!r} instead of {expected!r}"
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from differences(one, other, allowed, f"{place}/{number}")
    elif type(found) is float and type(expected) is float:
        if not abs(found - expected) <= allowed:
            yield f"{place}: {found!r} instead of {expected!r}"
    elif isinstance(expected, str) and isinstance(found, str):
        is_sentence = any(name in SENTENCES for name in place.split("/"))
        if bool(found) != bool(expected) if is_sentence else image(found) != image(expected):
            yield f"{place}: {found!r} instead of {expected!r}"
    elif found != expected or type(found) is not type(expected):
        yield f"{place}: {found!r} instead of {expected!r}"


@pytest.mark.parametrize("told", EXPECTED, ids=lambda told: " ".join(told["asked"][:2]))
def test_a_workspace_of_an_earlier_version_says_what_it_said_then(ask, told):
    allowed = OF_NETWORKS if told["asked"][0] == "predict" else EXACT
    assert "\n".join(differences(ask(told["asked"]), told["answer"], allowed)) == ""


def test_every_kind_of_question_is_asked():
    asked = {told["asked"][0] for told in EXPECTED}
    assert asked == {"datasets", "studies", "runs", "decisions", "summary", "audit", "show", "compare", "predict"}


def test_a_difference_is_found():
    given = {"a": [1.0, {"b": "x"}], "c": None, "looks": 1}
    assert list(differences({"a": [1.0 + 1e-12, {"b": "x"}], "c": None, "looks": 2}, given, EXACT)) == []
    assert len(list(differences({"a": [1.1, {"b": "y"}], "d": None}, given, EXACT))) == 3


def test_asking_changes_nothing_but_looks_and_cache(ask, unpacked):
    def contents() -> dict[str, bytes]:
        files = (path for path in unpacked.rglob("*") if path.is_file() and unpacked / "cache" not in path.parents)
        return {str(path.relative_to(unpacked)): path.read_bytes() for path in files if path.name != "openings.csv"}

    before = contents()
    for told in EXPECTED:
        ask(told["asked"])
    assert contents() == before
