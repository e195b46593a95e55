"""Synthetic frontal chest images with lung masks, drawn from a seed: something to try the app on without a download.

An image is drawn as it is taken. The attenuation along each ray (soft tissue, less the air of the lungs, plus bone,
vessels and whatever ails the lungs) is summed, exp(-attenuation) reaches the detector with scatter and noise, and a
display curve makes bone bright and air dark. Posture, build, breath, exposure and site vary from image to image and
know nothing of the class; the class is drawn inside the lungs alone. The images are for showing and testing the
software; they teach nobody to read an X-ray.

Coordinates: `u` runs from -1 (image left, the patient's right) to 1 and `v` from -1 (top) to 1 (bottom) in the body's
own frame, with the midline at u = 0. Attenuations are line integrals without unit. Distances and soft shapes are
smooth, so they are computed on a grid of half the image's resolution and doubled; sharp profiles are then cut from
them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from covid_core.errors import InvalidChoice

PHANTOM_CLASSES = ("COVID", "Normal", "Viral Pneumonia")


# Attenuation of a body of average build, the part of it that full lungs take away, and that of each bone.
TISSUE, AIR = 3.3, 2.25
RIB, CLAVICLE, VERTEBRA, SCAPULA, HUMERUS = 0.34, 0.66, 0.75, 0.18, 0.60
RIB_SPACING, RIB_HALF_WIDTH = 0.145, 0.037
BONE_MARROW = 0.78  # part of a bone's width
SCATTER_SHARE = 0.22  # of the light at the detector

VESSELS_PER_LUNG = 9
# Per generation: strength, blur in pixels of a 256 px image, points along a vessel, and vessels that leave it.
VESSEL_GENERATIONS = ((0.36, 1.5, 64, 4), (0.08, 0.6, 36, 3), (0.036, 0.0, 20, 0))

# Share of the air that the disease replaces where it is worst: from hardly visible to plain. With these ranges a
# linear classifier on ImageNet features is right for about 90 % of 600 images, one on grey levels for 67 to 74 %.
USUAL = {"COVID": (0.25, 0.80), "Viral Pneumonia": (0.22, 0.78)}
# The same where lesions are to be plain on every image: brighter than the healthy lung by about 47 and 32 grey levels
# of 256 in the median of images, against 25 and 10 as usual.
CLEAR = {"COVID": (0.9, 1.1), "Viral Pneumonia": (1.4, 1.8)}
MOST_FILLED = 0.95  # of the air along a ray, by all that is not air together

# A lesion fades into the lung, so where it ends is a convention: where it takes a quarter of the air that it takes at
# its worst place, after a blur has filled the meshes of a net and joined the specks of a patch. At a half, the milder
# of two patches that are plain to see would not count.
LESION_EDGE = 0.25
LESION_BLUR = 4.0  # pixels of a 256 px image

Field = np.ndarray  # float32 (rows, columns)


@dataclass(frozen=True)
class Site:
    """How one synthetic hospital takes and shows its images. Sites differ a little, and not by class."""

    name: str
    darkness: float  # attenuation by which the middle of the display is moved
    contrast: float  # slope of the display curve, 1 is average
    dose: float  # photons per pixel in open air
    blur: float  # of focal spot and detector, in pixels of a 256 px image
    border_chance: float  # how often the collimator's edge shows


SITES = (
    Site("Phantom site A", 0.00, 1.00, 50_000, 0.50, 0.10),
    Site("Phantom site B", 0.08, 1.08, 35_000, 0.60, 0.20),
    Site("Phantom site C", -0.08, 0.94, 70_000, 0.40, 0.05),
    Site("Phantom site D", 0.04, 0.97, 25_000, 0.70, 0.30),
)


class Patient:
    """One body in one position, drawn at random; lengths in body units."""

    def __init__(self, rng: np.random.Generator):
        self.tilt = rng.normal(0, 0.025)  # radians
        self.shift = (rng.normal(0, 0.035), rng.normal(0, 0.04))
        self.zoom = float(np.clip(rng.normal(1.04, 0.055), 0.92, 1.14))
        self.chest = rng.normal(0.79, 0.03)  # half the width of the rib cage at its widest
        self.apex = rng.normal(-0.74, 0.03)  # v of the lungs' tips
        self.breath = float(np.clip(rng.normal(0.33, 0.075), 0.16, 0.48))  # v of the right dome; larger: a deep breath
        self.heart = rng.normal(1.0, 0.09)  # size, 1 is average
        self.build = float(np.clip(rng.normal(1.0, 0.13), 0.7, 1.4))  # thickness of soft tissue, 1 is average
        self.breast = rng.choice((0.0, 1.0)) * rng.uniform(0.15, 1.0)  # size, 0 for none
        self.turn = rng.normal(0, 0.02)  # shift of the heart against the ribs in a turned trunk
        self.aeration = float(np.clip(rng.normal(1.0, 0.07), 0.8, 1.2))  # air per volume of lung, 1 is average
        self.rib_phase = rng.random()  # 0 to 1 of the spacing
        self.rib_slope = rng.normal(0.27, 0.03)  # fall of a rib from spine to flank
        self.arms_down = bool(rng.random() < 0.6)


# Shapes


def _step(distance: Field, width: float) -> Field:
    """0 where `distance` is below -width, 1 where it is above width, an S between."""
    t = distance * (1.0 / width)
    np.clip(t, -1.0, 1.0, out=t)
    curve = t * t
    curve *= -0.25
    curve += 0.75
    curve *= t
    curve += 0.5
    return curve


def _bell(position: Field, centre: float | Field, width: float) -> Field:
    """A bell of height 1."""
    t = (position - centre) * (1.0 / width)
    return np.exp(-t * t)


def _chord(squared_ratio: Field) -> Field:
    """Thickness of a round body at this (squared) part of its radius: 1 in the middle, 0 outside."""
    left = 1.0 - squared_ratio
    np.maximum(left, 0.0, out=left)
    return np.sqrt(left, out=left)


def _ball(x: Field, y: Field, centre: tuple[float, float], radii: tuple[float, float]) -> Field:
    """Thickness (0 to 1) of an upright ellipsoid."""
    return _chord(((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2)


def _rod(x: Field, y: Field, start: tuple[float, float], end: tuple[float, float], radius: float) -> Field:
    """Thickness (0 to 1) of a rod with round ends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    return _chord(((x - start[0] - along * dx) ** 2 + (y - start[1] - along * dy) ** 2) / radius**2)


