"""One image file to grey pixels, and back. Nothing else in the package opens pictures with Pillow.

``read_image`` and ``to_square`` are the whole preprocessing outside the model, the same for training and prediction,
but for the box around the lungs (``inference.region``).
PNG, JPEG and TIFF files are opened here, DICOM files in ``images.dicom``.
"""

import base64
import importlib
import io
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from covid_core.errors import ImageError, cause
from covid_core.images import resampling
from covid_core.images.image import (
    MOST_PIXELS,
    TOO_MUCH_MEMORY,
    TRANSPARENT_NOTE,
    WindowChoice,
    chosen_place,
    darkest_to_brightest,
    doubts_about,
    full_range,
    grey_of_colours,
    size_refused,
    with_content,
    with_depth,
)
from covid_core.images.image import GreyImage as GreyImage  # what it reads, for those who import the codec

PNG, JPEG, TIFF, DICOM = "PNG", "JPEG", "TIFF", "DICOM"
PICTURES = (PNG, JPEG)  # what data sets are made of; decoded by code that no file was seen to hold up
KINDS = (PNG, JPEG, TIFF, DICOM)
WHITE_BORDER = 0.9  # share of a mask's border; white lungs hardly reach it, and black ones leave it white
ALL_WHITE = 0.98  # share of a mask; beyond it black specks may be faults of a mask that is all lung
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
SUFFIXES = frozenset({*PICTURE_SUFFIXES, ".tif", ".tiff", ".dcm", ".dicom", ".dic"})
NAME_WITHOUT_SUFFIX = re.compile(  # DICOM: IM000001, IMG-0001-00001, an UID
    r"[A-Za-z]{0,5}[-_ .]?\d[\d._-]*|[0-9A-F]{8}"
)
LARGEST_FILE = 48 * 2**20  # bytes; a 16-bit image of 4,096 x 4,096 pixels has 33.5 MB
STARTS = {
    PNG: (b"\x89PNG\r\n\x1a\n",),
    JPEG: (b"\xff\xd8\xff",),
    TIFF: (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
OTHER_KINDS = (  # that people send under the name of another: name, and what stands where
    ("GIF", 0, b"GIF8"),
    ("BMP", 0, b"BM"),
    ("WebP", 8, b"WEBP"),
    ("HEIC or MP4", 4, b"ftyp"),
    ("PDF", 0, b"%PDF"),
    ("ZIP", 0, b"PK\3\4"),
    ("gzip", 0, b"\x1f\x8b"),
)
ARCHIVES = ("ZIP", "gzip")
DICOM_MARK_AT = 128
FIRST_TYPES = (b"UL", b"UI", b"CS", b"OB", b"SH", b"LO", b"DA", b"TM")  # of elements that DICOM files begin with
SHORT_VALUE = 128  # bytes; longer than any of them where no type is stored
PLUGINS = {PNG: "PngImagePlugin", JPEG: "JpegImagePlugin", TIFF: "TiffImagePlugin"}  # of Pillow, by its format
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
PAPER, INK = 255, 27  # greys of a light picture and its letters
HEADER_ENDS = 33  # bytes of a PNG file before its first chunk that may be left out
TIFF_BITS, TIFF_COMPRESSION, TIFF_PHOTOMETRIC, TIFF_SAMPLES, TIFF_PLANES = 258, 259, 262, 277, 284
TIFF_STRIPS, TIFF_STRIP_BYTES, TIFF_ROWS_PER_STRIP = 273, 279, 278
TIFF_TILES, TIFF_TILE_BYTES, TIFF_TILE_WIDTH, TIFF_TILE_HEIGHT = 324, 325, 322, 323
DAMAGED = "The image is damaged or cut off."


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
        named = kind or next((name for name, at, mark in OTHER_KINDS if content[at : at + len(mark)] == mark), "")
        what = f"a {named} file, not" if named else "not"
        way_out = " Unpack it first." if named in ARCHIVES else ""
        raise ImageError(f"The file is {what} a readable {', '.join(kinds[:-1])} or {kinds[-1]} image.{way_out}")
    if kind == DICOM:
        from covid_core.images import dicom  # takes a second to import, which images that are pictures need not pay

        image = dicom.read(content, window)
    else:
        image = _picture(content, window)
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
        raise ImageError(f"The file cannot be opened: {cause(error)}.") from error


def to_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Squash a uint8 image (height, width) to (size, size), antialiased (Lanczos). The one resize of the project."""
    return pixels if pixels.shape == (size, size) else to_squares([pixels], size)[0]


def to_squares(images: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Images of one shape (height, width) as uint8 (n, size, size), as ``to_square`` gives them, in less time."""
    if images[0].shape == (size, size):
        return np.stack(images)
    if images[0].shape[0] <= images[0].shape[1]:  # Pillow 13 shrinks columns of some taller ones first: other rounding
        return resampling.squares(images, size)
    shrunk = (Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS) for image in images)
    return np.stack([np.asarray(image) for image in shrunk])


def read_mask(path: Path) -> np.ndarray:
    """Lung mask as bool of shape (height, width), from a black and white picture; one whose lungs are black is read
    inverted."""
    white = white_of(path)
    return ~white if white_border(white) > WHITE_BORDER else white


def white_of(path: Path) -> np.ndarray:
    """What is white in a picture, bool of shape (height, width)."""
    return read_image(path, kinds=PICTURES).pixels > 127


def white_border(mask: np.ndarray) -> float:
    """The share of a mask's border that is white, where that can only mean that its lungs are black: most of it is
    white, and not nearly all. Else 0."""
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return float(border.mean()) if 0.5 < mask.mean() < ALL_WHITE else 0.0


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


def written(lines: Sequence[str], letters: int, width: int, height: int) -> np.ndarray:
    """Lines of text, dark on paper, as uint8 (height, width); ``letters`` is their height in pixels."""
    image = Image.new("L", (width, height), PAPER)
    font, draw = ImageFont.load_default(letters), ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((0, 2 + number * (letters + 4)), line, INK, font)
    return np.asarray(image)


def with_dots(png: bytes, per_inch: int) -> bytes:
    """A PNG file that says how large it is on paper (its field pHYs), right after its header."""
    chunk = b"pHYs" + struct.pack(">IIB", *[round(per_inch / 0.0254)] * 2, 1)
    return png[:HEADER_ENDS] + struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[HEADER_ENDS:]


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


def blurred(pixels: np.ndarray, deviation: float) -> np.ndarray:
    """A uint8 image after a Gaussian blur of so many pixels."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(deviation)))


def recompressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    """A uint8 image as a JPEG file of that quality, 1 to 100, holds it."""
    return np.asarray(Image.open(io.BytesIO(jpeg_bytes(pixels, quality))))


def resized_map(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """A float map (h, w) brought to (height, width), bilinear: for drawing a coarse heat map over an image."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def _picture(content: bytes, window: int) -> GreyImage:
    """An image from the bytes of a PNG, JPEG or TIFF file. Raises ImageError with the reason in one sentence."""
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of sizes that the header check refuses, and of damaged EXIF
        image, stored = _decoded(content)
        image = _upright(image, notes)
        if image.mode.startswith(("I", "F")):
            return _deep_image(image, notes, window)
        pixels = _grey(image, stored, notes)
    return GreyImage(with_content(pixels), image.mode, tuple(notes), doubts_about(notes))


def colour_spread(content: bytes) -> float:
    """Grey levels between the strongest and the weakest of red, green and blue, mean over the image, 0 to 255.

    Of the bytes of a picture that ``read_image`` has taken. Raises ImageError where they are none.
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
        image = Image.open(io.BytesIO(content), formats=tuple(PLUGINS))
        if refused := size_refused(*image.size):
            raise ImageError(refused)
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # there the first is the photograph itself
            raise ImageError("The file holds several pictures; save the one that is meant as a file of its own.")
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
    return (values.astype(np.int64) - darkest).astype(np.uint16), darkest_to_brightest(brightest - darkest)


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
    return np.round(scaled * 65535).astype(np.uint16), darkest_to_brightest(65535)


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
    extremes = zip(image.getbands(), np.atleast_2d(image.getextrema()), strict=True)
    if max(brightest for band, (_, brightest) in extremes if band != "A") < 128:
        raise ImageError("The image has 16 bits per colour and uses the lower ones only; save it as 16-bit grey.")
    notes.append("16 bits per colour, of which the upper 8 were read")


def _flattened(image: Image.Image, notes: list[str]) -> Image.Image:
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() != (255, 255):
        notes.append(TRANSPARENT_NOTE)
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba)
