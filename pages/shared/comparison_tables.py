"""What the Compare page loads and how it words its tables. Loaded things are kept until a run's files change."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from covid_core.errors import CovidCoreError
from covid_core.evaluation import comparison, metrics
from covid_core.evaluation.assessment import Measured
from covid_core.evaluation.comparison import Candidate, Ranking
from covid_core.evaluation.measures import CLASS_MEASURES, MEASURES
from covid_core.formatting import duration, file_size, interval, milliseconds, number, p_value, share
from covid_core.reports import tables
from covid_core.reports.comparison_text import Summary
from covid_core.runs import candidates
from covid_core.runs.store import BrokenRun, Run
from pages.shared import run_cache, shell

PERCENT = "%.1f %%"  # as formatting.share writes it, but a number, so that the column sorts
BEST_ROW = "background-color: rgba(86, 180, 233, 0.22)"  # readable on the dark and on the light background
QUIET_ROW = "color: #8A8F98"
UNDEFINED = "–"
KEPT_CANDIDATES = 1000  # about 10 KB each
KEPT_RANKINGS = 16  # 200 runs have 19,900 pairs: 1.5 MB
KEPT_CURVES = 256  # about 60 KB each for three classes
WHOLE_ROWS = 16  # of a table that is seen whole; a longer one scrolls
STYLED_ROWS = 50  # a longer table is shown without coloured rows: colouring 200 took as long as all the rest
PARTS = {
    "Train": "Share of training images that are predicted correctly. High here and low on test means learned by heart.",
    "Validation": "Share of validation images that are predicted correctly. Choose by it, not by test. Of 200 or more, "
    "one half chooses and the other calibrates.",
    "Test": "Share of test images that are predicted correctly. This is the number to report.",
}
SHARES = {  # columns of the first table
    **{part.lower(): part for part in PARTS},
    **{name: row.title for name, row in MEASURES.items() if row.headline},
}
IN_PER_CENT = [*(row for row in MEASURES.values() if row.unit), *CLASS_MEASURES.values()]
HELP = PARTS | {row.title: row.explanation for row in IN_PER_CENT}
METHODS = (
    "In brackets: 95 % interval. Of shares by Wilson's score method, of all others by drawing the images of each class "
    "again 2,000 times (percentile bootstrap). Images that belong together (copies) count for fewer in the first, the "
    "more so the more alike they are answered (Rao and Scott), and are drawn together in the second."
)


def measures_help() -> str:
    """What each overall measure is, and where it comes from."""
    return "\n\n".join(f"**{row.title}.** {row.explanation}" for row in MEASURES.values())


def remember(name: str, value: str) -> None:
    """Write a choice into the address, so that the address opens the same view again."""
    st.session_state[f"compare_{name}_asked"] = value
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)


def load(runs: Iterable[Run], names: Iterable[str]) -> tuple[list[Candidate], list[BrokenRun]]:
    """The runs as candidates, and those whose files cannot be used, with the reason."""
    loaded, broken = [], []
    with st.spinner("Measuring the runs", show_time=True):  # shown where it takes time: the first time
        for run, name in zip(runs, names, strict=True):
            try:
                loaded.append(replace(_candidate(str(run.path), run_cache.stamp_of(run.path), run), name=name))
            except CovidCoreError as error:
                broken.append(BrokenRun(name, str(error)))
    return loaded, broken


@st.cache_resource(max_entries=KEPT_CANDIDATES, show_spinner=False)
def _candidate(path: str, stamp: str, _run: Run) -> Candidate:
    """Shared by all sessions and never changed, so it is not copied: 200 copies took 0.2 s.

    Measures get their intervals when they are looked at (``figures_of``): 200 runs would take seconds.
    """
    return candidates.candidate(_run, intervals=False)


def version_of(chosen: Sequence[Candidate], runs: Sequence[Run]) -> str:
    """Changes when another run is chosen, is shown under another name, or has a file written."""
    return "\n".join(
        f"{candidate.name}\n{run.path}\n{run_cache.stamp_of(run.path)}"
        for candidate, run in zip(chosen, runs, strict=True)
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
    return _curves(str(run.path), run_cache.stamp_of(run.path), run)[label]


@st.cache_resource(max_entries=KEPT_CURVES, show_spinner=False)
def _curves(path: str, stamp: str, _run: Run) -> dict[str, ThresholdCurves]:
    answers = metrics.answers(_run.predictions(), "test")
    return {
        label: ThresholdCurves(
            metrics.thinned(metrics.roc_points(answers, label)),
            metrics.thinned(metrics.precision_recall_points(answers, label)),
            metrics.prevalence(answers, label).value,
            metrics.no_curve_because(answers, label),
        )
        for label in answers.classes
    }


def performance_view(
    table: pd.DataFrame, remarks: dict[str, list[str]], told: dict[str, list[str]] | None = None
) -> pd.DataFrame:
    """``comparison.performance_table`` as it is shown: per cent, the interval in words, remarks beside the marks.

    ``told`` are columns of words for the runs that go before the remarks; the two rows to beat have none.
    """
    view = pd.DataFrame({"Model": table["name"], **{SHARES[name]: 100 * table[name] for name in SHARES}})
    bounds = zip(table["test_low"], table["test_high"], strict=True)
    view.insert(4, "95 % interval", [_bounds(low, high) for low, high in bounds])
    words = zip(table["id"], table["marks"], strict=True)
    notes = ["; ".join([*remarks.get(run, []), *([marks] if marks else [])]) for run, marks in words]
    for place, (heading, words_of) in enumerate({**(told or {}), "Remarks": notes}.items(), start=5):
        view.insert(place, heading, [*words_of, *[""] * (len(view) - len(words_of))])
    view["Test images"] = table["images"]
    return view


def _bounds(low: float, high: float) -> str:
    return UNDEFINED if pd.isna(low) else f"[{100 * low:.1f}, {100 * high:.1f}]"


def figures_of(run: Run, part: str) -> Measured:
    """Every measure of one part of a run with its interval. The first time takes a tenth of a second."""
    return _figures(str(run.path), run_cache.stamp_of(run.path), part, run)


@st.cache_resource(max_entries=KEPT_CANDIDATES, show_spinner="Drawing images again for intervals")
def _figures(path: str, stamp: str, part: str, _run: Run) -> Measured:
    return candidates.measured(_run, part)


def measures(loaded: Sequence[Candidate], runs: Sequence[Run], part: str) -> pd.DataFrame:
    """``comparison.measure_table`` of one part."""
    return comparison.measure_table([one.name for one in loaded], [figures_of(run, part) for run in runs])


def per_class(loaded: Sequence[Candidate], runs: Sequence[Run], part: str) -> pd.DataFrame:
    """``comparison.class_table`` of one part."""
    return comparison.class_table([one.name for one in loaded], [figures_of(run, part) for run in runs])


def measures_view(table: pd.DataFrame, told: dict[str, Sequence[str]] | None = None) -> pd.DataFrame:
    """``comparison.measure_table`` turned: a row per measure, a column per run, values with intervals in words.

    ``told`` are further rows, after the first: words for each run; the two rows to beat have none.
    """
    accuracy, *others = (row.title for row in MEASURES.values())
    further = told or {}
    view = {"Measure": [accuracy, *further, *others]}
    for place, row in enumerate(table.to_dict("records")):
        first, *rest = (_worded(name, row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in MEASURES)
        words = [of_runs[place] if place < len(of_runs) else "" for of_runs in further.values()]
        view[row["name"]] = [first, *words, *rest]
    return pd.DataFrame(view)


def _worded(name: str, value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return UNDEFINED
    if not MEASURES[name].unit:
        return number(value, low, high)
    return interval(value, low, high)


def class_view(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """``comparison.class_table`` in per cent, one measure with its interval before the others."""
    others = [name for name in CLASS_MEASURES if name != measure]
    bounds = zip(table[f"{measure}_low"], table[f"{measure}_high"], strict=True)
    return pd.DataFrame(
        {
            "Model": table["name"],
            "Class": table["label"],
            "Images": table["images"],
            CLASS_MEASURES[measure].title: 100 * table[measure],
            "95 % interval": [_bounds(low, high) for low, high in bounds],
            **{CLASS_MEASURES[name].title: 100 * table[name] for name in others},
        }
    )


def class_points(table: pd.DataFrame, measure: str, runs: int) -> pd.DataFrame:
    """One measure as ``figures.class_measures`` takes it, of the first ``runs`` models of a class table."""
    drawn = table[table["name"].isin(table["name"].unique()[:runs])]
    named = {"name": "run", measure: "value", f"{measure}_low": "low", f"{measure}_high": "high"}
    return drawn[[*named, "label"]].rename(columns=named)


def pairs_view(table: pd.DataFrame) -> pd.DataFrame:
    """``comparison.pair_table`` as it is shown."""
    bounds = zip(table["low"], table["high"], strict=True)
    return pd.DataFrame(
        {
            "Better": table["first"],
            "Other": table["second"],
            "Difference, points": 100 * table["difference"],
            "95 % interval": [_bounds(low, high) for low, high in bounds],
            "Only better right": table["only_first"],
            "Only other right": table["only_second"],
            "p (McNemar)": table["p"],
            "p (Holm)": table["p_holm"],
        }
    )


PAIR_CONFIG = {
    "Difference, points": st.column_config.NumberColumn(format="%.1f", help="Of test accuracy, on the same images."),
    "95 % interval": st.column_config.TextColumn(help="Paired bootstrap: both runs on the same drawn images."),
    "p (McNemar)": st.column_config.NumberColumn(
        help="Exact McNemar test (1947) of the images that one run alone had right. Images that belong together, as "
        "copies do, change sides together."
    ),
    "p (Holm)": st.column_config.NumberColumn(
        help="Corrected for the number of pairs (Holm 1979): up to 0.05 the difference is more than chance."
    ),
}
P_COLUMNS = ("p", "p (McNemar)", "p (Holm)", "p (above majority)")


def ranking(group: Sequence[Candidate], runs: Sequence[Run]) -> Ranking:
    """The group ranked, all pairs compared; kept until a run's files or names change."""
    return _ranking(version_of(group, runs), group)


