"""What of a run is written elsewhere, and the event files that it becomes."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from covid_core.errors import InvalidChoice, RunError
from covid_core.exchange.tracking import event_files, record
from covid_core.runs import store
from covid_core.workspace import Workspace

RUN = "longer-00008"
PNG = b"\x89PNG\r\n"


@pytest.fixture
def run(golden, monkeypatch) -> store.Run:
    """Without a browser's charts, which are drawn elsewhere."""
    monkeypatch.setattr(record, "pictures", lambda charts, *_, **__: {(one.key, "png"): PNG for one in charts})
    monkeypatch.setattr(record.test_set_access, "note", lambda *_: [])
    return store.open_run(Workspace(golden), RUN)


def events(folder: Path) -> list[Event]:
    (path,) = folder.glob("events.*")
    content, found, at = path.read_bytes(), [], 0
    while at < len(content):
        (length,) = struct.unpack("<Q", content[at : at + 8])
        found.append(Event.FromString(content[at + 12 : at + 12 + length]))
        at += 16 + length
    return found


def test_figures_have_their_intervals_and_undefined_ones_are_named(run):
    made = record.of(run)
    assert made.figures["test/accuracy/low"] <= made.figures["test/accuracy"] <= made.figures["test/accuracy/high"]
    assert made.figures["test/images"] == (run.split()["part"] == "test").sum()
    assert not set(made.undefined) & set(made.figures)
    assert all(value == value for value in made.figures.values())


def test_the_curves_count_epochs_over_all_stages(run):
    assert list(record.of(run).curves.index) == list(range(1, len(run.history()) + 1))
    assert {"loss", "val_loss", "accuracy", "val_accuracy"} <= set(record.of(run).curves)


def test_no_image_is_named(run):
    made = record.of(run)
    text = repr((made.tags, made.settings, made.figures, made.undefined))
    assert not [name for name in run.split()["image_id"] if name in text]


def test_of_starting_weights_in_a_file_the_name_alone_leaves(run):
    own = replace(run, spec=run.spec.model_copy(update={"weights": "file:/home/somebody/mine.keras"}))
    assert record.of(own).settings["weights"] == "file:mine.keras"


def test_settings_that_nobody_knows_are_none_of_predictions_from_elsewhere(run):
    theirs = replace(run, spec=run.spec.model_copy(update={"backbone": "imported"}))
    assert "backbone" in record.of(theirs).settings and "optimizer" not in record.of(theirs).settings


def test_the_key_changes_with_what_the_record_holds(run):
    assert record.of(run).key == record.of(run).key != record.of(run, {"card.md": b"a card"}).key


def test_classes_whose_names_differ_by_signs_alone_stay_apart(run):
    tested = record.candidates.candidate(run).assessment.tested
    first, *_ = tested.per_class.values()
    both = record.Measured(tested.n, tested.images, {}, {"A+": first, "A*": first}, tested.confusion)
    assert {name.partition("/")[0] for name, _ in record._measures(both)} == {"A_", "A_ 2"}


def test_without_a_browser_the_charts_are_left_out_and_that_is_told(run, monkeypatch):
    def none(*_, **__):
        raise InvalidChoice("No browser.")

    monkeypatch.setattr(record, "pictures", none)
    made = record.of(run)
    assert (made.charts, made.lacks) == ({}, (record.NO_FIGURES,))


def test_a_run_without_a_result_is_refused(run, monkeypatch):
    monkeypatch.setattr(store.Run, "result", {})
    with pytest.raises(RunError):
        record.of(run)


def test_an_event_file_holds_curves_figures_charts_and_texts(run, tmp_path):
    made = record.of(run, {"card.md": b"# A card"})
    written = events(event_files.write(made, tmp_path))
    values = [(event.step, value) for event in written for value in event.summary.value]
    losses = {step: value.simple_value for step, value in values if value.tag == "history/loss"}
    assert losses == pytest.approx(made.curves["loss"].to_dict(), rel=1e-5)
    assert written[0].file_version == event_files.VERSION
    assert {value.tag for _, value in values} >= {"test/accuracy/low", "figures/roc", "settings/text_summary"}
    assert [value.tensor.string_val[0] for _, value in values if value.tag.startswith("card")] == [b"# A card"]


def test_a_run_is_written_once_and_replaced_where_it_has_changed(run, tmp_path):
    before = event_files.write(record.of(run), tmp_path)
    (path,) = before.glob("events.*")
    stamp = path.stat().st_ino
    assert event_files.write(record.of(run), tmp_path) == before and path.stat().st_ino == stamp
    event_files.write(record.of(run, {"card.md": b"a card"}), tmp_path)
    assert len(list(before.glob("events.*"))) == 1 and list(tmp_path.iterdir()) == [before]


def test_a_folder_of_somebody_else_is_left_as_it_is(run, tmp_path):
    (tmp_path / RUN).mkdir()
    with pytest.raises(InvalidChoice):
        event_files.write(record.of(run), tmp_path)
    assert list((tmp_path / RUN).iterdir()) == []


def test_tracking_needs_somewhere_to_go(answer, golden, monkeypatch):
    monkeypatch.setenv("COVID_CORE_HOME", str(golden))
    assert answer("track", RUN)[0] == 1
