"""What the runs say of one image, at which coverage, after which checks, and what they refuse to say; of many images
the work-list, sorted by what needs a look first.

What the numbers are, probabilities where the run is calibrated, else scores, is always said.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import streamlit as st

from covid_core.figures.prediction import score_bars
from covid_core.formatting import plural, probability
from covid_core.inference.assessment import Assessment, Urgency, place, urgency
from covid_core.reports import image_report, prediction_text, run_text
from covid_core.runs.store import Run
from pages.shared import image_results, shell, uploads
from pages.shared.image_results import Entries
from pages.shared.uploads import ImageSource, memory

COVERAGE = "coverage"  # query parameter, in per cent
SLIDER = "predict_coverage"  # session: the same; a key of its own keeps the slider one widget whatever it is set to
USUAL, LEAST, MOST = 90, 70, 99  # per cent
NOT_CALIBRATED = (
    "A score is the model's own number between 0 and 100 %. It is not the probability that the patient has the "
    "disease: it is not calibrated, and it is high for pictures that are no chest image at all."
)
WHERE_IT_HOLDS = (
    "That holds for images like those, in that mix of classes: not for another hospital's, and not for pictures that "
    "are no chest image at all, for which it is high as well."
)
ICONS = {True: ":green[:material/check_circle:]", False: ":red[:material/cancel:]", None: ":gray[:material/help:]"}
FIXED = ("First", "Image", "File", "Why here")  # columns that no run's name may take
OPENED = "predict_opened"  # session: hash of the file whose row was chosen; it stays open when the order changes
ROW_HEIGHT = 56  # pixels: an image of that size shows what it is
GROUPS = {
    Urgency.UNREAD: "could not be read",
    Urgency.REFUSED: "without an answer",
    Urgency.DIFFER: "on which the runs differ",
    Urgency.OPEN: "whose class stays open",
    Urgency.UNCHECKED: "that could not be checked",
    Urgency.DOUBTED: "with a warning",
    Urgency.FINDING: "called something else than normal",
    Urgency.NORMAL: "called normal",
}


def pick_coverage() -> float:
    """How often the set of possible classes has to hold the true one, as a share. It stands in the address."""
    wanted = st.query_params.get(COVERAGE, "")
    if SLIDER not in st.session_state:
        st.session_state[SLIDER] = int(wanted) if wanted.isdecimal() and LEAST <= int(wanted) <= MOST else USUAL
    chosen = st.slider(
        "Coverage",
        LEAST,
        MOST,
        key=SLIDER,
        format="%d %%",
        help="Of images like the validation images, so many get a set of classes that holds the true one. The more, "
        "the more often several classes stay possible.",
    )
    if chosen != USUAL or wanted:
        st.query_params[COVERAGE] = str(chosen)
    return chosen / 100


def _toggle(refused: tuple[str, str]) -> None:
    """Show the scores of an image in spite of a refusal, or hide them again."""
    anyway = memory("anyway")
    anyway[refused] = not anyway.get(refused, False)


def unread(name: str, reason: str) -> None:
    """An image that was not read faithfully: the reason, and no scores for it."""
    st.markdown(f"### {prediction_text.NO_ANSWER}")
    st.error(f"**{shell.plain(name)}**: {shell.plain(reason)}", icon=":material/block:")


def headline(assessments: Sequence[Assessment], key: str) -> list[Assessment]:
    """The answer in a few words, the figures under it, and what to beware of.

    Returns the assessments, with the numbers of runs that refuse the image where these are wanted anyway.
    """
    refused = key, prediction_text.refusal(assessments)  # whoever has read one refusal has not read another run's
    anyway = memory("anyway").get(refused, False)
    shown = [replace(one, anyway=anyway) for one in assessments]
    answer, figures = prediction_text.verdict(shown)
    st.markdown(f"### {shell.plain(answer)}")
    if figures:
        st.markdown(shell.plain(figures))
    for warning in shown[0].warnings:
        st.warning(shell.plain(warning), icon=":material/warning:")
    if anyway:
        st.warning(
            f"{shell.plain(prediction_text.although(shown))} These numbers mean nothing unless you know better.",
            icon=":material/visibility:",
        )
        st.button("Hide the scores again", on_click=_toggle, args=(refused,), icon=":material/visibility_off:")
    elif refused[1]:
        st.button(
            "Show the scores anyway",
            on_click=_toggle,
            args=(refused,),
            icon=":material/visibility:",
            help="The runs were not made for such a picture; their scores can be high and mean nothing.",
        )
    return shown


def checks(assessments: Sequence[Assessment]) -> None:
    """What was checked before the answer, in its order, each with its figure."""
    with st.container(border=True):
        st.markdown("**Before the answer**")
        read = "; ".join(assessments[0].image.notes)
        st.markdown(f"{ICONS[True]} The image was read faithfully{shell.plain(f': {read}' if read else '')}.")
        for one in assessments:
            name = f"{one.run}: " if len(assessments) > 1 else ""
            for check in one.checks:
                question = f"{check.name.capitalize()}? " if check.passed is None else ""
                text = f"{name}{question}{prediction_text.check(check)}"
                st.markdown(f"{ICONS[check.passed]} {shell.plain(text)}")


def numbers(answers: Sequence[tuple[Run, Assessment]]) -> None:
    """Probabilities or scores per class for every run that answers, and which of the two they are."""
    classes = list(dict.fromkeys(label for run, _ in answers for label in run.classes))
    bars = {one.run: one.by_class(one.numbers) for _, one in answers}
    scales = {one.run: one.scale for _, one in answers}
    alt = "; ".join(f"{scale} of every class by {name}" for name, scale in scales.items())
    shell.chart(score_bars(bars, classes, scales), "scores", alt=alt)
    for run, one in answers:
        st.caption(shell.plain(_of(one, answers) + image_results.sets_in_words(run, one)))
    scored = [f"{_of(one, answers)}{one.calibration.note}" for _, one in answers if not one.calibration.is_defined]
    fitted = [f"{_of(one, answers)}{_fitted(run, one)}" for run, one in answers if one.calibration.is_defined]
    if fitted:
        st.caption(
            "Probability: of images that get 80 %, about 80 % are what they are called. "
            f"{shell.plain(' '.join(fitted))} {WHERE_IT_HOLDS}"
        )
    if scored:
        st.caption(f"{NOT_CALIBRATED} {shell.plain(' '.join(scored))}")


def _of(one: Assessment, answers: Sequence[tuple[Run, Assessment]]) -> str:
    return f"{one.run}: " if len(answers) > 1 else ""


def _fitted(run: Run, one: Assessment) -> str:
    images = run_text.calibration_images(run, one.calibration)
    return f"Temperature {one.calibration.temperature:.2f}, fitted on {images}."


def numbers_table(assessments: Sequence[Assessment]) -> None:
    """Probability and uncalibrated score of every class, folded up; nothing where there are scores only."""
    if not any(one.calibration.is_defined for one in assessments):
        return
    rows = [
        {
            "Run": one.run,
            "Class": label,
            "Probability": "not calibrated" if one.probabilities is None else probability(one.probabilities[k]),
            "Score": probability(one.scores[k]),
        }
        for one in assessments
        for k, label in enumerate(one.classes)
    ]
    table = pd.DataFrame(rows).drop(columns=[] if len(assessments) > 1 else ["Run"])
    with st.expander("Scores before calibration", icon=":material/table:"):
        shell.table(table, "scores-and-probabilities", alt="Probability and score of every class")


def agreement(assessments: Sequence[Assessment]) -> None:
    """All runs side by side: answer, probability or score, failed check."""
    st.markdown("**Run by run**")
    rows = [
        {
            "Run": one.run,
            "Answer": prediction_text.in_short(one),
            "Highest": prediction_text.highest(one) if one.has_answer else "–",
            "Failed check": one.refused_by.name if one.refused_by else "none",
        }
        for one in assessments
    ]
    shell.table(pd.DataFrame(rows), "runs-on-this-image")


def report_button(answers: Sequence[tuple[Run, Assessment]], source: ImageSource) -> None:
    """Download the report of the image; it is made when it is asked for."""
    st.download_button(
        "Report of this image",
        lambda: image_report.to_html(
            answers, lambda run: image_results.lungs(run, source), image_results.map_check
        ).encode(),
        image_report.file_name(answers[0][1].image),
        "text/html",
        icon=":material/lab_profile:",
        help="One page with the image, the heat maps, the answers, the checks and the limits. It holds no file name "
        "and no tag of the file.",
    )


def pick_image(sources: Sequence[ImageSource], entries: Entries) -> ImageSource | None:
    """The list; a row opens the image."""
    sources = sorted(sources, key=lambda source: place(entries[source.key]))
    order = [entries[source.key] for source in sources]
    st.markdown(f"**{plural(len(sources), 'image')}**, what needs a look first on top: {_summary(order)}.")
    frame = worklist(order, [uploads.memory("miniatures").get(source.key) for source in sources])
    names = [uploads.file_of(source) for source in sources]
    opened = st.session_state.get(OPENED)
    selection = shell.table(
        frame,
        "work-list",
        downloaded=frame.drop(columns="Image"),
        on_select="rerun",
        selection_mode="single-row",
        key=f"answers-{hash(tuple(names))}",  # a choice is a row, and another order has another image in it
        selection_default={"selection": {"rows": [names.index(opened)] if opened in names else []}},
        row_height=ROW_HEIGHT,
        column_config={
            "First": st.column_config.NumberColumn(width=45),
            "Image": st.column_config.ImageColumn(width=70),
            "Why here": st.column_config.TextColumn(width="large"),
        },
    )
    st.caption("Choose a row to see the image, the reasons and the scores.")
    rows = selection.selection.rows
    st.session_state[OPENED] = names[rows[0]] if rows else None
    return sources[rows[0]] if rows else None


def _summary(order: Sequence[Sequence[Assessment]]) -> str:
    """How many images there are of each urgency: ``1 could not be read, 2 with a warning``."""
    counts = Counter(sorted(map(urgency, order)))
    return ", ".join(f"{images} {GROUPS[urgency]}" for urgency, images in counts.items())


def worklist(order: Sequence[Sequence[Assessment]], pictures: Sequence[str | None]) -> pd.DataFrame:
    """One row per image: its picture, file, why it stands there, and what every run says."""
    rows = []
    for number, (entry, picture) in enumerate(zip(order, pictures, strict=True), 1):
        why = prediction_text.urgent_because(entry) or f"It was {GROUPS[urgency(entry)]}."
        row = {"First": number, "Image": picture, "File": entry[0].name, "Why here": why}
        for one in [one for one in entry if not one.error]:
            column = one.run if one.run not in FIXED else f"{one.run} (run)"
            row[column if len(entry) > 1 else "Answer"] = prediction_text.in_short(one)
            if one.has_answer:
                name = f"{one.run}, {one.scale}" if len(entry) > 1 else one.scale.capitalize()
                row[name] = probability(one.by_class(one.numbers)[one.label])
        rows.append(row)
    return pd.DataFrame(rows)
