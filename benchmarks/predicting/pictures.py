"""Pictures that are no frontal chest images, for the benchmark of refusals: found in installed packages, or drawn here.

Nothing is kept in the repository: files are read where their packages have put them, and told by name and SHA-256.
Python packages: scikit-image, matplotlib, gradio, pydicom (its test files). Debian packages: mate-backgrounds,
gnome-backgrounds, insighttoolkit5-examples, mricron-data. Those that are not installed are named and left out.
"""

import gzip
import hashlib
import importlib.util
import io
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from covid_core.errors import ImageError
from covid_core.images.codec import read_image
from covid_core.images.image import SMALLEST_SIDE
from covid_core.synthetic.phantom import image_at

PHOTOGRAPHS, MEDICAL, DRAWINGS, DRAWN_XRAYS = "photographs and pictures", "medical pictures", "drawings", "drawn X-rays"
PYTHON_PACKAGES = {  # module: what it is, its folders
    "skimage": (PHOTOGRAPHS, ("data",)),
    "matplotlib": (PHOTOGRAPHS, ("mpl-data/images", "mpl-data/sample_data")),
    "gradio": (PHOTOGRAPHS, ("media_assets/images", "test_data")),
    "pydicom": (MEDICAL, ("data/test_files",)),
}
DEBIAN_PACKAGES = {
    "mate-backgrounds": PHOTOGRAPHS,
    "gnome-backgrounds": PHOTOGRAPHS,
    "insighttoolkit5-examples": MEDICAL,
    "mricron-data": MEDICAL,
}
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp"})
NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2"}
META_TYPES = {"MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}
SIDE = 256


@dataclass(frozen=True, eq=False)
class Picture:
    """Grey pixels, uint8 (height, width), where they come from, and the SHA-256 of the file (of the pixels, if drawn).

    Every third is ``reserved``: looked at only by who asks for the reserve, so that a rule that was changed after the
    others were seen can be measured on pictures that it has not been made for.
    """

    name: str
    package: str
    kind: str
    sha256: str
    pixels: np.ndarray

    @property
    def reserved(self) -> bool:
        return int(self.sha256[:8], 16) % 3 == 0


def found() -> tuple[list[Picture], list[str], list[str]]:
    """Pictures of all packages, each once however often it is packed; what of them could not be read or is smaller than
    an image may be; and packages that are not installed."""
    pictures, left_out, missing, seen = [], [], [], set()
    for package, kind, root, paths in _listed(missing):
        for path in paths:
            content = path.read_bytes()
            try:
                slices = _pixels(path, content)
            except Exception as error:  # test files are broken on purpose in every way, and each decoder has its errors
                left_out.append(f"{package}: {path.name}: {type(error).__name__}")
                continue
            for part, pixels in slices:
                key = hashlib.sha256(pixels.tobytes()).hexdigest()
                if min(pixels.shape) < SMALLEST_SIDE or pixels.min() == pixels.max() or key in seen:
                    continue
                seen.add(key)
                name = f"{path.relative_to(root)}{part}"
                pictures.append(Picture(name, package, kind, hashlib.sha256(content).hexdigest(), pixels))
    return pictures, left_out, missing


def _listed(missing: list[str]) -> Iterator[tuple[str, str, Path, list[Path]]]:
    for module, (kind, folders) in PYTHON_PACKAGES.items():
        spec = importlib.util.find_spec(module)
        if spec is None:
            missing.append(module)
            continue
        root = Path(spec.origin).parent
        files = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
        yield module, kind, root, sorted(files)
    for package, kind in DEBIAN_PACKAGES.items():
        asked = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=False)
        if asked.returncode:
            missing.append(package)
            continue
        yield package, kind, Path("/"), sorted(path for path in map(Path, asked.stdout.split("\n")) if path.is_file())


def _pixels(path: Path, content: bytes) -> list[tuple[str, np.ndarray]]:
    """The pictures in a file with what tells them apart; none in a file of another kind."""
    if path.name.endswith(".nii.gz"):
        return _middle_slices(_nifti(gzip.decompress(content)))
    if path.suffix == ".mha":
        return _middle_slices(_meta_image(content))
    if content[128:132] == b"DICM" or path.suffix == ".dcm":
        return [("", _dicom(content))]
    if path.suffix.lower() not in PICTURES:
        return []
    try:
        return [("", read_image(content).pixels)]
    except ImageError:  # a kind of file that the app does not read, or several pictures: the first, as PNG
        converted = io.BytesIO()
        Image.open(io.BytesIO(content)).convert("RGBA").save(converted, "PNG", compress_level=1)
        return [("", read_image(converted.getvalue()).pixels)]


