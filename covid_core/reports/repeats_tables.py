"""Studies of repeats as tables; nan where something is undefined."""

import math

import numpy as np
import pandas as pd

from covid_core.evaluation.corrected_tests import Repeated
from covid_core.evaluation.metrics import UNDEFINED
from covid_core.evaluation.repeats import Comparison, measures, value
from covid_core.reports import repeats_text

UNTESTED = Repeated()


def study_table(comparison: Comparison) -> pd.DataFrame:
    """One row per study: its accuracy over runs, all folds together, against the majority baseline.

    Columns study, made_of, runs, planned; mean, spread, lowest, highest; pooled (the mean over seeds), pooled_low and
    pooled_high (where there is one seed), pooled_images; above_majority, above_low, above_high, p_above.
    """
    rows = []
    for study, spreads, pooled, test in zip(
        comparison.studies, comparison.spreads, comparison.pooled, comparison.majority, strict=True
    ):
        accuracy, above = spreads["accuracy"], test.result or UNTESTED
        seeds = [one.accuracy for one in pooled]
        bounded = seeds[0] if len(seeds) == 1 else UNDEFINED
        rows.append(
            {
                "study": study.name,
                "made_of": repeats_text.made_of(study),
                "runs": len(study.runs),
                "planned": study.planned,
                **{name: getattr(accuracy, name) for name in ("mean", "spread", "lowest", "highest")},
                "pooled": float(np.mean([one.value for one in seeds])) if seeds else math.nan,
                "pooled_low": bounded.low,
                "pooled_high": bounded.high,
                "pooled_images": seeds[0].n if seeds else math.nan,
                "above_majority": above.mean,
                "above_low": above.low,
                "above_high": above.high,
                "p_above": above.p_above,
            }
        )
    return pd.DataFrame(rows)


def spread_table(comparison: Comparison) -> pd.DataFrame:
    """One row per study and measure: columns study, measure, mean, spread, lowest, highest, count."""
    of_studies = zip(comparison.studies, comparison.spreads, strict=True)
    return pd.DataFrame(
        [
            {"study": study.name, "measure": name, **vars(one)}
            for study, spreads in of_studies
            for name, one in spreads.items()
        ]
    )


def run_table(comparison: Comparison, measure: str) -> pd.DataFrame:
    """One row per run with its value of a measure; studies that lack the measure are left out.

    Columns study, run, fold, seed, images, measure, value. Runs with equal ``images`` were tested on the same ones.
    """
    rows = [
        {"study": study.name, "run": run.name, "fold": run.fold, "seed": run.seed}
        | {"images": run.assessment.test_images, "measure": measure, "value": value(run, measure)}
        for study in comparison.studies
        if measure in measures(study)
        for run in study.runs
    ]
    return pd.DataFrame(rows)


def pair_table(comparison: Comparison) -> pd.DataFrame:
    """One row per pair of studies, the one with the higher mean first.

    Columns first, second, runs, varied, difference, low, high, spread, p, p_holm, reason.
    """
    rows = []
    for (i, j), pair in comparison.pairs.items():
        first, second, result = comparison.studies[i], comparison.studies[j], pair.result or UNTESTED
        rows.append(
            {
                "first": first.name,
                "second": second.name,
                "runs": pair.runs,
                "varied": pair.varied,
                "difference": result.mean,
                **{name: getattr(result, name) for name in ("low", "high", "spread", "p")},
                "p_holm": pair.p_holm,
                "reason": repeats_text.reason(pair, first, second),
            }
        )
    return pd.DataFrame(rows)
