"""Studies of repeats as tables for pages, and as plain values for the command line."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from covid_core.evaluation.repeats import (
    Comparison,
    Pooled,
    Tested,
    measures,
    value,
)

SPREAD_COLUMNS = ("study", "measure", "mean", "spread", "lowest", "highest", "count")
RUN_COLUMNS = ("study", "run", "fold", "seed", "images", "measure", "value")
STUDY_COLUMNS = (
    "study",
    "made_of",
    "runs",
    "planned",
    *SPREAD_COLUMNS[2:6],
    "pooled",
    "pooled_low",
    "pooled_high",
    "pooled_images",
    "above_majority",
    "above_low",
    "above_high",
    "p_above",
)
PAIR_COLUMNS = ("first", "second", "runs", "varied", "difference", "low", "high", "spread", "p", "p_holm", "reason")


def study_table(given: Comparison) -> pd.DataFrame:
    """One row per study, columns STUDY_COLUMNS: accuracy over its runs, all folds together, against the majority class.

    ``pooled`` is the mean over seeds; it has bounds where there is one seed. nan where something is undefined.
    """
    rows = []
    for study, found, together, above in zip(given.studies, given.spreads, given.pooled, given.majority, strict=True):
        accuracy = vars(found["accuracy"])
        row = {"study": study.name, "made_of": study.made_of, "runs": len(study.runs), "planned": study.planned}
        rows.append({**row, **accuracy, **_pooled_columns(together), **_above_columns(above)})
    return pd.DataFrame(rows, columns=list(STUDY_COLUMNS))


def _pooled_columns(together: Sequence[Pooled]) -> dict[str, float]:
    if not together:
        return {}
    one = together[0].accuracy
    bounds = {"pooled_low": one.low, "pooled_high": one.high} if len(together) == 1 else {}
    return {"pooled": float(np.mean([each.accuracy.value for each in together])), "pooled_images": one.n, **bounds}


def _above_columns(above: Tested) -> dict[str, float]:
    if above.found is None:
        return {}
    found = above.found
    return {"above_majority": found.mean, "above_low": found.low, "above_high": found.high, "p_above": found.p_above}


def spread_table(given: Comparison) -> pd.DataFrame:
    """One row per study and measure, columns SPREAD_COLUMNS."""
    rows = [
        {"study": study.name, "measure": name, **vars(one)}
        for study, found in zip(given.studies, given.spreads, strict=True)
        for name, one in found.items()
    ]
    return pd.DataFrame(rows, columns=list(SPREAD_COLUMNS))


def run_table(given: Comparison, measure: str) -> pd.DataFrame:
    """One row per run with its value of a measure, columns RUN_COLUMNS; studies that lack the measure are left out.

    Runs with equal ``images`` were tested on the same ones.
    """
    rows = [
        {"study": study.name, "run": run.name, "fold": run.fold, "seed": run.seed}
        | {"images": run.assessment.test_images, "measure": measure, "value": value(run, measure)}
        for study in given.studies
        if measure in measures(study)
        for run in study.runs
    ]
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def pair_table(given: Comparison) -> pd.DataFrame:
    """One row per pair of studies, the one with the higher mean first, columns PAIR_COLUMNS."""
    rows = []
    for (i, j), pair in given.pairs.items():
        row = {"first": given.studies[i].name, "second": given.studies[j].name, "runs": pair.runs}
        row |= {"varied": pair.varied, "reason": pair.reason, "p_holm": pair.p_holm}
        if pair.found is not None:
            found = pair.found
            row |= {"difference": found.mean, "low": found.low, "high": found.high}
            row |= {"spread": found.spread, "p": found.p}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))
