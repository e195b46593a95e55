"""A copy of the workspace without its cache is a backup: what it held opens and predicts from the copy alone."""

import shutil

import numpy as np
from pandas.testing import assert_frame_equal

from covid_core.data.dataset import list_datasets, open_dataset
from covid_core.inference.predictor import Predictor
from covid_core.runs import store
from covid_core.workspace import Workspace


def test_a_copy_without_the_cache_holds_all_that_counts(workspace, copy_of_trained, tmp_path, monkeypatch):
    run = copy_of_trained(workspace)
    scores = run.predictions()
    copy = tmp_path / "backup"
    shutil.copytree(
        workspace.root, copy, ignore=lambda folder, names: {"cache"} if folder == str(workspace.root) else ()
    )
    shutil.rmtree(workspace.root)
    monkeypatch.setenv("COVID_CORE_HOME", str(copy))
    restored = Workspace.default()
    opened = store.open_run(restored, run.id)
    assert opened.status().state == store.COMPLETED
    assert_frame_equal(opened.predictions(), scores)
    assert not [info for info in list_datasets(restored) if info.get("damaged")]
    images = open_dataset(restored, run.dataset.id)
    assert len(images.images) == len(opened.split())
    pixels = np.zeros((1, run.spec.image_size, run.spec.image_size), np.uint8)
    assert Predictor.open(restored, opened).logits(pixels).shape == (1, len(run.classes))
