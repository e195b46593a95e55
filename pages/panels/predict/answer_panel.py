"""The answer to one image: what the runs say, at which coverage, after which checks, and what they refuse to say."""

from collections.abc import Iterable, Sequence

import pandas as pd
import streamlit as st

from covid_core.figures.prediction import score_bars
from covid_core.formatting import probability
from covid_core.images.codec import GreyImage
from covid_core.inference.prediction import Check
from covid_core.inference.worklist import Opinion
from covid_core.reports import prediction_text
from covid_core.runs.store import Run
from pages.panels.predict import scales
from pages.shared import image_results, shell

COVERAGE = "coverage"  # query parameter, in per cent
SLIDER = "predict_coverage"  # session: the same; a key of its own keeps the slider one widget whatever it is set to
USUAL, LEAST, MOST = 90, 70, 99  # per cent
ANYWAY = "predict_anyway"  # session: images (their keys) and refusals in spite of which scores are shown
ICONS = {True: ":green[:material/check_circle:]", False: ":red[:material/cancel:]", None: ":gray[:material/help:]"}


def pick_coverage() -> float:
    """How often the set of possible classes has to hold the true one, as a share. It stands in the address."""
    asked = st.query_params.get(COVERAGE, "")
    if SLIDER not in st.session_state:
        st.session_state[SLIDER] = int(asked) if asked.isdecimal() and LEAST <= int(asked) <= MOST else USUAL
    chosen = st.slider(
        "Coverage",
        LEAST,
        MOST,
        key=SLIDER,
        format="%d %%",
        help="Of images like the validation images, so many get a set of classes that holds the true one. The more, "
        "the more often several classes stay possible.",
    )
    if chosen != USUAL or asked:
        st.query_params[COVERAGE] = str(chosen)
    return chosen / 100


def forget_all_but(keys: Iterable[str]) -> None:
    """Of other images nobody has asked for anything."""
    if ANYWAY in st.session_state:
        st.session_state[ANYWAY] = {one for one in st.session_state[ANYWAY] if one[0] in set(keys)}


def _show_anyway(asked: tuple[str, str]) -> None:
    st.session_state.setdefault(ANYWAY, set()).add(asked)


def _hide_again(asked: tuple[str, str]) -> None:
    st.session_state.get(ANYWAY, set()).discard(asked)


def unread(name: str, reason: str) -> None:
    """An image that was not read faithfully: the reason, and no scores for it."""
    st.markdown(f"### {prediction_text.NO_ANSWER}")
    st.error(f"**{shell.plain(name)}**: {shell.plain(reason)}", icon=":material/block:")


def headline(opinions: Sequence[Opinion], image: GreyImage, key: str) -> bool:
    """The answer in a few words, the figures under it, and what to beware of.

    Returns whether the numbers of runs that refuse the image are to be shown, too.
    """
    refused = prediction_text.although(opinions)
    asked = key, refused  # whoever has read one refusal has not read another run's
    anyway = bool(refused) and asked in st.session_state.get(ANYWAY, set())
    told = prediction_text.said(opinions, anyway)
    st.markdown(f"### {shell.plain(told.answer)}")
    if told.figures:
        st.markdown(shell.plain(told.figures))
    for warning in image.warnings:
        st.warning(shell.plain(warning), icon=":material/warning:")
    if refused and anyway:
        st.warning(
            f"{shell.plain(refused)} These numbers mean nothing unless you know better.", icon=":material/visibility:"
        )
        st.button("Hide the scores again", on_click=_hide_again, args=(asked,), icon=":material/visibility_off:")
    elif refused:
        st.button(
            "Show the scores anyway",
            on_click=_show_anyway,
            args=(asked,),
            icon=":material/visibility:",
            help="The runs were not made for such a picture; their scores can be high and mean nothing.",
        )
    return anyway


def checks(opinions: Sequence[Opinion], image: GreyImage) -> None:
    """What was asked before the answer, in its order, each with its figure."""
    with st.container(border=True):
        st.markdown("**Before the answer**")
        read = "; ".join(image.notes)
        st.markdown(f"{ICONS[True]} The image was read faithfully{shell.plain(f': {read}' if read else '')}.")
        for opinion in opinions:
            name = f"{opinion.run}: " if len(opinions) > 1 else ""
            for check in opinion.look.checks:
                st.markdown(f"{ICONS[check.passed]} {shell.plain(name + _text_of(check))}")


def _text_of(check: Check) -> str:
    """The check's sentence; of one that could not be made, what it would have asked too."""
    return check.text if check.passed is not None else f"{check.name.capitalize()}? {check.text}"


def numbers(heard: Sequence[tuple[Run, Opinion]]) -> None:
    """Probabilities or scores per class for every run that answers, and which of the two they are."""
    given = {opinion.run: opinion.look.prediction for _, opinion in heard}
    classes = list(dict.fromkeys(label for run, _ in heard for label in run.classes))
    bars = {name: one.by_class(one.best_known) for name, one in given.items()}
    called = {name: prediction_text.scale_of(one) for name, one in given.items()}
    alt = "; ".join(f"{scale} of every class by {name}" for name, scale in called.items())
    shell.chart(score_bars(bars, classes, called), "scores", alt=alt)
    for run, opinion in heard:
        who = f"{opinion.run}: " if len(heard) > 1 else ""
        st.caption(shell.plain(who + image_results.sets_in_words(run, opinion)))
    scales.explain([run for run, _ in heard], given)


def agreement(opinions: Sequence[Opinion], anyway: bool) -> None:
    """All runs side by side."""
    st.markdown("**Run by run**")
    shell.table(table(opinions, anyway), "runs-on-this-image")


def table(opinions: Sequence[Opinion], anyway: bool) -> pd.DataFrame:
    """One row per run: its answer, its probability or score, what it refused."""
    return pd.DataFrame(
        [
            {
                "Run": opinion.run,
                "Answer": answer_of(opinion, anyway),
                "Highest": _highest(opinion) if anyway or not opinion.look.refused_by else "–",
                "Failed check": opinion.look.refused_by.name if opinion.look.refused_by else "none",
            }
            for opinion in opinions
        ]
    )


def answer_of(opinion: Opinion, anyway: bool = False) -> str:
    """A run's answer for a cell: classes that stay possible, or that it does not answer."""
    if opinion.look.refused_by and not anyway:
        return "no answer"
    return opinion.in_short


def _highest(opinion: Opinion) -> str:
    prediction = opinion.look.prediction
    value = probability(float(prediction.best_known.max()))
    return f"{prediction.predicted}, {prediction_text.scale_of(prediction)} {value}"
