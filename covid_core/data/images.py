"""One image file to grey pixels, and back. Nothing else in the package opens image files.

``read_film`` and ``to_square`` are the whole preprocessing outside the model, the same for training and prediction.
"""

import base64
import io
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

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
BIT_DEPTHS = (8, 10, 12, 14, 16)  # depths that detectors deliver inside 16-bit files


@dataclass(frozen=True)
class Film:
    """A film as it was read.

    ``pixels``: uint8 of shape (height, width), black is 0. ``mode`` is the kind of pixel in the file ("L", "RGB" ...),
    ``notes`` says in words what was changed on the way to grey.
    """

    pixels: np.ndarray
    mode: str
    notes: tuple[str, ...] = ()


def read_film(source: Path | bytes) -> Film:
    """Read a PNG or JPEG file faithfully, or raise ImageError with the reason in one sentence."""
    content = source if isinstance(source, bytes) else content_of(source)
    if len(content) > LARGEST_FILE:
        raise ImageError(f"The file is larger than {LARGEST_FILE // 2**20} MiB.")
    if not content:
        raise ImageError("The file is empty.")
    if content[128:132] == b"DICM":
        raise ImageError("DICOM files are not read yet. Export the film as PNG with your viewer and try that.")
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of sizes that the header check refuses, and of damaged EXIF
        image = _decoded(content)
        pixels = _grey(_upright(image, notes), notes)
    if pixels.min() == pixels.max():
        raise ImageError("The film has no image content: all its pixels are equal.")
    return Film(pixels, image.mode, tuple(notes))


def content_of(path: Path) -> bytes:
    """Bytes of an image file. Raises ImageError for what is too large, no plain file, or cannot be opened."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ImageError("It is a folder or a device, not a file.")
        if found.st_size > LARGEST_FILE:
            raise ImageError(f"The file is larger than {LARGEST_FILE // 2**20} MiB.")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"The file cannot be opened: {error.strerror}.") from error


def to_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Squash a uint8 film (height, width) to (size, size), antialiased (Lanczos). The one resize of the project."""
    if pixels.shape == (size, size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS))


def difference_hash(pixels: np.ndarray) -> str:
    """64-bit dHash of a uint8 film as 16 hexadecimal digits: is each of 8 x 8 cells darker than its right neighbour?"""
    small = np.asarray(Image.fromarray(pixels).resize((9, 8), Image.Resampling.BOX))
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


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
    width, height = image.size
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(f"The film is too small: {width} x {height} pixels, at least {SMALLEST_SIDE} are needed.")
    if width * height > MOST_PIXELS:
        raise ImageError(f"The film has more than {MOST_PIXELS // 10**6} million pixels.")
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise ImageError(f"The film is a strip of {width} x {height} pixels.")
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError("The file holds several pictures; save the one that is meant as a file of its own.")


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
