"""What can be wrong with an image, as numbers: pixels in, one number per image out. ``rules.toml`` holds the limits.

Measures of ``squares`` take uint8 (n, side, side), whole images squashed to squares, and give float64 (n,). Measures of
an ``image`` take uint8 (height, width) as the file holds it, for what squashing would hide. What cannot be measured is
nan.
"""

from functools import lru_cache

import numpy as np

from covid_core.images import lettering

TAILS = (2, 98)  # percentiles: a marker or a black corner is no contrast
TILES = 8  # a side; letters and edges of the field are sharp in a few of them only, and the median leaves them out
SMALL_TILES = 16  # a side
NEARLY_BLACK, NEARLY_WHITE = 6, 250  # margins and saturated places are one grey in any image
BLANK_TILE = 1.0  # grey levels, standard deviation: a tile below it, such as a black margin, has nothing to be sharp
FLAT = 6  # grey levels between the 10th and 90th percentile of a line: JPEG coding lets black vary by 2 or 3
BAND_TAILS = (10, 90)  # percentiles: letters in a band leave it a band
DEEPEST_BAND = 0.4  # of the side; beyond it a picture is blank
CROP = 512  # pixels a side of what is looked at of a large image, a multiple of BLOCK
BLOCK = 8  # pixels that JPEG codes together
BANDS = 32  # of frequencies up to the finest that pixels can show
ROUNDING = 1 / 12  # variance that rounding to whole grey levels adds at every frequency
DETAIL = 6 * ROUNDING  # power above which a frequency shows more than rounding


def contrast(squares: np.ndarray) -> np.ndarray:
    """Grey levels between the 2nd and 98th percentile, 0 to 255; a blank image has 0."""
    low, high = np.percentile(squares.reshape(len(squares), -1), TAILS, axis=1)
    return high - low


def brightness(squares: np.ndarray) -> np.ndarray:
    """Mean grey level, 0 (black) to 255."""
    return squares.mean(axis=(1, 2), dtype=np.float64)


def sharpness(squares: np.ndarray) -> np.ndarray:
    """The share of local contrast that blurring by one pixel takes away, 0 (blurred) to about 1 (noise).

    Standard deviation of the image less its 3 x 3 binomial blur, by that of the image, in each of 8 x 8 tiles; their
    median. An image without contrast in any tile is nan. Source of the idea, high-pass energy as a measure of focus:
    Pertuz, Puig and Garcia, Pattern Recognition 46 (2013) 1415-1432.
    """
    images = squares.astype(np.float32)
    down = images[:, :-2] + 2 * images[:, 1:-1] + images[:, 2:]
    blurred = (down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]) / 16
    inner = images[:, 1:-1, 1:-1]
    fine, whole = _tile_deviations(inner - blurred), _tile_deviations(inner)
    shares = np.divide(fine, whole, out=np.full_like(fine, np.nan), where=whole > BLANK_TILE)
    blank = np.isnan(shares).all(axis=1)
    shares[blank] = 0
    return np.where(blank, np.nan, np.nanmedian(shares, axis=1))


def _tile_deviations(images: np.ndarray) -> np.ndarray:
    side = images.shape[1] // TILES
    tiles = images[:, : side * TILES, : side * TILES].reshape(len(images), TILES, side, TILES, side)
    return tiles.std(axis=(2, 4)).reshape(len(images), -1)


def band(squares: np.ndarray) -> np.ndarray:
    """Depth of the deepest band of one grey along any of the four sides, as a share of the side, 0 to 0.4.

    A line belongs to the band while its own greys differ by no more than FLAT and it is no brighter or darker than the
    outermost line by more.
    """
    across = squares.transpose(0, 2, 1)
    return np.max([_depth(turned) for turned in (squares, squares[:, ::-1], across, across[:, ::-1])], axis=0)


