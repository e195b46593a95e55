"""What can be computed again: read whole or not at all, and kept within the room that there is."""

import numpy as np
import pandas as pd
import pytest

from covid_core import cache, derived
from covid_core.errors import NoRoom

TABLE = pd.DataFrame({"image_id": ["a", "b"], "score": [0.5, 1.0]})


def path_in(workspace, suffix="parquet"):
    return derived.path_of(workspace.tables, 40 * "f", "groups", 3, suffix)


def test_a_name_holds_the_key_the_kind_and_the_format(workspace):
    assert path_in(workspace).name == "ffffffffffffffff-groups-3.parquet"


def test_a_table_is_read_as_it_was_written_and_noted_as_used(workspace, monkeypatch):
    derived.write_table(workspace, path_in(workspace), TABLE)
    touched = []
    monkeypatch.setattr(cache, "touch", touched.append)
    pd.testing.assert_frame_equal(derived.read_table(path_in(workspace), ["image_id", "score"]), TABLE)
    assert touched == [path_in(workspace)]


def test_arrays_are_read_by_name(workspace):
    path = path_in(workspace, "npz")
    derived.write_arrays(workspace, path, {"a": np.arange(3), "b": np.ones(2)})
    found = derived.read_arrays(path, ["b"])
    assert list(found) == ["b"] and found["b"].tolist() == [1, 1]
    assert derived.read_arrays(path, ["a", "c"]) is None  # another format


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 torn", b"PAR1"])
def test_what_is_not_there_or_torn_is_none(workspace, content):
    for suffix, read in (("parquet", derived.read_table), ("npz", derived.read_arrays)):
        path = path_in(workspace, suffix)
        if content is not None:
            path.write_bytes(content)
        assert read(path, ["score"]) is None


def test_what_has_no_room_is_an_error_or_left_out(workspace, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, "0.000000001")
    with pytest.raises(NoRoom):
        derived.write_table(workspace, path_in(workspace), TABLE)
    derived.write_table(workspace, path_in(workspace), TABLE, optional=True)
    assert not path_in(workspace).exists()
