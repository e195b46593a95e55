"""The course's frozen MobileNetV2 in PyTorch: ``python benchmarks/peers/pytorch_frozen.py --data FOLDER``.

Written as torchvision's tutorial on transfer learning does it: a data set that reads an image when it is asked for, a
DataLoader with two workers, the convolutional part frozen and in evaluation mode, the course's head behind it, 5 epochs
in batches of 16 with a pass over the validation part after each, then the test part. It uses nothing of this project.
Prints one JSON line: seconds per stage and in all, and accuracies.
"""

import argparse
import contextlib
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BEGIN = time.perf_counter()
MISSING = (
    "PyTorch is not installed for this Python: python -m venv VENV && VENV/bin/pip install torch torchvision, "
    "then give VENV/bin/python with --python."
)

try:
    import torch
    from PIL import Image
    from torch import nn
    from torch.utils.data import DataLoader, Dataset
    from torchvision import models, transforms
except ImportError:
    torch = None
    Dataset = object

SIZE = 128
BATCH = 16
WORKERS = 2
SEED = 1987
LEFT_OUT = "Lung_Opacity"  # a fourth class of the database, which the course did not use
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet, as torchvision's weights want it

Listed = list[tuple[Path, int]]
"""Files with their class indices."""


class Images(Dataset):
    """Images of one part, read when they are asked for."""

    def __init__(self, listed: Listed):
        self.listed = listed
        self.change = transforms.Compose(
            [transforms.Resize((SIZE, SIZE)), transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
        )

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, index: int) -> tuple["torch.Tensor", int]:
        path, label = self.listed[index]
        return self.change(Image.open(path).convert("RGB")), label


def main() -> None:
    given = parser().parse_args()
    if torch is None:
        raise SystemExit(MISSING)
    seconds = {"import": round(time.perf_counter() - BEGIN, 3)}
    torch.manual_seed(SEED)
    with clock(seconds, "build"):
        parts = split(given.data, given.images_per_class)
        loaders = {
            name: DataLoader(Images(listed), batch_size=BATCH, shuffle=name == "train", num_workers=WORKERS)
            for name, listed in parts.items()
        }
        model = build(given.weights, 1 + max(label for _, label in parts["train"]))
    with clock(seconds, "fit"):
        train, validation = fit(model, loaders, given.epochs)
    with clock(seconds, "evaluate"):
        test = accuracy(model, loaders["test"])
    with clock(seconds, "save"), tempfile.TemporaryDirectory() as folder:
        torch.save(model.state_dict(), Path(folder) / "model.pt")
    seconds["total"] = round(time.perf_counter() - BEGIN, 3)
    answer = {
        "peer": "pytorch",
        "images": sum(map(len, parts.values())),
        "weights": given.weights,
        "seconds": seconds,
        "accuracy": {"train": round(train, 4), "validation": round(validation, 4), "test": round(test, 4)},
        "versions": {"torch": torch.__version__},
    }
    print(json.dumps(answer))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--data", type=Path, required=True, help="one folder per class, images in it or in its images/")
    made.add_argument("--weights", choices=("imagenet", "random"), default="imagenet")
    made.add_argument("--images-per-class", type=int, help="the first images of each class only")
    made.add_argument("--epochs", type=int, default=5)
    return made


@contextlib.contextmanager
def clock(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long a stage took."""
    begin = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - begin, 3)


def split(folder: Path, most: int | None) -> dict[str, Listed]:
    """The course's stratified 68 / 16 / 16."""
    parts: dict[str, Listed] = {"train": [], "validation": [], "test": []}
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != LEFT_OUT)
    for label, name in enumerate(classes):
        inner = folder / name / "images"
        paths = sorted((inner if inner.is_dir() else folder / name).glob("*.png"))[:most]
        random.Random(SEED).shuffle(paths)
        held_out = round(0.16 * len(paths))
        cuts = {"test": paths[:held_out], "validation": paths[held_out : 2 * held_out], "train": paths[2 * held_out :]}
        for part, chosen in cuts.items():
            parts[part] += [(path, label) for path in chosen]
    return parts


def build(weights: str, classes: int) -> "nn.Sequential":
    """The frozen convolutional part, pooled, and the course's head."""
    network = models.mobilenet_v2(weights=models.MobileNet_V2_Weights.IMAGENET1K_V1 if weights == "imagenet" else None)
    for parameter in network.features.parameters():
        parameter.requires_grad = False
    head = [nn.Linear(network.last_channel, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, classes)]
    return nn.Sequential(network.features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)


def fit(model: "nn.Sequential", loaders: "dict[str, DataLoader]", epochs: int) -> tuple[float, float]:
    """Train the head. Returns the last epoch's accuracy on the training and the validation part."""
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=1e-4)
    for _ in range(epochs):
        model.train()
        model[0].eval()
        right = 0
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            scores = model(images)
            loss_of(scores, labels).backward()
            optimizer.step()
            right += (scores.argmax(1) == labels).sum().item()
        validation = accuracy(model, loaders["validation"])
    return right / len(loaders["train"].dataset), validation


def accuracy(model: "nn.Sequential", loader: "DataLoader") -> float:
    """Share of a part's images that are answered rightly."""
    model.eval()
    with torch.no_grad():
        right = sum((model(images).argmax(1) == labels).sum().item() for images, labels in loader)
    return right / len(loader.dataset)


if __name__ == "__main__":
    main()
