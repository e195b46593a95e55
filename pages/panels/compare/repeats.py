"""Studies of repeats on the Compare page: folds and seeds side by side, and what their differences are worth."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from covid_core.evaluation import repeats
from covid_core.evaluation.repeats import Comparison, Repeats
from covid_core.figures import repeats as figures
from covid_core.formatting import count, interval, points, share
from covid_core.reports import repeats_tables, repeats_text
from covid_core.reports.evidence_text import counted
from covid_core.runs import candidates, store
from covid_core.runs.store import Run, Study
from pages.shared import comparison_tables, model_audit_panel, run_cache, shell, url_state

AT_FIRST = 6  # studies that are chosen when nobody has chosen
LEVEL = 5e-4  # largest share figures may differ by and still share one line of the majority baseline
METHODS = (
    "SD: standard deviation over the runs. Pooled: all folds of a seed together, so every image is tested once. "
    "In brackets: 95 % intervals. Test over folds: corrected resampled t-test (Nadeau and Bengio 2003). Test over "
    "seeds: t-test over seeds and images (Dorfman, Berbaum and Metz 1992; Hillis 2007)."
)
PAIRS_NOTE = (
    "First minus second (percentage points of test accuracy), over runs of equal fold, seed and test images. "
    "Holm's correction is for all pairs that can be tested."
)


def show(answer: DeltaGenerator, first: Study | None = None) -> None:
    """Choose studies of repeats, and see what they say.

    Args:
        answer: where the answer goes.
        first: the study that the page is about, if it is about one; it and those on its data set are chosen.
    """
    repeated = [study for study in store.list_studies(shell.workspace()) if study.is_repeats]
    if not repeated:
        _how_to_make_one("No training has been repeated yet.")
        return
    runs = {one.run.id: one.run for one in run_cache.listed()[0]}
    members = {study.id: [runs[run] for run in study.runs if run in runs] for study in repeated}
    chosen = _pick(repeated, members, first)
    if not chosen:
        answer.info("Choose the studies to compare.", icon=":material/arrow_downward:")
        return
    with st.spinner("Measuring the runs", show_time=True):  # shown where it takes time: the first time
        comparison = run_cache.compared([(study, members[study.id]) for study in chosen])
    outcome = repeats_text.summary(comparison)
    answer.markdown(f"**{shell.plain(outcome.headline)}**")
    st.markdown("\n".join(f"- {shell.plain(sentence)}" for sentence in outcome.details))
    if outcome.warnings:
        st.warning("  \n".join(shell.plain(sentence) for sentence in outcome.warnings), icon=":material/warning:")
    if any(study.runs for study in comparison.studies):
        _figure(comparison)
        _tables(comparison, [_read_by(study, runs) for study in comparison.studies])
    if len(repeated) < 2:
        _how_to_make_one("One study of repeats so far: another one on the same folds could be compared with it.")


def _read_by(study: Repeats, runs: dict[str, Run]) -> str:
    """What the models of a study's runs read."""
    return counted(model_audit_panel.of(runs[run.id]) for run in study.runs if run.id in runs)


def _how_to_make_one(words: str) -> None:
    with st.container(border=True):
        st.markdown(
            f"**{words}** One run alone is partly chance. Set **Folds** or **Seeds** above 1 on the Train page. The "
            "runs become a study, with its mean, SD and tests here."
        )
        st.page_link("train.py", label="Train with folds", icon=":material/arrow_forward:")


def _pick(repeated: list[Study], members: dict[str, list[Run]], first: Study | None) -> list[Study]:
    """The studies to compare: from the address, or those on the data set of the first, or of the newest."""
    names = dict(zip([study.id for study in repeated], candidates.unique_names(repeated), strict=True))
    leading = first or repeated[0]
    ordered = sorted(repeated, key=lambda study: study.id != leading.id)  # stable: the newest first after it
    alike = [study.id for study in ordered if _dataset(members[study.id]) == _dataset(members[leading.id])]
    options = {"placeholder": "Choose studies"}
    key = f"compare_studies_{first.id if first else ''}"
    chosen = url_state.multiselect("Studies of repeats", "studies", names, alike[:AT_FIRST], key, **options)
    by_id = {study.id: study for study in repeated}
    return [by_id[identifier] for identifier in chosen]


def _dataset(runs: Sequence[Run]) -> str:
    return runs[0].dataset.id if runs else ""


