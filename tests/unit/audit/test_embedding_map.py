"""The map of a data set: made, kept, found again, and made by a job; from the images, or from a network's answers."""

import json

import numpy as np
import pandas as pd
import pytest
from made_data import made_database, made_dataset
from made_runs import all_parts, made_run

from covid_core.audit.embedding import embedding_map, projection
from covid_core.audit.shortcuts.probe_ladder import Reason
from covid_core.audit.shortcuts.probes import Frozen
from covid_core.commands import main
from covid_core.data import dataset as data
from covid_core.data.dataset import KEY_LENGTH
from covid_core.data.decisions import LEAVE_OUT, RELABEL, Decision
from covid_core.errors import DataError, Stopped
from covid_core.jobs import queue, worker
from covid_core.jobs.kinds import MapRequest
from covid_core.reports import audit_text


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Where an image lies in the end is no matter here."""
    monkeypatch.setattr(projection, "STEPS", (50, 50))


@pytest.fixture
def images(workspace, tmp_path):
    """Three classes, of which two differ in brightness."""
    levels = {"COVID": 60, "Normal": 140, "Viral Pneumonia": 140}
    counts = {"COVID": 20, "Normal": 20, "Viral Pneumonia": 12}
    return made_dataset(tmp_path, workspace, counts=counts, levels=levels)[1]


def keep_features(workspace, dataset, origin: str) -> None:
    """What a training leaves: a frozen network's answers for all images, and the run that names that network."""
    key = f"mobilenet-v2-{origin}"
    features(dataset).tofile(workspace.features / f"{dataset.pixels_key[:KEY_LENGTH]}-{key}-pooled.f32")
    result = {"trunk": key, "weights": {"origin": origin}}
    table = all_parts({"train": 6, "validation": 3, "test": 3}, 1)
    made_run(workspace, table, backbone="mobilenet_v2", image_size=224, result=result)


def features(dataset, width: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(dataset.images), width)).astype(np.float32)


def test_a_map_has_a_place_for_every_image_and_is_kept(workspace, images):
    assert embedding_map.stored(workspace, images) is None
    made = embedding_map.make(workspace, images)
    assert made.images["image_id"].tolist() == images.images["image_id"].tolist()
    assert np.isfinite(made.images[["pca_x", "pca_y", "tsne_x", "tsne_y"]].to_numpy()).all()
    assert made.features == embedding_map.Features()
    kept = embedding_map.stored(workspace, images)
    assert kept.images.equals(made.images)
    assert kept.facts == made.facts
    assert kept.is_current


def test_with_sources_one_of_class_and_source_is_held_fixed(workspace, tmp_path):
    sources = {"COVID": ["https://a.org", "https://b.org"], "Normal": ["https://a.org"]}
    _, images = made_database(tmp_path, workspace, counts={"COVID": 30, "Normal": 30}, sources=sources)
    made = embedding_map.make(workspace, images)
    assert made.purity("source").images == 60
    assert made.purity("class within source").images == 45  # all of the first source; the second holds one class
    assert made.purity("source within class").images == 30


@pytest.mark.parametrize("harm", ["torn", "gone", "other"])
def test_a_map_that_is_torn_or_missing_is_none(workspace, images, harm):
    embedding_map.make(workspace, images)
    (path,) = workspace.tables.glob("*-map-*.parquet")
    if harm == "torn":
        path.write_bytes(path.read_bytes()[:-200])
    elif harm == "gone":
        path.unlink()
    else:
        images.images["image_id"].to_frame().to_parquet(path)
    assert embedding_map.stored(workspace, images) is None


def test_after_a_decision_the_earlier_map_serves_and_says_so(workspace, images):
    embedding_map.make(workspace, images)
    out, other = images.images["image_id"].iloc[[0, 5]]
    changed = data.decide(
        workspace, images.id, [Decision(LEAVE_OUT, out), Decision(RELABEL, other, after="Normal")], "A. Reader"
    )
    assert embedding_map.stored(workspace, changed) is None
    found = embedding_map.latest(workspace, changed)
    assert not found.is_current
    assert found.images["image_id"].tolist() == changed.images["image_id"].tolist()
    assert found.images["row"].tolist() == list(range(51))
    assert found.images["label"].tolist() == changed.images["label"].tolist()


def test_a_label_that_was_changed_is_not_disputed_any_more(workspace, images):
    made = embedding_map.make(workspace, images)
    assert len(made.suspicious)
    first = made.suspicious.iloc[0]
    changed = data.decide(
        workspace, images.id, [Decision(RELABEL, first["image_id"], after=first["other"])], "A. Reader"
    )
    assert first["image_id"] not in embedding_map.latest(workspace, changed).suspicious["image_id"].tolist()


