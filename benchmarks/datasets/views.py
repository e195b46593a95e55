"""Which images of a data set are no plain frontal chest images.

``python -m benchmarks.datasets.views --data FOLDER --others FOLDER [--others FOLDER ...]``

``--data`` has real frontal images, one folder per class; each ``--others`` has real images that are none, such as
lateral views or CT slices. They are mixed into the classes and audited; so are some of the frontal images once they
were mirrored, inverted, made raw (as exposure reaches a detector) or shown in a window (``planted_faults``). Every
second image of each kind is for choosing limits; the figures are those of the others. To reach: everything found, and
at most 1 % of the frontal images called so. Prints one JSON line. There is no peer.

``--to FILE`` makes the classifier of ``inference.gate.against`` instead: from images that this project draws, and from
nothing else. Frontal images are those of the built-in segmenter; lateral views, CT slices across and along the body are
drawn here. Frontal images turned or inverted count as none, mirrored ones as frontal.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from benchmarks import measuring
from benchmarks.models import built_in_segmenter

SIZE, SEED, DRAWN = 128, 19, 2000
PLANTED = 40  # of each kind that is made of frontal images; as many again in the half for choosing limits
MADE = {"mirrored": "mirrored", "inverted": "inverted", "raw": "raw", "screenshot": "screenshot"}
VIEWS = ("odd view", "not frontal")  # either says that it is no frontal image
V, U = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]


def main() -> None:
    parser = measuring.options(__doc__)
    parser.add_argument("--others", type=Path, action="append", default=[], help="real images that are not frontal")
    parser.add_argument("--to", type=Path, help="where the classifier's weights go, instead of measuring")
    given = parser.parse_args()
    measuring.show(made(given.to) if given.to else measured(given.data, given.others))


# Measuring


def measured(frontal: Path, others: list[Path]) -> dict[str, Any]:
    """What the audit says of real images, of every second one of each kind."""
    from benchmarks import planted_faults  # which draws its lateral views here
    from covid_core.audit.quality import findings
    from covid_core.data.imports import importing
    from covid_core.images.codec import png_bytes, read_image
    from covid_core.workspace import Workspace

    rng, paths = np.random.default_rng(SEED), sorted(frontal.rglob("*.png"))
    labels = [path.relative_to(frontal).parts[0] for path in paths]
    with tempfile.TemporaryDirectory() as scratch:
        folder, kinds = Path(scratch), dict[str, tuple[str, bool]]()

        def put(content: bytes, label: str, kind: str, is_tried: bool) -> None:
            name = f"{label}/{len(kinds):05d}.png"
            (folder / "images" / label).mkdir(parents=True, exist_ok=True)
            (folder / "images" / name).write_bytes(content)
            kinds[name] = kind, is_tried

        chosen = rng.permutation(len(paths))[: 2 * PLANTED * len(MADE)].reshape(len(MADE), -1)
        changed = {int(row): kind for kind, rows in zip(MADE, chosen, strict=True) for row in rows}
        for row, (path, label) in enumerate(zip(paths, labels, strict=True)):
            content, kind = path.read_bytes(), changed.get(row, "frontal")
            if row in changed:
                content = png_bytes(planted_faults.FAULTS[kind](read_image(content).pixels, rng))
            put(content, label, kind, bool(np.flatnonzero(chosen == row)[0] % 2) if row in changed else row % 2 == 1)
        for other in others:
            for number, path in enumerate(sorted(other.glob("*.png"))):
                put(path.read_bytes(), labels[number * 997 % len(labels)], other.name, number % 2 == 1)
        workspace = Workspace(folder / "workspace")
        dataset = importing.import_folder(workspace, folder / "images")
        begin = time.perf_counter()
        quality = findings.audit(workspace, dataset)
        seconds = time.perf_counter() - begin
    said = quality.findings.groupby("image_id")["finding"].agg(set)
    table = pd.DataFrame.from_dict(kinds, orient="index", columns=["kind", "is_tried"])
    table["said"] = [said.get(name, set()) for name in table.index]
    wanted = {**{kind: {finding} for kind, finding in MADE.items()}, **{other.name: {*VIEWS} for other in others}}
    halves = {"chosen_on": table[~table["is_tried"]], "reported": table[table["is_tried"]]}
    return {
        "benchmark": "views",
        **{name: shares(half, wanted) for name, half in halves.items()},
        "limits": quality.summary.set_index("finding")["limit"][[*VIEWS, *MADE.values()]].round(3).to_dict(),
        "seconds": round(seconds, 1),
        "machine": measuring.machine(),
    }


def shares(table: pd.DataFrame, wanted: dict[str, set[str]]) -> dict[str, Any]:
    """Of each kind how many there are and how many are found; of frontal images how many each finding is said of."""
    frontal = table.loc[table["kind"] == "frontal", "said"]
    found = {
        kind: [int(sum(bool(said & findings) for said in of_kind)), len(of_kind)]
        for kind, findings in wanted.items()
        for of_kind in [table.loc[table["kind"] == kind, "said"]]
    }
    named = {"+".join(findings): findings for findings in (set(VIEWS), *({name} for name in MADE.values()))}
    false = {name: round(float(np.mean([bool(s & findings) for s in frontal])), 4) for name, findings in named.items()}
    return {"found": found, "frontal": len(frontal), "false": false}


# Making


def made(path: Path) -> dict[str, Any]:
    """Fit the classifier and write it; how it does on further drawn images."""
    from sklearn.linear_model import LogisticRegression

    from covid_core import files
    from covid_core.inference import gate

    def histograms(draw: Drawing, part: int) -> np.ndarray:
        count = DRAWN if draw in (frontal, lateral) else DRAWN // 2
        measuring.tell(f"{draw.__name__}: drawing {count}")
        return gate.histograms(np.stack([draw(np.random.default_rng((SEED, part, n))) for n in range(count)]))

    def examples(part: int) -> tuple[np.ndarray, np.ndarray]:
        plain, side, *slices = (histograms(draw, part) for draw in (frontal, lateral, across, along))
        others = [side, *slices]
        for reading in gate.READINGS[1:]:
            others += [gate.changed(plain, reading)[::2], gate.changed(side, reading)[::3]]
        others.append(gate.changed(slices[0], gate.INVERTED))
        values = np.concatenate([plain, *others])
        is_frontal = np.arange(len(values)) < len(plain)
        both = np.concatenate([values, gate.mirrored(values)]).reshape(2 * len(values), -1)
        return both, np.tile(is_frontal, 2)

    values, is_frontal = examples(0)
    mean, deviation = values.mean(axis=0), values.std(axis=0) + 0.01
    fitted = LogisticRegression(C=0.003, max_iter=400, class_weight="balanced")
    fitted.fit((values - mean) / deviation, ~is_frontal)
    weights = fitted.coef_[0] / deviation
    bias = fitted.intercept_[0] - weights @ mean
    with files.published(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, weights=np.append(weights, bias).astype(np.float32))
    values, is_frontal = examples(1)
    against = values @ weights + bias
    return {
        "benchmark": "views-made",
        "images": len(values),
        "frontal_99": round(float(np.percentile(against[is_frontal], 99)), 2),
        "others_1": round(float(np.percentile(against[~is_frontal], 1)), 2),
        "right": round(float(np.mean((against < 0) == is_frontal)), 4),
    }


Drawing = Callable[[np.random.Generator], np.ndarray]


def _inside(distance: np.ndarray, width: float) -> np.ndarray:
    """1 where a distance to an edge is positive, 0 where it is negative, with a soft passage."""
    return 1 / (1 + np.exp(-np.clip(distance / width, -30, 30)))


def _oval(u: float, v: float, wide: float, tall: float, turn: float = 0.0) -> np.ndarray:
    along, across_ = np.cos(turn), np.sin(turn)
    x, y = (U - u) * along + (V - v) * across_, (V - v) * along - (U - u) * across_
    return 1 - np.hypot(x / wide, y / tall)


def _shown(grey: np.ndarray, rng: np.random.Generator, blur: tuple[float, float]) -> np.ndarray:
    """As a display shows it: blurred, noisy, windowed, with letters, sometimes equalised."""
    grey = ndimage.gaussian_filter(grey, rng.uniform(*blur)) + rng.normal(0, rng.uniform(0.003, 0.03), grey.shape)
    low, high = np.percentile(grey, (rng.uniform(0, 2), rng.uniform(97, 100)))
    grey = np.clip((grey - low) / max(high - low, 1e-3), 0, 1) ** np.exp(rng.normal(0, 0.35))
    if rng.random() < 0.4:
        grey = built_in_segmenter._letters(grey, rng)
    if rng.random() < 0.25:
        grey = built_in_segmenter._equalised(grey, int(rng.choice((1, 2, 4))))
    return np.round(255 * np.clip(grey, 0, 1)).astype(np.uint8)


def frontal(rng: np.random.Generator) -> np.ndarray:
    return built_in_segmenter.drawn(int(rng.integers(0, 1_500_000)))[0]


def lateral(rng: np.random.Generator) -> np.ndarray:
    """A chest from the side: back, front, one large lung with spine, heart and diaphragm, ribs, breastbone, arm."""
    tilt, wide, tall = rng.normal(0, 0.07), rng.uniform(0.75, 1.25), rng.uniform(0.85, 1.25)
    du, dv = U - rng.normal(0, 0.12), V - rng.normal(0, 0.1)
    u, v = (du * np.cos(tilt) + dv * np.sin(tilt)) / wide, (dv * np.cos(tilt) - du * np.sin(tilt)) / tall
    heights = [-1.6, -1, -0.5, 0, 0.5, 1, 1.6]
    back = np.interp(v, heights, np.array([-0.4, -0.5, -0.72, -0.8, -0.72, -0.62, -0.6]) + rng.normal(0, 0.06, 7))
    front = np.interp(v, heights, np.array([0.2, 0.3, 0.5, 0.68, 0.72, 0.7, 0.7]) + rng.normal(0, 0.07, 7))
    body = _inside(u - back, 0.03) * _inside(front - u, 0.03)
    behind, before = back + rng.uniform(0.08, 0.2), front - rng.uniform(0.06, 0.16)
    top, hump, low = rng.uniform(-0.95, -0.7), rng.uniform(0.25, 0.6), rng.uniform(0.35, 0.75)
    dome = low - hump * np.exp(-(((u - rng.uniform(0.05, 0.35)) / rng.uniform(0.3, 0.5)) ** 2))
    dome += 0.35 * np.clip(-u, 0, 1) * rng.uniform(0.3, 1)
    taper = np.clip((v - top) / 0.5, 0, 1) ** 0.7
    middle, half = (behind + before) / 2, (before - behind) / 2 * taper
    domes = (_inside(dome - v, 0.015) + _inside(dome + rng.normal(0, 0.05) - v, 0.015)) / 2
    lung = _inside(half - np.abs(u - middle + 0.1 * (1 - taper)), 0.03) * domes * _inside(v - top, 0.05)
    depth = ((u - middle) / np.maximum((front - back) / 2, 0.1)) ** 2
    dense = body * (1.6 + 0.7 * np.sqrt(np.clip(1 - depth, 0, 1)))
    dense -= lung * rng.uniform(0.9, 1.7) * np.clip(half / 0.5, 0, 1)
    heart = np.hypot((u - rng.uniform(0.1, 0.32)) / rng.uniform(0.25, 0.38), (v - rng.uniform(0.1, 0.35)) / 0.35)
    dense += _inside(1 - heart, 0.12) * lung * rng.uniform(0.4, 1.2)
    hilum = np.hypot(u - rng.uniform(-0.15, 0.05), v + rng.uniform(0, 0.2))
    dense += rng.uniform(0.2, 0.7) * lung * _inside(0.16 - hilum, 0.06)
    spine = _inside(0.09 - np.abs(u - back - rng.uniform(0.18, 0.3)), 0.02)
    discs = 0.2 * np.sign(np.sin(2 * np.pi * v / rng.uniform(0.12, 0.18))) * rng.uniform(0.2, 1)
    dense += body * spine * (rng.uniform(0.25, 0.6) + discs)
    for number in range(rng.integers(5, 11)):
        rib = v + 0.8 - 0.2 * number - rng.normal(0, 0.02) - rng.uniform(0.15, 0.5) * (u + 0.4) - 0.12 * u * u
        dense += body * rng.uniform(0.05, 0.2) * _inside(0.018 - np.abs(rib), 0.008)
    breastbone = _inside(0.03 - np.abs(u - front + rng.uniform(0.05, 0.1)), 0.01)
    dense += breastbone * _inside(0.4 - np.abs(v + 0.15), 0.1) * rng.uniform(0.1, 0.5)
    if rng.random() < 0.8:
        turn = rng.uniform(-0.9, 0.2)
        arm = np.abs((u - rng.uniform(-0.2, 0.3)) * np.cos(turn) - (v + 1) * np.sin(turn))
        shoulder = _inside(rng.normal(-0.45, 0.12) - v, 0.08)
        dense += rng.uniform(0.4, 1.6) * _inside(rng.uniform(0.18, 0.38) - arm, 0.06) * shoulder
    grey = 1 - np.exp(-np.clip(dense, 0, None) * rng.uniform(0.5, 1.1))
    return _shown(grey if rng.random() < 0.5 else grey[:, ::-1], rng, (0.3, 1.2))


def across(rng: np.random.Generator) -> np.ndarray:
    """A CT slice across the chest, in a lung window: skin, two lungs with vessels, heart, vertebra, ribs, table."""
    tissue = rng.uniform(0.45, 1.0)
    u, v, wide, tall = rng.normal(0, 0.04), rng.normal(0, 0.08), rng.uniform(0.8, 1.08), rng.uniform(0.55, 1.0)
    grey = np.full((SIZE, SIZE), rng.choice([0, 0, rng.uniform(0, 0.35)]))
    for _ in range(rng.integers(0, 4)):
        table = np.hypot(U / rng.uniform(1, 2), V + rng.uniform(0.3, 1.5)) - rng.uniform(1.2, 2.0)
        grey = np.maximum(grey, rng.uniform(0.3, 1) * _inside(0.012 - np.abs(table), 0.006) * (V > 0.5))
    bone = min(1.2, tissue * rng.uniform(1, 1.4))
    grey = _over(grey, _inside(_oval(u, v, wide, tall), 0.01), tissue * rng.uniform(0.75, 1))
    grey = _over(grey, _inside(_oval(u, v, wide * 0.9, tall * 0.88), 0.01), tissue)
    lung, apart = np.zeros((SIZE, SIZE)), rng.uniform(0.42, 0.5) * wide
    sides = rng.uniform(0.27, 0.4) * wide, rng.uniform(0.5, 0.75) * tall
    for side in (-1, 1):
        radii = np.array(sides) * rng.uniform(0.85, 1.1, 2)
        oval = _oval(u + side * apart, v + rng.normal(0, 0.04), *radii, side * rng.uniform(-0.1, 0.3))
        lung = np.maximum(lung, _inside(oval, 0.015))
    if rng.random() < 0.8:
        place = u + rng.uniform(0, 0.15), v + rng.uniform(-0.25, 0.05) * tall
        lung *= 1 - _inside(_oval(*place, rng.uniform(0.15, 0.4) * wide, rng.uniform(0.2, 0.45) * tall), 0.02)
    grey = _over(grey, lung, _parenchyma(tissue, rng))
    grey = _over(grey, _inside(_oval(u, v + tall * 0.62, 0.14 * wide, 0.13 * tall), 0.02), bone)
    for turn in rng.uniform(0, 2 * np.pi, rng.integers(8, 18)):
        place = u + 0.8 * wide * np.cos(turn), v + 0.82 * tall * np.sin(turn)
        grey = _over(grey, _inside(_oval(*place, 0.09, 0.025, turn + np.pi / 2), 0.05), bone)
    if rng.random() < 0.35:
        grey = np.where(np.hypot(U, V) > rng.uniform(0.98, 1.1), 0, np.maximum(grey, rng.uniform(0, 0.3)))
    return _shown(grey if rng.random() < 0.8 else grey[::-1], rng, (0.1, 0.8))


def along(rng: np.random.Generator) -> np.ndarray:
    """A CT slice along the body: sharp lungs with vessels in tissue of one grey, often close to the border."""
    lung = built_in_segmenter.drawn(int(rng.integers(2_000_000, 2_300_000)))[1].astype(float)
    lung = ndimage.gaussian_filter(lung, 0.6)
    tissue = rng.uniform(0.6, 1.0)
    mottle = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 5) * 8
    grey = tissue * (1 + rng.uniform(0, 0.15) * mottle)
    if rng.random() < 0.6:
        grey = grey * np.where(np.abs(U) < rng.uniform(0.08, 0.25), rng.uniform(0.85, 1.1), 1)
    for _ in range(rng.integers(0, 6)):
        centre = SIZE * np.array([rng.uniform(0, 1), rng.uniform(0.35, 0.65)])
        lung = np.maximum(lung, built_in_segmenter._blob(rng, centre, (0.02, 0.12)) > 0.5)
    grey = _over(grey, lung, _parenchyma(tissue, rng))
    if rng.random() < 0.6:
        side = int(SIZE * rng.uniform(0.6, 0.9))
        top, left = rng.integers(0, (SIZE - side) // 2 + 1), rng.integers(0, SIZE - side + 1)
        grey = ndimage.zoom(grey[top : top + side, left : left + side], SIZE / side, order=1)
    if rng.random() < 0.5:
        grey = np.minimum(grey * rng.uniform(1, 1.6), 1)
    return _shown(grey, rng, (0.1, 0.8))


def _over(grey: np.ndarray, share: np.ndarray, other: np.ndarray | float) -> np.ndarray:
    return grey * (1 - share) + share * other


def _parenchyma(tissue: float, rng: np.random.Generator) -> np.ndarray:
    """Lung as CT shows it: dark, with fine vessels, round ones, and patches of haze."""
    fine, coarse = (ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), width) for width in (1, 6))
    grey = rng.uniform(0, 0.45) * tissue + rng.uniform(0.05, 0.35) * np.clip(fine * 3 - 1, 0, 2)
    grey += rng.uniform(0, 0.5) * (coarse * 12 > 1.1)
    for _ in range(rng.integers(5, 30)):
        vessel = np.hypot(U - rng.uniform(-0.8, 0.8), V - rng.uniform(-0.8, 0.6))
        grey += 0.8 * tissue * _inside(rng.uniform(0.008, 0.03) - vessel, 0.006)
    return np.minimum(grey, tissue)


if __name__ == "__main__":
    main()
