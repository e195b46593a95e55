"""PNG, JPEG and TIFF files to grey pixels. Nothing else in the package opens pictures with Pillow."""

import importlib
import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from covid_core.errors import ImageError
from covid_core.images.image import (
    MOST_PIXELS,
    TOO_MUCH_MEMORY,
    GreyImage,
    WindowChoice,
    chosen_place,
    full_range,
    grey_of_colours,
    size_refused,
    with_content,
    with_depth,
)

PLUGINS = {"PNG": "PngImagePlugin", "JPEG": "JpegImagePlugin", "TIFF": "TiffImagePlugin"}  # of Pillow, by its format
FORMATS = tuple(PLUGINS)
EXIF_ORIENTATION = 0x0112
TURNS = {  # what makes an image upright again, by its EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WHITE_IS_ZERO = 0
TIFF_BITS, TIFF_COMPRESSION, TIFF_PHOTOMETRIC, TIFF_SAMPLES, TIFF_PLANES = 258, 259, 262, 277, 284
TIFF_STRIPS, TIFF_STRIP_BYTES, TIFF_ROWS_PER_STRIP = 273, 279, 278
TIFF_TILES, TIFF_TILE_BYTES, TIFF_TILE_WIDTH, TIFF_TILE_HEIGHT = 324, 325, 322, 323
DAMAGED = "The image is damaged or cut off."


def read(content: bytes, window: int = 0) -> GreyImage:
    """An image from the bytes of a PNG, JPEG or TIFF file. Raises ImageError with the reason in one sentence."""
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of sizes that the header check refuses, and of damaged EXIF
        image, stored = _decoded(content)
        image = _upright(image, notes)
        if image.mode.startswith(("I", "F")):
            return _deep_image(image, notes, window)
        pixels = _grey(image, stored, notes)
    return GreyImage(with_content(pixels), image.mode, tuple(notes))


def colour_spread(content: bytes) -> float:
    """Grey levels between the strongest and the weakest of red, green and blue, mean over the image, 0 to 255.

    Of the bytes of a picture that ``read`` has taken. Raises ImageError where they are none.
    """
    image, _ = _decoded(content)
    return float(np.ptp(np.asarray(image.convert("RGB")), axis=2).mean())


def load_decoders() -> None:
    """Import what reads the formats, so that the first image does not wait for it."""
    for name in (*PLUGINS.values(), "MpoImagePlugin"):
        importlib.import_module(f"PIL.{name}")


def _decoded(content: bytes) -> tuple[Image.Image, str]:
    """The first and only frame, checked by its header before its pixels are unpacked, and how Pillow names its pixels
    as the file stores them ("L", "I;16B", "RGB;16B" ...)."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        _check_header(image)
        if isinstance(image, TiffImageFile):
            _check_parts(image, len(content))
        stored = _stored_kind(image)
        image.load()
    except UnidentifiedImageError as error:
        kind = "TIFF" if content[:2] in (b"II", b"MM") else "PNG or JPEG"
        raise ImageError(f"The file is not a readable {kind} image.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"The image has more than {MOST_PIXELS // 10**6} million pixels.") from error
    except MemoryError as error:
        raise ImageError(TOO_MUCH_MEMORY) from error
    except ImageError:
        raise
    except Exception as error:  # Pillow answers damaged files with OSError, ValueError, SyntaxError, TypeError and more
        raise ImageError(DAMAGED) from error
    return image, stored


def _check_header(image: Image.Image) -> None:
    refused = size_refused(*image.size)
    if refused:
        raise ImageError(refused)
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError("The file holds several pictures; save the one that is meant as a file of its own.")


def _check_parts(image: TiffImageFile, file_size: int) -> None:
    """Does a TIFF file hold all of its picture? Pillow leaves black what the directory does not list."""
    tags, (width, height) = image.tag_v2, image.size
    if TIFF_TILES in tags:
        offsets, sizes = tags[TIFF_TILES], tags[TIFF_TILE_BYTES]
        rows, columns = tags[TIFF_TILE_HEIGHT], tags[TIFF_TILE_WIDTH]
    else:
        offsets, sizes = tags[TIFF_STRIPS], tags[TIFF_STRIP_BYTES]
        rows, columns = tags.get(TIFF_ROWS_PER_STRIP, height), width
    planes = tags.get(TIFF_SAMPLES, 1) if tags.get(TIFF_PLANES, 1) == 2 else 1
    expected = -(-height // rows) * -(-width // columns) * planes
    is_whole = len(offsets) == len(sizes) == expected
    if tags.get(TIFF_COMPRESSION, 1) == 1:
        bits, samples = tags.get(TIFF_BITS, (1,)), tags.get(TIFF_SAMPLES, 1)
        row = width * (sum(bits) if len(bits) == samples else bits[0] * samples)
        is_whole = is_whole and sum(sizes) >= -(-row // 8) * height
    if not is_whole or any(start + size > file_size for start, size in zip(offsets, sizes, strict=False)):
        raise ImageError(DAMAGED)


def _stored_kind(image: ImageFile) -> str:
    """Pillow's raw mode: the first argument, or the only one, of the decoder of the first tile."""
    arguments = image.tile[0][3] if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """The image as its EXIF orientation says. Pillow has turned TIFF files already."""
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


def _deep_image(image: Image.Image, notes: list[str], window: int) -> GreyImage:
    """An image of more than 8 bits, or of signed or floating-point greys; all of them stay in ``Image.deep``."""
    values = np.asarray(image)
    if image.mode == "F":
        deep, choice = _deep_of_floats(values)
    else:
        deep, choice = _deep_of_integers(values)
    if getattr(image, "tag_v2", {}).get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO:
        # Pillow inverts such pictures up to 8 bits and leaves those of more as they are
        deep = int(choice.width) - deep
        notes.append("white stored as 0, so that dark and bright were exchanged")
    notes.append(f"shown over its {choice.name}")
    return with_depth(deep, image.mode, (choice,), chosen_place(window, 1), tuple(notes))


def _deep_of_integers(values: np.ndarray) -> tuple[np.ndarray, WindowChoice]:
    """``Image.convert`` would clip instead: 17 of 256 levels of a 16-bit ramp survive it."""
    darkest, brightest = int(values.min()), int(values.max())
    if brightest - min(darkest, 0) >= 2**16:
        raise ImageError("The image has more than 16 bits per pixel.")
    if darkest >= 0:
        return values.astype(np.uint16), full_range(brightest)
    return (values.astype(np.int64) - darkest).astype(np.uint16), _all_of(brightest - darkest)


def _deep_of_floats(values: np.ndarray) -> tuple[np.ndarray, WindowChoice]:
    """Greys from 0 to 1 keep that scale; others reach from the darkest pixel to the brightest."""
    if not np.isfinite(values).all():
        raise ImageError("Some pixels of the image are not finite numbers.")
    darkest, brightest = float(values.min()), float(values.max())
    if darkest == brightest:
        raise ImageError("The image has no image content: all its pixels are equal.")
    if darkest >= 0 and brightest <= 1:
        return np.round(values * 65535.0).astype(np.uint16), WindowChoice("full range, 0 to 1", 32767.5, 65535.0)
    scaled = (values.astype(np.float64) - darkest) / (brightest - darkest)
    return np.round(scaled * 65535).astype(np.uint16), _all_of(65535)


def _all_of(width: int) -> WindowChoice:
    return WindowChoice("range from the darkest to the brightest pixel", width / 2, float(width))


def _grey(image: Image.Image, stored: str, notes: list[str]) -> np.ndarray:
    """Grey pixels of an 8-bit picture as uint8 of shape (height, width), whatever the file held."""
    if image.mode == "CMYK":
        raise ImageError("The file holds printing colours (CMYK); save it as grey or RGB.")
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if ";16" in stored:
        _check_upper_bits(image, notes)
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = _flattened(image, notes)
    return grey_of_colours(np.asarray(image.convert("RGB")), notes)


def _check_upper_bits(image: Image.Image, notes: list[str]) -> None:
    """Of 16 bits per colour Pillow gives the upper 8. Where the image lies in the lower ones nothing would be left."""
    colours = [extremes[1] for band, extremes in zip(image.getbands(), _extremes(image), strict=True) if band != "A"]
    if max(colours) < 128:
        raise ImageError("The image has 16 bits per colour and uses the lower ones only; save it as 16-bit grey.")
    notes.append("16 bits per colour, of which the upper 8 were read")


def _extremes(image: Image.Image) -> list[Any]:
    extrema = image.getextrema()
    return list(extrema) if isinstance(extrema[0], tuple) else [extrema]


def _flattened(image: Image.Image, notes: list[str]) -> Image.Image:
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() != (255, 255):
        notes.append("transparent parts laid on black")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba)
