"""What a bundle says of itself: the content of its bundle.json."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from covid_core import files
from covid_core.errors import DataError
from covid_core.runs import store
from covid_core.runs.store import MOST_OF_LICENCE

NAME = "bundle.json"
FORMAT = "second-look bundle"
AGAIN = "Ask the sender for it again."  # what is left to do with a damaged one
LARGEST = 50 * 10**6  # bytes of a JSON file: of 200,000 images it has 30 MB
RUN = re.compile(r"runs/([a-z0-9][a-z0-9-]{0,63})/(.+)")
TRUNK = re.compile(r"trunks/[a-z0-9-]{1,100}\.tflite")
BACKBONE = re.compile(r"backbones/([a-z][a-z0-9-]{1,39})/backbone\.(json|onnx|tflite)")
STUDY = re.compile(r"studies/([a-z0-9][a-z0-9-]{0,63})/study\.json")
DATASET = re.compile(r"datasets/([a-z0-9][a-z0-9-]{0,63})/(manifest\.parquet|import\.json|decisions\.csv|files/.+)")

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """``created`` is in seconds since 1970, ``licence`` that of the data as the sender states it, ``files`` the SHA-256
    of every other file by its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["second-look bundle"] = FORMAT
    schema_number: Literal[1] = 1
    created: FiniteFloat
    version: str = Field(max_length=40)
    licence: str = Field(default="", max_length=MOST_OF_LICENCE)
    images: bool = False
    files: dict[str, Hash]

    @property
    def runs(self) -> list[str]:
        """Ids of the runs, sorted."""
        return self._ids(RUN)

    @property
    def datasets(self) -> list[str]:
        """Ids of the data sets whose images are there, sorted."""
        return self._ids(DATASET)

    @property
    def backbones(self) -> list[str]:
        """Folders of the added backbones, sorted."""
        return self._ids(BACKBONE)

    @property
    def studies(self) -> list[str]:
        """Ids of the studies, sorted."""
        return self._ids(STUDY)

    def _ids(self, pattern: re.Pattern[str]) -> list[str]:
        return sorted({match[1] for name in self.files if (match := pattern.fullmatch(name))})


def read(folder: Path) -> Manifest:
    """The manifest of an unpacked bundle whose files are all there and the ones that it names. Raises DataError."""
    path = folder / NAME
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("too large")
        made = Manifest.model_validate(files.read_json(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError("The file is not a bundle of runs, or comes from a later version.") from error
    there = {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()} - {NAME}
    if extra := sorted(there ^ set(made.files)):
        unlike = f"{_short(extra[0])} is missing, or not in its list"
        raise DataError(f"The bundle is incomplete or was changed: {unlike}. {AGAIN}")
    for name, sha256 in made.files.items():
        if not _is_expected(name, made.images):
            raise DataError(f"The bundle holds a file that belongs to no run: {_short(name)}.")
        if files.sha256_of(folder / name) != sha256:
            raise DataError(f"The bundle was changed: {_short(name)} is not the file that its list names. {AGAIN}")
    if not made.runs:
        raise DataError("The bundle holds no run.")
    return made


def _is_expected(name: str, images: bool) -> bool:
    if match := RUN.fullmatch(name):
        return store.is_carried(match[2])
    return any(one.fullmatch(name) for one in (TRUNK, BACKBONE, STUDY)) or bool(images and DATASET.fullmatch(name))


def _short(name: str) -> str:
    return repr(name[:120])
