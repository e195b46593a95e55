"""The course as a plain Keras program: ``python benchmarks/peers/keras_course.py --data FOLDER --model NAME ...``.

It uses nothing of this project. All images are read in turn into one array, split 68 / 16 / 16 with their own labels,
scaled as ``keras.applications`` wants it for the backbone, and given to ``model.fit`` with the frozen base inside, as
the Keras guide to transfer learning does. Then the test part is evaluated and the model saved.

Several names after ``--model`` are trained in turn in this process; ``resnet50_last10`` goes on with the model of
``resnet50`` if that came before, and trains it first if not. Prints one JSON line: seconds of the import of the
libraries, of reading the images and in all, and for each model seconds per stage and its accuracies.
"""

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import numpy as np

BACKBONES = {
    "mobilenet_v2": ("mobilenet_v2", "MobileNetV2"),
    "densenet121": ("densenet", "DenseNet121"),
    "resnet50": ("resnet50", "ResNet50"),
    "vgg16": ("vgg16", "VGG16"),
}  # name: module and constructor in keras.applications
BASELINE, FINE_TUNED, AUGMENTED = "baseline", "resnet50_last10", "mobilenet_v2_augmented"
MODELS = (*BACKBONES, BASELINE, FINE_TUNED, AUGMENTED)
SIZE = 128
BATCH = 16
SEED = 1987
LAST_LAYERS = 10
LEFT_OUT = "Lung_Opacity"  # a fourth class of the database, which the course did not use

Part = tuple["np.ndarray", "np.ndarray"]
"""Images of one part, and their class indices."""


def main() -> None:
    begin = time.perf_counter()
    given = parser().parse_args()
    weights = given.weights * len(given.model) if len(given.weights) == 1 else given.weights
    if len(weights) != len(given.model):
        raise SystemExit("--weights takes one word for all models, or one for each.")
    seconds: dict[str, float] = {}
    with clock(seconds, "import"):
        import keras
        import tensorflow
        from PIL import Image  # noqa: F401  imported here so that its time counts where a notebook's first cell has it
        from sklearn.model_selection import train_test_split  # noqa: F401
    keras.utils.set_random_seed(SEED)
    with clock(seconds, "decode"):
        images, labels, classes = read(given.data, given.images_per_class)
        parts = split(images, labels)
    trained: dict[str, keras.Model] = {}
    runs = [run(*pair, parts, len(classes), given.epochs, trained) for pair in zip(given.model, weights, strict=True)]
    seconds["total"] = round(time.perf_counter() - begin, 3)
    versions = {"keras": keras.__version__, "tensorflow": tensorflow.__version__}
    print(json.dumps({"peer": "keras", "images": len(images), "seconds": seconds, "runs": runs, "versions": versions}))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--data", type=Path, required=True, help="one folder per class, images in it or in its images/")
    made.add_argument("--model", nargs="+", choices=MODELS, required=True, metavar="NAME", help=", ".join(MODELS))
    made.add_argument("--weights", nargs="+", choices=("imagenet", "random"), default=["imagenet"])
    made.add_argument("--images-per-class", type=int, help="the first images of each class only")
    made.add_argument("--epochs", type=int, default=5)
    return made


@contextlib.contextmanager
def clock(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long a stage took."""
    begin = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - begin, 3)


def read(folder: Path, most: int | None) -> "tuple[np.ndarray, np.ndarray, list[str]]":
    """All images as uint8 RGB (n, SIZE, SIZE, 3), their class indices, and the classes."""
    import numpy as np
    from PIL import Image

    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != LEFT_OUT)
    images, labels = [], []
    for index, name in enumerate(classes):
        inner = folder / name / "images"
        for path in sorted((inner if inner.is_dir() else folder / name).glob("*.png"))[:most]:
            images.append(np.asarray(Image.open(path).convert("RGB").resize((SIZE, SIZE))))
            labels.append(index)
    return np.array(images), np.array(labels), classes


def split(images: "np.ndarray", labels: "np.ndarray") -> dict[str, Part]:
    """The course's stratified 68 / 16 / 16."""
    from sklearn.model_selection import train_test_split

    x_train, x_rest, y_train, y_rest = train_test_split(
        images, labels, test_size=0.32, stratify=labels, random_state=SEED
    )
    x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, test_size=0.5, stratify=y_rest, random_state=SEED)
    return {"train": (x_train, y_train), "validation": (x_val, y_val), "test": (x_test, y_test)}


