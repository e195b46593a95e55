"""A folder served to a browser, and images that a browser could read in another way than the app."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import services
from PIL import Image


@contextlib.contextmanager
def served(folder: Path, log: Path) -> Iterator[str]:
    """The address of a folder, as its README has people serve it."""
    port = services.free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port), "--directory", str(folder)]
    with services.running(command, port, log):
        yield f"http://127.0.0.1:{port}/"


def image_files(folder: Path) -> list[Path]:
    """Wide, tall, small and coloured ones, a JPEG file, and one that is turned by its EXIF orientation."""
    rng = np.random.default_rng(0)
    greys = {"wide": (90, 130), "tall": (200, 110), "small": (34, 40), "square": (64, 64)}
    made = {f"{name}.png": Image.fromarray(rng.integers(0, 256, shape, np.uint8)) for name, shape in greys.items()}
    made["colour.png"] = Image.fromarray(rng.integers(0, 256, (100, 100, 3), np.uint8))
    smooth = Image.fromarray(np.add.outer(np.arange(100), np.arange(120)).astype(np.uint8))
    made["smooth.jpg"] = made["turned.jpg"] = smooth
    turned = Image.Exif()
    turned[0x0112] = 6
    paths = []
    for name, image in made.items():
        image.save(folder / name, **({"exif": turned} if name.startswith("turned") else {}))
        paths.append(folder / name)
    return paths


def unreadable_files(folder: Path) -> list[Path]:
    """What the page may not predict: deep, transparent, in printing colours, without content, or of no fit size."""
    colours = np.add.outer(np.arange(40), np.arange(4 * 40)).astype(np.uint8).reshape(40, 40, 4)
    made = {
        "deep.png": Image.fromarray(np.full((40, 40), 30000, np.uint16)),
        "clear.png": Image.fromarray(colours, "RGBA"),
        "print.jpg": Image.fromarray(colours, "CMYK"),
        "flat.png": Image.fromarray(np.full((40, 40), 7, np.uint8)),
        "tiny.png": Image.fromarray(colours[:20, :, 0]),
        "strip.png": Image.fromarray(np.tile(colours[..., 0], (1, 9))),
    }
    for name, image in made.items():
        image.save(folder / name)
    (folder / "text.png").write_text("no image", encoding="utf-8")
    return [folder / name for name in (*made, "text.png")]
