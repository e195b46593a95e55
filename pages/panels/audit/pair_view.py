"""Two images side by side with the picture of their difference, and the list of pairs that they come from."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.audit.duplicates import duplicate_pairs
from covid_core.data import summary
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import decode_rows
from covid_core.formatting import number
from covid_core.images.codec import png_bytes
from pages.shared import shell

PAIR = "pair"  # query parameter: the two images that are side by side
BETWEEN = "|"  # their ids in the address
SIDE = 256  # pixels of the difference picture
SIDES = ("first", "second")
NAMES = {
    "first": "First image",
    "first_label": "Its class",
    "second": "Second image",
    "second_label": "Its class there",
    "kind": "Kind",
    "detail": "Similarity",
    "conflict": "Classes differ",
}

Sides = tuple[Dataset, Dataset]


def show(pairs: pd.DataFrame, datasets: Sides, key: str, actions: Callable[[pd.Series], None]) -> None:
    """One pair after the other, the list below.

    Args:
        pairs: rows of ``duplicate_pairs.within`` or ``between``, in the order in which they are shown.
        datasets: where the first and the second images are from; within one data set both are the same.
        key: tells several viewers of a page apart.
        actions: draws what can be done about a pair.
    """
    names = [f"{row.first}{BETWEEN}{row.second}" for row in pairs.itertuples()]
    wanted = st.query_params.get(PAIR, "")
    place = names.index(wanted) if wanted in names else 0
    if wanted and wanted not in names:
        st.query_params.pop(PAIR)
    with st.container(border=True, key=f"viewer-{key}"):
        _steps(names, place, key)
        with shell.errors_shown():
            _pictures(pairs.iloc[place], datasets)
        actions(pairs.iloc[place])
    _list(pairs, names, key)


def _steps(names: list[str], place: int, key: str) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**Pair {place + 1:,} of {len(names):,}**", width="content")
        with st.container(horizontal=True, width="content"):
            for label, icon, other in (
                ("Previous", ":material/arrow_back:", place - 1),
                ("Next", ":material/arrow_forward:", place + 1),
            ):
                there = 0 <= other < len(names)
                options = {"on_click": _open, "args": (names[other] if there else "",), "disabled": not there}
                st.button(label, icon=icon, key=f"{key}-{label}", **options)


def _open(name: str) -> None:
    st.query_params[PAIR] = name


def _pictures(row: pd.Series, datasets: Sides) -> None:
    """First image, second image, difference; a line under each."""
    is_one = datasets[0].id == datasets[1].id
    with st.grid(3, min_column_width=140, gap="small") as grid:
        for side, dataset in zip(SIDES, datasets, strict=True):
            name, label, part = row[side], row[f"{side}_label"], row.get(f"{side}_part", "")
            with grid.cell().container():
                view = summary.image_view(dataset, dataset.row_of(name))
                st.image(view.content, width="stretch", alt=f"Image {name}, labelled {label}")
                where = "" if is_one else f"{dataset.name}: "
                in_part = f", {part} part" if part else ""
                st.markdown(f"{shell.plain(where + name)}  \n**{shell.plain(label)}**{in_part}")
        with grid.cell().container():
            st.image(_difference(row, datasets), width="stretch", alt="Difference of the two images, grey for none")
            st.markdown(_in_words(row, is_one))


def _difference(row: pd.Series, datasets: Sides) -> bytes:
    sides = zip(SIDES, datasets, strict=True)
    images = [decode_rows(dataset, [dataset.row_of(row[side])], SIDE)[0] for side, dataset in sides]
    if row["mirrored"]:
        images[1] = np.ascontiguousarray(images[1][:, ::-1])
    return png_bytes(duplicate_pairs.difference(*images))


def _in_words(row: pd.Series, is_one: bool) -> str:
    kind = "The two files are equal."
    if row["kind"] != duplicate_pairs.EXACT:
        kind = f"Near-duplicates: the similarity is {number(row['detail'])} (1 is perfect)."
    mirrored = " The second is mirrored; here it is mirrored back." if row["mirrored"] else ""
    wrong = "one label is wrong" if is_one else "one label is wrong, or the data sets name a class differently"
    conflict = f" **Their classes differ: {wrong}.**" if row["conflict"] else ""
    caption = "Difference of the two: grey is none, white is where the first is brighter, black where the second is."
    return f"{kind}{mirrored}{conflict} {caption}"


def _list(pairs: pd.DataFrame, names: list[str], key: str) -> None:
    """All pairs; a row opens its pair."""
    columns = [name for name in NAMES if name in pairs]
    parts = [name for name in duplicate_pairs.PARTS if (pairs[name] != "").any()]
    shown = pairs[[*columns, *parts]]
    heads = {**NAMES, duplicate_pairs.PARTS[0]: "Part of the first", duplicate_pairs.PARTS[1]: "Part of the second"}
    with st.expander("All of them as a table", icon=":material/table:"):
        chosen = shell.table(
            shown.rename(columns={name: heads[name] for name in shown}),
            f"pairs-{key}",
            pairs,
            digits=3,
            on_select="rerun",
            selection_mode="single-row",
            key=f"pairs-table-{key}-{len(pairs)}",
            alt="Pairs of images that show the same picture",
        )
        st.caption("A row that is chosen is shown above.")
        rows = chosen.selection.rows
        last = f"pairs-last-{key}"
        if rows and st.session_state.get(last) != names[rows[0]]:
            st.session_state[last] = names[rows[0]]
            _open(names[rows[0]])
            st.rerun()