def test_disputed_labels_come_with_the_lowest_score_first(workspace, images):
    table = embedding_map.make(workspace, images).suspicious
    assert table["given_score"].is_monotonic_increasing
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert (table["label"] != table["other"]).all()
    assert images.images["image_id"].iloc[table["row"]].tolist() == table["image_id"].tolist()


def test_a_class_whose_images_all_belong_together_is_not_called_mislabelled():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"image_id": [f"{number}" for number in range(72)], "source": ""})
    table["label"] = ["A"] * 30 + ["B"] * 30 + ["C"] * 12
    table["group"] = [*map(str, range(60)), *["one patient"] * 12]
    shown, facts = embedding_map.drawn(
        rng.normal(size=(72, 8)) + 4 * (table["label"] == "C").to_numpy()[:, None], table
    )
    assert not shown.loc[60:, "is_suspicious"].any()
    assert facts["judged"] == 60
    assert facts["reason"] == Reason("not checked", ("C",), least=10)


def test_a_class_of_few_images_is_not_asked_about(workspace, tmp_path):
    _, images = made_dataset(tmp_path, workspace, counts={"COVID": 12, "Normal": 12, "Viral Pneumonia": 3})
    made = embedding_map.make(workspace, images)
    assert made.facts["judged"] == 24
    assert made.reason == Reason("not checked", ("Viral Pneumonia",), least=10)
    assert made.images["given_score"].isna().sum() == 3


def test_with_one_class_labels_cannot_be_asked_about(workspace, tmp_path):
    _, images = made_dataset(tmp_path, workspace, counts={"Normal": 20})
    made = embedding_map.make(workspace, images)
    assert made.facts["accuracy"] is None
    assert made.reason == Reason("no two classes", least=10)
    assert embedding_map.stored(workspace, images) is not None


def test_too_few_images_are_refused(workspace, tmp_path):
    _, images = made_dataset(tmp_path, workspace, counts={"COVID": 4, "Normal": 5})
    with pytest.raises(DataError, match="A map needs 10 images at least; Made images has 9"):
        embedding_map.make(workspace, images)


def test_images_are_told_by_what_a_network_answered_where_that_is_given(workspace, images):
    drawn, facts = embedding_map.drawn(features(images), images.images.assign(group=images.images["image_id"]))
    made = embedding_map.make(workspace, images, frozen=Frozen(features(images), "MobileNetV2 at 224 px"))
    assert audit_text.described_by(made) == "6 features per image of the frozen network MobileNetV2 at 224 px"
    assert np.array_equal(made.images["pca_x"], drawn["pca_x"])
    assert made.facts["pca_share"] == facts["pca_share"]


def asked_by_the_command_line(workspace, dataset, capsys) -> str:
    assert main.main(["map", dataset.id, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["features"]


def asked_by_the_job(workspace, dataset, _capsys) -> str:
    assert worker.do(queue.submit(workspace, MapRequest(dataset=dataset.id)).path, 1) == 0
    return audit_text.described_by(embedding_map.stored(workspace, dataset))


@pytest.mark.parametrize("asked", [asked_by_the_command_line, asked_by_the_job], ids=["command line", "job"])
def test_answers_of_a_network_that_has_learned_nothing_make_no_map(workspace, images, monkeypatch, capsys, asked):
    monkeypatch.setattr(queue, "launch", lambda *folders: [folder.next_attempt() for folder in folders])
    keep_features(workspace, images, "random")
    assert asked(workspace, images, capsys) == audit_text.PIXELS
    keep_features(workspace, images, "imagenet")
    assert "the frozen network MobileNetV2 at 224 px" in asked(workspace, images, capsys)


def test_it_stops_when_it_is_told_to_and_keeps_nothing(workspace, images):
    def stop(share: float, _message: str) -> None:
        if share > 0.5:
            raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        embedding_map.make(workspace, images, stop)
    assert embedding_map.stored(workspace, images) is None


def test_progress_never_goes_back(workspace, images):
    told = []
    embedding_map.make(workspace, images, lambda share, message: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1


def test_deleting_a_data_set_removes_its_map(workspace, images):
    embedding_map.make(workspace, images)
    data.delete_dataset(workspace, images.id)
    assert not list(workspace.tables.glob("*-map-*"))


def test_of_very_many_images_some_of_each_class_are_on_the_map(workspace, images, monkeypatch):
    monkeypatch.setattr(embedding_map, "MOST_IMAGES", 26)
    made = embedding_map.make(workspace, images)
    assert made.images["label"].value_counts().to_dict() == {"COVID": 10, "Normal": 10, "Viral Pneumonia": 6}
    assert (images.images["image_id"].iloc[made.images["row"]] == made.images["image_id"].to_numpy()).all()
    assert made.facts["drawn_from"] == 52
    assert embedding_map.stored(workspace, images).images.equals(made.images)
