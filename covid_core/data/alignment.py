"""Pairs of films laid over each other: a copy that was cropped, turned a little, mirrored or re-exposed stays a copy.

Films are first looked at coarsely: greys at COARSE pixels, less what is broad, by the local contrast of what is left,
so that exposure drops out. Each film, as it is and cropped by CROP on every side, plain and mirrored, is asked for the
few others that it is most like. Each of these pairs is then aligned by an affine map, first at COARSE pixels, then at
FINE, and what counts is how far their detail correlates where both films are.

Alignment takes the steps of Lucas and Kanade (IJCAI 1981) with the gradient of the first film only, as in Baker and
Matthews, International Journal of Computer Vision 56 (2004) 221-255.
"""

import numpy as np
import pandas as pd

from covid_core.data.images import to_squares
from covid_core.work import Progress, part_of, silent

COARSE, FINE = 32, 64  # pixels a side; both divide the 128 of the pixel cache
CROP = 0.03  # of the side, on every side: half way to 6 %, which aligning reaches from there
NEAREST = 2  # films that each is compared with, per way of looking at it
LIKE = 0.85  # coarse correlation from which that is worth while; copies cropped by 3 % on every side have 0.86 and more
AXES = 256  # of the coarse pictures that are kept; the rest of 900 holds hardly anything
ROUNDS = {COARSE: 8, FINE: 5}
SEEN = 0.7  # share of the film that must be on both
PROMISING = 0.9  # coarse correlation once aligned
SAME = 0.945  # detail from which a pair is a copy: of 2,000 phantom films others reach 0.943, of real ones 0.92
BLOCK, TOGETHER = 512, 256  # films and pairs at a time
STEADY = 1e-3


def near(pixels: np.ndarray, others: np.ndarray | None = None, progress: Progress = silent) -> pd.DataFrame:
    """Pairs that look most alike, aligned, with how alike they are then. Most are no copies: see ``copies``.

    Args:
        pixels: uint8 (n, 128, 128).
        others: those of other films; None compares the first among themselves.
        progress: told the share done.

    Returns:
        Columns first, second (positions), detail (correlation of fine detail once aligned, -1 to 1) and mirrored; each
        pair once, the most alike first.
    """
    if others is None:
        table = _asked(pixels, pixels, True, progress)
        low, high = table[["first", "second"]].min(axis=1), table[["first", "second"]].max(axis=1)
        table = table.assign(first=low, second=high)
    else:  # either may be the cropped one
        back = _asked(others, pixels, False, part_of(progress, 0.5, 1))
        back = back.rename(columns={"first": "second", "second": "first"})
        table = pd.concat([_asked(pixels, others, False, part_of(progress, 0, 0.5)), back])
    table = table.sort_values("detail", ascending=False, kind="stable")
    return table.drop_duplicates(["first", "second"], ignore_index=True)[["first", "second", "detail", "mirrored"]]


def _asked(pixels: np.ndarray, others: np.ndarray, same: bool, progress: Progress) -> pd.DataFrame:
    """The pairs that the first films find among the others; with ``same`` no film finds itself."""
    found = []
    views, targets = _coarse_views(pixels, others)
    for number, (cropped, mirrored, view) in enumerate(views):
        for start in range(0, len(view), BLOCK):
            likeness = view[start : start + BLOCK] @ targets.T
            if same:
                rows = np.arange(len(likeness))
                likeness[rows, start + rows] = -1
            i, j = _nearest(likeness)
            found.append(_aligned_pairs(pixels, others, start + i, j, cropped, mirrored))
            done = (number + min(1, (start + BLOCK) / len(view))) / len(views)
            progress(done, f"Laying films over each other: {done:.0%}")
    return pd.concat(found, ignore_index=True)


def _coarse_views(pixels: np.ndarray, others: np.ndarray) -> tuple[list[tuple[bool, bool, np.ndarray]], np.ndarray]:
    """Rows of length 1 for each way of looking at the films (cropped, mirrored), and for the others as they are."""
    edge = round(CROP * pixels.shape[1])
    inner = to_squares([np.ascontiguousarray(film[edge:-edge, edge:-edge]) for film in pixels], pixels.shape[1])
    raw = {
        (cropped, mirrored): _flat(banded(some[:, :, ::-1] if mirrored else some, COARSE))
        for cropped, some in ((False, pixels), (True, inner))
        for mirrored in (False, True)
    }
    target = raw[False, False] if others is pixels else _flat(banded(others, COARSE))
    _, axes = np.linalg.eigh(target.T @ target)
    axes = axes[:, -AXES:]
    views = [(*how, _of_length_one(rows @ axes)) for how, rows in raw.items()]
    return views, _of_length_one(target @ axes)


