"""Several devices, half precision and a checkpoint that goes from one to the other, on two logical
processors: no test machine has to have a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest
from waiting import LONG

from covid_core.executors import local
from covid_core.nets import devices

ROOT = Path(__file__).parents[3]

PROGRAM = """
import sys
from pathlib import Path
import keras, numpy as np, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from covid_core.nets import keras_fit, model
from covid_core.nets.devices import Devices
from covid_core.nets.fitting import Fit
from covid_core.specs import HeadSpec, TrainingSpec
from covid_core.work import silent

rows = []
spec = TrainingSpec(dataset="x", classes=("a", "b"), backbone="baseline_cnn", head=HeadSpec(units=(4,)), image_size=32)
devices = Devices(("CPU:0", "CPU:1"), "mixed_bfloat16")

def build():
    trunk = model.build_trunk(spec, None)
    head = model.build_head(spec, [tuple(output.shape)[1:] for output in trunk.outputs])
    return model.to_logits(trunk, head, model.pooling_of(spec))

images = np.random.default_rng(0).integers(0, 255, (16, 32, 32, 1)).astype(np.uint8)
labels = np.arange(16) % 2
with devices.training():
    trained = build()
    before = [weight.copy() for weight in trained.get_weights()]
    fit = Fit(spec, Path(sys.argv[1]) / "checkpoint.npz", rows.append, silent)
    stage = keras_fit.NetworkStage(
        name="all", model=trained, inputs=lambda at, epoch: images[at], labels=labels,
        order=lambda epoch: np.arange(16), validation=lambda at: images[at], validation_labels=labels,
        learning_rate=0.01, epochs=1,
    )
    keras_fit.run(fit, 0, stage)
plain = devices.in_float32(trained, build)
assert len(rows) == 1
assert keras.mixed_precision.global_policy().name == "float32"
assert any(not np.array_equal(a, b) for a, b in zip(before, trained.get_weights()))
assert all(np.array_equal(a, b) for a, b in zip(trained.get_weights(), plain.get_weights()))
assert {layer.compute_dtype for layer in plain.layers} == {"float32"}
again = Fit(spec, Path(sys.argv[1]) / "checkpoint.npz", rows.append, silent)
assert again.load_checkpoint()
stored, done = again.begin(0), int(trained.optimizer.iterations.numpy())
scaled = keras.optimizers.LossScaleOptimizer(keras_fit.optimizer_of(spec, 0.01))  # what mixed_float16 puts around it
plain.compile(optimizer=scaled)
keras_fit._restore(plain, stored)
assert int(scaled.inner_optimizer.iterations.numpy()) == done > 0
stored = stored[0], [np.asarray(variable) for variable in scaled.variables]
plain.compile(optimizer=keras_fit.optimizer_of(spec, 0.01))
keras_fit._restore(plain, stored)
assert int(plain.optimizer.iterations.numpy()) == done
print("label:", devices.label)
"""


def test_a_worker_that_leaves_the_graphics_card_alone_starts_no_tensorflow_to_search_for_one(monkeypatch):
    monkeypatch.setattr(devices, "DRIVERS", ("/",))
    monkeypatch.setattr(sys, "platform", "linux")
    assert devices.may_exist()
    for name, value in local.NO_GRAPHICS_CARD.items():
        monkeypatch.setenv(name, value)
    assert not devices.may_exist()


@pytest.mark.slow
def test_a_network_trained_on_two_devices_in_half_precision_is_kept_in_float32(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "label: 2 GPU" in done.stdout
