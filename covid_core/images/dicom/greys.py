"""Stored values of a DICOM file to greys: modality LUT or rescale, window or VOI LUT, MONOCHROME1 turned round."""

import math
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut
from pydicom.uid import ExplicitVRBigEndian

from covid_core.errors import ImageError
from covid_core.images.dicom.header import CONTRADICTS_BITS, PALETTE, as_sentence
from covid_core.images.image import (
    FULL_RANGE,
    INVALID_WINDOW,
    LEVELS,
    GreyImage,
    WindowChoice,
    chosen_place,
    darkest_to_brightest,
    full_range,
    grey_of_colours,
    mapped,
    with_content,
    with_depth,
)

MOST_BITS = 16
LARGEST_VALUE = 2.0**31  # after rescaling; no X-ray image comes near it, a damaged number does
SLOPES = (1e-6, 1e6)  # of rescaling, apart from the sign
LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"
INVALID_RESCALE = "The image's rescale values are invalid, so its greys cannot be trusted; export it again."
INVALID_MODALITY_LUT = "The image's modality table is invalid, so its greys cannot be trusted; export it again."
INVALID_PALETTE = "The image's palette is invalid or unusual, so its greys cannot be trusted; export it in grey."


@dataclass(frozen=True)
class _Stored:
    """Pixels on their way to greys: integers (height, width) whose whole range is ``bottom`` to ``top``.

    ``slope`` and ``intercept`` make the values of the modality of them, in which windows are given. ``is_counted`` says
    that the range begins at 0, so that the bit depth in use can be told from the brightest pixel.
    """

    values: np.ndarray
    bottom: int
    top: int
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def is_counted(self) -> bool:
        return self.bottom == 0 and self.top < LEVELS

    def levels(self) -> np.ndarray:
        """Every integer from the darkest to the brightest stored value."""
        return np.arange(int(self.values.min()), int(self.values.max()) + 1)

    def through(self, table: np.ndarray, bits: int) -> "_Stored":
        """The same picture with each of ``levels`` replaced by its entry in ``table``, of ``bits`` bits."""
        return _Stored(mapped(table, self.values, int(self.values.min())), 0, 2**bits - 1)


@dataclass(frozen=True)
class _Window:
    """A stored window in the modality's values; of a VOI LUT ``lut`` is its place among them, else None."""

    name: str
    centre: float = 0.0
    width: float = 0.0
    function: str = LINEAR
    lut: int | None = None

    @property
    def is_curve(self) -> bool:
        return self.lut is not None or self.function == SIGMOID


def grey_image(
    header: Dataset, photometric: str, pixels: np.ndarray, window: int, notes: list[str], doubts: tuple[str, ...]
) -> GreyImage:
    """An image from stored grey values, uint or int (height, width), in one of the windows that the file offers.

    ``window`` as ``dicom.read`` has it. What was done stands in ``notes``, to which this adds. Raises ImageError.
    """
    with_content(pixels)
    if int(pixels.max()) - int(pixels.min()) >= LEVELS:
        raise ImageError("The image has more than 16 bits per pixel.")
    is_padding = _padding(header, pixels)
    if is_padding is not None:
        notes.append("padding around the field was made black")
        pixels = np.where(is_padding, pixels[~is_padding].min(), pixels)
    stored = _modality(header, pixels)
    offered = _offered(header, window, notes)
    place = chosen_place(window, len(offered) + 1)
    chosen = offered[place] if place < len(offered) else None
    if chosen is not None and chosen.is_curve:
        stored = _curved(header, stored, chosen)
    with_content(stored.values)
    # MONOCHROME1 with INVERSE is the pair of PS3.3 C.8.11.3 and turned once; MONOCHROME2 with INVERSE is turned as said
    is_inverse = str(header.get("PresentationLUTShape") or "").strip().upper() == "INVERSE"
    is_turned = (stored.slope < 0) != (photometric == "MONOCHROME1" or is_inverse)
    if photometric == "MONOCHROME1":
        notes.append("stored as a negative (MONOCHROME1), so that dark and bright were exchanged")
    elif is_inverse:
        notes.append("said to be inverted (Presentation LUT Shape INVERSE), so that dark and bright were exchanged")
    deep, shift = _levelled(stored, is_turned)
    if is_padding is not None:
        deep[is_padding] = 0
    choices = (
        *(_choice(one, chosen, stored, is_turned, shift) for one in offered),
        _whole_range(chosen, stored, deep),
    )
    image = with_depth(deep, photometric, choices, place, warnings=doubts)
    notes.append(f"shown in its {choices[image.chosen].name}" if chosen else f"shown over its {choices[-1].name}")
    if len(choices) == 1 and stored.top < 256 and stored.is_counted:
        return GreyImage(image.pixels, photometric, tuple(notes[:-1]), doubts)  # 8 bits, shown as they are
    return GreyImage(image.pixels, photometric, tuple(notes), doubts, deep, image.window, choices, image.chosen)