def _nearest(likeness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the NEAREST largest of each row, from LIKE."""
    most = min(NEAREST, likeness.shape[1])
    columns = np.argpartition(likeness, -most, axis=1)[:, -most:]
    rows = np.repeat(np.arange(len(likeness)), most)
    good = likeness[rows, columns.ravel()] >= LIKE
    return rows[good], columns.ravel()[good]


def _aligned_pairs(
    pixels: np.ndarray, others: np.ndarray, i: np.ndarray, j: np.ndarray, cropped: bool, mirrored: bool
) -> pd.DataFrame:
    """The pairs that still look alike once they are aligned, with their detail."""
    rows = []
    for start in range(0, len(i), TOGETHER):
        one, two = i[start : start + TOGETHER], j[start : start + TOGETHER]
        films, other = pixels[one], np.asarray(others[two])
        films = films[:, :, ::-1] if mirrored else np.asarray(films)
        zoom = (1 / (1 - 2 * CROP) if cropped else 1.0) - 1
        begin = np.zeros((len(one), 6), np.float32)
        begin[:, 0] = begin[:, 4] = zoom
        moves, alike = align(banded(films, COARSE), banded(other, COARSE), begin, ROUNDS[COARSE])
        good = alike >= PROMISING
        if not good.any():
            continue
        _, detail = align(banded(films[good], FINE), banded(other[good], FINE), moves[good], ROUNDS[FINE])
        rows.append(pd.DataFrame({"first": one[good], "second": two[good], "detail": detail, "mirrored": mirrored}))
    empty = pd.DataFrame({"first": [], "second": [], "detail": [], "mirrored": []})
    return pd.concat(rows) if rows else empty.astype({"first": int, "second": int, "detail": float, "mirrored": bool})


def banded(pixels: np.ndarray, side: int) -> np.ndarray:
    """Films (n, size, size) at ``side`` pixels: what is neither broader than 3 pixels nor noise, by its local
    contrast; float32 (n, side, side)."""
    from scipy import ndimage  # 0.2 s to import

    step = pixels.shape[1] // side
    grey = np.asarray(pixels).reshape(len(pixels), side, step, side, step).mean(axis=(2, 4), dtype=np.float32)
    broad = ndimage.gaussian_filter(grey, (0, 3, 3))
    band = ndimage.gaussian_filter(grey, (0, 0.7, 0.7)) - broad
    return band / (np.sqrt(ndimage.gaussian_filter(np.square(band), (0, 3, 3))) + 2)


def align(films: np.ndarray, others: np.ndarray, begin: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Lay each of the others over its film.

    Args:
        films: float32 (n, side, side).
        others: the same.
        begin: (n, 6): where a pixel (x, y), from -1 to 1, of the film lies in the other: at x + m0 x + m1 y + m2 and
            y + m3 x + m4 y + m5.
        rounds: steps to take.

    Returns:
        The maps (n, 6), and the correlation over what both show; -1 where that is less than SEEN of the film.
    """
    count, side, _ = films.shape
    line = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = (grid.ravel() for grid in np.meshgrid(line, line))
    flat = films.reshape(count, -1)
    deviation = flat.std(axis=1, keepdims=True) + STEADY
    rise_y, rise_x = (grade.reshape(count, -1) / deviation for grade in np.gradient(films, line, line, axis=(1, 2)))
    slopes = np.stack([rise_x * x, rise_x * y, rise_x, rise_y * x, rise_y * y, rise_y], axis=1)
    inverse = np.linalg.inv(slopes @ slopes.transpose(0, 2, 1) + STEADY * np.eye(6, dtype=np.float32))
    maps, best = begin.astype(np.float32), np.full(count, -1.0, np.float32)
    kept = maps.copy()
    for _ in range(rounds + 1):
        seen, moved = _moved(others, maps, x, y)
        one, two = _standard(flat, seen), _standard(moved, seen)
        share = seen.mean(axis=1)
        alike = np.where(share >= SEEN, (one * two).mean(axis=1) / np.maximum(share, STEADY), -1)
        better = alike > best
        best[better], kept[better] = alike[better], maps[better]
        step = inverse @ (slopes @ (one - two)[:, :, None])
        maps = maps + np.clip(step[:, :, 0], -0.05, 0.05)
    return kept, best


def _standard(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Rows with mean 0 and deviation 1 over what is seen, and 0 elsewhere."""
    count = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    values = (values - (values * seen).sum(axis=1, keepdims=True) / count) * seen
    return values / (np.sqrt(np.square(values).sum(axis=1, keepdims=True) / count) + STEADY)


def _moved(films: np.ndarray, maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels each map leaves on the film, and their values, bilinear: (n, side * side) each."""
    count, side, _ = films.shape
    ones = np.ones_like(x)
    across = (x + maps[:, :3] @ np.stack([x, y, ones]) + 1) * ((side - 1) / 2)
    down = (y + maps[:, 3:] @ np.stack([x, y, ones]) + 1) * ((side - 1) / 2)
    seen = (across >= 0) & (across <= side - 1) & (down >= 0) & (down <= side - 1)
    left, top = (np.clip(np.floor(at), 0, side - 2).astype(np.int32) for at in (across, down))
    right_part, low_part = across - left, down - top
    at = top * side + left
    flat = films.reshape(count, -1)
    corners = [np.take_along_axis(flat, at + offset, axis=1) for offset in (0, 1, side, side + 1)]
    upper = corners[0] + (corners[1] - corners[0]) * right_part
    lower = corners[2] + (corners[3] - corners[2]) * right_part
    return seen.astype(np.float32), upper + (lower - upper) * low_part


def _flat(films: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1, without the outermost pixels."""
    rows = films[:, 1:-1, 1:-1].reshape(len(films), -1)
    return _of_length_one(rows - rows.mean(axis=1, keepdims=True))


def _of_length_one(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > STEADY)
