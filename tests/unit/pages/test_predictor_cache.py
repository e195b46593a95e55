"""Opened models: once for all, tried again after a failure, and not more than memory allows."""

from dataclasses import dataclass

import pytest
from made_runs import all_parts, made_run

from covid_core.errors import RunDamaged
from covid_core.runs.store import Run
from pages.shared import image_results
from pages.shared.image_results import Predictors

SIZES = {"train": 6, "validation": 3, "test": 3}


@dataclass(frozen=True)
class Opened:
    name: str


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Names of the runs whose models were opened."""
    names: list[str] = []

    def note(run: Run) -> Opened:
        names.append(run.name)
        return Opened(run.name)

    monkeypatch.setattr(image_results, "_opened", note)
    return names


def runs_named(workspace, *names: str, kilobytes: int = 1) -> list[Run]:
    runs = [made_run(workspace, all_parts(SIZES, 1), name) for name in names]
    for run in runs:
        run.trunk_path.write_bytes(bytes(1000 * kilobytes))
    return runs


def test_a_model_is_opened_once(workspace, opened):
    (run,) = runs_named(workspace, "mine")
    kept = Predictors()
    kept.start(run)
    assert kept.of(run) is kept.of(run)
    assert opened == ["mine"]


def test_a_run_that_was_trained_further_is_opened_anew(workspace, opened):
    (run,) = runs_named(workspace, "mine")
    kept = Predictors()
    kept.of(run)
    later = Run(run.path, run.record, run.spec)
    run.write_result({**run.result, "finished": run.result["finished"] + 1})
    kept.of(later)
    assert opened == ["mine", "mine"]


def test_a_model_that_could_not_be_opened_is_tried_again(workspace, monkeypatch):
    (run,) = runs_named(workspace, "mine")
    kept = Predictors()

    def fail(run: Run) -> Opened:
        raise RunDamaged("missing")

    monkeypatch.setattr(image_results, "_opened", fail)
    with pytest.raises(RunDamaged):
        kept.of(run)
    monkeypatch.setattr(image_results, "_opened", lambda run: Opened(run.name))
    assert kept.of(run) == Opened("mine")


def test_what_was_not_used_for_longest_goes_first(workspace, opened):
    runs = runs_named(workspace, "a", "b", "c", kilobytes=10)
    kept = Predictors(most_bytes=2 * image_results.WORKSPACE_BYTES + 25_000)
    for run in (runs[0], runs[1], runs[0], runs[2], runs[0], runs[1]):
        kept.of(run)
    assert opened == ["a", "b", "c", "b"]


def test_the_last_model_stays_however_large_it_is(workspace, opened):
    (run,) = runs_named(workspace, "large", kilobytes=10)
    kept = Predictors(most_bytes=1)
    kept.of(run)
    kept.of(run)
    assert opened == ["large"]


def test_models_on_one_shared_network_count_once(workspace, opened):
    runs = [
        made_run(workspace, all_parts(SIZES, 1), name, result={"trunk": trunk})
        for name, trunk in (("a", "one"), ("b", "one"), ("c", "other"))
    ]
    for name in ("one", "other"):
        (workspace.trunks / f"{name}.tflite").write_bytes(bytes(10_000))
    kept = Predictors(most_bytes=2 * image_results.WORKSPACE_BYTES + 25_000)
    for run in (*runs, *runs):
        kept.of(run)
    assert opened == ["a", "b", "c"]


def test_the_trained_layers_of_each_run_on_a_shared_network_count(workspace, opened):
    (workspace.trunks / "one.tflite").write_bytes(bytes(10_000))
    result = {"trunk": "one", "tail_sha256": "0"}
    runs = [made_run(workspace, all_parts(SIZES, 1), name, result=result) for name in ("a", "b")]
    for run in runs:
        run.trunk_path.write_bytes(bytes(10_000))
    kept = Predictors(most_bytes=2 * image_results.WORKSPACE_BYTES + 25_000)
    for run in (*runs, *runs):
        kept.of(run)
    assert opened == ["a", "b", "a", "b"]
