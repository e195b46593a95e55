"""Keras to files: models published whole, and trunks in LiteRT form."""

import warnings
from pathlib import Path

import keras

from covid_core import files


def save_model(model: keras.Model, path: Path) -> None:
    """Publish a model as one .keras file. Keras itself writes in place and would leave half a file after a crash."""
    with files.published(path) as temporary:
        model.save(temporary)


def export_trunk(trunk: keras.Model, path: Path) -> None:
    """Publish film -> maps as a LiteRT file."""
    with files.published(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter warns of its own deprecations
        trunk.export(temporary, format="litert", verbose=False)


def load_model(path: Path) -> keras.Model:
    """A model that this app saved: no code is run from the file, nothing is compiled."""
    return keras.models.load_model(path, compile=False, safe_mode=True)