def _figure(comparison: Comparison) -> None:
    """Every run as a point, for one measure."""
    names = list(dict.fromkeys(name for study in comparison.studies for name in repeats.measures(study)))
    measure = st.selectbox(
        "Measure", names, format_func=repeats_text.measure_in_words, key="compare_repeats_measure", width=280
    )
    runs = repeats_tables.run_table(comparison, measure)
    of = zip(comparison.studies, comparison.spreads, strict=True)
    spreads = [by_measure[measure] for study, by_measure in of if study.runs and measure in by_measure]
    label = repeats_text.measure_in_words(measure)
    figure = figures.repeated_runs(runs, spreads, label, _majority(comparison) if measure == "accuracy" else None)
    st.caption("Point: a run. Diamond: the mean, with its SD. Thin lines join runs of one fold and seed.")
    shell.chart(figure, "repeats", alt=f"{label} of {len(runs)} runs of {len(comparison.studies)} studies")


def _majority(comparison: Comparison) -> float | None:
    """Mean share of the largest class; None where the studies have unlike ones."""
    shares = [
        np.mean([run.assessment.majority["test"].value for run in study.runs])
        for study in comparison.studies
        if study.runs
    ]
    return float(shares[0]) if max(shares) - min(shares) < LEVEL else None


def _tables(comparison: Comparison, read: Sequence[str]) -> None:
    st.caption(METHODS)
    table = repeats_tables.study_table(comparison).assign(**{model_audit_panel.HEADING: read})
    view = studies_view(table)
    comparison_tables.show_table(
        view, "repeats", "Studies of repeats", raw=table, pinned="Study", config=model_audit_panel.CONFIG
    )
    if comparison.pairs:
        st.markdown("**Every pair of studies**")
        st.caption(PAIRS_NOTE)
        pairs = repeats_tables.pair_table(comparison)
        comparison_tables.show_table(
            pairs_view(pairs), "repeats-pairs", "Every pair of studies", raw=pairs, pinned="First"
        )
    with st.expander("Every measure", icon=":material/table_rows:"):
        spreads = repeats_tables.spread_table(comparison)
        comparison_tables.show_table(
            spreads_view(spreads), "repeats-measures", "Every measure over the runs", raw=spreads, pinned="Study"
        )


def studies_view(table: pd.DataFrame) -> pd.DataFrame:
    """``repeats_tables.study_table`` and what the models read, as it is shown."""
    done = zip(table["made_of"], table["runs"], table["planned"], strict=True)
    return pd.DataFrame(
        {
            "Study": table["study"],
            "Finished runs": [f"{made_of} ({runs} of {planned} runs)" for made_of, runs, planned in done],
            "Mean accuracy": table["mean"].map(share),
            model_audit_panel.HEADING: table[model_audit_panel.HEADING],
            "SD": table["spread"].map(points),
            "Lowest": table["lowest"].map(share),
            "Highest": table["highest"].map(share),
            "Pooled": _written(interval, table, "pooled", "pooled_low", "pooled_high"),
            "Images pooled": [comparison_tables.UNDEFINED if pd.isna(n) else count(n) for n in table["pooled_images"]],
            "Above majority": _written(points, table, "above_majority", "above_low", "above_high"),
            "p (above majority)": table["p_above"],
        }
    )


def _written(how: Callable[..., str], table: pd.DataFrame, *columns: str) -> list[str]:
    return [how(*numbers) for numbers in table[list(columns)].itertuples(index=False)]


def pairs_view(table: pd.DataFrame) -> pd.DataFrame:
    """``repeats_tables.pair_table`` as it is shown: what is significant, or why it was not tested."""
    tests = table["varied"].map(repeats_text.TESTS)
    return pd.DataFrame(
        {
            "First": table["first"],
            "Second": table["second"],
            "Difference": _written(points, table, "difference", "low", "high"),
            "Verdict": table["p_holm"].map(repeats_text.verdict),
            "p": table["p"],
            "p (Holm)": table["p_holm"],
            "Runs of each": table["runs"],
            "Method": tests.where(table["p"].notna(), comparison_tables.UNDEFINED),
            "Why not": table["reason"],
        }
    )


def spreads_view(table: pd.DataFrame) -> pd.DataFrame:
    """``repeats_tables.spread_table`` as it is shown."""
    return pd.DataFrame(
        {
            "Study": table["study"],
            "Measure": table["measure"].map(repeats_text.measure_in_words),
            "Mean": table["mean"].map(share),
            "SD": table["spread"].map(points),
            "Lowest": table["lowest"].map(share),
            "Highest": table["highest"].map(share),
            "Runs": table["count"],
        }
    )
