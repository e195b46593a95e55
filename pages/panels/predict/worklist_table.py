"""Many images at once: the work-list, sorted by what needs a look first, and its download."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from covid_core.formatting import plural, probability
from covid_core.inference import worklist
from covid_core.inference.worklist import Entry, Urgency
from covid_core.reports import prediction_text
from pages.panels.predict import answer_panel
from pages.shared import shell, uploads
from pages.shared.uploads import Given

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


def pick(given: Sequence[Given], entries: Sequence[Entry]) -> Given | None:
    """The list; a row opens the image."""
    by_entry = dict(zip(map(id, entries), given, strict=True))
    order = worklist.ordered(entries)
    images_in_order = [by_entry[id(entry)] for entry in order]
    st.markdown(f"**{plural(len(given), 'image')}**, what needs a look first on top: {summary(order)}.")
    frame = table(order, [uploads.miniature(image) for image in images_in_order])
    names = [uploads.file_of(image) for image in images_in_order]
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
    return images_in_order[rows[0]] if rows else None


def summary(entries: Sequence[Entry]) -> str:
    """How many images there are of each urgency: ``1 could not be read, 2 with a warning``."""
    counts = pd.Series([entry.urgency for entry in entries]).value_counts().sort_index()
    return ", ".join(f"{images} {GROUPS[Urgency(urgency)]}" for urgency, images in counts.items())


def table(entries: Sequence[Entry], pictures: Sequence[str | None]) -> pd.DataFrame:
    """One row per image: its picture, file, why it stands there, and what every run says."""
    rows = []
    for place, (entry, picture) in enumerate(zip(entries, pictures, strict=True), 1):
        row = {"First": place, "Image": picture, "File": entry.name, "Why here": _why(entry)}
        for opinion in entry.opinions:
            prediction, several = opinion.look.prediction, len(entry.opinions) > 1
            scale = prediction_text.scale_of(prediction)
            column = opinion.run if opinion.run not in FIXED else f"{opinion.run} (run)"
            row[column if several else "Answer"] = answer_panel.answer_of(opinion)
            if not opinion.look.refused_by:
                name = f"{opinion.run}, {scale}" if several else scale.capitalize()
                row[name] = probability(opinion.height)
        rows.append(row)
    return pd.DataFrame(rows)


def _why(entry: Entry) -> str:
    return entry.why or f"It was {GROUPS[entry.urgency]}."
