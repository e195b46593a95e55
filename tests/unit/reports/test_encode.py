"""Anything that the core returns becomes JSON: no type needs a writer of its own."""

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from covid_core.reports.encode import encode


class Colour(Enum):
    GREY = "grey"


class Spec(BaseModel):
    side: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Inner:
    value: float
    mask: np.ndarray


@dataclass(frozen=True)
class Outer:
    inner: Inner
    table: pd.DataFrame
    path: Path
    colour: Colour
    of_class: dict


def test_records_tables_arrays_and_undefined_numbers_are_encoded_however_they_nest():
    table = pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan]}, index=[7, 3])
    value = Outer(Inner(float("inf"), np.array([[True, False]])), table, Path("x/y"), Colour.GREY, {1: np.float32(0.5)})
    encoded = encode([value, Spec(side=3, names=("a",)), {"z"}])
    assert encoded == [
        {
            "inner": {"value": None, "mask": [[True, False]]},
            "table": [{"a": 1, "b": 0.5}, {"a": 2, "b": None}],
            "path": "x/y",
            "colour": "grey",
            "of_class": {"1": 0.5},
        },
        {"side": 3, "names": ["a"]},
        ["z"],
    ]
    assert json.loads(json.dumps(encoded, allow_nan=False)) == encoded


@pytest.mark.parametrize("value", [np.int64(3), np.bool_(True), np.float64(0.1), np.str_("a")])
def test_numbers_of_numpy_are_those_of_python(value):
    assert json.loads(json.dumps(encode(value))) == value


def test_what_has_no_json_is_an_error():
    with pytest.raises(TypeError, match="No JSON for bytes"):
        encode({"a": b"?"})
