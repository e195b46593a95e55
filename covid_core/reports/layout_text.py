"""What an import would take from a tree of files, in sentences and as a table."""

from collections.abc import Iterator

import pandas as pd

from covid_core.data.imports.archives import ENCODINGS
from covid_core.data.imports.layouts import Layout
from covid_core.data.imports.metadata import is_table
from covid_core.data.split import PARTS
from covid_core.formatting import count, plural


def layout_table(layout: Layout) -> pd.DataFrame:
    """One row per class: Class, Images, the parts, patients and masks that there are, First image."""
    table = layout.table()
    unused = [name for name in (*PARTS, "patients", "masks") if not table[name].any()]
    table = table.drop(columns=unused).rename(columns={"first": "first image"})
    return table.rename(columns=str.capitalize)


def layout_lines(layout: Layout) -> list[str]:
    """One line per class, then what is special, then each file that is left out."""
    table = layout_table(layout).drop(columns="First image")
    lines = [
        ", ".join([f"{row['Class']}: {plural(row['Images'], 'image')}"] + _others(row))
        for row in table.to_dict("records")
    ]
    return [*lines, *layout_notes(layout), *(f"left out: {path}: {reason}" for path, reason in layout.left_out)]


def _others(row: dict[str, int]) -> list[str]:
    return [f"{name.lower()} {count(number)}" for name, number in row.items() if name not in ("Class", "Images")]


def layout_notes(layout: Layout) -> Iterator[str]:
    """What a person should check before the import."""
    if layout.encoding:
        yield f"Names in the archive are read as {layout.encoding} ({ENCODINGS[layout.encoding]})."
    if len(layout.chosen) == 1:
        yield f"Only one class: {layout.chosen[0]}. A model needs two at least."
        for path in filter(is_table, (path for path, _ in layout.left_out)):
            yield f"{path} may hold the labels: choose it as a table (--table)."
    if layout.patients:
        example = next(image for image in layout.images if image.patient)
        anew = " Their numbers start anew in each class." if layout.anew else ""
        yield f"Patients are read from the names: {example.path} is of patient {example.patient}.{anew}"
    if layout.crossing:
        yield f"{plural(layout.crossing, 'patient')} have images in several of the authors' parts."