@st.cache_resource(max_entries=KEPT_RANKINGS, show_spinner="Comparing every pair")
def _ranking(version: str, _group: Sequence[Candidate]) -> Ranking:
    return comparison.ranking(_group)


def cost_points(loaded: Sequence[Candidate], cost: str) -> pd.DataFrame:
    """What ``figures.accuracy_against_cost`` takes; ``cost`` is "seconds" or "milliseconds"."""
    rows = [
        {
            "name": candidate.name,
            "cost": candidate.seconds if cost == "seconds" else candidate.ms_per_image,
            "value": candidate.assessment.test.value,
            "low": candidate.assessment.test.low,
            "high": candidate.assessment.test.high,
        }
        for candidate in loaded
    ]
    return pd.DataFrame(rows)


def show_notes(loaded: Sequence[Candidate], runs: Sequence[Run], part: str) -> None:
    """Why values are undefined and what means leave out, folded up; nothing where all is defined."""
    notes = undefined_notes([one.name for one in loaded], [figures_of(run, part) for run in runs])
    if notes:
        with st.expander("Why some values are undefined", icon=":material/help:"):
            st.markdown("\n".join(f"- {shell.plain(note)}" for note in notes))


def undefined_notes(names: Sequence[str], figures: Sequence[Measured]) -> list[str]:
    """Why values are undefined or leave out a class, each reason once with the runs that it concerns."""
    reasons: dict[str, list[str]] = {}
    for name, one in zip(names, figures, strict=True):
        values = [(MEASURES[key].title, measure) for key, measure in one.overall.items()]
        values += [(CLASS_MEASURES[key].title, value) for of in one.per_class.values() for key, value in of.items()]
        for label, measure in values:
            if measure.note:
                reasons.setdefault(f"{label}: {measure.note}", []).append(name)
    return [f"{reason} ({', '.join(dict.fromkeys(of))})" for reason, of in reasons.items()]


