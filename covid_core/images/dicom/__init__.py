"""DICOM files to grey pixels. Nothing else in the package knows pydicom.

Stored values go through the modality LUT or rescale, then through a window or VOI LUT, then MONOCHROME1 is turned
round; every step is checked. An image has at most 65,536 levels, so steps are computed once per level, not per pixel.

Only the tags in ``header.KEYWORDS`` are read. Their values never stand in a text that leaves this package, except
numbers: what is said comes from ``tags.toml``, so nothing personal can be in it, whatever field a hospital
wrote it into. Of an image for a data set ``facts`` reads more, and lets the name of the device out.
"""

import warnings
from dataclasses import replace

from pydicom.pixels import get_decoder
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from covid_core.images.dicom.facts import facts_of as facts_of
from covid_core.images.dicom.greys import colours, grey_image
from covid_core.images.dicom.header import (
    GREYS,
    checked,
    decoded,
    parsed,
    reason_of_view,
    reasons_to_doubt,
    reasons_to_refuse,
    spacing,
)
from covid_core.images.image import GreyImage, doubts_about, with_content


def read(content: bytes, window: int = 0) -> GreyImage:
    """An image from the bytes of a DICOM file. Raises ImageError with the reason in one sentence.

    ``window`` is the place of a stored VOI LUT or window, in the order in which the file has them, LUTs first; the last
    place is the full range, which is also used where none is stored.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of what it finds in tags
        header = parsed(content)
        photometric = checked(header)
        pixels = decoded(header)
        notes: list[str] = []
        unfit = tuple(filter(None, (*reasons_to_refuse(header), reason_of_view(header))))
        doubts = unfit + tuple(reasons_to_doubt(header))
        if photometric not in GREYS:
            grey = colours(header, photometric, pixels, notes)
            image = GreyImage(with_content(grey), photometric, tuple(notes), (*doubts, *doubts_about(notes)))
        else:
            image = grey_image(header, photometric, pixels, window, notes, doubts)
        return replace(image, not_chest=unfit, spacing=spacing(header))


def load_decoders() -> None:
    """Import what decompression needs, so that the first image does not wait for it."""
    for syntax in (ExplicitVRLittleEndian, JPEG2000Lossless):
        _ = get_decoder(syntax).is_available
