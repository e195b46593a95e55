"""One image file to grey pixels, and back.

``read_image`` and ``to_square`` are the whole preprocessing outside the model, the same for training and prediction.
How files are opened stands in ``images.raster`` (pictures) and ``images.dicom``.
"""

import base64
import io
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from covid_core.errors import ImageError
from covid_core.images import raster, resampling
from covid_core.images.image import GreyImage as GreyImage  # what it reads, for those who import the codec
from covid_core.images.image import chosen_place

PNG, JPEG, TIFF, DICOM = "PNG", "JPEG", "TIFF", "DICOM"
PICTURES = (PNG, JPEG)  # what data sets are made of; decoded by code that no file was seen to hold up
KINDS = (PNG, JPEG, TIFF, DICOM)
SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
LARGEST_FILE = 32 * 2**20  # bytes; a 16-bit image of 16 megapixels fits
STARTS = {
    PNG: (b"\x89PNG\r\n\x1a\n",),
    JPEG: (b"\xff\xd8\xff",),
    TIFF: (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
DICOM_MARK_AT = 128
FIRST_TYPES = (b"UL", b"UI", b"CS", b"OB", b"SH", b"LO", b"DA", b"TM")  # of elements that DICOM files begin with
SHORT_VALUE = 128  # bytes; longer than any of them where no type is stored


def read_image(source: Path | bytes, window: int = 0, kinds: Sequence[str] = KINDS) -> GreyImage:
    """Read an image faithfully, or raise ImageError with the reason in one sentence.

    The file is decoded in this process; what strangers hand in goes through ``images.sandbox``, which can be stopped.

    Args:
        source: a file, or its bytes; its content decides what it is, never its name.
        window: the place of the window to show it in among those that it offers, ``FULL_RANGE`` for the full one. The
            first by default, which is the one that the file asks for.
        kinds: the kinds of file that are read; others are refused as if they were unknown.
    """
    content = source if isinstance(source, bytes) else content_of(source)
    if len(content) > LARGEST_FILE:
        raise ImageError(f"The file is larger than {LARGEST_FILE // 2**20} MiB.")
    if not content:
        raise ImageError("The file is empty.")
    kind = kind_of(content)
    if kind not in kinds:
        raise ImageError(f"The file is not a readable {', '.join(kinds[:-1])} or {kinds[-1]} image.")
    if kind == DICOM:
        from covid_core.images import dicom  # takes a second to import, which images that are pictures need not pay

        image = dicom.read(content, window)
    else:
        image = raster.read(content, window)
    if window and not image.windows:
        chosen_place(window, 1)
    return image


def kind_of(content: bytes) -> str:
    """What a file is by its first bytes: one of KINDS, or nothing. Never by its name.

    A DICOM file may begin with anything, also with the first bytes of a picture or a program, before its own mark. One
    without the mark has to begin with an element that files begin with.
    """
    if content[DICOM_MARK_AT : DICOM_MARK_AT + 4] == b"DICM":
        return DICOM
    for kind, starts in STARTS.items():
        if content.startswith(starts):
            return kind
    return DICOM if _begins_as_bare_dicom(content) else ""


def _begins_as_bare_dicom(content: bytes) -> bool:
    """Is the first element one of group 0002 or 0008, with a type or a length that fits into the file?"""
    if len(content) < 8:
        return False
    group, element, length = struct.unpack("<HHI", content[:8])
    if group in (0x0200, 0x0800):  # stored with the higher byte first, which has a type always
        return content[4:6] in FIRST_TYPES and element & 0xFF == 0
    return group in (0x0002, 0x0008) and element < 0x100 and (content[4:6] in FIRST_TYPES or length <= SHORT_VALUE)


def content_of(path: Path | str) -> bytes:
    """Bytes of an image file. Raises ImageError for what is too large, no plain file, or cannot be opened."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("It is a folder or a device, not a file.")
        if status.st_size > LARGEST_FILE:
            raise ImageError(f"The file is larger than {LARGEST_FILE // 2**20} MiB.")
        with open(path, "rb", buffering=0) as handle:
            return handle.readall()
    except OSError as error:
        raise ImageError(f"The file cannot be opened: {error.strerror}.") from error


def to_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Squash a uint8 image (height, width) to (size, size), antialiased (Lanczos). The one resize of the project."""
    return pixels if pixels.shape == (size, size) else to_squares([pixels], size)[0]


def to_squares(images: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Images of one shape (height, width) as uint8 (n, size, size), as ``to_square`` gives them, in less time."""
    if images[0].shape == (size, size):
        return np.stack(images)
    if resampling.is_exact(images[0]):
        return resampling.squares(images, size)
    shrunk = (Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS) for image in images)
    return np.stack([np.asarray(image) for image in shrunk])


def read_mask(path: Path) -> np.ndarray:
    """Lung mask as bool of shape (height, width), from a black and white picture."""
    return read_image(path, kinds=PICTURES).pixels > 127


def thumbnail(pixels: np.ndarray, side: int) -> np.ndarray:
    """A uint8 image fitted into a black square of ``side`` pixels, its proportions kept."""
    image = ImageOps.contain(Image.fromarray(pixels), (side, side), Image.Resampling.LANCZOS)
    return np.asarray(ImageOps.pad(image, (side, side), color=0))


def fitted(pixels: np.ndarray, longest: int) -> np.ndarray:
    """A uint8 image shrunk, where it is larger, so that its longer side has ``longest`` pixels; proportions kept."""
    if max(pixels.shape) <= longest:
        return pixels
    return np.asarray(ImageOps.contain(Image.fromarray(pixels), (longest, longest), Image.Resampling.LANCZOS))


def png_bytes(pixels: np.ndarray) -> bytes:
    """A uint8 array (height, width[, 3 or 4]) as a PNG file without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def jpeg_bytes(pixels: np.ndarray, quality: int = 85) -> bytes:
    """A uint8 array (height, width[, 3]) as a JPEG file without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def data_url(content: bytes) -> str:
    """A PNG or JPEG file as a data URL for a web page."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def affine(pixels: np.ndarray, matrix: tuple[float, ...]) -> np.ndarray:
    """A uint8 image moved by an inverse affine map (Pillow's six numbers), bilinear, black where nothing was."""
    height, width = pixels.shape
    return np.asarray(
        Image.fromarray(pixels).transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    )


def resized_map(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """A float map (h, w) brought to (height, width), bilinear: for drawing a coarse heat map over an image."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