class Cost(NamedTuple):
    """A column of the costs: of ``candidates.costs``, divided by ``divisor``; ``words`` writes the number in print."""

    title: str
    column: str
    format: str = "%.1f"
    help: str = ""
    words: Callable[[float], str] | None = None
    divisor: float = 1


COSTS = (
    Cost(
        "Training time (s)",
        "training_seconds",
        help="Feature extraction and epochs. Reused features count with the time that they once took.",
        words=duration,
    ),
    Cost(
        "Job time (s)", "waited_seconds", help="From start to end of the job: reused parts take none.", words=duration
    ),
    Cost("Time of epochs (s)", "fit_seconds", help="Training time without feature extraction.", words=duration),
    Cost("Epochs done", "epochs_done", "%d"),
    Cost("Parameters", "parameters", "localized", "Numbers in the whole network."),
    Cost("Parameters trained", "parameters_trained", "localized", "Those that training changed."),
    Cost(
        "Model file (MB)",
        "model_bytes",
        words=lambda size: UNDEFINED if pd.isna(size) else file_size(1e6 * size),
        divisor=1e6,
    ),
    Cost(
        "Time per image (ms)",
        "milliseconds_per_image",
        help="Median for one decoded image at a time, on the machine that trained the run.",
        words=milliseconds,
    ),
)
COST_CONFIG = {one.title: st.column_config.NumberColumn(format=one.format, help=one.help or None) for one in COSTS}


