"""The images of a folder, without labels, assessed by a run."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from covid_core.data.imports.layouts import called, pictures_below
from covid_core.errors import DataError, ImageError
from covid_core.images import sandbox
from covid_core.images.codec import GreyImage, content_of
from covid_core.inference.assessment import Assessment, assess_all
from covid_core.inference.predictor import Predictor
from covid_core.work import Progress, blocks, cores, ordered_map, silent

AT_ONCE = 16  # images


def assessed(predictor: Predictor, folder: Path, progress: Progress = silent) -> list[Assessment]:
    """An assessment of each image below a folder, lung masks aside, in the order of names; of one that cannot be read
    with its error.

    Raises DataError where there is no folder, or no image in it.
    """
    names = pictures_below(folder)
    if not names:
        raise DataError(f"No PNG, JPEG, TIFF or DICOM image in {called(folder)}.")
    made: list[Assessment] = []
    with ThreadPoolExecutor(cores()) as pool:
        for some in blocks(names, AT_ONCE):
            images = list(ordered_map(pool, _read, [folder / name for name in some]))
            readable = [image for image in images if isinstance(image, GreyImage)]
            answers = iter(assess_all(predictor, readable) if readable else ())
            made += [
                _named(next(answers), name) if isinstance(image, GreyImage) else Assessment(name=name, error=image)
                for name, image in zip(some, images, strict=True)
            ]
            progress(len(made) / len(names), f"Predicting: {len(made):,} of {len(names):,} images")
    return made


def _named(one: Assessment, name: str) -> Assessment:
    """Without the heat maps, which hold the network's maps of the whole batch."""
    return replace(one, name=name, heat=None)


def _read(path: Path) -> GreyImage | str:
    try:
        return sandbox.read_image(content_of(path))
    except ImageError as error:
        return str(error)
