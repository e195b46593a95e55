"""One image file to grey pixels, and back. Nothing else in the package opens image files.

``read_film`` and ``to_square`` are the whole preprocessing outside the model, the same for training and prediction.
"""

import base64
import io
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from covid_core.data import resampling
from covid_core.errors import ImageError

FORMATS = ("PNG", "JPEG")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
LARGEST_FILE = 32 * 2**20  # bytes; a 16-bit film of 16 megapixels fits
SMALLEST_SIDE = 32  # pixels; below it no lung field is left to see
MOST_PIXELS = 64_000_000
LARGEST_ASPECT = 8
COLOUR_SPREAD = 12  # grey levels between channels, mean over the film; scanned grey films stay far below it
EXIF_ORIENTATION = 0x0112
TURNS = {  # what makes a film upright again, by its EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PLAIN_PNG = re.compile(rb"\x89PNG\r\n\x1a\n\0\0\0\rIHDR.{8}\x08\0\0\0\0", re.DOTALL)  # 8-bit grey, not interlaced
PNG_HEADER = 33  # bytes up to the first chunk after it
STORED_MOST = 65535  # bytes in a block of a zlib stream that is not packed
BIT_DEPTHS = (8, 10, 12, 14, 16)  # depths that detectors deliver inside 16-bit files


@dataclass(frozen=True)
class Film:
    """A film as it was read.

    ``pixels``: uint8 of shape (height, width), black is 0: all that a model sees. ``mode`` is the kind of pixel in the
    file ("L", "RGB" ...), ``notes`` says in words what was changed on the way to grey. ``warnings`` are reasons to
    doubt any answer (a lateral view, a hand, a name burned in), each one sentence; ``not_chest`` are those of them that
    say it is no frontal chest film (a lateral view, a hand, a CT): no run answers for it. ``deep`` holds the greys
    before they were brought to 8 bits, uint16 of the same shape, black is 0, where the file has more; ``window`` is the
    (centre, width) of it that became ``pixels``.
    """

    pixels: np.ndarray
    mode: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    deep: np.ndarray | None = None
    window: tuple[float, float] | None = None
    not_chest: tuple[str, ...] = ()


def read_film(source: Path | bytes) -> Film:
    """Read a PNG or JPEG file faithfully, or raise ImageError with the reason in one sentence."""
    content = source if isinstance(source, bytes) else content_of(source)
    if len(content) > LARGEST_FILE:
        raise ImageError(f"The file is larger than {LARGEST_FILE // 2**20} MiB.")
    if not content:
        raise ImageError("The file is empty.")
    if content[128:132] == b"DICM":
        raise ImageError("DICOM files are not read yet. Export the film as PNG with your viewer and try that.")
    pixels = _plain_png(content)
    if pixels is not None:
        return Film(_with_content(pixels), "L")
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of sizes that the header check refuses, and of damaged EXIF
        image = _decoded(content)
        pixels = _grey(_upright(image, notes), notes)
    return Film(_with_content(pixels), image.mode, tuple(notes))


def _with_content(pixels: np.ndarray) -> np.ndarray:
    if pixels.min() == pixels.max():
        raise ImageError("The film has no image content: all its pixels are equal.")
    return pixels


def content_of(path: Path | str) -> bytes:
    """Bytes of an image file. Raises ImageError for what is too large, no plain file, or cannot be opened."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise ImageError("It is a folder or a device, not a file.")
        if found.st_size > LARGEST_FILE:
            raise ImageError(f"The file is larger than {LARGEST_FILE // 2**20} MiB.")
        with open(path, "rb", buffering=0) as handle:
            return handle.readall()
    except OSError as error:
        raise ImageError(f"The file cannot be opened: {error.strerror}.") from error


def to_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Squash a uint8 film (height, width) to (size, size), antialiased (Lanczos). The one resize of the project."""
    return pixels if pixels.shape == (size, size) else to_squares([pixels], size)[0]


def to_squares(films: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Films of one shape (height, width) as uint8 (n, size, size), as ``to_square`` gives them, in less time."""
    if films[0].shape == (size, size):
        return np.stack(films)
    if resampling.is_exact(films[0]):
        return resampling.squares(films, size)
    shrunk = (Image.fromarray(film).resize((size, size), Image.Resampling.LANCZOS) for film in films)
    return np.stack([np.asarray(film) for film in shrunk])


def difference_hashes(squares: np.ndarray) -> list[str]:
    """64-bit dHash of each square, as 16 hexadecimal digits: is each of 8 x 8 cells darker than its right neighbour?

    Of films as ``to_squares`` gives them, uint8 (n, size, size) with a size that 8 divides. A cell is the mean of its
    pixels (of a ninth of the columns, parts of a column counted in part), rounded to whole grey levels, so that noise
    in a black margin decides nothing.
    """
    films, size, _ = squares.shape
    stripes = squares.reshape(films * 8, size // 8, size).sum(axis=1, dtype=np.uint32)
    cells = np.floor(stripes @ _ninths(size) / (size * size // 8) + 0.5).reshape(films, 8, 9)
    bits = np.packbits((cells[:, :, 1:] > cells[:, :, :-1]).reshape(films, 64), axis=1)
    return [row.tobytes().hex() for row in bits]


@lru_cache
def _ninths(size: int) -> np.ndarray:
    """How much of each of ``size`` pixels lies in each ninth of the line, in ninths of a pixel: float64 (size, 9)."""
    pixel, cell = np.arange(size)[:, None] * 9, np.arange(9) * size
    return np.clip(np.minimum(pixel + 9, cell + size) - np.maximum(pixel, cell), 0, None).astype(float)


def read_mask(path: Path) -> np.ndarray:
    """Lung mask as bool of shape (height, width), from a black and white picture."""
    return read_film(path).pixels > 127


def thumbnail(pixels: np.ndarray, side: int) -> np.ndarray:
    """A uint8 film fitted into a black square of ``side`` pixels, its proportions kept."""
    image = ImageOps.contain(Image.fromarray(pixels), (side, side), Image.Resampling.LANCZOS)
    return np.asarray(ImageOps.pad(image, (side, side), color=0))


def fitted(pixels: np.ndarray, longest: int) -> np.ndarray:
    """A uint8 film shrunk, where it is larger, so that its longer side has ``longest`` pixels; proportions kept."""
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
    """A uint8 film moved by an inverse affine map (Pillow's six numbers), bilinear, black where nothing was."""
    height, width = pixels.shape
    return np.asarray(
        Image.fromarray(pixels).transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    )


def _plain_png(content: bytes) -> np.ndarray | None:
    """Pixels of the plainest of PNG files: 8-bit grey, not interlaced, nothing in it but the picture. Else None.

    Pillow unpacks such a file row by row. Unpacking all rows at once and having Pillow undo their filters only takes
    an eighth off the time. Whatever is unusual or broken is left to the full reader, which says what is wrong.
    """
    packed = _packed_rows(content) if PLAIN_PNG.match(content) else None
    if packed is None:
        return None
    width, height = struct.unpack(">II", content[16:24])
    if _size_refused(width, height):
        return None
    unpacker, size = zlib.decompressobj(), height * (width + 1)
    try:
        rows = unpacker.decompress(packed, size + 1)  # one byte more than there may be: a bomb stops here
        if len(rows) != size or not unpacker.eof or unpacker.unused_data:
            return None
        stored = _stored_stream(rows, packed[-4:])
        return np.asarray(Image.frombytes("L", (width, height), stored, "zip", "L", 0))
    except (zlib.error, ValueError):
        return None


def _packed_rows(content: bytes) -> bytes | None:
    """The zlib stream of a PNG file that has only IDAT chunks between its header and its end. Else None."""
    parts, at = [], PNG_HEADER
    while (kind := content[at + 4 : at + 8]) == b"IDAT":
        length = int.from_bytes(content[at : at + 4])
        parts.append(content[at + 8 : at + 8 + length])
        at += 12 + length
    if kind != b"IEND" or zlib.crc32(content[12:29]) != int.from_bytes(content[29:33]):
        return None
    return b"".join(parts)


def _stored_stream(rows: bytes, checksum: bytes) -> bytes:
    """Rows as a zlib stream that holds them as they are, in blocks of STORED_MOST bytes."""
    view, parts = memoryview(rows), [b"\x78\x01"]
    for start in range(0, len(rows), STORED_MOST):
        block = view[start : start + STORED_MOST]
        is_last = start + STORED_MOST >= len(rows)
        parts += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*parts, checksum])


def _decoded(content: bytes) -> Image.Image:
    """The first and only frame, checked by its header before its pixels are unpacked."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        _check_header(image)
        image.load()
    except UnidentifiedImageError as error:
        raise ImageError("The file is not a readable PNG or JPEG image.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"The film has more than {MOST_PIXELS // 10**6} million pixels.") from error
    except (OSError, ValueError, SyntaxError, MemoryError) as error:
        raise ImageError("The image is damaged or cut off.") from error
    return image


def _check_header(image: Image.Image) -> None:
    refused = _size_refused(*image.size)
    if refused:
        raise ImageError(refused)
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError("The file holds several pictures; save the one that is meant as a file of its own.")


def _size_refused(width: int, height: int) -> str:
    """Why a picture of that size is no film; nothing when it may be one."""
    if min(width, height) < SMALLEST_SIDE:
        return f"The film is too small: {width} x {height} pixels, at least {SMALLEST_SIDE} are needed."
    if width * height > MOST_PIXELS:
        return f"The film has more than {MOST_PIXELS // 10**6} million pixels."
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        return f"The film is a strip of {width} x {height} pixels."
    return ""


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # Pillow's EXIF reader answers damaged data with half a dozen kinds of error
        notes.append("its EXIF data are damaged and were left unread")
        return image
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    if turn is None:
        return image
    notes.append("turned as its EXIF orientation says")
    return image.transpose(turn)


def _grey(image: Image.Image, notes: list[str]) -> np.ndarray:
    """Grey pixels as uint8 of shape (height, width), whatever the file held."""
    if image.mode.startswith("I"):
        return _scaled_to_8_bits(np.asarray(image).astype(np.int64), notes)
    if image.mode == "CMYK":
        raise ImageError("The file holds printing colours (CMYK); save it as grey or RGB.")
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if "A" in image.mode or "transparency" in image.info:
        image = _flattened(image, notes)
    return _colours_to_grey(np.asarray(image.convert("RGB")), notes)


def _scaled_to_8_bits(values: np.ndarray, notes: list[str]) -> np.ndarray:
    """Scale by the bit depth in use. ``Image.convert`` would clip instead: 17 of 256 levels of a ramp survive it."""
    depth = next((bits for bits in BIT_DEPTHS if values.max() < 2**bits), None)
    if depth is None or values.min() < 0:
        raise ImageError("The film has more than 16 bits per pixel.")
    notes.append(f"read as {depth}-bit greys, by its brightest pixel, and scaled to 8 bits")
    return np.round(values * (255 / (2**depth - 1))).astype(np.uint8)


def _flattened(image: Image.Image, notes: list[str]) -> Image.Image:
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() != (255, 255):
        notes.append("transparent parts laid on black")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba)


def _colours_to_grey(rgb: np.ndarray, notes: list[str]) -> np.ndarray:
    if np.ptp(rgb, axis=2).mean() > COLOUR_SPREAD:
        notes.append("a colour picture, turned to grey; X-ray films are grey")
    return np.asarray(Image.fromarray(rgb).convert("L"))


def resized_map(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """A float map (h, w) brought to (height, width), bilinear: for drawing a coarse heat map over a film."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
