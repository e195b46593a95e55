"""The prediction of runs for one image, at which coverage, after which checks, or why there is none; of many images the
work-list, the most urgent first.

What the numbers are, probabilities where the run is calibrated, else scores, is always said.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from covid_core.figures.prediction import score_bars
from covid_core.formatting import decimals, plural, probability, share
from covid_core.images.image import Turn
from covid_core.inference import gate
from covid_core.inference.assessment import Assessment, Urgency, place, urgency, warnings_of
from covid_core.reports import image_report, prediction_text, run_text
from covid_core.reports.evidence_text import EvidenceCheck
from covid_core.runs.store import Run
from pages.shared import image_results, shell, uploads, url_state
from pages.shared.image_results import Entries
from pages.shared.uploads import ImageSource, memory

COVERAGE = "coverage"  # query parameter, in per cent
SLIDER = "predict_coverage"  # session: the same; a key of its own keeps the slider one widget whatever it is set to
LAST_COVERAGE = "predict_last_coverage"  # session: the same, while another page is open
USUAL, LEAST, MOST = 90, 70, 99  # per cent
NOT_CALIBRATED = (
    "A score is the model's softmax output. It is not calibrated: it is not the probability of the disease."
)
WHERE_IT_HOLDS = "This holds only for such images with the same class shares. It does not hold for another hospital."
NOTE_ICONS = {True: ":orange[:material/warning:]", False: ":gray[:material/info:]"}
UPRIGHT_BY = {gate.LEFT: Turn(1), gate.DOWN: Turn(2), gate.RIGHT: Turn(3), gate.INVERTED: Turn(inverted=True)}
ICONS = {True: ":green[:material/check_circle:]", False: ":red[:material/cancel:]", None: ":gray[:material/help:]"}
FIXED = ("First", "Image", "File", "Why here")  # columns that no run's name may take
OPENED = "predict_opened"  # session: hash of the file whose row was chosen; it stays open when the order changes
STEPS = "predict_steps"  # session: how often a button opened another image
LIST_HEIGHT = 176  # pixels: two rows and a half, so that the answer stays above the fold
FILE_WIDTH = 90  # pixels: a long name must not push the answer out of the list
ROW_HEIGHT = 56  # pixels: an image of that size shows what it is
GROUPS = {
    Urgency.UNREAD: "could not be read",
    Urgency.REFUSED: "without an answer",
    Urgency.DIFFER: "on which the runs differ",
    Urgency.OPEN: "whose class stays open",
    Urgency.UNCHECKED: "that could not be checked",
    Urgency.DOUBTED: "with a warning",
    Urgency.FINDING: "predicted as another class than normal",
    Urgency.NORMAL: "predicted as normal",
}


def pick_coverage() -> float:
    """How often the set of possible classes has to hold the true one, as a share. It stands in the address."""
    wanted = st.query_params.get(COVERAGE, "")
    is_back = SLIDER in st.session_state and url_state.is_moved(COVERAGE)
    if SLIDER not in st.session_state or is_back:
        usual = USUAL if is_back else st.session_state.get(LAST_COVERAGE, USUAL)
        st.session_state[SLIDER] = int(wanted) if wanted.isdecimal() and LEAST <= int(wanted) <= MOST else usual
    chosen = st.slider(
        "Coverage",
        LEAST,
        MOST,
        key=SLIDER,
        format="%d %%",
        help="How often the prediction set contains the true class. Higher coverage gives larger sets.",
    )
    st.session_state[LAST_COVERAGE] = chosen
    url_state.write(COVERAGE, "" if chosen == USUAL else str(chosen))
    return chosen / 100


def _toggle(refused: tuple[str, str]) -> None:
    """Show the scores of an image in spite of a refusal, or hide them again."""
    anyway = memory("anyway")
    anyway[refused] = not anyway.get(refused, False)


def unread(name: str, reason: str) -> None:
    """An image that was not read faithfully: the reason, and no scores for it."""
    st.markdown(f"### {prediction_text.NO_ANSWER}")
    st.error(f"**{shell.plain(name)}**: {shell.plain(reason)}", icon=":material/block:")


def headline(
    assessments: Sequence[Assessment], source: ImageSource, evidence: Sequence[EvidenceCheck]
) -> tuple[list[Assessment], DeltaGenerator]:
    """The answer in a few words, the figures under it, and what to beware of.

    Returns the assessments, with the numbers of runs that refuse the image where these are wanted anyway, and the place
    of the notes, to be filled again by ``show_notes``.
    """
    refused = (
        source.key,
        prediction_text.refusal(assessments),
    )  # whoever has read one refusal has not read another run's
    anyway = memory("anyway").get(refused, False)
    shown = [replace(one, anyway=anyway) for one in assessments]
    answer, figures = prediction_text.verdict(shown)
    st.markdown(f"### {shell.plain(answer)}")
    if anyway:
        st.warning(
            f"Do not rely on these numbers. {shell.plain(prediction_text.although(shown))}",
            icon=":material/visibility:",
        )
    if figures:
        st.markdown(shell.plain(figures))
    for warning in warnings_of(shown):
        st.warning(shell.plain(warning), icon=":material/warning:")
    notes = st.empty()
    show_notes(notes, shown, evidence)
    if anyway:
        st.button("Hide the scores again", on_click=_toggle, args=(refused,), icon=":material/visibility_off:")
    elif refused[1]:
        st.button(
            "Show the scores anyway",
            on_click=_toggle,
            args=(refused,),
            icon=":material/visibility:",
            help="The runs were not trained for such images. Their scores can be high and mean nothing.",
        )
    turn = turns_upright(shown)
    if turn:
        label = "Invert it and read it again" if turn.inverted else "Turn it and read it again"
        st.button(label, on_click=uploads.turn, args=(source, turn), icon=":material/rotate_right:", type="primary")
    if uploads.turn_of(source) != Turn():
        st.button("Read it as the file holds it", on_click=uploads.forget_turn, args=(source,))
    return shown, notes


def turns_upright(assessments: Sequence[Assessment]) -> Turn | None:
    """What puts an image right that looks like a chest image read another way."""
    readings = [one.refused_by.reading for one in assessments if one.refused_by]
    return next((UPRIGHT_BY[reading] for reading in readings if reading in UPRIGHT_BY), None)


def show_notes(notes: DeltaGenerator, assessments: Sequence[Assessment], evidence: Sequence[EvidenceCheck]) -> None:
    """What has to stand beside the answer, as far as it is there by now."""
    lines = [
        f"{NOTE_ICONS[note.is_warning]} {shell.plain(note.text)}"
        for note in prediction_text.notes(assessments, evidence)
    ]
    notes.markdown("  \n".join(lines))


def checks(assessments: Sequence[Assessment]) -> None:
    """What was checked before the answer, in its order, each with its figure."""
    with st.container(border=True):
        st.markdown("**Checks before the answer**")
        read = "; ".join(assessments[0].image.notes)
        st.markdown(f"{ICONS[True]} The image was read faithfully{shell.plain(f': {read}' if read else '')}.")
        for text, passed in prediction_text.checks(assessments):
            st.markdown(f"{ICONS[passed]} {shell.plain(text)}")


def numbers(answers: Sequence[tuple[Run, Assessment]]) -> None:
    """Probabilities or scores per class for every run that answers, and which of the two they are."""
    classes = list(dict.fromkeys(label for run, _ in answers for label in run.classes))
    bars = {one.run: one.by_class(one.numbers) for _, one in answers}
    scales = {one.run: one.scale for _, one in answers}
    alt = "; ".join(f"{scale} of every class by {name}" for name, scale in scales.items())
    caption = alt[:1].upper() + alt[1:]
    shell.chart(score_bars(bars, classes, scales), "scores", alt=alt, title="Classes of the image", caption=caption)
    for run, one in answers:
        st.caption(shell.plain(_of(one, answers) + image_results.sets_in_words(run, one)))
    scored = [f"{_of(one, answers)}{one.calibration.note}" for _, one in answers if not one.calibration.is_defined]
    fitted = [f"{_of(one, answers)}{_fitted(run, one)}" for run, one in answers if one.calibration.is_defined]
    if fitted:
        st.caption(
            "Probability: of images with 80 %, about 80 % have that class. "
            f"{shell.plain(' '.join(fitted))} {WHERE_IT_HOLDS}"
        )
    if scored:
        st.caption(f"{NOT_CALIBRATED} {shell.plain(' '.join(scored))}")


def _of(one: Assessment, answers: Sequence[tuple[Run, Assessment]]) -> str:
    return f"{one.run}: " if len(answers) > 1 else ""


def _fitted(run: Run, one: Assessment) -> str:
    images = run_text.calibration_images(run, one.calibration)
    return f"Temperature {decimals(one.calibration.temperature, 2)}, fitted on {images}."


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
    st.markdown("**Runs**")
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
        help="One page with image, heat maps, predictions, checks and limits. It holds no file name and no tag.",
    )


def pick_image(sources: Sequence[ImageSource], entries: Entries) -> ImageSource:
    """The list, and the image that is open: the most urgent one, until a row, a button or a key opens another."""
    sources = sorted(sources, key=lambda source: place(entries[source.key]))
    order = [entries[source.key] for source in sources]
    st.caption(f"**{plural(len(sources), 'image')}**, most urgent first: {_summary(order)}.")
    frame = worklist(order, [uploads.memory("miniatures").get(source.key) for source in sources])
    names = [source.file for source in sources]
    opened = st.session_state.get(OPENED)
    position = names.index(opened) if opened in names else 0
    order_key = f"{hash(tuple(names))}-{st.session_state.get(STEPS, 0)}"  # another order has another image in a row
    selection = shell.table(
        frame,
        "work-list",
        downloaded=frame.drop(columns="Image").assign(**_origin(order)),
        on_select="rerun",
        selection_mode="single-row",
        key=f"answers-{order_key}",
        selection_default={"selection": {"rows": [position]}},
        row_height=ROW_HEIGHT,
        height=LIST_HEIGHT,
        column_order=["Image", "File", *frame.columns.drop(["First", "Image", "File", "Why here"]), "Why here"],
        column_config={
            "Image": st.column_config.ImageColumn(width=70),
            "File": st.column_config.TextColumn(width=FILE_WIDTH),
            "Why here": st.column_config.TextColumn(width="large"),
        },
    )
    rows: list[int] = selection.selection.rows
    shown = rows[0] if rows else position
    st.session_state[OPENED] = names[shown]
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, key, step in (("Previous", "p", -1), ("Next", "n", 1)):
            target = shown + step
            st.button(
                label,
                key=f"worklist-{key}",
                shortcut=key,
                disabled=not 0 <= target < len(names),
                on_click=_open,
                args=(names[target % len(names)],),
            )
        st.caption(f"Image {shown + 1} of {len(names)}: {shell.plain(sources[shown].name)}")
    return sources[shown]


def _origin(order: Sequence[Sequence[Assessment]]) -> dict[str, str]:
    """What a list has to hold that is read without its page: the runs, and the coverage of their prediction sets."""
    runs = ", ".join(one.run for one in order[0])
    return {"Predicted by": runs, "Coverage": share(order[0][0].coverage, 0)}


def _open(file: str) -> None:
    """Open another image of the list; the table takes its choice from ``OPENED`` under a new key."""
    st.session_state[OPENED] = file
    st.session_state[STEPS] = st.session_state.get(STEPS, 0) + 1


def _summary(order: Sequence[Sequence[Assessment]]) -> str:
    """How many images there are of each urgency: ``1 could not be read, 2 with a warning``."""
    counts = Counter(sorted(map(urgency, order)))
    return ", ".join(f"{images} {GROUPS[urgency]}" for urgency, images in counts.items())


def worklist(order: Sequence[Sequence[Assessment]], pictures: Sequence[str | None]) -> pd.DataFrame:
    """One row per image: its picture, file, why it stands there, and what every run says."""
    rows = []
    for number, (entry, picture) in enumerate(zip(order, pictures, strict=True), 1):
        why = prediction_text.urgent_because(entry) or f"{GROUPS[urgency(entry)].capitalize()}."
        learned = next(
            (note for one in entry if (note := prediction_text.training_note(one)) and note.is_warning), None
        )
        why = f"{why} {learned.text}" if learned else why
        row = {"First": number, "Image": picture, "File": entry[0].name, "Why here": why}
        for one in [one for one in entry if not one.error]:
            column = one.run if one.run not in FIXED else f"{one.run} (run)"
            row[column if len(entry) > 1 else "Answer"] = prediction_text.in_short(one)
            if one.has_answer:
                number = probability(one.by_class(one.numbers)[one.label])
                cells = {one.scale: f"{number} ({one.label})" if one.is_open else number}  # else whose number it is
                if one.hottest and one.label == one.predicted:  # the map is that of the predicted class
                    cells["hottest place"] = one.hottest.on
                row |= {
                    f"{one.run}, {name}" if len(entry) > 1 else name.capitalize(): cell for name, cell in cells.items()
                }
        rows.append(row)
    return pd.DataFrame(rows)
