"""What the Compare page loads and how it words its tables. Loaded things are kept until a run's files change."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from covid_core.errors import CovidCoreError
from covid_core.evaluation import comparison, metrics
from covid_core.evaluation.assessment import Measured
from covid_core.evaluation.comparison import Candidate, Ranking
from covid_core.evaluation.measures import CLASS_MEASURES, MEASURES
from covid_core.evaluation.metrics import ThresholdCurves
from covid_core.formatting import (
    as_read,
    bounds,
    decimals,
    duration,
    file_size,
    interval,
    milliseconds,
    number,
    p_value,
    share,
)
from covid_core.reports import comparison_text, run_text, study_text, tables
from covid_core.reports.comparison_text import Summary
from covid_core.reports.course.formats import DOCX
from covid_core.runs import candidates
from covid_core.runs.store import BrokenRun, Run, Study
from pages.shared import presentation, run_cache, shell
from pages.shared.run_cache import RunCandidate

PERCENT = "%.1f %%"  # as formatting.share writes it, but a number, so that the column sorts
BEST_ROW = "background-color: rgba(86, 180, 233, 0.22)"  # readable on the dark and on the light background
QUIET_ROW = "color: #8A8F98"
UNDEFINED = "–"
MOST_CANDIDATES = 1000  # about 10 KB each
MOST_RANKINGS = 16  # 200 runs have 19,900 pairs: 1.5 MB
MOST_CURVES = 256  # about 60 KB each for three classes
WHOLE_ROWS = 16  # of a table that is seen whole; a longer one scrolls
STYLED_ROWS = 50  # a longer table is shown without coloured rows: colouring 200 took as long as all the rest
LETTER, EDGE = 6.5, 28  # pixels of a letter, and around a text with the arrow of the sorted column
LONGEST_NUMBER = "100.0 %"
WIDEST = 420  # pixels of a column; a longer text is read by opening its cell
INTERVAL = "95 % interval"
MANY_COLUMNS = 5  # from which on they can be chosen
DIFFERENCE = "Minus reference"  # column: the difference to the reference run, with its test
PARTS = {
    "Train": "Accuracy on training images. Much higher than on test images means overfitting.",
    "Validation": "Accuracy on validation images: choose between runs by it. Of 200 or more, one half chooses and the "
    "other calibrates.",
    "Test": "Accuracy on test images. This is the number to report.",
}
AT_FIRST_HIDDEN = (*(row.title for row in MEASURES.values() if row.headline), "Test images")
IN_PER_CENT = [*(row for row in MEASURES.values() if row.unit), *CLASS_MEASURES.values()]
HELP = PARTS | {row.title: row.explanation for row in IN_PER_CENT}
METHODS = (
    "In brackets: 95 % interval, for shares by Wilson's score method, for other measures by bootstrap (2,000 samples, "
    "stratified by class). Both are adjusted for clusters of duplicates and of images of one patient."
)


MEASURES_HELP = "\n\n".join(f"**{row.title}.** {row.explanation}" for row in MEASURES.values())


def pick_run(order: Sequence[RunCandidate], key: str) -> int:
    """The position of the run that a tab is about."""
    names = [candidate.name for candidate in order]
    return st.selectbox("Run", range(len(order)), format_func=names.__getitem__, key=key, width=360)


# What is loaded


def load(runs: Sequence[Run]) -> tuple[list[RunCandidate], list[BrokenRun]]:
    """The runs as candidates, and those whose files cannot be used, with the reason."""
    loaded, broken = [], []
    runs = candidates.on_common_images(runs)
    with st.spinner("Measuring the runs", show_time=True):  # shown where it takes time: the first time
        for run, name in zip(runs, candidates.unique_names(runs), strict=True):
            try:
                loaded.append(RunCandidate(**{**vars(_candidate(run)), "name": name}, run=run))
            except CovidCoreError as error:
                broken.append(BrokenRun(name, str(error)))
    return loaded, broken


@st.cache_resource(max_entries=MOST_CANDIDATES, show_spinner=False, hash_funcs=run_cache.BY_FILES)
def _candidate(run: Run) -> Candidate:
    """Shared by all sessions and never changed, so it is not copied: 200 copies took 0.2 s.

    Measures get their intervals when they are looked at (``figures_of``): 200 runs would take seconds.
    """
    return candidates.candidate(run, intervals=False)


@st.cache_resource(max_entries=MOST_RANKINGS, show_spinner="Comparing every pair", hash_funcs=run_cache.BY_FILES)
def ranking(group: Sequence[RunCandidate]) -> Ranking[RunCandidate]:
    """The group ranked, all pairs compared."""
    return comparison.ranking(group)


def study_conclusion(study: Study, usable: Sequence[Run]) -> None:
    """What a study found, once its first run, the reference, and another one have a result: a sentence and its table.

    ``usable`` are those of its runs that have one, in the study's order.
    """
    whole = study.is_by_source or bool(usable) and usable[0].id == study.runs[0]
    if len(usable) < 2 or not whole or study.is_repeats:
        return
    concluded = _of_sources(usable) if study.is_by_source else _concluded(load(usable)[0])
    if concluded:
        st.markdown(f"**{shell.plain(concluded.sentence)}**")
        shell.table(concluded.table, f"study-{study.id}", alt=f"What the runs of {study.name} show")
        st.caption(concluded.method)


@st.cache_resource(max_entries=MOST_RANKINGS, show_spinner=False, hash_funcs=run_cache.BY_FILES)
def _concluded(candidates: Sequence[RunCandidate]) -> study_text.Conclusion | None:
    return study_text.conclusion(candidates)


@st.cache_resource(max_entries=MOST_RANKINGS, show_spinner=False, hash_funcs=run_cache.BY_FILES)
def _of_sources(runs: Sequence[Run]) -> study_text.Conclusion | None:
    return study_text.of_sources(runs)


@st.cache_resource(max_entries=MOST_CURVES, show_spinner=False, hash_funcs=run_cache.BY_FILES)
def threshold_curves(run: Run) -> dict[str, ThresholdCurves]:
    """The curves of every class on the test part."""
    return metrics.threshold_curves(metrics.answers(run.predictions(), "test"))


@st.cache_resource(
    max_entries=MOST_CANDIDATES, show_spinner="Drawing images again for intervals", hash_funcs=run_cache.BY_FILES
)
def figures_of(run: Run, part: str) -> Measured:
    """Every measure of one part of a run with its interval. The first time takes a tenth of a second."""
    return candidates.measured(run, part)


# Tables as they are shown


def performance_view(
    table: pd.DataFrame, remarks: Mapping[str, Sequence[str]], words: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """``comparison.performance_table`` in per cent, with the interval in words and remarks beside the marks.

    ``words`` are columns with a text per run; the references have none. ``remarks`` are by the run's id.
    """
    marks = zip(table["id"], table["marks"], strict=True)
    return pd.DataFrame(
        {
            "Model": table["name"],
            **{part: 100 * table[part.lower()] for part in PARTS},
            INTERVAL: _bounds(table["test_low"], table["test_high"]),
            **{heading: for_references(of_runs, table) for heading, of_runs in words.items()},
            "Remarks": ["; ".join(filter(None, [*remarks.get(run, []), mark])) for run, mark in marks],
            **{row.title: 100 * table[name] for name, row in MEASURES.items() if row.headline},
            "Test images": table["images"],
        }
    )


def for_references(of_runs: Sequence[str], table: pd.DataFrame) -> list[str]:
    """A column of texts for runs, empty for the references below them."""
    return [*of_runs, *[""] * (len(table) - len(of_runs))]


def _bounds(low: pd.Series, high: pd.Series) -> list[str]:
    return [bounds(*ends) for ends in zip(low, high, strict=True)]


def measures_view(table: pd.DataFrame, words: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """``comparison.measure_table`` turned: a row per measure, a column per run, values with intervals in words.

    ``words`` are further rows, after the first, with a text per run; the references have none.
    """
    accuracy, *others = (row.title for row in MEASURES.values())
    view = {"Measure": [accuracy, *words, *others]}
    texts = [for_references(of_runs, table) for of_runs in words.values()]
    for place, row in enumerate(table.to_dict("records")):
        first, *rest = (
            (interval if measure.unit else number)(row[name], row[f"{name}_low"], row[f"{name}_high"])
            for name, measure in MEASURES.items()
        )
        view[row["name"]] = [first, *(of_runs[place] for of_runs in texts), *rest]
    return pd.DataFrame(view)


def class_view(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """``comparison.class_table`` in per cent, one measure with its interval before the others."""
    return pd.DataFrame(
        {
            "Model": table["name"],
            "Class": table["label"],
            "Images": table["images"],
            CLASS_MEASURES[measure].title: 100 * table[measure],
            INTERVAL: _bounds(table[f"{measure}_low"], table[f"{measure}_high"]),
            **{row.title: 100 * table[name] for name, row in CLASS_MEASURES.items() if name != measure},
        }
    )


def class_points(table: pd.DataFrame, measure: str, runs: int) -> pd.DataFrame:
    """One measure as ``figures.class_measures`` takes it, of the first ``runs`` models of a class table."""
    drawn = table[table["name"].isin(table["name"].unique()[:runs])]
    named = {"name": "run", measure: "value", f"{measure}_low": "low", f"{measure}_high": "high"}
    return drawn[[*named, "label"]].rename(columns=named)


def pairs_view(table: pd.DataFrame) -> pd.DataFrame:
    """``comparison.pair_table`` as it is shown."""
    view = table.assign(images=_bounds(table["low"], table["high"]), difference=100 * table["difference"])
    return view[list(PAIR_TITLES)].rename(columns=PAIR_TITLES)


PAIR_TITLES = {
    "first": "Better",
    "second": "Other",
    "difference": "Difference, points",
    "images": INTERVAL,
    "only_first": "Only better correct",
    "only_second": "Only other correct",
    "p": "p (McNemar)",
    "p_holm": "p (Holm)",
}
PAIR_CONFIG = {
    "Difference, points": st.column_config.NumberColumn(format="%.1f", help="Of test accuracy, on the same images."),
    INTERVAL: st.column_config.TextColumn(help="Paired bootstrap: both runs on the same resampled images."),
    "p (McNemar)": st.column_config.NumberColumn(
        help="Exact McNemar test (1947) of the images that one run alone predicts correctly. Images of a cluster count "
        "together."
    ),
    "p (Holm)": st.column_config.NumberColumn(
        help="Corrected for the number of pairs (Holm 1979). Up to 0.05 the difference is significant."
    ),
}
TENTHS = ("Difference, points",)  # columns of numbers with one decimal that are not per cent
P_COLUMNS = ("p", "p (McNemar)", "p (Holm)", "p (above majority)")


def show_notes(order: Iterable[RunCandidate], part: str) -> None:
    """Why values are undefined or leave out a class, each reason once with its runs; nothing where all is defined."""
    reasons: dict[str, list[str]] = {}
    for one in order:
        figures = figures_of(one.run, part)
        values = [(MEASURES[key].title, measure) for key, measure in figures.overall.items()]
        values += [(CLASS_MEASURES[key].title, value) for of in figures.per_class.values() for key, value in of.items()]
        for title, measure in values:
            if note := comparison_text.note(measure):
                reasons.setdefault(f"{title}: {note}", []).append(one.name)
    if reasons:
        with st.expander("Why some values are undefined", icon=":material/help:"):
            notes = [f"{reason} ({', '.join(dict.fromkeys(of))})" for reason, of in reasons.items()]
            st.markdown("\n".join(f"- {shell.plain(note)}" for note in notes))


class Cost(NamedTuple):
    """A column of the costs: of ``candidates.costs``, divided by ``divisor``; ``words`` writes the number in print."""

    title: str
    column: str
    format: str = "%.1f"
    help: str = ""
    words: Callable[[float], str] | None = None
    divisor: float = 1


COSTS = (
    Cost("Training time (s)", "training_seconds", help=run_text.TRAINING_TIME, words=duration),
    Cost("Of which features (s)", "feature_seconds", help="Feature extraction by a frozen backbone.", words=duration),
    Cost("Epochs run", "epochs_done", "%d"),
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
        help="Median for one decoded image at a time, on the computer that trained the run.",
        words=milliseconds,
    ),
)
COST_CONFIG = {one.title: st.column_config.NumberColumn(format=one.format, help=one.help or None) for one in COSTS}


def cost_view(table: pd.DataFrame) -> pd.DataFrame:
    """``candidates.costs`` as it is shown: numbers in plain units, so that the columns sort."""
    table = table.assign(feature_seconds=table["training_seconds"] - table["fit_seconds"])
    columns = {one.title: table[one.column] / one.divisor for one in COSTS}
    return pd.DataFrame({"Model": table["name"], **columns, "Device": table["device"].map(run_text.device)})


def _percentages(frame: pd.DataFrame) -> dict[str, object]:
    """Settings of the columns that hold per cent, with what they mean."""
    columns = frame.select_dtypes("number").columns.intersection(list(HELP))
    return {name: st.column_config.NumberColumn(format=PERCENT, help=HELP[name]) for name in columns}


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
    hidden: Sequence[str] = (),
) -> None:
    """A sortable table with its downloads, whose columns can be chosen.

    ``best`` and ``quiet`` name the models whose rows stand out or step back, ``pinned`` the column that stays in sight;
    ``raw`` is what the CSV file holds where the table shows words; ``hidden`` columns are left out at first.
    """
    with st.container(key=f"table-{name}"):
        place = st.empty()
        with st.container(horizontal=True):
            frame = frame[[pinned, *_chosen_columns(frame.columns.drop(pinned).tolist(), name, hidden)]]
            _download("CSV", lambda: tables.to_csv(frame if raw is None else raw), f"{name}.csv", "text/csv")
            bold = [i for i, model in enumerate(frame[pinned]) if best and model == best]
            _download("LaTeX", lambda: tables.to_latex(worded(frame), caption, bold=bold), f"{name}.tex", "text/x-tex")
            _download("Markdown", lambda: tables.to_markdown(worded(frame)), f"{name}.md", "text/markdown")
            _download("Word", lambda: _word(frame, caption, bold), f"{name}.docx", DOCX)
        presented = _presented(frame, pinned, best, quiet) if presentation.is_on() else None
        if presented is not None:
            place.table(presented, hide_index=True, alt=caption)
            return
        place.dataframe(
            _styled(_rounded(frame), best, quiet),
            hide_index=True,
            width="stretch",
            height="content" if len(frame) <= WHOLE_ROWS else "auto",
            placeholder=UNDEFINED,
            column_config=_column_settings(frame, pinned, config or {}),
            alt=caption,
        )


def _presented(frame: pd.DataFrame, pinned: str, best: str, quiet: Sequence[str]) -> Any:
    """The table as it is presented, upright where it has few rows and too many columns; None where it is too large."""
    texts = shell.texts(worded(_rounded(frame)), UNDEFINED)
    if not presentation.is_static(texts):
        texts, best, quiet = texts.set_index(pinned).T.rename_axis(None, axis=1).reset_index(names=pinned), "", ()
    if not presentation.is_static(texts):
        return None
    named = {"best": shell.plain(best), "quiet": [shell.plain(name) for name in quiet]}
    return texts.style.apply(_row_style, axis=1, **named) if best or quiet else texts


def _chosen_columns(names: list[str], table: str, hidden: Sequence[str]) -> list[str]:
    """The columns to show and to download, in their order."""
    if len(names) < MANY_COLUMNS:
        return names
    at_first = [name for name in names if name not in hidden]
    key = f"columns-{table}-{len(names)}"  # a column that is new is not hidden by a choice from before
    with st.popover("Columns", icon=":material/view_column:", type="tertiary"):
        chosen = st.pills(
            "Columns",
            names,
            selection_mode="multi",
            default=at_first,
            format_func=shell.plain,
            key=key,
            persist_state="session",
        )
    return [name for name in names if name in chosen]


def _column_settings(frame: pd.DataFrame, pinned: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Each column as wide as its heading and its longest text, so that nothing is cut."""
    settings = {pinned: st.column_config.TextColumn(pinned=True), **_percentages(frame), **config}
    for name in frame.columns:
        numbers = pd.api.types.is_numeric_dtype(frame[name])
        texts = [LONGEST_NUMBER] if numbers else [str(cell) for cell in frame[name].dropna()]
        longest = max(map(len, [name, *texts]))
        setting = settings.get(name) or st.column_config.Column()
        settings[name] = {**setting, "width": min(WIDEST, int(EDGE + LETTER * longest))}
    return settings


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers as ``formatting`` rounds them: a browser has a rule of its own."""
    names = [name for name in frame.select_dtypes("number") if name in HELP or name in TENTHS]
    return frame.assign(**{name: frame[name].map(as_read) for name in names})


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


def _word(frame: pd.DataFrame, caption: str, best: Sequence[int]) -> bytes:
    from covid_core.reports.course.word import table_to_word  # a tenth of a second, for who wants it

    return table_to_word(worded(frame), caption, best)


def worded(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its numbers as people read them, for print."""
    costs = {one.title: one.words for one in COSTS if one.words}
    words = {
        **dict.fromkeys(_percentages(frame), lambda value: share(value / 100)),
        **costs,
        **dict.fromkeys(P_COLUMNS, p_value),
        **dict.fromkeys(TENTHS, lambda value: decimals(value, 1)),
    }
    changed = {name: frame[name].map(words[name]) for name in frame.columns if name in words}
    return frame.assign(**changed).rename(columns={name: name.partition(" (")[0] for name in costs})


def summary_text(outcome: Summary, runs: Iterable[Run], read: str = "") -> str:
    """The written summary as a plain text file that also says, away from the page, which images it is about; ``read``
    is the sentence on what the models read."""
    synthetic = {run.dataset.name: run.dataset.synthetic for run in runs}
    images = "; ".join(f"{name} (synthetic)" if synthetic[name] else name for name in sorted(synthetic))
    parts = [outcome.headline], [*outcome.details, read], outcome.warnings, [f"Images: {images}."]
    return "\n\n".join("\n".join(filter(None, part)) for part in parts if any(part)) + "\n"