def _dicom(content: bytes) -> np.ndarray:
    """The first frame, darkest to brightest, whatever its tags say of it: the gate is to know by what it sees."""
    from pydicom import dcmread

    stored = dcmread(io.BytesIO(content), force=True)
    pixels = stored.pixel_array
    if int(getattr(stored, "NumberOfFrames", 1) or 1) > 1:
        pixels = pixels[0]
    if pixels.ndim == 3:
        pixels = pixels.mean(axis=2)
    return _to_bytes(pixels)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    return np.round((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)


def _middle_slices(volume: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """A plane as it is; of a volume (slices, rows, columns) the middle in each direction, upright."""
    volume = np.squeeze(volume)
    if volume.ndim == 2:
        return [("", _to_bytes(volume))]
    return [
        (f", middle of axis {axis}", _to_bytes(np.take(volume, volume.shape[axis] // 2, axis=axis)[::-1]))
        for axis in range(3)
    ]


def _nifti(content: bytes) -> np.ndarray:
    """NIfTI-1, little-endian: dimensions at byte 40, type at 70, start of the data at 108."""
    count, *sides = struct.unpack_from("<8h", content, 40)
    kind = NIFTI_TYPES[struct.unpack_from("<h", content, 70)[0]]
    start = int(struct.unpack_from("<f", content, 108)[0])
    shape = [side for side in sides[:count] if side > 1][::-1]
    return np.frombuffer(content, f"<{kind}", int(np.prod(shape)), start).reshape(shape)


def _meta_image(content: bytes) -> np.ndarray:
    """MetaImage with its data in the same file, little-endian; of several channels the first."""
    mark = content.index(b"ElementDataFile")
    start = content.index(b"\n", mark) + 1
    facts = dict(line.split(" = ", 1) for line in content[:start].decode("ascii").splitlines() if " = " in line)
    data = content[start:]
    if facts.get("CompressedData", "False").strip() == "True":
        data = zlib.decompress(data)
    channels = int(facts.get("ElementNumberOfChannels", 1))
    shape = [int(side) for side in facts["DimSize"].split()][::-1]
    values = np.frombuffer(data, f"<{META_TYPES[facts['ElementType'].strip()]}", int(np.prod(shape)) * channels)
    return values.reshape(*shape, channels)[..., 0]


# Drawn


def drawn() -> list[Picture]:
    """Charts, pages of text, screens and drawings, and what an X-ray may show beside a chest from the front."""
    made = []
    for kind, draw, count in DRAWN:
        for number in range(count):
            pixels = draw(np.random.default_rng((number, len(made))))
            name = f"{draw.__name__.strip('_').replace('_', ' ')} {number + 1}"
            made.append(Picture(name, "drawn", kind, hashlib.sha256(pixels.tobytes()).hexdigest(), pixels))
    return made


def _line_chart(rng: np.random.Generator) -> np.ndarray:
    return _plot(rng, lambda pen, x, y: pen.line(list(zip(x, y, strict=True)), fill=30, width=2))


def _bar_chart(rng: np.random.Generator) -> np.ndarray:
    return _plot(rng, lambda pen, x, y: [pen.rectangle((a, b, a + 6, 230), fill=90) for a, b in zip(x, y, strict=True)])


def _scatter(rng: np.random.Generator) -> np.ndarray:
    return _plot(rng, lambda pen, x, y: [pen.ellipse((a, b, a + 4, b + 4), fill=60) for a, b in zip(x, y, strict=True)])


def _plot(rng: np.random.Generator, mark: Callable[..., object]) -> np.ndarray:
    picture = Image.new("L", (SIDE, SIDE), 250)
    pen = ImageDraw.Draw(picture)
    pen.line([(25, 15), (25, 230), (245, 230)], fill=0)
    x = np.arange(30, 240, 9)
    y = np.clip(120 + np.cumsum(rng.normal(0, 18, len(x))), 20, 225)
    mark(pen, x.tolist(), y.tolist())
    for tick in range(30, 240, 40):
        pen.text((tick, 236), str(tick), fill=0)
    return np.asarray(picture)


def _page_of_text(rng: np.random.Generator) -> np.ndarray:
    is_dark = bool(rng.integers(2))
    picture = Image.new("L", (3 * SIDE, 3 * SIDE), 15 if is_dark else 245)
    pen = ImageDraw.Draw(picture)
    words = ["the", "image", "was", "read", "faithfully", "and", "shows", "no", "sign", "of", "anything", "unusual"]
    for row in range(30, 730, 16):
        line = " ".join(rng.choice(words, rng.integers(6, 18)))
        pen.text((40, row), line, fill=230 if is_dark else 10)
    return np.asarray(picture)


def _window_with_a_image(rng: np.random.Generator) -> np.ndarray:
    """A screen copied with all that stands around the image: the image is not what the run would see."""
    picture = Image.new("L", (640, 400), 40)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, 640, 36), fill=90)
    pen.rectangle((0, 36, 170, 400), fill=60)
    for row in range(50, 390, 22):
        pen.text((12, row), f"series {rng.integers(1, 99)}  {rng.integers(100, 999)}", fill=220)
    image = image_at(int(rng.integers(60)), 60, seed=9)
    picture.paste(Image.fromarray(image.pixels), (170 + int(rng.integers(40, 180)), 36 + int(rng.integers(10, 90))))
    return np.asarray(picture)


def _form(rng: np.random.Generator) -> np.ndarray:
    picture = Image.new("L", (SIDE, SIDE), int(rng.integers(200, 256)))
    pen = ImageDraw.Draw(picture)
    for row in range(15, 240, int(rng.integers(20, 34))):
        pen.text((10, row), "field", fill=20)
        pen.rectangle((70, row - 2, int(rng.integers(150, 250)), row + 12), outline=80)
    return np.asarray(picture)


def _face(rng: np.random.Generator) -> np.ndarray:
    picture = Image.new("L", (SIDE, SIDE), int(rng.integers(120, 250)))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((50, 30, 206, 230), fill=int(rng.integers(150, 220)), outline=0)
    for left in (90, 150):
        pen.ellipse((left, 95, left + 22, 112), fill=30)
    pen.arc((90, 140, 168, 200), 20, 160, fill=20, width=5)
    return np.asarray(picture)


def _landscape(rng: np.random.Generator) -> np.ndarray:
    rows = np.linspace(1, 0, SIDE)[:, None] * np.ones((1, SIDE)) * 120 + 100
    for level in range(3):
        ridge = 130 + 35 * level + ndimage.gaussian_filter1d(rng.normal(0, 60, SIDE), 12)
        rows[np.arange(SIDE)[:, None] > ridge] = 110 - 35 * level
    return np.clip(rows + rng.normal(0, 4, rows.shape), 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator) -> np.ndarray:
    return _to_bytes(ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), rng.uniform(0.5, 20, 2)))


Shape = tuple[float, float, float, float, float, float]
"""Centre (row, column), half axes (rows, columns) as shares of the side, turn in radians, and how much it absorbs."""


def _xray(shapes: list[Shape], rng: np.random.Generator) -> np.ndarray:
    """Absorbing ellipses, summed and saturating as on image, with noise; each a little otherwise every time."""
    rows, columns = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    absorbed = np.zeros((SIDE, SIDE))
    for row, column, high, wide, turn, amount in shapes:
        row, column = row + rng.normal(0, 0.012), column + rng.normal(0, 0.012)
        high, wide = high * rng.uniform(0.92, 1.08), wide * rng.uniform(0.92, 1.08)
        cos, sin = np.cos(turn), np.sin(turn)
        across = ((columns - column) * cos + (rows - row) * sin) / wide
        along = ((rows - row) * cos - (columns - column) * sin) / high
        absorbed += amount / (1 + np.exp(np.clip(14 * (np.hypot(across, along) - 1), -50, 50)))
    grey = 255 * (1 - np.exp(-np.maximum(absorbed, 0)))
    return np.clip(ndimage.gaussian_filter(grey, 1) + rng.normal(0, 3, grey.shape), 0, 255).astype(np.uint8)


def _hand(rng: np.random.Generator) -> np.ndarray:
    shapes: list[Shape] = [(0.72, 0.5, 0.2, 0.19, 0, 0.4), (0.95, 0.5, 0.18, 0.12, 0, 0.5)]
    for finger, turn in enumerate((-0.35, -0.12, 0.0, 0.12)):
        column = 0.33 + 0.11 * finger
        for joint in range(4):
            shapes.append((0.72 - 0.15 * joint, column + 0.2 * turn * joint, 0.065, 0.026, turn, 0.5))
        shapes.append((0.4, column + 0.3 * turn, 0.27, 0.05, turn, 0.25))
    shapes += [
        (0.62, 0.8, 0.16, 0.05, 0.7, 0.3),
        (0.66, 0.77, 0.07, 0.028, 0.7, 0.5),
        (0.55, 0.86, 0.06, 0.025, 0.7, 0.5),
    ]
    return _xray(shapes, rng)


def _foot_from_the_side(rng: np.random.Generator) -> np.ndarray:
    bones: list[Shape] = [
        (0.3, 0.28, 0.34, 0.09, 0, 0.8),
        (0.62, 0.3, 0.09, 0.14, 0, 0.7),
        (0.75, 0.22, 0.1, 0.15, 0.3, 0.7),
    ]
    toes: list[Shape] = [(0.72 + 0.03 * k, 0.48 + 0.11 * k, 0.035, 0.07, 0.25, 0.6) for k in range(5)]
    return _xray([*bones, *toes, (0.72, 0.5, 0.13, 0.42, 0.15, 0.35), (0.3, 0.28, 0.4, 0.14, 0, 0.3)], rng)


def _knee(rng: np.random.Generator) -> np.ndarray:
    shapes: list[Shape] = [
        (0.5, 0.5, 0.8, 0.26, 0, 0.35),
        (0.15, 0.5, 0.3, 0.1, 0, 0.7),
        (0.42, 0.5, 0.09, 0.19, 0, 0.7),
    ]
    return _xray(
        [*shapes, (0.58, 0.5, 0.07, 0.19, 0, 0.7), (0.85, 0.5, 0.3, 0.09, 0, 0.7), (0.85, 0.68, 0.28, 0.035, 0, 0.5)],
        rng,
    )


def _teeth(rng: np.random.Generator) -> np.ndarray:
    shapes: list[Shape] = [(0.55, 0.5, 0.45, 0.55, 0, 0.35), (0.8, 0.5, 0.13, 0.48, 0, 0.4)]
    for tooth in range(13):
        column = 0.08 + 0.07 * tooth
        bend = 0.5 * (column - 0.5) ** 2
        shapes += [(0.4 - bend, column, 0.1, 0.026, 0, 0.8), (0.63 - bend, column, 0.1, 0.024, 0, 0.8)]
    return _xray(shapes, rng)


def _skull_from_the_side(rng: np.random.Generator) -> np.ndarray:
    shapes: list[Shape] = [
        (0.4, 0.52, 0.33, 0.4, 0, 0.6),
        (0.4, 0.52, 0.3, 0.37, 0, -0.25),
        (0.72, 0.25, 0.2, 0.16, 0.3, 0.5),
    ]
    shapes += [(0.5, 0.25, 0.07, 0.09, 0, -0.3), (0.85, 0.55, 0.2, 0.09, 0, 0.5), (0.6, 0.5, 0.05, 0.25, 0.1, 0.7)]
    return _xray(shapes, rng)


def _pelvis(rng: np.random.Generator) -> np.ndarray:
    shapes: list[Shape] = [(0.5, 0.5, 0.6, 0.55, 0, 0.5), (0.3, 0.5, 0.3, 0.07, 0, 0.6)]
    for side in (-1, 1):
        middle = 0.5 + 0.25 * side
        shapes += [(0.38, middle, 0.2, 0.14, 0.6 * side, 0.5), (0.7, 0.5 + 0.12 * side, 0.08, 0.07, 0, 0.5)]
        shapes += [(0.62, 0.5 + 0.34 * side, 0.07, 0.07, 0, 0.7), (0.85, 0.5 + 0.38 * side, 0.25, 0.055, 0, 0.8)]
    return _xray(shapes, rng)


def _lumbar_spine(rng: np.random.Generator) -> np.ndarray:
    shapes: list[Shape] = [(0.5, 0.5, 0.8, 0.42, 0, 0.6)]
    shapes += [(0.1 + 0.17 * k, 0.5, 0.065, 0.1, 0, 0.9) for k in range(6)]
    return _xray(shapes + [(0.1 + 0.17 * k, 0.5, 0.015, 0.2, 0, 0.4) for k in range(6)], rng)


def _chest_from_the_side(rng: np.random.Generator) -> np.ndarray:
    shapes: list[Shape] = [
        (0.5, 0.5, 0.65, 0.38, 0, 1.1),
        (0.42, 0.5, 0.33, 0.25, 0.1, -0.75),
        (0.5, 0.78, 0.6, 0.06, 0.08, 0.7),
    ]
    shapes += [(0.58, 0.36, 0.15, 0.13, 0.4, 0.5), (0.9, 0.45, 0.2, 0.4, -0.1, 0.6), (0.3, 0.17, 0.3, 0.02, 0.15, 0.4)]
    return _xray(shapes + [(0.15 + 0.1 * k, 0.78, 0.035, 0.05, 0, 0.3) for k in range(7)], rng)


def _ct_of_the_chest(rng: np.random.Generator) -> np.ndarray:
    shapes: list[Shape] = [
        (0.5, 0.5, 0.3, 0.44, 0, 1.0),
        (0.48, 0.28, 0.2, 0.13, 0.1, -0.9),
        (0.48, 0.72, 0.2, 0.13, -0.1, -0.9),
    ]
    shapes += [(0.71, 0.5, 0.05, 0.055, 0, 1.2), (0.45, 0.54, 0.1, 0.09, 0, 0.25), (0.24, 0.5, 0.015, 0.06, 0, 1.0)]
    return _xray(shapes, rng)


def _ct_of_the_head(rng: np.random.Generator) -> np.ndarray:
    shapes: list[Shape] = [(0.5, 0.5, 0.42, 0.34, 0, 2.0), (0.5, 0.5, 0.385, 0.305, 0, -1.4)]
    return _xray([*shapes, (0.48, 0.44, 0.09, 0.03, 0.2, -0.35), (0.48, 0.56, 0.09, 0.03, -0.2, -0.35)], rng)


def _ct_of_the_abdomen(rng: np.random.Generator) -> np.ndarray:
    shapes: list[Shape] = [
        (0.5, 0.5, 0.28, 0.42, 0, 0.7),
        (0.47, 0.3, 0.17, 0.18, 0.2, 0.25),
        (0.48, 0.72, 0.09, 0.09, 0, 0.25),
    ]
    return _xray(
        [*shapes, (0.66, 0.5, 0.05, 0.06, 0, 1.2), (0.6, 0.36, 0.06, 0.05, 0, 0.4), (0.6, 0.64, 0.06, 0.05, 0, 0.4)],
        rng,
    )


DRAWN = (
    (DRAWINGS, _line_chart, 4),
    (DRAWINGS, _bar_chart, 4),
    (DRAWINGS, _scatter, 4),
    (DRAWINGS, _page_of_text, 5),
    (DRAWINGS, _window_with_a_image, 6),
    (DRAWINGS, _form, 4),
    (DRAWINGS, _face, 4),
    (DRAWINGS, _landscape, 4),
    (DRAWINGS, _texture, 5),
    (DRAWN_XRAYS, _hand, 4),
    (DRAWN_XRAYS, _foot_from_the_side, 4),
    (DRAWN_XRAYS, _knee, 4),
    (DRAWN_XRAYS, _teeth, 4),
    (DRAWN_XRAYS, _skull_from_the_side, 4),
    (DRAWN_XRAYS, _pelvis, 4),
    (DRAWN_XRAYS, _lumbar_spine, 4),
    (DRAWN_XRAYS, _chest_from_the_side, 6),
    (DRAWN_XRAYS, _ct_of_the_chest, 6),
    (DRAWN_XRAYS, _ct_of_the_head, 4),
    (DRAWN_XRAYS, _ct_of_the_abdomen, 4),
)
