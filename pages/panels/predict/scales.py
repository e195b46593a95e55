"""What the numbers of a prediction are: probabilities where the run is calibrated, else scores; always said which."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from covid_core.formatting import probability
from covid_core.inference.prediction import Prediction
from covid_core.reports import run_text
from covid_core.runs.store import Run
from pages.shared import shell

NOT_CALIBRATED = (
    "A score is the model's own number between 0 and 100 %. It is not the probability that the patient has the "
    "disease: it is not calibrated, and it is high for pictures that are no chest image at all."
)
WHERE_IT_HOLDS = (
    "That holds for images like those, in that mix of classes: not for another hospital's, and not for pictures that "
    "are no chest image at all, for which it is high as well."
)


def explain(runs: Sequence[Run], given: Mapping[str, Prediction]) -> None:
    """What the numbers of each run mean; ``given`` has a prediction of every run by its name, in order."""
    scored = [f"{_of(name, given)}{one.calibration.note}" for name, one in given.items() if not one.is_calibrated]
    fitted = [
        f"{_of(name, given)}{_fitted(run, one)}"
        for run, (name, one) in zip(runs, given.items(), strict=True)
        if one.is_calibrated
    ]
    if fitted:
        st.caption(
            "Probability: of images that get 80 %, about 80 % are what they are called. "
            f"{shell.plain(' '.join(fitted))} {WHERE_IT_HOLDS}"
        )
    if scored:
        st.caption(f"{NOT_CALIBRATED} {shell.plain(' '.join(scored))}")


def show_numbers(given: Mapping[str, Prediction]) -> None:
    """Probability and uncalibrated score of every class, folded up; nothing where there are scores only."""
    if any(one.is_calibrated for one in given.values()):
        table = _numbers(given)
        if len(given) == 1:
            table = table.drop(columns="Run")
        with st.expander("Scores before calibration", icon=":material/table:"):
            shell.table(table, "scores-and-probabilities", alt="Probability and score of every class")


def _of(name: str, given: Mapping[str, Prediction]) -> str:
    return f"{name}: " if len(given) > 1 else ""


def _fitted(run: Run, prediction: Prediction) -> str:
    images = run_text.calibration_images(run, prediction.calibration)
    return f"Temperature {prediction.calibration.temperature:.2f}, fitted on {images}."


def _numbers(given: Mapping[str, Prediction]) -> pd.DataFrame:
    rows = [
        {
            "Run": name,
            "Class": label,
            "Probability": probability(one.by_class(one.probabilities)[label])
            if one.is_calibrated
            else "not calibrated",
            "Score": probability(score),
        }
        for name, one in given.items()
        for label, score in one.by_class(one.scores).items()
    ]
    return pd.DataFrame(rows)
