"""The images of the lessons, drawn from a seed: each set so that one mistake shows, and nothing else.

An image depends on its label, its number and the seed alone, so images can be drawn in any order and in parallel.
"""

from dataclasses import replace

import numpy as np

from covid_core.synthetic import phantom
from covid_core.synthetic.phantom import PhantomImage

SIDE = 192  # pixels; drawn in two thirds of the time of the usual 256


def image(label: str, number: int, seed: int, shown: str = "", tag: str = "", clear: bool = False) -> PhantomImage:
    """An image of a lesson, the ``number``-th (from 1) of its label, which is part of its name.

    ``shown`` is the class that is drawn, that of the label by default; ``tag`` the class whose letter is burned into a
    corner, none by default. ``clear`` draws plain lesions, instead of some that are hardly visible.
    """
    from covid_core.synthetic.anatomy import PHANTOM_CLASSES, make_image  # imports scipy

    truth = shown or label
    rng = np.random.default_rng((seed, PHANTOM_CLASSES.index(label), number))
    drawn = make_image(truth, rng, SIDE, clear)
    pixels = phantom.burn_tag(drawn.pixels, tag) if tag else drawn.pixels
    plants = tuple(name for name, planted in (("corner-tag", tag), ("clear-lesions", clear)) if planted)
    return PhantomImage(f"{label}-{number}", label, truth, drawn.site, pixels, drawn.lung_mask, drawn.lesion, plants)


def saved_again(original: PhantomImage, number: int, seed: int) -> PhantomImage:
    """The image as it comes out of another archive: another gamma, and noise of coding."""
    rng = np.random.default_rng((seed, number, 1))
    grey = 255.0 * (original.pixels / 255.0) ** rng.uniform(0.9, 1.1)
    blocks = rng.normal(0, 1.0, (SIDE // 8, SIDE // 8)).repeat(8, 0).repeat(8, 1)  # JPEG codes 8 x 8 pixels
    pixels = np.clip(grey + blocks, 0, 255).astype(np.uint8)
    plants = (*original.plants, "near-duplicates")
    return replace(original, name=f"{original.label}-{number}", pixels=pixels, plants=plants)
