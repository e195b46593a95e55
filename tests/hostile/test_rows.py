"""Each kind of hostile input has its test, or a sentence that says why not."""

import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = tomllib.loads((TESTS / "hostile/rows.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("row", "held_by"), [one for group in ROWS.values() for one in group.items()])
def test_a_kind_of_hostile_input_is_held_by_a_test_that_exists(row, held_by):
    if held_by.startswith("No test: "):
        assert held_by.endswith(".")
        return
    file, _, name = held_by.partition("::")
    assert f"\ndef {name}(" in (TESTS / file).read_text(encoding="utf-8")
