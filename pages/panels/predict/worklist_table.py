"""Many images at once: the work-list, sorted by what needs a look first, and its download."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from covid_core.formatting import plural, probability
from covid_core.inference.assessment import Assessment, Urgency, place, urgency
from covid_core.reports import prediction_text
from pages.shared import shell, uploads
from pages.shared.image_results import Entries
from pages.shared.uploads import ImageSource

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


def pick(sources: Sequence[ImageSource], entries: Entries) -> ImageSource | None:
    """The list; a row opens the image."""
    sources = sorted(sources, key=lambda source: place(entries[source.key]))
    order = [entries[source.key] for source in sources]
    st.markdown(f"**{plural(len(sources), 'image')}**, what needs a look first on top: {summary(order)}.")
    frame = table(order, [uploads.memory("miniatures").get(source.key) for source in sources])
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


def summary(order: Sequence[Sequence[Assessment]]) -> str:
    """How many images there are of each urgency: ``1 could not be read, 2 with a warning``."""
    counts = Counter(sorted(map(urgency, order)))
    return ", ".join(f"{images} {GROUPS[urgency]}" for urgency, images in counts.items())


def table(order: Sequence[Sequence[Assessment]], pictures: Sequence[str | None]) -> pd.DataFrame:
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