def cost_view(table: pd.DataFrame) -> pd.DataFrame:
    """``candidates.costs`` as it is shown: numbers in plain units, so that the columns sort."""
    columns = {one.title: table[one.column] / one.divisor for one in COSTS}
    return pd.DataFrame({"Model": table["name"], **columns, "Device": table["device"]})


def share_columns(frame: pd.DataFrame) -> dict[str, object]:
    """Column settings of the columns that hold per cent, with what they mean."""
    return {
        name: st.column_config.NumberColumn(format=PERCENT, help=text)
        for name, text in HELP.items()
        if _has_numbers(frame, name)
    }


def _has_numbers(frame: pd.DataFrame, name: str) -> bool:
    return name in frame.columns and pd.api.types.is_numeric_dtype(frame[name])


def show_table(
    frame: pd.DataFrame,
    name: str,
    caption: str,
    *,
    best: str = "",
    quiet: Sequence[str] = (),
    config: dict[str, object] | None = None,
    raw: pd.DataFrame | None = None,
    pinned: str = "Model",
) -> None:
    """A sortable table with its downloads.

    ``best`` and ``quiet`` name the models whose rows stand out or step back, ``pinned`` the column that stays in sight;
    ``raw`` is what the CSV file holds where the table shows words.
    """
    held = {pinned: st.column_config.TextColumn(pinned=True)}
    with st.container(key=f"table-{name}"):
        st.dataframe(
            _styled(frame, best, quiet),
            hide_index=True,
            width="stretch",
            height="content" if len(frame) <= WHOLE_ROWS else "auto",
            placeholder=UNDEFINED,
            column_config={**held, **share_columns(frame), **(config or {})},
            alt=caption,
        )
        with st.container(horizontal=True):
            _download("CSV", lambda: tables.to_csv(frame if raw is None else raw), f"{name}.csv", "text/csv")
            bold = [i for i, model in enumerate(frame[pinned]) if best and model == best]
            _download("LaTeX", lambda: tables.to_latex(worded(frame), caption, bold=bold), f"{name}.tex", "text/x-tex")


def _styled(frame: pd.DataFrame, best: str, quiet: Sequence[str]) -> Any:
    """The frame with what it looks like, where that differs from plain: rows in colour, p values in words. These stay
    numbers beneath, so that the column sorts."""
    values = [name for name in P_COLUMNS if name in frame.columns]
    coloured = (best or quiet) and len(frame) <= STYLED_ROWS
    if not (values or coloured):
        return frame
    style = frame.style.format(p_value, subset=values) if values else frame.style
    return style.apply(_row_style, axis=1, best=best, quiet=quiet) if coloured else style


def _row_style(row: pd.Series, best: str, quiet: Sequence[str]) -> list[str]:
    style = BEST_ROW if best and row["Model"] == best else QUIET_ROW if row["Model"] in quiet else ""
    return [style] * len(row)


def _download(label: str, content: Callable[[], bytes | str], file: str, kind: str) -> None:
    st.download_button(label, content, file, kind, key=f"download-{file}", icon=":material/download:")


def worded(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its numbers as people read them, for print."""
    shares = {name for name in HELP if _has_numbers(frame, name)}
    words = {one.title: one.words for one in COSTS if one.words}
    without_units = {name: name.partition(" (")[0] for name in words}
    words |= dict.fromkeys(P_COLUMNS, p_value)
    by_column = {name: words.get(name) or (_share_of_hundred if name in shares else None) for name in frame.columns}
    changed = {name: frame[name].map(how) for name, how in by_column.items() if how}
    return frame.assign(**changed).rename(columns=without_units)


def _share_of_hundred(value: float) -> str:
    return share(value / 100)


def summary_text(told: Summary, runs: Iterable[Run], read: str = "") -> str:
    """The written summary as a plain text file that also says, away from the page, which images it is about; ``read``
    is the sentence on what the models read."""
    images = sorted({_images_in_words(run) for run in runs})
    warnings = ["", *told.warnings] if told.warnings else []
    details = [*told.details, *([read] if read else [])]
    return "\n".join([told.headline, "", *details, *warnings, "", f"Images: {'; '.join(images)}.", ""])


def _images_in_words(run: Run) -> str:
    return f"{run.dataset.name} (synthetic)" if run.dataset.synthetic else run.dataset.name
