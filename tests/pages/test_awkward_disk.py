"""Every verb and every page in a workspace that cannot be written: a read-only disk, and a full one."""

import pytest
from awkward_disk import on_disk
from system_tools import require

READING = (
    *("where", "cache", "datasets", "summary", "decisions", "studies", "runs", "show", "compare", "predict", "bundle"),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ro", "full"])
def test_a_disk_that_takes_nothing_is_named_in_a_sentence_and_all_else_can_be_read(workspace, copy_of_trained, kind):
    require("unshare")
    copy_of_trained(workspace)
    answer = on_disk(workspace.root, kind)
    assert {name: said for name, (code, said) in answer["verbs"].items() if code == "traceback"} == {}
    assert {name: answer["verbs"][name] for name in READING if answer["verbs"][name][0] != 0} == {}
    assert {name: errors for name, errors in answer["pages"].items() if errors} == {}
    deleted = answer["verbs"]["delete"][0] == answer["verbs"]["delete-dataset"][0] == 0
    assert deleted == (kind == "full")
