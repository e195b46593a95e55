"""Films that show the same picture: copies, and copies that were resized or saved anew; and the groups that they form.

Chest films look alike, so two steps decide. Squares of SIDE pixels that correlate above ALIKE are candidates; they are
the same picture when their detail agrees as well: greys at FINE pixels, less what is left of them after blurring.

Groups join whatever is the same picture, has equal bytes, or is of one patient: such films must not be trained and
tested on in turn.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from covid_core import cache, files
from covid_core.data.dataset import KEY_LENGTH, Dataset
from covid_core.data.importing import SUMMARY_SIZE
from covid_core.data.pixels import open_pixels
from covid_core.work import Progress, silent
from covid_core.workspace import Workspace

SIDE, FINE = 32, 64  # pixels a side; both divide SUMMARY_SIZE
ALIKE = 0.95  # finds candidates: of 9.4 million pairs of real films 0.007 % are above it
BLUR = 3.0  # pixels of FINE, standard deviation: removes the shape that all chests share
SAME_DETAIL = 0.9  # of two real databases' 5,138 films, copies have 0.91 to 1, other pairs at most 0.85
BLANK = 1e-3  # length below which a film has no picture
BLOCK = 1024  # films against as many at a time: 4 MB of correlations, and 16 MB of detail on each side
FORMAT = 1  # of the cached groups; a change of what they hold takes the next number


def with_groups(workspace: Workspace, dataset: Dataset, progress: Progress = silent) -> pd.DataFrame:
    """The data set's films with a column ``group``, equal for films that belong together.

    Its values are the image id of the group's first film. Computed once per films and patients, then kept.
    """
    name = f"{dataset.version[:KEY_LENGTH]}-groups-{FORMAT}.parquet"
    path = workspace.tables / name
    kept = _kept(path, len(dataset.films))
    if kept is None:
        pixels = open_pixels(workspace, dataset, SUMMARY_SIZE, progress)
        kept = groups(dataset.films, pairs(pixels))
        cache.make_room(workspace, kept.nbytes)
        with files.published(path) as temporary:
            pd.DataFrame({"first": kept}).to_parquet(temporary, index=False)
    return dataset.films.assign(group=dataset.films["image_id"].to_numpy()[kept])


def _kept(path: Path, films: int) -> np.ndarray | None:
    """The groups that were computed before; nothing where there are none, or where they are torn."""
    try:
        kept = files.read_table(path, ["first"])["first"].to_numpy()
    except (OSError, ValueError):
        return None
    cache.touch(path)
    return kept if len(kept) == films else None


def pairs(pixels: np.ndarray, others: np.ndarray | None = None) -> pd.DataFrame:
    """Films that show the same picture.

    Args:
        pixels: uint8 (n, size, size), ``size`` a multiple of FINE.
        others: those of other films; None compares the first among themselves, each pair once.

    Returns:
        Columns first, second (positions) and detail (correlation of what blurring removes), the most alike first.
    """
    coarse = miniatures(pixels, SIDE)
    other, other_coarse = (pixels, coarse) if others is None else (others, miniatures(others, SIDE))
    found = []
    for row in range(0, len(pixels), BLOCK):
        for column in range(row if others is None else 0, len(other), BLOCK):
            near = coarse[row : row + BLOCK] @ other_coarse[column : column + BLOCK].T >= ALIKE
            if others is None and row == column:
                near = np.triu(near, 1)
            found.append(
                _same_detail(pixels[row : row + BLOCK], other[column : column + BLOCK], near) + [row, column, 0]
            )
    columns = {"first": int, "second": int, "detail": float}
    table = pd.DataFrame(np.concatenate(found or [np.empty((0, 3))]), columns=list(columns)).astype(columns)
    return table.sort_values("detail", ascending=False, kind="stable", ignore_index=True)


def _same_detail(films: np.ndarray, others: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Of the pairs that are ``near`` (films, others), those with the same detail: both positions and the detail."""
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    if not len(rows):
        return np.empty((0, 3))
    detail = np.where(near[np.ix_(rows, columns)], details(films[rows]) @ details(others[columns]).T, 0)
    i, j = np.nonzero(detail >= SAME_DETAIL)
    return np.column_stack([rows[i], columns[j], detail[i, j]])


def miniatures(pixels: np.ndarray, side: int) -> np.ndarray:
    """Films (n, size, size) as rows of side x side greys of mean 0 and length 1, float32; a blank film is all 0."""
    rows = np.empty((len(pixels), side * side), np.float32)
    for start in range(0, len(pixels), BLOCK):
        rows[start : start + BLOCK] = _shrunk(pixels[start : start + BLOCK], side)
    return _unit(rows)


def details(pixels: np.ndarray) -> np.ndarray:
    """What blurring takes from films at FINE pixels, as rows of mean 0 and length 1, float32."""
    from scipy import ndimage  # 0.2 s to import, and most data sets have no candidate

    grey = _shrunk(pixels, FINE).reshape(-1, FINE, FINE)
    return _unit((grey - ndimage.gaussian_filter(grey, (0, BLUR, BLUR))).reshape(len(grey), -1))


def _shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """Films as rows of side x side means, float32."""
    step = pixels.shape[1] // side
    squares = np.asarray(pixels).reshape(-1, side, step, side, step)
    return squares.mean(axis=(2, 4), dtype=np.float32).reshape(len(pixels), -1)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > BLANK)


def groups(films: pd.DataFrame, alike: pd.DataFrame) -> np.ndarray:
    """Of shape (films,): position of the first film of each film's group.

    Args:
        films: columns sha256 and patient_id (empty where unknown).
        alike: columns first, second: positions of films that show the same picture.
    """
    leader = np.arange(len(films))

    def first_of(film: int) -> int:
        while leader[film] != film:
            leader[film] = leader[leader[film]]
            film = leader[film]
        return film

    def join(one: int, other: int) -> None:
        low, high = sorted((first_of(one), first_of(other)))
        leader[high] = low

    for one, other in zip(alike["first"], alike["second"], strict=True):
        join(one, other)
    for column in ("sha256", "patient_id"):
        values = films[column].to_numpy()
        first = {}
        for film, value in enumerate(values):
            if value != "":
                join(first.setdefault(value, film), film)
    return np.array([first_of(film) for film in range(len(films))], dtype=int)
