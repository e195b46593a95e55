"""Runs that toss a coin for each patient, a hundred for every day and more in tests/soak: how often they look good."""

import numpy as np
import pandas as pd
from made_runs import answered

from covid_core.evaluation import assessment
from covid_core.evaluation.assessment import assess


def of_patients(seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """A run that tosses a coin for each of 40 validation and 40 test patients, who have ten images each."""
    rng = np.random.default_rng(seed)
    parts = [
        answered(np.repeat(["A", "B"] * 20, 10), np.repeat(rng.choice(["A", "B"], 40), 10), part)
        for part in ("validation", "test")
    ]
    table = pd.concat(parts)
    return table, pd.Series(np.repeat(np.arange(80), 10), index=table["image_id"])


def no_more_false_alarms_than_the_level_says(trials: int) -> None:
    """Counted as 400 images, the coin would beat the majority class, and test differ from validation, far too often."""
    together, naive = [], []
    for seed in range(trials):
        table, groups = of_patients(seed)
        together.append(assess(table, groups=groups, intervals=False))
        naive.append(assess(table, intervals=False))
    assert 0.01 <= np.mean([assessment.beats_majority(one) for one in together]) <= 0.08
    assert np.mean([one.p_parts <= assessment.ALPHA for one in together]) <= 0.08
    assert np.mean([one.test.low <= 0.5 <= one.test.high for one in together]) >= 0.92
    assert np.mean([assessment.beats_majority(one) for one in naive]) > 0.2
    assert np.mean([one.p_parts <= assessment.ALPHA for one in naive]) > 0.3
    assert all(one.test == one.tested.overall["accuracy"] for one in together)
