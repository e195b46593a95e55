"""A head's fit in NumPy: gradients by finite differences, random starts, and what is written between epochs."""

import itertools

import numpy as np
import pytest
from made_fits import HeadTraining, same_weights, spec

from covid_core.errors import Stopped
from covid_core.inference.network import softmax
from covid_core.nets import training
from covid_core.nets.head_fit import Network

WIDTH, CLASSES, IMAGES = 5, 3, 7
HIDDEN = [pytest.param((), id="no layer"), pytest.param((4,), id="one"), pytest.param((6, 4), id="two")]


def network_of(hidden: tuple[int, ...], dropout: float = 0.0) -> Network:
    network = Network((WIDTH, *hidden, CLASSES), dropout)
    network.start(np.random.default_rng(1))
    rng = np.random.default_rng(2)
    network.parameters += rng.normal(0, 0.1, len(network.parameters)).astype(np.float32)  # biases too
    return network


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(IMAGES, WIDTH)).astype(np.float32), rng.integers(0, CLASSES, IMAGES)


def loss_in_float64(
    network: Network, parameters: np.ndarray, weights: np.ndarray | None, dropout: float = 0.0
) -> float:
    """Mean (weighted) cross-entropy, written down anew; what dropout leaves out is drawn from seed 0."""
    x, labels = batch()
    rng = np.random.default_rng(0)
    head, values, start = network.head(""), x.astype(np.float64), 0
    for number, (shape, _) in enumerate(zip(head.weights, head.biases, strict=True)):
        end = start + shape.size
        values = values @ parameters[start:end].reshape(shape.shape) + parameters[end : end + shape.shape[1]]
        start = end + shape.shape[1]
        if number < len(head.weights) - 1:
            values = np.maximum(values, 0)
            values = np.where(rng.random(values.shape, np.float32) >= dropout, values / (1 - dropout), 0)
    losses = -np.log(softmax(values)[np.arange(IMAGES), labels])
    return float((losses * (1 if weights is None else weights)).mean())


def slopes(network: Network, weights: np.ndarray | None, dropout: float = 0.0) -> np.ndarray:
    """Derivative of the loss by every parameter, by finite differences."""
    at, step = network.parameters.astype(np.float64), 1e-5
    up, down = (
        [loss_in_float64(network, at + moved, weights, dropout) for moved in sign * step * np.eye(len(at))]
        for sign in (1, -1)
    )
    return (np.array(up) - np.array(down)) / (2 * step)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("weights", [None, np.linspace(0.2, 3, IMAGES)], ids=["alike", "weighted"])
def test_the_gradient_is_that_of_finite_differences(hidden, weights):
    network = network_of(hidden)
    loss, _ = network.learn(*batch(), weights, np.random.default_rng(0))
    assert loss == pytest.approx(loss_in_float64(network, network.parameters, weights), rel=1e-5)
    assert np.abs(network.gradient - slopes(network, weights)).max() < 1e-5


@pytest.mark.parametrize("hidden", HIDDEN[1:])
def test_the_gradient_goes_only_through_what_dropout_left(hidden):
    network = network_of(hidden, dropout=0.4)
    loss, _ = network.learn(*batch(), None, np.random.default_rng(0))
    assert loss == pytest.approx(loss_in_float64(network, network.parameters, None, 0.4), rel=1e-5)
    assert np.abs(network.gradient - slopes(network, None, 0.4)).max() < 1e-5


def test_a_start_is_glorots_uniform_one_with_biases_0():
    network = Network((300, 200, CLASSES), 0.5)
    network.start(np.random.default_rng(0))
    head = network.head("mean")
    for weights, sizes in zip(head.weights, itertools.pairwise((300, 200, CLASSES)), strict=True):
        limit = np.sqrt(6 / sum(sizes))
        assert 0.95 * limit < np.abs(weights).max() <= limit
        assert weights.std() == pytest.approx(limit / np.sqrt(3), rel=0.1)
    assert not any(biases.any() for biases in head.biases)


def test_a_head_is_a_copy_that_later_steps_leave_alone():
    network = network_of((4,))
    head = network.head("mean")
    before = head.weights[0].copy()
    network.parameters += 1
    assert np.array_equal(head.weights[0], before)


def test_dropout_leaves_the_share_out_and_the_mean_as_it_was():
    """With weights of one into a single output, the logit is the sum of what is left."""
    network = Network((1, 2000, 2), 0.3)
    head = network.head("")
    flat = np.concatenate([np.ones(2000), np.zeros(2000), np.ones(4000), np.zeros(2)]).astype(np.float32)
    assert len(flat) == sum(array.size for array in (*head.weights, *head.biases))
    network.parameters[:] = flat
    network.learn(np.ones((1, 1), np.float32), np.zeros(1, int), None, np.random.default_rng(0))
    seen = network.gradient[4000:8000].reshape(2000, 2)[:, 1]  # half of what came through each unit
    assert np.mean(seen == 0) == pytest.approx(0.3, abs=0.04)
    assert (2 * seen).mean() == pytest.approx(1, abs=0.06)


def test_dropout_draws_by_epoch_and_seed_alone(tmp_path):
    choices = {"head": {"units": (8,), "dropout": 0.5}}
    first, again = (HeadTraining(tmp_path / name, **choices).run() for name in ("first", "again"))
    other = HeadTraining(tmp_path / "other", **choices, seed=1).run()
    losses = [[row["loss"] for row in one.rows] for one in (first, again, other)]
    assert losses[0] == losses[1] != losses[2]


