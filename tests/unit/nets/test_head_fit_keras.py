"""A head's fit in NumPy beside the same by Keras: one batch exactly, whole fits within the noise of the seeds."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_fits import spec

from covid_core.nets import head_fit, keras_fit, model
from covid_core.nets.fitting import Fit, Stage
from covid_core.nets.head_fit import Network
from covid_core.nets.trunk import relative_difference
from covid_core.specs import TrainingSpec
from covid_core.work import silent

pytestmark = [
    pytest.mark.slow,
    # TensorFlow 2.21's variables do not know the copy keyword of NumPy 2 yet; Keras reads them when it saves
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

WIDTH = 8
SEEDS, SEEDS_KERAS = 20, 3
SPREADS = 1.9  # the means may differ by that many deviations between seeds: three standard errors of the difference


@pytest.mark.parametrize("units", [(), (6,), (6, 4)], ids=["no layer", "one", "two"])
@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
def test_loss_and_gradient_of_a_batch_are_kerass(units, weighted):
    chosen = spec(head={"units": units, "dropout": 0})
    network = Network((WIDTH, *units, 3), 0.0)
    network.start(np.random.default_rng(0))
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(10, WIDTH)).astype(np.float32), rng.integers(0, 3, 10)
    weights = rng.uniform(0.2, 3, 10).astype(np.float32) if weighted else None
    theirs = model.keras_head(chosen, network.head("mean"), WIDTH)
    with tf.GradientTape() as tape:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, theirs(x), sample_weight=weights)
    reference = np.concatenate([np.asarray(g).ravel() for g in tape.gradient(loss, theirs.trainable_weights)])
    assert network.learn(x, labels, weights, rng)[0] == pytest.approx(float(loss), rel=1e-6)
    assert relative_difference(network.gradient, reference) < 1e-5


class Problem:
    """Three overlapping clouds of unequal size: a head that saw 200 images is right in about 62 of 100 others."""

    def __init__(self):
        rng = np.random.default_rng(7)
        middles = rng.normal(size=(3, WIDTH)) * 0.6
        labels = rng.choice(3, 1400, p=(0.6, 0.3, 0.1))
        features = (middles[labels] + rng.normal(size=(len(labels), WIDTH))).astype(np.float32)
        self.train, self.validation, self.test = slice(0, 200), slice(200, 400), slice(400, None)
        self.features, self.labels = features, labels
        self.weights = (200 / (3 * np.bincount(labels[self.train]))).astype(np.float32)[labels[self.train]]

    def accuracy(self, logits: np.ndarray) -> float:
        return float((logits.argmax(axis=1) == self.labels[self.test]).mean())

    def by_numpy(self, chosen: TrainingSpec, path: Path) -> float:
        x, y = self.features[self.train], self.labels[self.train]
        held, held_labels = self.features[self.validation], self.labels[self.validation]
        stage = Stage(
            name="head",
            inputs=lambda rows, _epoch: x[rows],
            labels=y,
            order=lambda epoch: np.random.default_rng((chosen.seed, epoch)).permutation(len(y)),
            validation=lambda rows: held[rows],
            validation_labels=held_labels,
            learning_rate=chosen.learning_rate,
            epochs=chosen.epochs,
            sample_weights=self.weights,
        )
        head = head_fit.run(Fit(chosen, path / "checkpoint.npz", lambda row: None, silent), 0, stage, "mean")
        return self.accuracy(head.logits(self.features[self.test]))

    def by_keras(self, chosen: TrainingSpec) -> float:
        """An ordinary fit, as anybody would write it."""
        head = model.build_head(chosen, [(1, 1, WIDTH)])
        head.compile(
            keras_fit.optimizer_of(chosen, chosen.learning_rate),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        best = keras.callbacks.EarlyStopping(patience=chosen.epochs, restore_best_weights=True)
        head.fit(
            self.features[self.train],
            self.labels[self.train],
            sample_weight=self.weights,
            batch_size=chosen.batch_size,
            epochs=chosen.epochs,
            validation_data=(self.features[self.validation], self.labels[self.validation]),
            callbacks=[best],
            verbose=0,
        )
        return self.accuracy(np.asarray(head(self.features[self.test])))


def test_a_fit_in_numpy_comes_to_what_an_ordinary_keras_fit_comes_to(tmp_path):
    problem = Problem()
    choices = {"head": {"units": (16,)}, "learning_rate": 0.01, "epochs": 12, "patience": 0, "optimizer": "adamw"}
    specs = [spec(**choices, seed=seed) for seed in range(SEEDS)]
    ours = [problem.by_numpy(one, tmp_path) for one in specs]
    theirs = [problem.by_keras(one) for one in specs[:SEEDS_KERAS]]
    spread = np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / 2)
    assert 0.5 < np.mean(ours) < 0.9
    assert 0.002 < spread < 0.05
    assert abs(np.mean(ours) - np.mean(theirs)) < SPREADS * spread, (ours, theirs)
