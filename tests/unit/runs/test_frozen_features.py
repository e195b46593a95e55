"""Features that trainings kept, read without TensorFlow: the best are found, what is no use is not taken."""

import numpy as np
import pytest
from made_data import made_dataset
from made_runs import all_parts, made_run

from covid_core.audit.shortcuts import probes
from covid_core.audit.shortcuts.probes import Frozen
from covid_core.data.dataset import decide
from covid_core.data.decisions import LEAVE_OUT, Decision
from covid_core.runs import frozen_features

TABLE = all_parts({"train": 6, "validation": 3, "test": 3}, 1)
COUNTS = {"COVID": 24, "Normal": 24}


@pytest.fixture
def dataset(tmp_path, workspace):
    return made_dataset(tmp_path, workspace, counts=COUNTS)[1]


def kept(workspace, dataset, key, width=3):
    """A table of features, each image's first number its row, and a run that names their network."""
    table = np.tile(np.arange(len(dataset.images), dtype=np.float32)[:, None], width)
    table.tofile(workspace.features / f"{dataset.pixels_key[:16]}-{key}-pooled.f32")
    return table


def run(workspace, key, size, origin="imagenet", **choices):
    result = {"trunk": key, "weights": {"origin": origin}}
    made_run(workspace, TABLE, backbone="mobilenet_v2", image_size=size, result=result, **choices)


def test_features_of_the_largest_images_are_taken(workspace, dataset):
    for key, size in (("small", 128), ("large", 224)):
        kept(workspace, dataset, key)
        run(workspace, key, size)
    found = frozen_features.best(workspace, dataset)
    assert found.name == "MobileNetV2 at 224 px"
    np.testing.assert_array_equal(found.table[:, 0], np.arange(48))


def test_a_network_that_has_learned_nothing_is_not_taken(workspace, dataset):
    kept(workspace, dataset, "random")
    run(workspace, "random", 224, origin="random")
    assert frozen_features.best(workspace, dataset) is None


def test_features_of_the_middle_of_images_are_not_taken(workspace, dataset):
    kept(workspace, dataset, "middle")
    run(workspace, "middle", 224, input={"region": "centre"})
    assert frozen_features.best(workspace, dataset) is None


def test_features_that_some_image_lacks_are_not_taken(workspace, dataset):
    table = kept(workspace, dataset, "some")
    run(workspace, "some", 224)
    table[7, 0] = np.nan
    table.tofile(next(workspace.features.glob("*some*")))
    assert frozen_features.best(workspace, dataset) is None


def test_after_a_image_was_left_out_the_others_keep_their_features(workspace, dataset):
    kept(workspace, dataset, "one")
    run(workspace, "one", 224)
    now = decide(workspace, dataset.id, [Decision(LEAVE_OUT, dataset.images["image_id"].iloc[2])], "Somebody")
    assert frozen_features.best(workspace, now).table[:4, 0].tolist() == [0, 1, 3, 4]


def test_without_features_there_are_none(workspace, dataset):
    run(workspace, "gone", 224)
    assert frozen_features.best(workspace, dataset) is None


def test_what_the_network_reaches_is_the_full_picture(workspace, dataset):
    codes = (dataset.images["label"] == "Normal").to_numpy()
    table = np.random.default_rng(0).normal(size=(48, 5)).astype(np.float32) + 3 * codes[:, None]
    ladder = probes.ladder(workspace, dataset, frozen=Frozen(table, "MobileNetV2 at 224 px"))
    assert ladder.full.probe.name == "Frozen features of MobileNetV2 at 224 px"
    assert ladder.full.accuracy.value > 0.95


def test_without_the_network_the_full_picture_is_the_images_at_64_pixels(workspace, dataset):
    ladder = probes.ladder(workspace, dataset)
    assert ladder.full.probe.key == "full"