def run(
    name: str, weights: str, parts: dict[str, Part], classes: int, epochs: int, trained: "dict[str, keras.Model]"
) -> dict[str, Any]:
    """Train, evaluate and save one model. ``trained`` holds those that came before, and takes this one."""
    seconds: dict[str, float] = {}
    with clock(seconds, "scale"):
        scaled = {part: (scale(name, images), labels) for part, (images, labels) in parts.items()}
    with clock(seconds, "build"):
        model = trained.get("resnet50") if name == FINE_TUNED else None
        first = model is None
        model = build(name, None if weights == "random" else weights, classes) if first else model
    if name == FINE_TUNED:
        if first:
            with clock(seconds, "frozen_fit"):
                fit(model, scaled, epochs)
        unfreeze(model)
    with clock(seconds, "fit"):
        history = fit(model, scaled, epochs).history
    with clock(seconds, "evaluate"):
        _, accuracy = model.evaluate(*scaled["test"], batch_size=BATCH, verbose=0)
    with clock(seconds, "save"), tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
    trained[name] = model
    accuracies = {"train": history["accuracy"][-1], "validation": history["val_accuracy"][-1], "test": accuracy}
    return {
        "model": name,
        "weights": weights,
        "seconds": seconds,
        "accuracy": {part: round(float(value), 4) for part, value in accuracies.items()},
    }


def fit(model: "keras.Model", scaled: dict[str, Part], epochs: int) -> "keras.callbacks.History":
    """The notebook's call."""
    x, y = scaled["train"]
    return model.fit(x, y, batch_size=BATCH, epochs=epochs, validation_data=scaled["validation"], verbose=0)


def backbone_of(name: str) -> str:
    """The backbone that a model is built on."""
    return {FINE_TUNED: "resnet50", AUGMENTED: "mobilenet_v2"}.get(name, name)


def scale(name: str, images: "np.ndarray") -> "np.ndarray":
    """uint8 images as float32 in the range that the backbone was trained on; 0 to 1 for the baseline."""
    import keras

    if name == BASELINE:
        return images.astype("float32") / 255
    module, _ = BACKBONES[backbone_of(name)]
    return getattr(keras.applications, module).preprocess_input(images)


def build(name: str, weights: str | None, classes: int) -> "keras.Model":
    """A compiled model: the baseline CNN, or a frozen base with the course's head."""
    import keras

    if name == BASELINE:
        model, rate = baseline(classes), 1e-3
    else:
        model, rate = transfer(name, weights, classes), 1e-4
    compile_for(model, keras.optimizers.Adam(rate))
    return model


def compile_for(model: "keras.Model", optimizer: "keras.optimizers.Optimizer") -> None:
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])


def baseline(classes: int) -> "keras.Model":
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((SIZE, SIZE, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def transfer(name: str, weights: str | None, classes: int) -> "keras.Model":
    import keras
    from keras import layers

    _, constructor = BACKBONES[backbone_of(name)]
    base = getattr(keras.applications, constructor)(
        include_top=False, weights=weights, input_shape=(SIZE, SIZE, 3), name="base"
    )
    base.trainable = False
    images = keras.Input((SIZE, SIZE, 3))
    x = augmentation()(images) if name == AUGMENTED else images
    x = base(x, training=False)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(images, layers.Dense(classes, activation="softmax")(x))


def augmentation() -> "keras.Sequential":
    """Rotation by up to 15 degrees, shifts and zoom by up to 10 %, and mirroring, anew for every image and epoch."""
    from keras import Sequential, layers

    return Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(15 / 360),
            layers.RandomTranslation(0.1, 0.1),
            layers.RandomZoom(0.1),
        ]
    )


def unfreeze(model: "keras.Model") -> None:
    """Let the last layers of the base learn, but for batch normalization."""
    import keras

    base = model.get_layer("base")
    base.trainable = True
    for number, layer in enumerate(base.layers, start=-len(base.layers)):
        is_normalization = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = number >= -LAST_LAYERS and not is_normalization
    compile_for(model, keras.optimizers.Adam(1e-5))


if __name__ == "__main__":
    main()
