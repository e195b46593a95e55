"""TIFF and DICOM files to PNG files of a data set, read as Predict reads them: in a process that can be ended.

The PNG holds the 8-bit greys that a model gets. A DICOM file's PatientID is hashed in that process, under a key of the
workspace; nothing else personal is kept.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from covid_core.data.imports import metadata
from covid_core.data.imports.layouts import Candidate, is_plain
from covid_core.errors import DataError, ImageError, cause
from covid_core.images.codec import (
    DICOM,
    KINDS,
    PICTURES,
    TIFF,
    GreyImage,
    content_of,
    kind_of,
    png_bytes,
    read_image,
)
from covid_core.images.sandbox import Sandbox
from covid_core.work import cores
from covid_core.workspace import Workspace

SECONDS = 30.0  # for one file; nobody waits for it, and all cores are busy with others
CONVERTED = (TIFF, DICOM)


class Converter:
    """Reads the files of an import below ``root``; what it makes of some lies below ``made``. Used by threads."""

    def __init__(self, workspace: Workspace, root: Path, made: Path, candidates: Sequence[Candidate]) -> None:
        self.workspace, self.root, self.made = workspace, root, made
        self.is_expected = any(not is_plain(one.path) for one in candidates)
        self._taken = {path for one in candidates for path in (one.path, one.mask_path)}
        self._sandbox = Sandbox(cores(), SECONDS)
        self.close = self._sandbox.close

    @cached_property
    def _key(self) -> bytes:
        return self.workspace.patient_key()

    def converted(self, candidate: Candidate, content: bytes) -> tuple[GreyImage, bytes, Candidate]:
        """An image, its content in the data set, and what is stored of it. Raises ImageError and DataError."""
        candidate = replace(candidate, mask_path=self._mask_path(candidate.mask_path))
        if kind_of(content) not in CONVERTED:
            kinds = PICTURES if is_plain(candidate.path) else KINDS
            return read_image(content, kinds=kinds), content, candidate
        image = self._sandbox.read_image(content, key=self._key)
        facts = image.facts
        if facts.get("refused"):
            raise ImageError(facts["refused"])
        path, content = self._written(candidate.path, image)
        return (
            image,
            content,
            replace(
                candidate,
                path=path,
                patient=candidate.patient or facts.get("patient", ""),
                sex=candidate.sex or metadata.sex_of(facts.get("sex", "")),
                age=candidate.age or metadata.age_of(facts.get("age", "")),
                view=candidate.view or facts.get("view", ""),
                device=candidate.device or facts.get("device", ""),
                spacing=candidate.spacing or facts.get("spacing", ""),
                reading="\n".join(["; ".join(image.notes), *image.warnings]).rstrip(),
            ),
        )

    def _mask_path(self, path: str) -> str:
        """That of a PNG, where a mask is none yet; one that cannot be read stays, and says so where it is shown."""
        if not path or is_plain(path):
            return path
        try:
            return self._written(path, self._sandbox.read_image(content_of(self.root / path), key=self._key))[0]
        except ImageError:
            return path

    def _written(self, path: str, image: GreyImage) -> tuple[str, bytes]:
        """Path and content of the PNG of an image. Raises DataError."""
        content, path = png_bytes(image.pixels), f"{path}.png"
        while path in self._taken:
            path = f"{path.removesuffix('.png')}_.png"
        try:
            (self.made / path).parent.mkdir(parents=True, exist_ok=True)
            (self.made / path).write_bytes(content)
        except OSError as error:
            raise DataError(f"The images cannot be written into the data set: {cause(error)}.") from error
        return path, content
