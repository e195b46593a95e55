"""Optimizers in NumPy: the same steps as Keras's, and a state from which they go on."""

from typing import get_args

import numpy as np
import pytest

from covid_core.nets.optimizers import Optimizer
from covid_core.nets.trunk import relative_difference
from covid_core.specs import Optimizer as Kind

KINDS = get_args(Kind)
PARAMETERS, STEPS = 60, 20
RATES = {"adam": 0.01, "adamw": 0.5, "sgd": 0.1, "rmsprop": 0.01, "adagrad": 0.1, "adadelta": 1.0}  # that move visibly


def made_steps() -> tuple[np.ndarray, list[np.ndarray]]:
    """A start, and gradients from 1e-8 to 10: small ones show where an epsilon stands."""
    rng = np.random.default_rng(0)
    sizes = 10 ** rng.uniform(-8, 1, PARAMETERS)
    gradients = [(rng.normal(size=PARAMETERS) * sizes).astype(np.float32) for _ in range(STEPS)]
    return rng.normal(size=PARAMETERS).astype(np.float32), gradients


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_every_optimizer_takes_the_same_steps_as_kerass(kind):
    import keras

    kinds = (getattr(keras.optimizers, name) for name in ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta"))
    (theirs,) = (one(learning_rate=RATES[kind]) for one in kinds if one.__name__.lower() == kind)
    start, gradients = made_steps()
    parameters, variable = start.copy(), keras.Variable(start)
    ours = Optimizer(kind, RATES[kind], PARAMETERS)
    for gradient in gradients:
        ours.step(parameters, gradient.copy())
        theirs.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    reference = np.asarray(variable.value)
    assert np.abs(reference - start).max() > 1e-3
    assert relative_difference(parameters, reference) < 1e-5
    assert relative_difference(parameters - start, reference - start) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_goes_on_from_its_state(kind):
    start, gradients = made_steps()
    whole, halves = start.copy(), start.copy()
    uninterrupted, first, second = (Optimizer(kind, 0.1, PARAMETERS) for _ in range(3))
    for gradient in gradients:
        uninterrupted.step(whole, gradient.copy())
    for gradient in gradients[: STEPS // 2]:
        first.step(halves, gradient.copy())
    second.restore([array.copy() for array in first.state()])
    for gradient in gradients[STEPS // 2 :]:
        second.step(halves, gradient.copy())
    assert np.array_equal(whole, halves)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_goes_against_the_gradient_and_stays_float32(kind):
    parameters, gradient = np.zeros(2, np.float32), np.array([1.0, -1.0], np.float32)
    Optimizer(kind, 0.1, 2).step(parameters, gradient)
    assert parameters[0] < 0 < parameters[1]
    assert parameters.dtype == np.float32
