"""The demonstration: its parts in their order, and that a second one makes what is lacking and nothing again."""

import pytest
from made_runs import all_parts, history

from covid_core import weights
from covid_core.data.dataset import list_datasets
from covid_core.errors import Stopped
from covid_core.jobs import demonstration, kinds
from covid_core.jobs.kinds import DemonstrationRequest
from covid_core.runs import store

PARTS = {"train": 6, "validation": 3, "test": 3}


@pytest.fixture
def done(monkeypatch) -> list[str]:
    """What was trained and audited; nothing really is. Whatever stands in ``done`` twice fails the second time."""
    named: list[str] = []

    def work(workspace, what, progress):
        if isinstance(what, store.Run):
            progress(0.5, "Learning")
            what.write_predictions(all_parts(PARTS, 1))
            what.append_history(history(1).iloc[0].to_dict())
            what.write_result({"accuracy": {"test": 0.5}})
        named.append(what.name if isinstance(what, store.Run) else type(what).__name__)
        return True

    monkeypatch.setattr(kinds, "entry_point", lambda name: work)
    monkeypatch.setattr(weights, "is_cached", lambda backbone, size: backbone.pretrained)
    return named


ORDER = ["Baseline CNN", "MobileNetV2", "AuditRequest", "ModelAuditRequest", "ModelAuditRequest"]


def test_the_audit_of_the_images_comes_after_all_trainings_so_that_nothing_makes_it_outdated(workspace, done):
    told: list[str] = []
    result = demonstration.make(workspace, DemonstrationRequest(images=20), lambda share, text: told.append(text))
    assert done == ORDER
    assert len({text.partition(":")[0] for text in told}) == 6 and told[-1].startswith("Step 6 of 6: ")
    (info,) = list_datasets(workspace)
    assert (info["id"], info["counts"]) == (result["dataset"], {"COVID": 6, "Normal": 8, "Viral Pneumonia": 6})
    assert [store.open_run(workspace, run).name for run in result["runs"]] == ["Baseline CNN", "MobileNetV2"]


def test_one_that_was_stopped_goes_on_where_it_ended(workspace, done):
    def stop(share: float, text: str) -> None:
        if text == "Step 3 of 6: Learning":
            raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        demonstration.make(workspace, DemonstrationRequest(images=20), stop)
    assert done == ORDER[:1]
    demonstration.make(workspace, DemonstrationRequest(images=20), lambda share, text: None)
    assert done == ORDER
    assert (len(list_datasets(workspace)), len(store.list_runs(workspace)[0])) == (1, 2)


def test_without_pretrained_weights_the_baseline_stands_alone(workspace, done, monkeypatch):
    monkeypatch.setattr(weights, "is_cached", lambda backbone, size: False)
    demonstration.make(workspace, DemonstrationRequest(images=20), lambda share, text: None)
    assert done == ["Baseline CNN", "AuditRequest", "ModelAuditRequest"]
