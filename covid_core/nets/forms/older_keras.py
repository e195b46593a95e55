"""A .keras file that Keras 3.6 and later opens, whichever version wrote it.

Each version of Keras writes all arguments of its layers, and an older one refuses those that it lacks. They are left
out where they say nothing: at the value that the older version stands for. The rest of the format has not changed.
"""

import json
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

from covid_core import files
from covid_core.errors import RunError
from covid_core.runs import stored_weights

OLDEST = "3.6"
OPERATIONS = "keras.src.ops."  # functions within a model, which take no name before 3.9
NEWER = {  # arguments that Keras 3.6 lacks, and the value at which a layer does without them
    "ragged": False,  # of InputLayer, since 3.9
    "renorm": False,  # of BatchNormalization, since 3.14, with the next two
    "renorm_clipping": None,
    "renorm_momentum": 0.99,  # of no effect without renorm
    "quantization_config": None,  # of dense layers and convolutions, since 3.13
    "input_axes": None,  # of initializers, since 3.15, with the next
    "output_axes": None,
}


def rewrite(path: Path) -> None:
    """Leave out of a .keras file what only newer versions read. Raises RunError where it means something."""
    config = json.dumps(without_newer(stored_weights.config(path))).encode()
    with ZipFile(path) as source, files.published(path) as temporary, ZipFile(temporary, "w", ZIP_STORED) as target:
        for name in source.namelist():
            target.writestr(name, config if name == stored_weights.CONFIG else source.read(name))


def without_newer(value: Any) -> Any:
    """A configuration without NEWER, at any depth. Raises RunError."""
    if isinstance(value, list):
        return [without_newer(one) for one in value]
    if not isinstance(value, dict):
        return value
    for name in NEWER.keys() & value.keys():
        if value[name] != NEWER[name]:
            raise RunError(f"The network uses {name}, which Keras {OLDEST} cannot read.")
    if str(value.get("module")).startswith(OPERATIONS):  # such as the flip of a mirrored copy; its name stands outside
        value = {**value, "config": {name: one for name, one in value["config"].items() if name != "name"}}
    return {name: without_newer(one) for name, one in value.items() if name not in NEWER}
