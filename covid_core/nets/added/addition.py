"""The job that checks a file and adds it to the workspace as a backbone. It runs in the worker alone."""

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from covid_core import files
from covid_core.backbones import BackboneFile, Measured
from covid_core.errors import InvalidChoice
from covid_core.inference.apart.network import Chain, NetworkApart
from covid_core.nets import export, model
from covid_core.runs import backbone_files
from covid_core.runs.training_time import SPEED_SIZE
from covid_core.specs import TrainingSpec
from covid_core.work import Progress, cores
from covid_core.workspace import Workspace

ALIKE = 1e-3  # of the largest value: how far an image's maps may differ from those in a batch of others
IMAGES = 4
TIMED = 3  # passes; the fastest counts


def add(workspace: Workspace, source: Path, file: BackboneFile, progress: Progress) -> str:
    """Copy the file, check the copy, and publish it with what was measured. Raises InvalidChoice or RunError.

    Returns the backbone's name.
    """
    backbone_files.check_addition(workspace, file, source)
    with files.published_folder(backbone_files.folder_of(workspace, file.name)) as staging:
        copy = staging / file.file_name
        progress(0.0, "Copying the file")
        shutil.copyfile(source, copy)
        if files.sha256_of(copy) != file.sha256:
            raise InvalidChoice(f"The SHA-256 of {source.name} is not the one in its description.")
        progress(0.1, "Starting TensorFlow to prepare images for it")
        checked = file.model_copy(update={"measured": measured(copy, file, progress)})
        backbone_files.write_record(staging, checked)
    return file.name


def measured(path: Path, file: BackboneFile, progress: Progress) -> Measured:
    """What a pass of synthetic images tells in each of the file's sizes. Raises InvalidChoice or RunError."""
    of_sizes: list[Measured] = []
    for number, size in enumerate(sorted(file.sizes)):
        progress(0.2 + 0.8 * number / len(file.sizes), f"A pass of images of {size} px")
        with tempfile.TemporaryDirectory() as folder:
            of_sizes.append(_in_size(path, file, size, Path(folder) / "exported.tflite"))
    if len({(one.channels, one.is_vector) for one in of_sizes}) > 1:
        raise InvalidChoice("The backbone gives another number of features in each of its sizes. Add one per size.")
    return of_sizes[0]


def _in_size(path: Path, file: BackboneFile, size: int, exported: Path) -> Measured:
    spec = TrainingSpec(dataset="-", classes=("0", "1"), backbone_file=file, image_size=size)
    network = model.build_trunk(spec, path)
    export.export_network(network, exported)
    images = export.probe_images(size)[:IMAGES, ..., None]
    apart = NetworkApart(Chain(exported, path if file.runs_apart else None, file), check=True)
    try:
        (together,) = apart.run(images)
        alone = np.concatenate([apart.run(image[None])[0] for image in images])
        seconds = min(_seconds(apart, images) for _ in range(TIMED)) / len(images)
    finally:
        apart.close()
    _check(together, alone)
    return Measured(
        channels=together.shape[3],
        is_vector=together.shape[1:3] == (1, 1),
        milliseconds=round(1000 * seconds * (SPEED_SIZE / size) ** 2 * min(cores(), 8) / 2, 3),
        megabytes=round(path.stat().st_size / 1e6, 3),
        parameters=apart.parameters if file.runs_apart else int(network.count_params()),
    )


def _seconds(apart: NetworkApart, images: np.ndarray) -> float:
    start = time.monotonic()
    apart.run(images)
    return time.monotonic() - start


def _check(together: np.ndarray, alone: np.ndarray) -> None:
    if not np.isfinite(together).all() or not np.isfinite(alone).all():
        raise InvalidChoice("The backbone gives values that are no numbers (NaN or infinite).")
    if together.shape != alone.shape:
        raise InvalidChoice("The backbone gives maps of another shape for another number of images.")
    if np.abs(together - alone).max() > ALIKE * np.abs(alone).max():
        raise InvalidChoice("The backbone gives an image other maps when other images are beside it.")