def _bone(offset: Field) -> Field:
    """Attenuation across a bone, marrow inside a denser wall; `offset` is 0 on its axis and 1 at its edge."""
    squared = offset * offset
    outer, inner = _chord(squared), _chord(squared * (1.0 / BONE_MARROW**2))
    outer *= 1.42
    inner *= BONE_MARROW
    outer -= inner
    return outer


def _double(coarse: Field, size: int) -> Field:
    """A field at twice the resolution, bilinear, cut to (size, size)."""
    rows, columns = coarse.shape
    near, far = 0.75 * coarse, 0.25 * coarse
    tall = np.empty((2 * rows, columns), np.float32)
    tall[0], tall[-1] = coarse[0], coarse[-1]
    np.add(near[:-1], far[1:], out=tall[1:-1:2])
    np.add(near[1:], far[:-1], out=tall[2::2])
    near, far = 0.75 * tall, 0.25 * tall
    fine = np.empty((2 * rows, 2 * columns), np.float32)
    fine[:, 0], fine[:, -1] = tall[:, 0], tall[:, -1]
    np.add(near[:, :-1], far[:, 1:], out=fine[:, 1:-1:2])
    np.add(near[:, 1:], far[:, :-1], out=fine[:, 2::2])
    return fine[:size, :size]


def _grain(size: int, scale: float, rng: np.random.Generator) -> Field:
    """Smooth noise (size, size), mean 0 and standard deviation 1 or a little less, with grains `scale` pixels wide."""
    noise = rng.standard_normal((size, size), dtype=np.float32)
    return ndimage.gaussian_filter(noise, scale, truncate=3.0) * np.float32(max(1.0, 2 * np.sqrt(np.pi) * scale))


# Anatomy