def _padding(header: Dataset, pixels: np.ndarray) -> np.ndarray | None:
    """Which pixels are padding (PS3.3 C.7.5.1.1.2); None where none is, or all are."""
    value, limit = (_number(header, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if value is None:
        return None
    low, high = sorted((value, value if limit is None else limit))
    is_padding: np.ndarray = (pixels >= low) & (pixels <= high)
    return is_padding if is_padding.any() and not is_padding.all() else None


def _modality(header: Dataset, pixels: np.ndarray) -> _Stored:
    """The stored values with what makes the modality's values of them: a table, which is applied, or slope and
    intercept, which windows are brought to instead."""
    bits = int(header.BitsStored)
    is_signed = bool(header.get("PixelRepresentation"))
    bottom, top = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    if pixels.min() < bottom or pixels.max() > top:
        raise ImageError(CONTRADICTS_BITS)
    stored = _Stored(pixels, bottom, top)
    if header.get("ModalityLUTSequence"):
        with as_sentence(INVALID_MODALITY_LUT):
            return stored.through(*_entries(header, header.ModalityLUTSequence[0], stored.levels()))
    slope, intercept = (_number(header, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope is None and intercept is None:
        return stored
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if not SLOPES[0] <= abs(slope) <= SLOPES[1]:
        raise ImageError(INVALID_RESCALE)
    if not max(abs(slope * value + intercept) for value in (bottom, top)) < LARGEST_VALUE:
        raise ImageError(INVALID_RESCALE)
    return _Stored(pixels, bottom, top, slope, intercept)


def _number(header: Dataset, keyword: str) -> float | None:
    """A single finite number; None where the file has none."""
    with as_sentence(INVALID_RESCALE):
        value = header.get(keyword)
        if value in (None, ""):
            return None
        number = float(value)
    if isinstance(value, MultiValue) or not math.isfinite(number):
        raise ImageError(INVALID_RESCALE)
    return number


def _entries(header: Dataset, item: Dataset, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Entries of a look-up table for ``values``, as uint16, and their number of bits (PS3.3 C.11.1.1, C.11.2.1.1).

    Values outside the table get its first or last entry. pydicom's own functions are not used: they bring the places to
    the entries' type first, so that from a table of 8 bits the 300th value gets the 44th entry.
    """
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries or LEVELS
    if first >= LEVELS // 2 and values.min() < 0:
        first -= LEVELS  # read as unsigned, though the values are signed
    data = item.LUTData
    if isinstance(data, bytes):
        order = ">" if header.transfer_syntax == ExplicitVRBigEndian else "<"
        data = np.frombuffer(data, np.uint8 if len(data) < 2 * entries else f"{order}u2")[:entries]
    table = np.asarray(data, np.int64)
    if len(table) != entries or not 1 <= bits <= MOST_BITS or table.min() < 0 or table.max() >= 2**bits:
        raise ImageError("The image's look-up table is invalid, so its greys cannot be trusted; export it again.")
    used = int(full_range(int(table.max()), bits).width).bit_length()  # many say 16 bits of tables that hold 12
    return table[np.clip(values - first, 0, entries - 1)].astype(np.uint16), used


def _offered(header: Dataset, window: int, notes: list[str]) -> list[_Window]:
    """The stored VOI LUTs and windows. Raises ImageError if they are invalid and one of them is asked for."""
    try:
        return _curves(header) + _windows(header)
    except ImageError:
        if window != FULL_RANGE:
            raise
        notes.append("the stored window is invalid and was left out")
        return []


def _curves(header: Dataset) -> list[_Window]:
    with as_sentence(INVALID_WINDOW):
        items = header.get("VOILUTSequence") or []
        return [_Window(f"stored curve {place + 1}", lut=place) for place in range(len(items))]


def _windows(header: Dataset) -> list[_Window]:
    centres, widths = (_numbers(header, name) for name in ("WindowCenter", "WindowWidth"))
    with as_sentence(INVALID_WINDOW):
        function = str(header.get("VOILUTFunction") or LINEAR).upper()
    if len(centres) != len(widths) or function not in (LINEAR, LINEAR_EXACT, SIGMOID):
        raise ImageError(INVALID_WINDOW)
    for centre, width in zip(centres, widths, strict=True):
        is_wide = width >= 1 if function == LINEAR else width > 0
        if not is_wide or not abs(centre) < LARGEST_VALUE or not width < LARGEST_VALUE:
            raise ImageError(INVALID_WINDOW)
    kind = "sigmoid window" if function == SIGMOID else "window"
    return [
        _Window(f"stored {kind}, centre {centre:g}, width {width:g}", centre, width, function)
        for centre, width in zip(centres, widths, strict=True)
    ]


def _numbers(header: Dataset, keyword: str) -> list[float]:
    with as_sentence(INVALID_WINDOW):
        value = header.get(keyword)
        if value in (None, ""):
            return []
        return [float(one) for one in (value if isinstance(value, MultiValue) else [value])]


def _curved(header: Dataset, stored: _Stored, chosen: _Window) -> _Stored:
    """The picture after a curve, which is not undone by any later window."""
    values = stored.slope * stored.levels() + stored.intercept
    with as_sentence(INVALID_WINDOW):
        if chosen.lut is None:
            curve = 65535 / (1 + np.exp(np.clip(-4 * (values - chosen.centre) / chosen.width, -700, 700)))
            return stored.through(np.round(curve).astype(np.uint16), MOST_BITS)
        return stored.through(*_entries(header, header.VOILUTSequence[chosen.lut], np.round(values).astype(np.int64)))


def _levelled(stored: _Stored, is_turned: bool) -> tuple[np.ndarray, int]:
    """uint16 greys, bright is high, and the shift: grey = shift + value, or shift - value where they are turned.

    Values that count from 0 keep their 0, so that the bit depth in use stays visible; others begin at the darkest.
    """
    darkest, brightest = int(stored.values.min()), int(stored.values.max())
    top, begun = (stored.top, brightest) if is_turned else (0, -darkest)
    shift = top if stored.is_counted else begun
    greys = np.empty(stored.values.shape, np.uint16)
    if is_turned:
        np.subtract(shift, stored.values, out=greys, dtype=np.int64, casting="unsafe")
    else:
        np.add(stored.values, shift, out=greys, dtype=np.int64, casting="unsafe")
    return greys, shift


def _whole_range(chosen: _Window | None, stored: _Stored, deep: np.ndarray) -> WindowChoice:
    """What is shown where no stored window is. After a curve it needs another reading, so that it is not a number."""
    if chosen is not None and chosen.is_curve:
        return WindowChoice("full range", math.nan, math.nan)
    brightest = int(deep.max())
    if stored.is_counted:
        return full_range(brightest, int(stored.top).bit_length())
    return darkest_to_brightest(brightest)


def _choice(one: _Window, chosen: _Window | None, stored: _Stored, is_turned: bool, shift: int) -> WindowChoice:
    """A stored window in the greys of ``Image.deep``: the chosen curve as all that it gives, which is in them already;
    not a number where only another reading can show it."""
    if one.is_curve and one is chosen:
        return WindowChoice(one.name, stored.top / 2, float(stored.top))
    if one.is_curve or (chosen is not None and chosen.is_curve):
        return WindowChoice(one.name, math.nan, math.nan)
    # PS3.3 C.11.2.1.2: LINEAR runs from centre - 0.5 - (width - 1) / 2 to centre - 0.5 + (width - 1) / 2
    centre, width = (one.centre - 0.5, one.width - 1) if one.function == LINEAR else (one.centre, one.width)
    value = (centre - stored.intercept) / stored.slope
    return WindowChoice(one.name, shift - value if is_turned else shift + value, width / abs(stored.slope))


def colours(header: Dataset, photometric: str, pixels: np.ndarray, notes: list[str]) -> np.ndarray:
    """Grey of a picture in colours or with a palette."""
    if photometric == PALETTE:
        with as_sentence(INVALID_PALETTE):
            pixels = _through_palette(header, pixels)
    if pixels.dtype != np.uint8:
        raise ImageError("The image has more than 8 bits per colour; export it in grey.")
    return grey_of_colours(pixels, notes)


def _through_palette(header: Dataset, places: np.ndarray) -> np.ndarray:
    """Colours as uint8. Palettes whose entries pydicom would mix up (see ``_entries``) are refused."""
    if header.transfer_syntax == ExplicitVRBigEndian:
        raise ImageError(INVALID_PALETTE)
    colours = apply_color_lut(places, header)[..., :3]
    if int(places.max()) > np.iinfo(colours.dtype).max:
        raise ImageError(INVALID_PALETTE)
    if colours.dtype == np.uint8 or colours.max() < 256:
        return colours.astype(np.uint8)
    return mapped(np.round(np.arange(LEVELS) * (255 / 65535)).astype(np.uint8), colours)
