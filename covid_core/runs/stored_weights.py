"""Files of others that hold a network's weights, checked before TensorFlow, which takes 600 MB, opens them.

What they say is compared with what they hold: no code, no class of somebody's own, no link to another file, no array
larger than its bytes, no layer larger than any array. Only the worker calls this: HDF5's own library is no place for
strangers' files in the server.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from covid_core.errors import InvalidChoice

STOCK = "keras"  # the module that every class in a file must come from
CODE = "Lambda"
WEIGHTS, CONFIG = "model.weights.h5", "config.json"  # members of a .keras file
LARGEST_CONFIG = 50 * 10**6  # bytes
LARGEST_RATIO = 200  # of an array's bytes to those that the file spends on it
LARGEST_SIDE = 4096  # pixels of an input, features of a layer without weights


def check_keras(path: Path) -> None:
    """Raises InvalidChoice where a .keras file holds code or custom classes, is damaged, or lies about its size."""
    described = config(path)
    for part in _classes(described):
        if part["class_name"] == CODE:
            raise InvalidChoice(f"{path.name} has a Lambda layer, which holds code. Build it from stock layers alone.")
        module = str(part.get("module") or STOCK)
        if ">" in str(part.get("registered_name")) or not (module == STOCK or module.startswith(f"{STOCK}.")):
            raise InvalidChoice(f"{path.name} has the custom object {part['class_name']}, which is refused.")
    largest = max([LARGEST_SIDE, *(side for shape in shapes(path) for side in shape)])
    stated = max(_whole_numbers(described), default=0)
    if stated > largest:
        raise InvalidChoice(f"{path.name} states a layer of {stated:,} and holds no weights of that size.")


def shapes(path: Path) -> list[tuple[int, ...]]:
    """Shapes of all arrays in an HDF5 or .keras file. Raises InvalidChoice where it is none, or not to be trusted."""
    import h5py

    try:
        with ExitStack() as opened:
            source: Any = path
            if is_zipfile(path):
                source = opened.enter_context(opened.enter_context(ZipFile(path)).open(WEIGHTS))
            stored = opened.enter_context(h5py.File(source, "r"))
            return [array.shape for array in _arrays(path.name, stored, set())]
    except InvalidChoice:  # a ValueError, too
        raise
    except (BadZipFile, OSError, KeyError, ValueError, RuntimeError) as error:
        raise InvalidChoice(f"{path.name} is no HDF5 or .keras file, or is damaged.") from error


def _arrays(name: str, group: Any, visited: set[int]) -> Iterator[Any]:
    import h5py

    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise InvalidChoice(f"{name} takes weights from elsewhere. Save it without links.")
        item = group[key]
        place = h5py.h5o.get_info(item.id).addr
        if place in visited:
            continue
        visited.add(place)
        if isinstance(item, h5py.Group):
            yield from _arrays(name, item, visited)
        elif isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                raise InvalidChoice(f"{name} takes weights from elsewhere. Save it without links.")
            if item.nbytes > LARGEST_RATIO * max(item.id.get_storage_size(), 64):
                raise InvalidChoice(f"{name} states an array of {item.shape} and does not hold it.")
            yield item


def config(path: Path) -> Any:
    """The description in a .keras file. Raises InvalidChoice."""
    try:
        with ZipFile(path) as archive:
            if archive.getinfo(CONFIG).file_size > LARGEST_CONFIG:
                raise InvalidChoice(f"The description in {path.name} is too large.")
            return json.loads(archive.read(CONFIG))
    except InvalidChoice:
        raise
    except (BadZipFile, OSError, KeyError, ValueError, RuntimeError, RecursionError) as error:
        raise InvalidChoice(f"{path.name} is no .keras file, or is damaged.") from error


def _classes(value: Any) -> Iterator[dict[str, Any]]:
    """All classes that a configuration names, those within others included."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for part in value.values():
            yield from _classes(part)
    elif isinstance(value, list):
        for part in value:
            yield from _classes(part)


def _whole_numbers(value: Any) -> Iterator[int]:
    """All but seeds and addresses, which may be any."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from () if name == "shared_object_id" or "seed" in name else _whole_numbers(part)
    elif isinstance(value, list):
        for part in value:
            yield from _whole_numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield int(value) if abs(value) < 1e18 else 10**18
