"""What the Compare page loads and how it words its tables. Loaded things are kept until a run's files change."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from app_pages.components import shelf
from covid_core import report
from covid_core.errors import CovidCoreError
from covid_core.evaluation import metrics
from covid_core.evaluation.comparison import Candidate
from covid_core.evaluation.wording import Summary
from covid_core.formatting import duration, file_size, milliseconds, share
from covid_core.runs import candidates
from covid_core.runs.store import BrokenRun, Run

PERCENT = "%.1f %%"  # as formatting.share writes it, but a number, so that the column sorts
BEST_ROW = "background-color: rgba(86, 180, 233, 0.22)"  # readable on the dark and on the light background
QUIET_ROW = "color: #8A8F98"
UNDEFINED = "–"
KEPT_CANDIDATES = 1000  # about 10 KB each
KEPT_CURVES = 256  # about 60 KB each for three classes
LEAPING, SPREAD = 100, 400  # points of a curve at its beginning and along the rest; it is 400 pixels wide
STYLED_ROWS = 50  # a longer table is shown without coloured rows: colouring 200 took as long as all the rest
SHARES = {
    "train": "Train",
    "validation": "Validation",
    "test": "Test",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "macro_auroc": "Macro AUROC",
}
CLASS_SHARES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
}
HELP = {
    "Train": "Share of training films that are answered rightly. High here and low on test means learned by heart.",
    "Validation": "Share of validation films that are answered rightly. This is the number to choose by.",
    "Test": "Share of test films that are answered rightly. This is the number to report.",
    "Balanced accuracy": "Mean sensitivity over the classes: rare classes count as much as frequent ones.",
    "Macro F1": "Mean over the classes of the harmonic mean of sensitivity and PPV.",
    "Macro AUROC": "Mean over the classes of how often a film of the class has a higher score than another film.",
    "Sensitivity": "Of the films of the class, how many are called so (recall).",
    "Specificity": "Of the films of other classes, how many are not called so.",
    "PPV": "Of the films called so, how many are of the class (precision). It changes with how frequent the class is.",
    "NPV": "Of the films called something else, how many are indeed not of the class.",
    "F1": "Harmonic mean of sensitivity and PPV.",
    "AUROC": "How often a film of the class has a higher score than a film of another class.",
    "AUPRC": "Average PPV over all thresholds. Guessing gives the share of the class, not one half.",
}


def load(runs: Iterable[Run], names: Iterable[str]) -> tuple[list[Candidate], list[BrokenRun]]:
    """The runs as candidates, and those whose files cannot be used, with the reason."""
    loaded, broken = [], []
    with st.spinner("Measuring the runs", show_time=True):  # shown where it takes time: the first time
        for run, name in zip(runs, names, strict=True):
            try:
                loaded.append(replace(_candidate(str(run.path), shelf.stamp_of(run.path), run), name=name))
            except CovidCoreError as error:
                broken.append(BrokenRun(name, str(error)))
    return loaded, broken


@st.cache_resource(max_entries=KEPT_CANDIDATES, show_spinner=False)
def _candidate(path: str, stamp: str, _run: Run) -> Candidate:
    """Shared by all sessions and never changed, so it is not copied: 200 copies took 0.2 s."""
    return candidates.candidate(_run)


def version_of(chosen: Sequence[Candidate], runs: Sequence[Run]) -> str:
    """Changes when another run is chosen, is shown under another name, or has a file written."""
    return "\n".join(
        f"{candidate.name}\n{run.path}\n{shelf.stamp_of(run.path)}" for candidate, run in zip(chosen, runs, strict=True)
    )


class ThresholdCurves(NamedTuple):
    """A run and a class over all thresholds, on the test part: points of both curves, the PPV of guessing, and why
    there are no curves, where there are none."""

    roc: pd.DataFrame
    recall: pd.DataFrame
    guessing: float
    undefined: str


def threshold_curves(run: Run, label: str) -> ThresholdCurves:
    """The curves of one class."""
    return _curves(str(run.path), shelf.stamp_of(run.path), run)[label]


@st.cache_resource(max_entries=KEPT_CURVES, show_spinner=False)
def _curves(path: str, stamp: str, _run: Run) -> dict[str, ThresholdCurves]:
    answers = metrics.answers(_run.predictions(), "test")
    return {
        label: ThresholdCurves(
            _drawn(metrics.roc_points(answers, label)),
            _drawn(metrics.precision_recall_points(answers, label)),
            metrics.prevalence(answers, label).value,
            metrics.auroc(answers, label).note,
        )
        for label in answers.classes
    }


def _drawn(points: pd.DataFrame) -> pd.DataFrame:
    """So many points of a curve that no more could be seen: the first, where it leaps, and others evenly spread."""
    if len(points) <= 2 * LEAPING + SPREAD:
        return points
    spread = np.linspace(LEAPING, len(points) - 1, SPREAD).round().astype(int)
    return points.iloc[np.concatenate([np.arange(LEAPING), spread])].reset_index(drop=True)


def performance_view(table: pd.DataFrame, remarks: dict[str, list[str]]) -> pd.DataFrame:
    """``comparison.performance_table`` as it is shown: per cent, the interval in words, remarks beside the marks."""
    view = pd.DataFrame({"Model": table["name"], **{SHARES[name]: 100 * table[name] for name in SHARES}})
    bounds = zip(table["test_low"], table["test_high"], strict=True)
    view.insert(4, "95 % interval", [_bounds(low, high) for low, high in bounds])
    words = zip(table["id"], table["marks"], strict=True)
    notes = ["; ".join([*remarks.get(run, []), *([marks] if marks else [])]) for run, marks in words]
    view.insert(5, "Remarks", notes)
    view["Test films"] = table["films"]
    return view


def _bounds(low: float, high: float) -> str:
    return UNDEFINED if pd.isna(low) else f"[{100 * low:.1f}, {100 * high:.1f}]"


def class_view(loaded: Sequence[Candidate]) -> pd.DataFrame:
    """Every measure of every class of every run, in per cent, a row per run and class."""
    rows = []
    for candidate in loaded:
        for label, found in candidate.assessment.per_class.items():
            shares = {CLASS_SHARES[name]: 100 * found[name].value for name in CLASS_SHARES}
            films = found["sensitivity"].n
            interval = _bounds(found["sensitivity"].low, found["sensitivity"].high)
            rows.append({"Model": candidate.name, "Class": label, "Films": films, **shares, "_interval": interval})
    view = pd.DataFrame(rows)
    view.insert(4, "95 % interval", view.pop("_interval"))
    return view


def class_points(loaded: Sequence[Candidate], measure: str) -> pd.DataFrame:
    """One measure as ``figures.class_measures`` takes it: columns run, label, value, low, high."""
    rows = [
        {"run": candidate.name, "label": label, "value": one.value, "low": one.low, "high": one.high}
        for candidate in loaded
        for label, one in ((label, found[measure]) for label, found in candidate.assessment.per_class.items())
    ]
    return pd.DataFrame(rows, columns=["run", "label", "value", "low", "high"])


def cost_points(loaded: Sequence[Candidate], cost: str) -> pd.DataFrame:
    """What ``figures.accuracy_against_cost`` takes; ``cost`` is "seconds" or "milliseconds"."""
    rows = [
        {
            "name": candidate.name,
            "cost": candidate.seconds if cost == "seconds" else candidate.ms_per_film,
            "value": candidate.assessment.test.value,
            "low": candidate.assessment.test.low,
            "high": candidate.assessment.test.high,
        }
        for candidate in loaded
    ]
    return pd.DataFrame(rows)


def undefined_notes(loaded: Sequence[Candidate]) -> list[str]:
    """Why values of the class table are undefined, each reason once with the runs that it concerns."""
    reasons: dict[str, list[str]] = {}
    for candidate in loaded:
        for found in candidate.assessment.per_class.values():
            for name, measure in found.items():
                if not measure.is_defined:
                    reasons.setdefault(f"{CLASS_SHARES[name]}: {measure.note}", []).append(candidate.name)
    return [f"{reason} ({', '.join(dict.fromkeys(names))})" for reason, names in reasons.items()]


def cost_view(table: pd.DataFrame) -> pd.DataFrame:
    """``candidates.costs`` as it is shown: numbers in plain units, so that the columns sort."""
    return pd.DataFrame(
        {
            "Model": table["name"],
            "Training time (s)": table["training_seconds"],
            "Waited (s)": table["waited_seconds"],
            "Fit alone (s)": table["fit_seconds"],
            "Epochs done": table["epochs_done"],
            "Parameters": table["parameters"],
            "Parameters trained": table["parameters_trained"],
            "Model file (MB)": table["model_bytes"] / 1e6,
            "Time per film (ms)": table["milliseconds_per_film"],
            "Device": table["device"],
        }
    )


COST_CONFIG = {
    "Training time (s)": st.column_config.NumberColumn(
        format="%.1f",
        help="One pass through the frozen part and the epochs. Features that were there already count with what they "
        "once took; empty where nobody noted it.",
    ),
    "Waited (s)": st.column_config.NumberColumn(
        format="%.1f",
        help="What the run took from beginning to end. What was there already took no time again, and the first run "
        "of a network also starts TensorFlow and exports it. Empty where the outcome is another run's.",
    ),
    "Fit alone (s)": st.column_config.NumberColumn(format="%.1f", help="The epochs alone."),
    "Epochs done": st.column_config.NumberColumn(format="%d"),
    "Parameters": st.column_config.NumberColumn(format="localized", help="Numbers in the whole network."),
    "Parameters trained": st.column_config.NumberColumn(format="localized", help="Those that training changed."),
    "Model file (MB)": st.column_config.NumberColumn(format="%.1f"),
    "Time per film (ms)": st.column_config.NumberColumn(
        format="%.1f", help="Median for one decoded film at a time, on the machine that trained the run."
    ),
}


def share_columns(frame: pd.DataFrame) -> dict[str, object]:
    """Column settings of the columns that hold per cent, with what they mean."""
    names = [name for name in (*SHARES.values(), *CLASS_SHARES.values()) if name in frame.columns]
    return {name: st.column_config.NumberColumn(format=PERCENT, help=HELP[name]) for name in names}


def show_table(
    frame: pd.DataFrame,
    name: str,
    caption: str,
    *,
    best: str = "",
    quiet: str = "",
    config: dict[str, object] | None = None,
) -> None:
    """A sortable table with its downloads. ``best`` and ``quiet`` name the models whose rows stand out or step back."""
    pinned = {"Model": st.column_config.TextColumn(pinned=True)}
    with st.container(key=f"table-{name}"):
        st.dataframe(
            _styled(frame, best, quiet) if (best or quiet) and len(frame) <= STYLED_ROWS else frame,
            hide_index=True,
            width="stretch",
            placeholder=UNDEFINED,
            column_config={**pinned, **share_columns(frame), **(config or {})},
            alt=caption,
        )
        with st.container(horizontal=True):
            _download("CSV", lambda: report.to_csv(frame), f"{name}.csv", "text/csv")
            bold = [i for i, model in enumerate(frame["Model"]) if model == best]
            _download("LaTeX", lambda: report.to_latex(worded(frame), caption, bold=bold), f"{name}.tex", "text/x-tex")


def _styled(frame: pd.DataFrame, best: str, quiet: str) -> Any:
    return frame.style.apply(_row_style, axis=1, best=best, quiet=quiet)


def _row_style(row: pd.Series, best: str, quiet: str) -> list[str]:
    style = BEST_ROW if best and row["Model"] == best else QUIET_ROW if quiet and row["Model"] == quiet else ""
    return [style] * len(row)


def _download(label: str, content: Callable[[], bytes | str], file: str, kind: str) -> None:
    st.download_button(label, content, file, kind, key=f"download-{file}", icon=":material/download:")


def worded(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its numbers as people read them, for print."""
    shares = {*SHARES.values(), *CLASS_SHARES.values()}
    words = {
        "Training time (s)": duration,
        "Waited (s)": duration,
        "Fit alone (s)": duration,
        "Model file (MB)": lambda megabytes: file_size(1e6 * megabytes) if megabytes == megabytes else UNDEFINED,
        "Time per film (ms)": milliseconds,
    }
    by_column = {name: words.get(name) or (_share_of_hundred if name in shares else None) for name in frame.columns}
    changed = {name: frame[name].map(how) for name, how in by_column.items() if how}
    without_units = {name: name.partition(" (")[0] for name in words}
    return frame.assign(**changed).rename(columns=without_units)


def _share_of_hundred(value: float) -> str:
    return share(value / 100)


def summary_text(told: Summary, runs: Iterable[Run]) -> str:
    """The written summary as a plain text file that also says, away from the page, which films it is about."""
    films = sorted({_films_in_words(run) for run in runs})
    warnings = ["", *told.warnings] if told.warnings else []
    return "\n".join([told.headline, "", *told.details, *warnings, "", f"Films: {'; '.join(films)}.", ""])


def _films_in_words(run: Run) -> str:
    dataset = run.record["dataset"]
    return f"{dataset['name']} (synthetic)" if dataset["synthetic"] else dataset["name"]