def _depth(squares: np.ndarray) -> np.ndarray:
    """Of the band at the top: the share of lines before the first that is not part of it."""
    side = squares.shape[1]
    lines = np.sort(squares[:, : int(DEEPEST_BAND * side)], axis=2)
    low, high = (lines[:, :, int(side * tail / 100)].astype(np.int16) for tail in BAND_TAILS)
    middle = lines[:, :, side // 2].astype(np.int16)
    part = (high - low <= FLAT) & (np.abs(middle - middle[:, :1]) <= FLAT)
    return np.where(part.all(axis=1), part.shape[1], part.argmin(axis=1)) / side


def linearity(squares: np.ndarray) -> np.ndarray:
    """How much greys behave as exposure reaches a detector: detail grows with brightness, and the middle of the image
    is dark among its greys. Above 0.4 raw, below 0 processed for display.

    The correlation of mean and log standard deviation over small tiles without the margin, less where the median of the
    middle lies between the 2nd and 98th percentile of the image (0 to 1). A blank image is nan.
    """
    number, side = len(squares), squares.shape[1]
    tiles = SMALL_TILES - SMALL_TILES // 4  # an eighth off every side
    edge, middle = side * (SMALL_TILES // 8) // SMALL_TILES, side // 5
    inner = squares[:, edge : side - edge, edge : side - edge].astype(np.float32)
    parts = inner.reshape(number, tiles, side // SMALL_TILES, tiles, side // SMALL_TILES)
    mean, fine = parts.mean(axis=(2, 4)).reshape(number, -1), np.log(parts.std(axis=(2, 4)).reshape(number, -1) + 0.5)
    mean, fine = (values - values.mean(axis=1, keepdims=True) for values in (mean, fine))
    low, high = np.percentile(squares.reshape(number, -1), TAILS, axis=1)
    median = np.median(squares[:, middle : side - middle, middle : side - middle], axis=(1, 2))
    spread = mean.std(axis=1) * fine.std(axis=1)
    is_blank = (spread < 1e-3) | (high <= low)
    place = np.clip((median - low) / np.where(is_blank, 1, high - low), 0, 1)
    return np.where(is_blank, np.nan, (mean * fine).mean(axis=1) / np.where(is_blank, 1, spread) - place)


def flat(image: np.ndarray) -> float:
    """The largest share of the image that is exactly one grey, neighbours above and to the left included, other than
    black and white: windows of a screen are, X-rays never."""
    here = image[1:, 1:]
    same = here[(here == image[:-1, 1:]) & (here == image[1:, :-1])]
    return float(np.bincount(same, minlength=256)[NEARLY_BLACK:NEARLY_WHITE].max() / here.size)


def letters(image: np.ndarray) -> float:
    """Pixels of what looks like burned-in letters or a marker (``images.lettering``), in thousandths of the image."""
    letters = lettering.lettered(image)
    return 1000 * np.count_nonzero(letters) / letters.size


def blockiness(image: np.ndarray) -> float:
    """How much more grey jumps at the edges of 8 x 8 blocks than inside them: 1 is no blocks, JPEG at quality 60 about
    2; nan for an image of fewer than 64 pixels a side, or without any change.

    Jumps are second differences, so that a steady rise is none; each of the eight places that a line of blocks can have
    is told by the median of its lines, so that a single edge in the image does not count. Both directions must show
    them. Source of the idea: Wang, Bovik and Evans, ICIP 2000, "Blind measurement of blocking artifacts".
    """
    crop = centre(image).astype(np.int16)
    return min(_jumps(crop), _jumps(crop.T)) if min(crop.shape) >= 8 * BLOCK else np.nan


def _jumps(crop: np.ndarray) -> float:
    step = np.diff(crop, axis=1)
    jump = np.abs(2 * step[:, 1:-1] - step[:, :-2] - step[:, 2:]).mean(axis=0)
    places = np.median(jump[: len(jump) // BLOCK * BLOCK].reshape(-1, BLOCK), axis=0)
    usual = np.median(places)
    return float(places.max() / usual) if usual > 0 else np.nan


def detail(image: np.ndarray) -> float:
    """The finest detail that an image shows, as a share of the finest that its pixels could: 1 for an image that uses
    them all, 0.5 where every other pixel would do; nan for an image of one grey.

    The highest of 32 bands of frequencies whose power is above what rounding to whole greys leaves (ROUNDING).
    """
    from scipy import fft  # in single precision, which numpy's takes twice the time to do without

    crop = centre(image).astype(np.float32)
    if crop.min() == crop.max():
        return np.nan
    window, bands, members = _spectrum_of(crop.shape)
    spectrum = fft.rfft2((crop - crop.mean()) * window)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    mean = np.bincount(bands, power.ravel(), BANDS) / members
    shown = np.flatnonzero(mean > DETAIL)
    return float(shown.max() + 1) / BANDS if len(shown) else 0.0


@lru_cache(maxsize=8)
def _spectrum_of(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For images of that shape: a Hann window under which noise keeps its power, the band of each frequency, and how
    many frequencies each band has. A frequency is as fine as the finer of its two directions."""
    window = np.hanning(shape[0])[:, None] * np.hanning(shape[1])[None, :]
    down, right = np.abs(np.fft.fftfreq(shape[0])), np.fft.rfftfreq(shape[1])
    bands = np.minimum((np.maximum(down[:, None], right[None, :]) * 2 * BANDS).astype(int), BANDS - 1).ravel()
    members = np.maximum(np.bincount(bands, minlength=BANDS), 1)
    return (window / np.sqrt(np.square(window).sum())).astype(np.float32), bands, members


def centre(image: np.ndarray) -> np.ndarray:
    """At most CROP x CROP pixels of the middle, beginning where a block of a JPEG file begins."""
    top, left = (max(0, (length - CROP) // 2) // BLOCK * BLOCK for length in image.shape)
    return image[top : top + CROP, left : left + CROP]
