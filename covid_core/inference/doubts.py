"""What speaks against any answer for an image, by its size and its margin: each reason is one sentence."""

import numpy as np

from covid_core.formatting import count, share

LEAST = 0.5  # of the network's side: a smaller image is enlarged to twice its size or more
MOST_STRETCHED = 2.0  # longer over shorter side; chest images stay below it
FLAT = 8  # grey levels between the pixels of a line without content
MOST_MARGIN = 0.2  # of the area; 0.8 % of 1,721 real images have as much


def of(pixels: np.ndarray, size: int) -> tuple[str, ...]:
    """The reasons for one image, uint8 (height, width), before a network that is shown ``size`` pixels a side."""
    height, width = pixels.shape
    sides, margin = f"{count(width)} x {count(height)}", flat_margin(pixels)
    reasons = {
        f"The image is much smaller than what the network is shown: {sides} against {size} x {size} pixels. "
        "Upload it in its full size.": min(height, width) < LEAST * size,
        f"The image has {sides} pixels. Squashed to a square, its lungs lose their shape.": max(height, width)
        > MOST_STRETCHED * min(height, width),
        f"A flat margin fills {share(margin, 0)} of the image and may change the prediction. Crop it first.": margin
        >= MOST_MARGIN,
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


def flat_margin(pixels: np.ndarray) -> float:
    """Share of the area in rows and columns at the edges that show nothing: padding, or a frame of a screenshot."""
    top, bottom = _flat_lines(pixels), _flat_lines(pixels[::-1])
    inner = pixels[top : len(pixels) - bottom]
    if not inner.size:
        return 1.0
    columns = max(0, inner.shape[1] - _flat_lines(inner.T) - _flat_lines(inner.T[::-1]))
    return 1 - len(inner) * columns / pixels.size


def _flat_lines(lines: np.ndarray) -> int:
    """How many of the first lines show nothing."""
    has_content = np.ptp(lines, axis=1) > FLAT
    return int(has_content.argmax()) if has_content.any() else len(lines)
