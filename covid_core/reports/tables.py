"""Tables as files: CSV that a spreadsheet opens without running anything, and LaTeX for a paper or a hand-in."""

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from covid_core import presets
from covid_core.formatting import count, in_full, plural, with_hyphens
from covid_core.specs import IMBALANCE_LABELS, OPTIMIZER_LABELS, TrainingSpec

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run such a cell (OWASP, "CSV injection")
LONGEST_NETWORK = 30  # layers that are listed one by one
MAP_SHAPE = " x "  # in the shape of what has a height and a width
MOST_SETTINGS = 3  # that a name holds
LONGEST_NAME = 80  # letters, as a TrainingSpec allows
OF_IMPORTED = ("Special strategy", "Backbone", "Split seed", "Images per class")  # all else is unknown
UNKNOWN = "–"
WEIGHTS_LABELS = {"imagenet": "ImageNet", "random": "Random"}


def to_csv(frame: pd.DataFrame) -> bytes:
    """A table as CSV in UTF-8 with a byte order mark, so that spreadsheets read its letters. Numbers keep all digits.

    Texts that a spreadsheet would take for a formula, and such column names, get an apostrophe before them.
    """
    safe = frame.map(_harmless).rename(columns=_harmless)
    return safe.to_csv(index=False).encode("utf-8-sig")


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    cell = with_hyphens(cell)
    return "'" + cell if cell.startswith(FORMULA_STARTS) else cell


def to_latex(frame: pd.DataFrame, caption: str = "", bold: Iterable[int] = ()) -> str:
    """A table as LaTeX with the rules of the package booktabs. ``bold`` are positions of rows to print bold.

    Cells have every character that LaTeX would obey written out; ``caption`` is LaTeX. Numbers are printed as they are:
    round or format them before. Undefined is a dash.
    """

    def in_one_line(cell: Any) -> str:
        return with_hyphens(" ".join(str(cell).split()))

    styler = frame.reset_index(drop=True).style.hide(axis="index")
    styler.format(in_one_line, na_rep="--", escape="latex").format_index(in_one_line, escape="latex", axis="columns")
    styler.set_properties(pd.IndexSlice[list(bold), :], textbf="--rwrap")
    columns = "".join("r" if pd.api.types.is_numeric_dtype(kind) else "l" for kind in frame.dtypes)
    table = styler.to_latex(column_format=columns, hrules=True, position_float="centering", caption=caption or None)
    return r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}" + "\n" + table


def to_markdown(frame: pd.DataFrame) -> str:
    """A table as Markdown. Texts stay in their cell, letter by letter; round or format numbers before."""
    rules = ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in frame.dtypes]
    rows = [frame.columns, rules, *frame.astype(object).where(frame.notna(), "–").to_numpy()]
    return "".join(f"| {' | '.join(map(in_markdown, row))} |\n" for row in rows)


def in_markdown(text: object) -> str:
    """Text in one line, of which Markdown takes nothing for its own: no picture, no formula, no end of a cell."""
    return re.sub(r"([\\`*_|<>\[\]$])", r"\\\1", " ".join(str(text).split()))


def hyperparameters(names: Iterable[str], specs: Iterable[TrainingSpec]) -> pd.DataFrame:
    """The course's second table: one row per run, what was chosen, in words. ``names`` are the runs' names."""
    return pd.DataFrame([{"Model": name, **_choices(spec)} for name, spec in zip(names, specs, strict=True)])


def hyperparameters_as_text(names: Iterable[str], specs: Iterable[TrainingSpec]) -> pd.DataFrame:
    """The same to be read, the learning rate without an exponent."""
    table = hyperparameters(names, specs)
    table["Learning rate"] = table["Learning rate"].map(lambda rate: rate if rate == UNKNOWN else in_full(rate))
    return table.astype(str)


