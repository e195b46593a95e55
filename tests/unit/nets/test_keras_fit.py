"""What is Keras's alone in a fit: loader threads, and the state of its random generators."""

import numpy as np
import pytest
from made_fits import KerasTraining

from covid_core.nets import keras_fit

pytestmark = [
    pytest.mark.slow,
    # TensorFlow 2.21's variables do not know the copy keyword of NumPy 2 yet; Keras reads them when it saves
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]


def test_every_epoch_sees_its_own_number_when_several_threads_load(tmp_path):
    seen = KerasTraining(tmp_path, workers=2).run().seen
    assert list(dict.fromkeys(seen)) == [0, 1, 2, 3]
    assert seen == sorted(seen)


def test_an_epoch_has_every_image_once_and_the_last_batch_what_is_left(tmp_path):
    training = KerasTraining(tmp_path)
    batches = keras_fit.training_batches(keras_fit.NetworkStage(model=training.model, **training.stage_fields()), 6, 0)
    sizes = [len(batches[number][1]) for number in range(len(batches))]
    assert sizes == [6, 6, 6, 2]


def test_validation_images_come_in_their_order_and_all_of_them(tmp_path):
    training = KerasTraining(tmp_path)
    held = keras_fit.validation_batches(keras_fit.NetworkStage(model=training.model, **training.stage_fields()), 6)
    images = np.concatenate([held[number][0] for number in range(len(held))])
    assert np.array_equal(images, training.features)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta"])
def test_a_specs_optimizer_is_the_one_of_that_name(tmp_path, optimizer):
    made = keras_fit.optimizer_of(KerasTraining(tmp_path, optimizer=optimizer).spec, 0.25)
    assert type(made).__name__.lower() == optimizer
    assert float(made.learning_rate.numpy()) == 0.25
