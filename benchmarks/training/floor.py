"""The least that the course study can take on this machine: what no cleverness leaves out.

One pass of every image through each backbone in LiteRT, in the best of several batch sizes and ways to use the cores; 5
epochs of training steps of ResNet50's last 10 layers in Keras, on activations that are there already (the quicker of
compiled and not compiled); views, validation, import, start of processes and saving are left out.
``benchmarks.training.study`` runs it in a process of its own and adds the baseline CNN's fit. Prints one JSON line.

``augmented_views`` is told beside it and is not part of the sum: what five passes of the training images add where the
study holds the augmented run.
"""

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from covid_core.data.dataset import open_dataset
from covid_core.data.pixels import open_pixels
from covid_core.inference.network import LiteNetwork
from covid_core.presets import COURSE
from covid_core.work import cores
from covid_core.workspace import Workspace

BATCHES = (4, 8, 16, 32)
SAMPLE = 96  # images on which the ways are compared; the largest batch goes three times into it
TRAIN_SHARE = 0.68
SIZE = COURSE["image_size"]
BOUNDARY, CLASSES = "conv5_block2_out", 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="a workspace in which the study has been run")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--trunks", type=json.loads, required=True, help="exported networks by backbone, as JSON")
    parser.add_argument("--tail", action="store_true", help="also ResNet50's last 10 layers")
    parser.add_argument("--epochs", type=int, default=COURSE["epochs"])
    given = parser.parse_args()
    workspace = Workspace(given.home)
    images = np.array(open_pixels(workspace, open_dataset(workspace, given.dataset), SIZE))
    passes = {name: one_pass(workspace.trunks / f"{key}.tflite", images) for name, key in given.trunks.items()}
    told: dict[str, Any] = {"images": len(images), "passes": passes}
    if "mobilenet_v2" in passes:
        views = given.epochs * TRAIN_SHARE * passes["mobilenet_v2"]["seconds"]
        told["augmented_views"] = round(views, 3)
    if given.tail:
        told["tail"] = round(given.epochs * tail_epoch(round(TRAIN_SHARE * len(images))), 3)
    print(json.dumps(told))


def one_pass(path: Path, images: np.ndarray) -> dict[str, Any]:
    """Seconds of all images through an exported network, in the way that was quickest on some of them."""
    ways = [(interpreters, batch) for interpreters in sorted({1, cores()}) for batch in BATCHES]
    trials = {way: pass_in(path, images[:SAMPLE], *way) for way in ways}
    interpreters, batch = min(trials, key=trials.__getitem__)
    seconds = pass_in(path, images, interpreters, batch)
    return {"seconds": round(seconds, 3), "interpreters": interpreters, "batch": batch}


def pass_in(path: Path, images: np.ndarray, interpreters: int, batch: int) -> float:
    """Seconds of one pass in batches, by interpreters that share the cores; their first call is not counted."""
    networks = [LiteNetwork(path, threads=cores() // interpreters) for _ in range(interpreters)]
    for network in networks:
        network.run(images[:batch][..., None])
    batches = [images[start : start + batch][..., None] for start in range(0, len(images), batch)]
    begin = time.perf_counter()
    with ThreadPoolExecutor(interpreters) as pool:
        for _ in pool.map(lambda pair: len(pair[0].run(pair[1])), zip(cycle(networks), batches, strict=False)):
            pass
    return time.perf_counter() - begin


def tail_epoch(images: int) -> float:
    """Seconds of one epoch of training steps of the last layers and the head, after one that is not counted."""
    import keras

    classifier = tail(keras)
    activations = np.random.default_rng(0).random((images, *classifier.input_shape[1:]), dtype=np.float32)
    labels = np.arange(images) % CLASSES
    return min(epoch_seconds(keras, classifier, activations, labels, compiled) for compiled in (True, False))


def tail(keras: Any) -> Any:
    """What follows the boundary in ResNet50, with the course's head; batch normalization does not learn."""
    base = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    last = keras.Model(base.get_layer(BOUNDARY).output, base.output)
    for layer in last.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    inputs = keras.Input(last.input_shape[1:])
    x = keras.layers.GlobalAveragePooling2D()(last(inputs, training=False))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(128, activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(x))


def epoch_seconds(keras: Any, classifier: Any, inputs: np.ndarray, labels: Sequence[int], compiled: bool) -> float:
    """Seconds of the second of two epochs."""
    classifier.compile(keras.optimizers.Adam(1e-5), "sparse_categorical_crossentropy", jit_compile=compiled)
    classifier.fit(inputs, labels, batch_size=COURSE["batch_size"], verbose=0)
    begin = time.perf_counter()
    classifier.fit(inputs, labels, batch_size=COURSE["batch_size"], verbose=0)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