def distinct_name(spec: TrainingSpec, others: Iterable[TrainingSpec]) -> str:
    """A name that says what differs: the backbone, the recipe for images from elsewhere, and the settings unlike those
    of the closest other run with both.

    Args:
        spec: of a run without a name.
        others: specs of the runs that are there.
    """
    label, chosen = _with_recipe(spec), _choices(spec)
    of_others = [_choices(other) for other in others if _with_recipe(other) == label]
    differing = [[name for name in chosen if chosen[name] != other[name]] for other in of_others]
    settings = min(differing, key=len, default=[])
    further = "".join(f", {name.lower()} {_short(chosen[name])}" for name in settings[:MOST_SETTINGS])
    return f"{label}{further}"[:LONGEST_NAME].rstrip(" ,")


def _with_recipe(spec: TrainingSpec) -> str:
    holds = presets.recipe_of(spec) == presets.SAFER
    return f"{spec.network.label}, {presets.RECIPES[presets.SAFER].label.lower()}" if holds else spec.network.label


def _short(value: Any) -> str:
    return in_full(value) if isinstance(value, float) else str(value)[:1].lower() + str(value)[1:]


def _choices(spec: TrainingSpec) -> dict[str, Any]:
    choices = {
        "Learning rate": spec.learning_rate,
        "Batch size": spec.batch_size,
        "Epochs": spec.total_epochs,
        "Optimizer": OPTIMIZER_LABELS[spec.optimizer],
        "Image size": spec.image_size,
        "Shown to the network": (spec.input.in_words or "Whole image").capitalize(),
        "Special strategy": spec.strategy,
        "Imbalance": IMBALANCE_LABELS[spec.imbalance],
        "Augmentation": spec.augmentation.in_words or "None",
        "Backbone": spec.network.label,
        "Weights": WEIGHTS_LABELS.get(spec.weights, "From a file"),
        "Layers read": "Middle layers" if spec.taps == "default" and spec.mode == "frozen" else "Last layer",
        "Head": " + ".join(str(units) for units in spec.head.units) or "None",
        "Dropout": spec.head.dropout,
        "Pooling": _pooling(spec),
        "Patience": spec.patience,
        "Seed": spec.seed,
        "Split seed": spec.split.seed,
        "Images per class": spec.split.images_per_class or "All",
    }
    if not spec.is_imported:
        return choices
    return {name: value if name in OF_IMPORTED else UNKNOWN for name, value in choices.items()}


def _pooling(spec: TrainingSpec) -> str:
    if not spec.network.pretrained:
        return "None (flattened)"
    return "Mean and maximum" if spec.head.pooling == "mean_max" else "Mean"


def layers(frame: pd.DataFrame, network: str) -> pd.DataFrame:
    """``architecture.layers`` as texts, with their sum; a long ``network``, so called, makes one row."""
    rows = frame
    maps = [place for place, shape in enumerate(frame["shape"]) if MAP_SHAPE in shape]  # no pooled or dense values
    inside = frame.iloc[1 : maps[-1] + 1]
    if len(inside) > LONGEST_NETWORK:
        whole = {
            "layer": network,
            "kind": plural(len(inside), "layer"),
            "shape": inside["shape"].iloc[-1],
            "parameters": inside["parameters"].sum(),
        }
        rows = pd.concat([frame.iloc[:1], pd.DataFrame([whole]), frame.iloc[maps[-1] + 1 :]], ignore_index=True)
    view = pd.DataFrame(
        {
            "Layer": rows["layer"],
            "Kind": rows["kind"],
            "Output": rows["shape"],
            "Parameters": rows["parameters"].map(count),
        }
    )
    whole_model = {"Layer": "All", "Kind": "", "Output": "", "Parameters": count(frame["parameters"].sum())}
    return pd.concat([view, pd.DataFrame([whole_model])], ignore_index=True)


def only_what_differs(frame: pd.DataFrame, always: Iterable[str] = ("Model",)) -> pd.DataFrame:
    """The columns in which at least two rows differ, and those to keep."""
    names = set(always)
    return frame[[name for name in frame.columns if name in names or frame[name].astype(str).nunique() > 1]]