def test_every_epoch_leaves_out_other_units(tmp_path):
    """With equal images in one batch and no steps to speak of, only the units left out can change the loss."""
    still = {"learning_rate": 1e-9, "optimizer": "sgd", "batch_size": 20}
    fit = HeadTraining(tmp_path, **still, head={"units": (8,), "dropout": 0.5})
    fit.features[:], fit.labels[:] = 1, 0
    assert len({row["loss"] for row in fit.run().rows}) == 4


def test_a_very_wrong_answer_has_a_finite_loss():
    network = network_of(())
    loss, right = network.learn(np.full((1, WIDTH), 1e4, np.float32), np.zeros(1, int), None, np.random.default_rng(0))
    assert np.isfinite(loss)
    assert np.isfinite(network.gradient).all()


def test_right_answers_are_counted():
    network = network_of((4,))
    x, _ = batch()
    labels = network.head("").logits(x).argmax(axis=1)
    assert network.learn(x, labels, None, np.random.default_rng(0))[1] == IMAGES
    assert network.learn(x, (labels + 1) % CLASSES, None, np.random.default_rng(0))[1] == 0


def test_the_loss_and_accuracy_of_an_epoch_are_means_over_images_not_batches(tmp_path):
    """20 images in batches of 16: with steps of next to nothing the epoch's loss is that of the start."""
    done = HeadTraining(tmp_path, batch_size=16, epochs=1, learning_rate=1e-9, optimizer="sgd").run()
    assert done.rows[0]["loss"] == pytest.approx(done.val_loss(), abs=1e-5)
    assert done.rows[0]["loss"] == pytest.approx(done.rows[0]["val_loss"], abs=1e-5)
    assert done.rows[0]["accuracy"] == pytest.approx(done.rows[0]["val_accuracy"], abs=1e-6)


def test_a_checkpoint_is_written_after_every_epoch(tmp_path):
    fit, epochs = HeadTraining(tmp_path), []

    def read(share: float, message: str) -> None:
        checkpoint = HeadTraining(tmp_path).fit
        epochs.append(checkpoint.memory.epoch if checkpoint.load_checkpoint() else 0)

    fit.watch = read
    fit.run()
    assert epochs == [0, 1, 2, 3, 4]


def test_a_stopped_fit_goes_on_to_what_it_would_have_come_to(tmp_path):
    choices = {"learning_rate": 0.05, "head": {"units": (8,), "dropout": 0.5}}
    whole = HeadTraining(tmp_path / "whole", **choices).run()
    stopped = HeadTraining(tmp_path, **choices).raising_at(Stopped(), 0.6).run()
    resumed = HeadTraining(tmp_path, **choices).run()
    assert [row["epoch"] for row in stopped.rows + resumed.rows] == [1, 2, 3, 4]
    assert same_weights(resumed, whole)


def test_progress_is_told_before_the_first_epoch_and_after_each(tmp_path):
    fit, told = HeadTraining(tmp_path), []
    fit.watch = lambda share, message: told.append((share, message))
    fit.run()
    assert [share for share, _ in told] == [0, 0.25, 0.5, 0.75, 1]
    assert told[1][1] == "head: epoch 2 of 4"


# Balance


IMBALANCED = np.array([0] * 6 + [1] * 3 + [2] * 1)


@pytest.mark.parametrize(
    ("imbalance", "counts"),
    [("none", [6, 3, 1]), ("class_weights", [6, 3, 1]), ("undersample", [1, 1, 1]), ("oversample", [6, 6, 6])],
)
def test_an_epoch_goes_through_the_images_that_the_balance_asks_for(imbalance, counts):
    order = training._order(spec(imbalance=imbalance), IMBALANCED, 0)
    assert np.bincount(IMBALANCED[order(0)]).tolist() == counts
    if imbalance != "undersample":
        assert set(order(0)) == set(range(10))


@pytest.mark.parametrize(("imbalance", "counts"), [("undersample", [3, 0, 3]), ("oversample", [6, 0, 6])])
def test_a_class_without_images_takes_no_part_in_the_balance(imbalance, counts):
    labels = np.array([0] * 6 + [2] * 3)
    order = training._order(spec(imbalance=imbalance), labels, 0)
    assert np.bincount(labels[order(0)]).tolist() == counts


def test_every_epoch_has_an_order_of_its_own_that_the_seed_fixes():
    order, again = (training._order(spec(), IMBALANCED, 0) for _ in range(2))
    assert order(1).tolist() == again(1).tolist() != order(2).tolist()


def test_class_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_sample_weight

    weights = training._sample_weights(spec(imbalance="class_weights"), IMBALANCED)
    assert np.allclose(weights, compute_sample_weight("balanced", IMBALANCED))
    without_one = IMBALANCED[IMBALANCED != 1]
    weights = training._sample_weights(spec(imbalance="class_weights"), without_one)
    assert np.allclose(weights, compute_sample_weight("balanced", without_one))
    assert training._sample_weights(spec(imbalance="oversample"), IMBALANCED) is None


# Scale


def test_scaled_features_have_mean_0_and_deviation_1():
    values = np.random.default_rng(0).normal(3, 2, (50, 4))
    mean, deviation = training._scale(values.__getitem__, np.arange(50))
    scaled = (values - mean) / deviation
    assert np.allclose(scaled.mean(axis=0), 0, atol=1e-6)
    assert (scaled.std(axis=0) <= 1 + 1e-6).all()


def test_features_that_hardly_vary_are_not_scaled_up():
    values = np.random.default_rng(0).normal(size=(50, 4)) * np.array([1, 1, 1, 1e-6])
    mean, deviation = training._scale(values.__getitem__, np.arange(50))
    assert ((values - mean) / deviation)[:, 3].std() < 1e-5
