"""A small network that outlines lungs, and how it learns from images and their masks.

The shape is that of a U-Net (Ronneberger, Fischer and Brox, MICCAI 2015, 234-241), at half of the image's resolution
and with few channels: lungs are large, and it has to be quick on a laptop. It takes uint8 grey images (batch, size,
size, 1), preprocesses them itself, and gives a score per pixel in [0, 1]. Loss: one less the soft Dice of each image
(Milletari, Navab and Ahmadi, 3DV 2016, 565-571) plus cross-entropy.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from covid_core.errors import RunError, Stopped
from covid_core.evaluation import overlap
from covid_core.formatting import number
from covid_core.nets.keras_fit import Batches
from covid_core.nets.segmentation import augmentation
from covid_core.work import Progress, blocks

CHANNELS = (16, 32, 48, 64)  # per level, from half of the image's resolution down
BATCH = 16
IMAGES_IN_ALL = 12000  # in all epochs together: more images need fewer epochs, so the time stays about the same
FEWEST_EPOCHS, MOST_EPOCHS, PATIENCE = 8, 30, 6
LEARNING_RATE = 3e-3  # at the start; falls to nothing along a cosine
CALL = 32  # images per call where nothing is learned


@dataclass(frozen=True)
class Pairs:
    """Images, uint8 (n, size, size), and their masks, bool of the same shape."""

    images: np.ndarray
    masks: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def changed(self, rows: np.ndarray, seed: int, view: int) -> "Pairs":
        """Changed copies of some pairs; that of a row is always the same for a seed and a view."""
        copies = [
            augmentation.changed(self.images[row], self.masks[row], np.random.default_rng((seed, view, row)))
            for row in rows.tolist()
        ]
        images, masks = zip(*copies, strict=True)
        return Pairs(np.stack(images), np.stack(masks))

    def with_changed(self, seed: int) -> "Pairs":
        """All of them as they are, then all once changed, in a view that no epoch has."""
        other = self.changed(np.arange(len(self)), seed, 0)
        return Pairs(np.concatenate([self.images, other.images]), np.concatenate([self.masks, other.masks]))


@dataclass(frozen=True)
class Learned:
    """A fit: the network that gives scores, its validation Dice epoch by epoch, which epoch was kept (from 1), and
    whether it was stopped before the last one."""

    network: keras.Model
    dices: tuple[float, ...]
    best_epoch: int
    was_stopped: bool = False


def build(size: int, seed: int) -> keras.Model:
    """Image to logits, float32 (batch, size, size); ``size`` is a multiple of 16. Initial weights come from the
    seed."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255, name="preprocessing")(image)
    # each image by its own mean and SD: exposure is the first thing in which sites differ
    x = layers.LayerNormalization(axis=(1, 2, 3), center=False, scale=False, name="exposure")(x)
    x = _convolved(x, CHANNELS[0], "stem", kernel=5, strides=2)
    passed = []
    for level, channels in enumerate(CHANNELS):
        if level:
            passed.append(x)
            x = layers.MaxPooling2D(2, name=f"down_{level}")(x)
            x = _convolved(x, channels, f"down_{level}_a")
        x = _convolved(x, channels, f"down_{level}_b")
    for level in reversed(range(len(passed))):
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"up_{level}")(x)
        x = layers.Concatenate(name=f"join_{level}")([x, passed[level]])
        x = _convolved(x, CHANNELS[level], f"up_{level}_a")
    x = layers.Conv2D(1, 1, name="lung")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="whole")(x)
    return keras.Model(image, layers.Reshape((size, size), name="logits")(x), name="segmenter")


def _convolved(x: keras.KerasTensor, channels: int, name: str, kernel: int = 3, strides: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False, name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x))


def with_scores(network: keras.Model) -> keras.Model:
    """The network that is exported: scores in [0, 1] instead of logits."""
    return keras.Model(network.input, layers.Activation("sigmoid", name="scores")(network.outputs[0]), name="lungs")


def loss(masks: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Of shape (images,): one less the soft Dice, plus the mean cross-entropy."""
    masks = ops.cast(masks, logits.dtype)
    entropy = ops.mean(ops.softplus(logits) - masks * logits, axis=(1, 2))
    scores = ops.sigmoid(logits)
    common = ops.sum(scores * masks, axis=(1, 2))
    both = ops.sum(scores, axis=(1, 2)) + ops.sum(masks, axis=(1, 2))
    return 1 - (2 * common + 1) / (both + 1) + entropy  # the ones keep it defined where nothing is lung


def epochs_for(images: int) -> int:
    """How often so many images are gone through at most."""
    return min(max(round(IMAGES_IN_ALL / images), FEWEST_EPOCHS), MOST_EPOCHS)


def fit(train: Pairs, validation: Pairs, seed: int, progress: Progress, epochs: int | None = None) -> Learned:
    """Learn outlines, and keep the epoch with the best mean Dice on validation images.

    ``validation`` should hold changed copies too: a segmenter that is right only on images that look like its own is
    not what is wanted. A stop after the first epoch keeps the best so far. Raises RunError when the loss is not a
    number, Stopped within the first epoch, and what else ``progress`` raises.
    """
    epochs = epochs or epochs_for(len(train))
    network = build(train.images.shape[1], seed)

    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch)).permutation(len(train))

    def batch(rows: np.ndarray, epoch: int) -> tuple[np.ndarray, ...]:
        made = train.changed(rows, seed, 1 + epoch)
        return made.images[..., None], made.masks

    batches = Batches(order, batch, BATCH)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * len(batches))
    network.compile(optimizer=keras.optimizers.Adam(rate), loss=loss)
    dices: list[float] = []
    best_epoch, best = 0, network.get_weights()

    def report(step: int, logs: dict[str, float]) -> None:
        epoch = len(dices)
        if not math.isfinite(logs["loss"]):
            raise RunError(f"The loss of epoch {epoch + 1} is not a number: the segmenter cannot learn from this.")
        reached = f", Dice so far {number(max(dices))}" if dices else ""
        done = (epoch + (step + 1) / len(batches)) / epochs
        progress(done, f"Learning outlines: epoch {epoch + 1} of {epochs}{reached}")

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=report)
    was_stopped = False
    while len(dices) < min(epochs, best_epoch + PATIENCE):
        batches.begin(len(dices))
        try:
            network.fit(batches, callbacks=[callback], shuffle=False, verbose=0)
        except Stopped:
            if not dices:
                raise
            was_stopped = True
            break
        outlines = predictions(network, validation.images) > 0  # of logits
        dices.append(float(overlap.dice(outlines, validation.masks).mean()))
        if len(dices) == 1 or dices[-1] > dices[best_epoch - 1]:
            best_epoch, best = len(dices), network.get_weights()
    network.set_weights(best)
    return Learned(with_scores(network), tuple(dices), best_epoch, was_stopped)


def predictions(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """What a network gives for images, uint8 (n, size, size): float32 of the same shape."""
    return np.concatenate([np.asarray(network(part[..., None], training=False)) for part in blocks(images, CALL)])