@lru_cache(maxsize=8)
def _half_grid(size: int) -> tuple[Field, Field]:
    """Centres of an image's cells of two by two pixels, x (1, n) and y (n, 1), from -1 to 1."""
    centres = ((np.arange(-(-size // 2)) + 0.5) * (4.0 / size) - 1.0).astype(np.float32)
    return centres[None, :], centres[:, None]


class Body:
    """A patient on the half-resolution grid of an image, with the landmarks that the organs share."""

    def __init__(self, patient: Patient, size: int) -> None:
        self.patient, self.size = patient, size
        x, y = _half_grid(size)
        x, y = (x - patient.shift[0]) / patient.zoom, (y - patient.shift[1]) / patient.zoom
        cos, sin = float(np.cos(patient.tilt)), float(np.sin(patient.tilt))
        self.u = cos * x + sin * y
        self.v = cos * y - sin * x
        self.across = np.abs(self.u)  # distance from the midline

    def on_image(self, places: np.ndarray) -> np.ndarray:
        """Column + i row, in pixels of the image, of places u + iv in the body."""
        p = self.patient
        turned = p.zoom * np.exp(1j * p.tilt) * places + complex(*p.shift)
        return (turned + (1 + 1j)) * (self.size / 2) - (0.5 + 0.5j)

    def flank(self, v: Field | float) -> Field:
        """Inner half-width of the rib cage at height `v`: a dome on steep flanks."""
        p = self.patient
        above = np.clip((0.5 - v) / (0.5 - p.apex), 0.0, 1.0)
        return 0.30 + (p.chest - 0.30) * np.sqrt(1.0 - above * above * above)

    def heart_border(self) -> Field:
        """Half-width of the shadow in the middle: heart, aortic knob, great vessels; the neck's root on top."""
        p, v = self.patient, self.v
        ventricle = np.maximum(1.0 - ((v - p.breath - 0.03) / 0.43) ** 2, 0.0)
        left = 0.125 + p.turn + 0.06 * _bell(v, -0.31, 0.075) + 0.035 * _bell(v, -0.08, 0.12)
        left += 0.30 * p.heart * ventricle * np.sqrt(ventricle)
        right = 0.125 - p.turn + 0.11 * p.heart * _bell(v, p.breath - 0.14, 0.20)
        to_tip = 1.0 - np.clip((v - p.apex) / 0.22, 0.0, 1.0)
        return 0.27 + (np.where(self.u > 0, left, right) - 0.27) * _chord(to_tip * to_tip)

    def domes(self) -> Field:
        """Height of the diaphragm; the left dome stands lower, and both fall steeply into the angles at the ribs."""
        from_top = self.across - 0.34
        fall = 0.55 * from_top**2 + 0.50 * np.maximum(from_top, 0.0) ** 2 + 1.6 * np.maximum(from_top - 0.30, 0.0) ** 2
        return self.patient.breath + np.float32(0.05) * (self.u > 0) + fall


def _trunk(body: Body) -> Field:
    """Thickness of soft tissue along each ray, 1 through an average chest: trunk, shoulders and arms."""
    p, across, v = body.patient, body.across, body.v
    neck, side = 0.20 + 0.03 * p.build, p.chest + 0.045 + 0.075 * p.build
    width = neck + (side + 0.03 * _step(v - 0.35, 0.4) - neck) * _step(v + 0.72, 0.22)
    front_to_back = 0.62 + 0.38 * _step(v + 0.35, 0.55) + 0.10 * _step(v - 0.45, 0.25)
    trunk = _chord((across / width) ** 4) * front_to_back
    shoulder = 0.55 * _rod(across, v, (0.05, -0.88), (0.98, -0.60), 0.19 + 0.06 * p.build)
    arm = 0.50 * _rod(across, v, (0.98, -0.52), (1.16, 0.9) if p.arms_down else (1.7, -0.75), 0.14 + 0.05 * p.build)
    return p.build * np.maximum(np.maximum(trunk, shoulder), arm)


def _soft_parts(body: Body, rng: np.random.Generator) -> Field:
    """Attenuation of the trunk, heart, great vessels and breasts, less the gas of windpipe and stomach."""
    p, u, v, across = body.patient, body.u, body.v, body.across
    total = (TISSUE + 0.06 * _grain(len(v), 5 * body.size / 256, rng)) * _trunk(body)
    total += 0.34 * p.heart * _ball(u, v, (0.10, p.breath - 0.02), (0.34 * p.heart, 0.34))
    total += 0.16 * _bell(across, 0.0, 0.15) * _step(v + 0.75, 0.2)
    total -= 0.45 * _chord(((u + 0.015 - p.turn) / 0.055) ** 2) * _step(-0.26 - v, 0.08)
    if p.breast:
        radius = 0.27 + 0.10 * p.breast
        total += 0.75 * p.breast * _ball(across, v, (0.44, 0.22 + 0.14 * p.breast), (radius, radius)) * _step(v, 0.3)
    if rng.random() < 0.6:
        centre = (rng.uniform(0.28, 0.42), p.breath + rng.uniform(0.16, 0.22))
        total -= 0.55 * _ball(u, v, centre, (rng.uniform(0.10, 0.19), rng.uniform(0.04, 0.09)))
    return total


def _spine(body: Body) -> Field:
    """Attenuation of the vertebrae: bodies with dense end plates, discs between them, pedicles, spinous processes."""
    beat = np.mod((body.v + 0.4 * body.patient.rib_phase) / 0.132, 1.0)  # 0 at a disc, 0.5 in the middle of a vertebra
    from_disc = np.minimum(beat, 1.0 - beat)
    column = body.across / (0.084 + 0.022 * _step(body.v - 0.1, 0.9) + 0.008 * _bell(from_disc, 0.08, 0.12))
    bone = 0.5 + 0.5 * _step(from_disc - 0.09, 0.04) + 0.30 * _bell(from_disc, 0.13, 0.04)
    pedicles = 0.4 * _bell(column, 0.55, 0.16) * _bell(beat, 0.40, 0.14)
    processes = 0.5 * _bell(column, 0.0, 0.16) * _bell(beat, 0.80, 0.16)
    return VERTEBRA * (_chord(column**4) * bone + (pedicles + processes) * (column < 1))


def _shoulder_bones(body: Body) -> Field:
    """Attenuation of the shoulder blades, half turned out of the lungs, and of the upper arms."""
    p, v, across = body.patient, body.v, body.across
    border = p.chest - 0.06 + 0.30 * (v + 0.30) ** 2
    plate = _step(across - border, 0.015) * _step(p.chest + 0.2 - across, 0.05)
    blade = SCAPULA * (plate + 1.2 * _bell(across, border + 0.02, 0.02)) * _step(v + 0.66, 0.08) * _step(-v, 0.12)
    shaft = _rod(across, v, (0.99, -0.56), (1.18, 0.9) if p.arms_down else (1.7, -0.78), 0.055)
    return blade + HUMERUS * np.maximum(shaft, _rod(across, v, (0.96, -0.62), (0.99, -0.56), 0.085))


def _clavicles(body: Body, rng: np.random.Generator) -> Field:
    """Attenuation of the collar bones, at full resolution."""
    along = (body.across - 0.08) / 0.80
    height, rise = body.patient.apex + rng.uniform(0.15, 0.26), rng.uniform(0.08, 0.22)
    axis = height - rise * along - 0.03 * np.sin(2 * np.pi * along)
    half_width = 0.024 + 0.012 * (2 * along - 1) ** 2
    shown = _step(along - 0.01, 0.02) * _step(0.99 - along, 0.02)
    offset = _double((body.v - axis) / half_width, body.size)
    return CLAVICLE * _bone(offset) * _double(shown, body.size)


def _ribs(body: Body, rng: np.random.Generator) -> Field:
    """Attenuation of the ribs as tilted hoops, at full resolution.

    Each ray meets the rear half of one rib and the front half of a higher one. A hoop that meets the flank at level c
    lies at c - fall behind and at c + fall in front, with fall = slope * sqrt(1 - (across / half-width)^2); c, found by
    iteration because the half-width depends on it, tells which rib it is and how far from its axis the ray passes.
    """
    p, size = body.patient, body.size
    wander = rng.normal(0, 0.03, 24).astype(np.float32)
    girth = RIB_HALF_WIDTH / RIB_SPACING * rng.uniform(0.85, 1.12, 24).astype(np.float32)
    total = np.zeros((size, size), np.float32)
    for side, strength, breadth, lowest in ((-1, 1.0, 1.0, 0.66), (1, 0.55, 1.2, 0.34)):
        level = body.v - side * 0.5 * p.rib_slope
        for _ in range(2):
            ratio = np.minimum(body.across / (body.flank(level) + 0.015), 1.0)
            bow = _chord(ratio * ratio)
            level = body.v - side * p.rib_slope * bow
        steepness = np.minimum(p.rib_slope * ratio / np.maximum(bow, 0.12), 2.0)
        edge_on = strength / np.maximum(bow, 0.42)  # a ray along the flank runs through more of the hoop
        shown = (ratio < 1.0) * _step(level - p.apex - 0.16, 0.02) * _step(lowest - level, 0.08)
        if side > 0:
            shown *= _step(body.across - 0.36, 0.1)  # the cartilage in front does not show
        number = (level + 1.3) / RIB_SPACING + p.rib_phase
        which = np.clip(number, 0, 23).astype(np.intp)
        per_half_width = 1.0 / (breadth * girth[which] * np.sqrt(1.0 + steepness * steepness))
        place = _double(number + wander[which], size)
        place -= np.floor(place)
        place -= 0.5
        place *= _double(per_half_width, size)
        total += _double(edge_on * shown, size) * _bone(place)
    return RIB * total


def _air(body: Body) -> tuple[Field, np.ndarray]:
    """Air along each ray, 0 to about 1, and the lungs between heart, ribs and domes, bool; both at full resolution."""
    p, v, across = body.patient, body.v, body.across
    flank = body.flank(v)
    front_to_back = p.aeration * (0.55 + 0.45 * _step(v + 0.35, 0.40))
    thickness = _chord((across / flank) ** 4) * front_to_back * _step(v - p.apex, 0.02)
    inside_cage = _double(np.minimum(flank - across, v - p.apex), body.size)
    beside_heart = _double(across - body.heart_border(), body.size)
    above_dome = _double(body.domes() - v, body.size)
    edge = max(0.012, 1.6 / body.size)
    behind_heart = 0.10 + 0.90 * _step(beside_heart, 1.6 * edge)
    behind_dome = 0.06 * _step(above_dome + 0.16, 0.10) + 0.94 * _step(above_dome, edge)
    visible = (inside_cage > 0) & (beside_heart > 0) & (above_dome > 0)
    return _double(thickness, body.size) * behind_heart * behind_dome, visible


def _splat(body: Body, places: np.ndarray, weight: np.ndarray) -> Field:
    """Full-resolution sum of points at places u + iv, each shared out among its four nearest pixels."""
    size, on_image = body.size, body.on_image(places).ravel()
    column, row = on_image.real, on_image.imag
    inside = (column >= 0) & (column < size - 1) & (row >= 0) & (row < size - 1)
    column, row, weight = column[inside], row[inside], weight.ravel()[inside]
    x, y = column.astype(np.intp), row.astype(np.intp)
    right, down = weight * (column - x), row - y
    left, first = weight - right, y * size + x
    places = np.concatenate((first, first + 1, first + size, first + size + 1))
    shares = np.concatenate((left * (1 - down), right * (1 - down), left * down, right * down))
    return np.bincount(places, shares, size * size).astype(np.float32).reshape(size, size)


def _vessels(body: Body, rng: np.random.Generator) -> Field:
    """Share of the air that vessels replace: trees that leave the hila and branch twice, at full resolution.

    Places in the body are complex numbers u + iv here, so that a heading is an angle and a step a product.
    """
    side = np.repeat((-1.0, 1.0), VESSELS_PER_LUNG)
    start = side * rng.uniform(0.12, 0.22, side.size) + 1j * rng.uniform(-0.20, 0.12, side.size)
    fan = np.tile(np.linspace(-1.25, 1.45, VESSELS_PER_LUNG), 2) + rng.normal(0, 0.12, side.size)
    heading, length = np.where(side > 0, fan, np.pi - fan), rng.uniform(0.38, 0.66, side.size)
    total = np.zeros((body.size, body.size), np.float32)
    for strength, blur, points, children in VESSEL_GENERATIONS:
        bends = rng.standard_normal((heading.size, points), dtype=np.float32) * (0.45 / np.sqrt(points))
        turn = heading[:, None].astype(np.float32) + np.cumsum(bends, axis=1)
        stride = (length / points)[:, None]
        path = start[:, None] + np.cumsum(stride * np.exp(1j * turn), axis=1)
        density = stride * body.size * np.linspace(1.0, 0.35, points)  # thinner outwards; spacing does not matter
        layer = _splat(body, path, strength * density)
        total += ndimage.gaussian_filter(layer, blur * body.size / 256, truncate=2.5) if blur else layer
        fork = rng.integers(points // 5, points, (heading.size, children))
        parent = np.arange(heading.size)[:, None]
        start = path[parent, fork].ravel()
        heading = (turn[parent, fork] + rng.choice((-1, 1), fork.shape) * rng.uniform(0.3, 0.8, fork.shape)).ravel()
        length = (length[:, None] * rng.uniform(0.35, 0.6, fork.shape)).ravel()
    return total


# What the lungs hold besides air: shares of the air replaced, at full resolution


def _shadows(body: Body, rng: np.random.Generator) -> Field:
    """What healthy and ill lungs share: soft shadows of skin folds and muscle, and fine grain."""
    total = np.zeros_like(body.v)
    for _ in range(rng.integers(0, 4)):
        width, height = rng.uniform(0.1, 0.35, 2)
        shadow = _bell(body.u, rng.uniform(-0.75, 0.75), width) * _bell(body.v, rng.uniform(-0.5, 0.5), height)
        total += rng.uniform(0.0, 0.3) * shadow
    return _double(total + 0.02 * _grain(body.v.shape[0], 0.6, rng), body.size)


def _ground_glass(body: Body, strength: tuple[float, float], rng: np.random.Generator) -> Field:
    """COVID: mottled patches on both sides, at the lungs' rim and towards their bases."""
    clear = np.ones_like(body.v)
    for k in range(rng.integers(4, 10)):
        v = body.patient.breath + 0.22 - abs(rng.normal(0, 0.34))
        u = (-1) ** k * float(body.flank(v)) * rng.uniform(0.62, 0.98)
        spot = _bell(body.u, u, rng.uniform(0.07, 0.18)) * _bell(body.v, v, rng.uniform(0.08, 0.22))
        clear *= 1.0 - rng.uniform(0.5, 1.0) * spot
    mottle = 0.8 + 0.26 * _grain(clear.shape[0], 3.0 * body.size / 256, rng)
    fine = 0.18 * _grain(body.size, 1.8 * body.size / 256, rng)
    patches = _double(1.0 - clear, body.size)
    return rng.uniform(*strength) * patches * (_double(mottle, body.size) + fine)


def _interstitial(body: Body, strength: tuple[float, float], rng: np.random.Generator) -> Field:
    """Viral pneumonia: a fine net (where smooth noise crosses zero) over both lungs, densest around the hila."""
    scale = body.size / 256
    noise = rng.standard_normal((body.size, body.size), dtype=np.float32)
    band = ndimage.gaussian_filter(noise, 1.5 * scale) - ndimage.gaussian_filter(noise, 3.0 * scale)
    net = np.exp(-((band / (0.35 * band.std())) ** 2))
    hila = _double(0.35 + 0.65 * _bell(body.across, 0.28, 0.30) * _bell(body.v, 0.0, 0.45), body.size)
    return rng.uniform(*strength) * hila * (0.15 + 0.35 * net)


LESIONS = {"COVID": _ground_glass, "Viral Pneumonia": _interstitial}


# From attenuation to image


def _detect(attenuation: Field, site: Site, rng: np.random.Generator) -> Field:
    """Optical density that a detector reads: blur, scatter and photon noise."""
    size, scale = len(attenuation), len(attenuation) / 256
    light = np.exp(-ndimage.gaussian_filter(attenuation, site.blur * scale, truncate=3.0))
    haze = ndimage.gaussian_filter(light[::8, ::8], 4 * scale, mode="nearest")
    for _ in range(3):
        haze = _double(haze, size)
    light *= 1.0 - SCATTER_SHARE
    light += SCATTER_SHARE * haze
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    noise *= np.sqrt(light * (1.0 / site.dose))
    light += noise
    return -np.log(np.maximum(light, 1e-4, out=light))


def _display(density: Field, lung_density: float, site: Site, rng: np.random.Generator) -> Field:
    """Grey levels around 0 (open air) to 250 (bone), for lungs of this density; exposure and contrast vary."""
    middle = lung_density + 0.85 + site.darkness + rng.normal(0, 0.16)
    slope = 1.18 * site.contrast * np.exp(rng.normal(0, 0.12))
    open_air = 1.0 / (1.0 + np.exp(slope * (middle - 0.12)))
    grey = 1.0 / (1.0 + np.exp(slope * (middle - density)))
    grey -= open_air
    grey *= 250.0 / (1.0 - open_air)
    return grey


def _collimate(pixels: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Blacken what lies outside the collimator, in place."""
    size = len(pixels)
    top, bottom, left, right = rng.integers(0, max(2, size // 20), 4)
    outside = np.ones(pixels.shape, bool)
    outside[top : size - bottom, left : size - right] = False
    pixels[outside] = rng.integers(0, 12)
    mask[outside] = 0


@dataclass(frozen=True)
class Drawing:
    """An image as it was drawn, and what is where on it."""

    pixels: np.ndarray  # uint8 (size, size)
    lung_mask: np.ndarray  # uint8 (size, size), 0 or 255
    lesion: np.ndarray  # bool (size, size), inside the lungs' mask; nowhere on a healthy image
    site: str


def make_image(
    label: str, rng: np.random.Generator, size: int = 256, clear: bool = False, patient: type[Patient] = Patient
) -> Drawing:
    """Draw one image of a `patient`, with lesions from hardly visible to plain, or `clear` ones only.

    The lesions have a random stream of their own, so that images of two classes from equal generators show the same
    patient, position and noise.

    Raises:
        InvalidChoice: `label` is no class of the phantom (a ValueError).
    """
    if label not in PHANTOM_CLASSES:
        raise InvalidChoice(f"`label` must be one of {', '.join(PHANTOM_CLASSES)}, received: {label!r}")
    anatomy_rng, lesion_rng, image_rng = rng.spawn(3)
    body, site = Body(patient(anatomy_rng), size), SITES[image_rng.integers(len(SITES))]
    air, visible = _air(body)
    solid = _double(_soft_parts(body, anatomy_rng) + _spine(body) + _shoulder_bones(body), size)
    solid += _clavicles(body, anatomy_rng) + _ribs(body, anatomy_rng)
    filled = _shadows(body, anatomy_rng) + _vessels(body, anatomy_rng)
    air *= AIR
    healthy = float(np.mean((solid - air)[visible]))  # the exposure must not know the disease
    lesion = np.zeros((size, size), bool)
    if label in LESIONS:
        ailing = filled + LESIONS[label](body, (CLEAR if clear else USUAL)[label], lesion_rng)
        replaced = visible * air * (np.minimum(ailing, MOST_FILLED) - np.minimum(filled, MOST_FILLED))
        smooth = ndimage.gaussian_filter(replaced, LESION_BLUR * size / 256, truncate=3.0)
        lesion = smooth > LESION_EDGE * smooth.max()
        filled = ailing
    air *= 1.0 - np.minimum(filled, MOST_FILLED)
    solid -= air
    grey = _display(_detect(np.maximum(solid, 0.0), site, image_rng), healthy, site, image_rng)
    pixels, mask = np.clip(grey, 0, 255).astype(np.uint8), visible.astype(np.uint8) * np.uint8(255)
    if image_rng.random() < site.border_chance:
        _collimate(pixels, mask, image_rng)
    return Drawing(pixels, mask, lesion & (mask > 0), site.name)
