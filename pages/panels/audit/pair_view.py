"""Two images side by side with the picture of their difference, and the list of pairs that they come from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.audit.duplicates import duplicate_pairs
from covid_core.data import summary
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import decode_rows
from covid_core.images.codec import png_bytes
from pages.shared import shell

PAIR = "pair"  # query parameter: the two images that are side by side
BETWEEN = "|"  # their ids in the address
SIDE = 256  # pixels of the difference picture
NAMES = {
    "first": "First image",
    "first_label": "Its class",
    "second": "Second image",
    "second_label": "Its class there",
    "kind": "Kind",
    "detail": "Agreement of detail",
    "conflict": "Classes differ",
}


@dataclass(frozen=True)
class Sides:
    """The data sets that the two images of a pair are from; within one data set both are the same."""

    first: Dataset
    second: Dataset

    @property
    def is_one(self) -> bool:
        return self.first.id == self.second.id

    def of(self, side: str) -> Dataset:
        return self.first if side == "first" else self.second


def show(pairs: pd.DataFrame, sides: Sides, key: str, actions: Callable[[pd.Series], None] | None = None) -> None:
    """One pair after the other, the list below.

    Args:
        pairs: rows of ``copies.within`` or ``copies.between``, in the order in which they are to be looked at.
        sides: where the images are from.
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
        row = pairs.iloc[place]
        with shell.errors_shown():
            _pictures(row, sides)
        if actions is not None:
            actions(row)
    _list(pairs, names, key)


def _steps(names: list[str], place: int, key: str) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**Pair {place + 1:,} of {len(names):,}**", width="content")
        with st.container(horizontal=True, width="content"):
            for label, icon, other in (
                ("Previous", ":material/arrow_back:", place - 1),
                ("Next", ":material/arrow_forward:", place + 1),
            ):
                exists = 0 <= other < len(names)
                target = (names[other] if exists else "",)
                st.button(
                    label,
                    icon=icon,
                    key=f"{key}-{label}",
                    disabled=not exists,
                    on_click=_open,
                    args=target,
                )


def _open(name: str) -> None:
    st.query_params[PAIR] = name


def _pictures(row: pd.Series, sides: Sides) -> None:
    """First image, second image, difference; a line under each."""
    with st.grid(3, min_column_width=140, gap="small") as grid:
        for side in ("first", "second"):
            dataset, name = sides.of(side), row[side]
            at = dataset.row_of(name)
            with grid.cell().container():
                view = summary.image_view(dataset, at)
                label = row[f"{side}_label"]
                st.image(view.content, width="stretch", alt=f"Image {name}, labelled {label}")
                where = "" if sides.is_one else f"{dataset.name}: "
                st.markdown(f"{shell.plain(where + name)}  \n**{shell.plain(label)}**{_part(row, side)}")
        with grid.cell().container():
            st.image(_difference(row, sides), width="stretch", alt="Difference of the two images, grey where none is")
            st.markdown(_in_words(row, sides.is_one))


def _part(row: pd.Series, side: str) -> str:
    part = row.get(f"{side}_part", "")
    return f", {part} part" if part else ""


def _difference(row: pd.Series, sides: Sides) -> bytes:
    images = [decode_rows(sides.of(side), [sides.of(side).row_of(row[side])], SIDE)[0] for side in ("first", "second")]
    if row["mirrored"]:
        images[1] = np.ascontiguousarray(images[1][:, ::-1])
    return png_bytes(duplicate_pairs.difference(*images))


def _in_words(row: pd.Series, is_one: bool) -> str:
    kind = "Equal files, byte by byte."
    if row["kind"] != duplicate_pairs.EXACT:
        kind = f"The same picture, in two files. Fine detail agrees to {row['detail']:.3f} (1 is perfect)."
    mirrored = " The second is mirrored; it is turned back here." if row["mirrored"] else ""
    wrong = "one label is wrong" if is_one else "one label is wrong, or the two sets name a class differently"
    conflict = f" **Their classes differ: {wrong}.**" if row["conflict"] else ""
    caption = (
        "Difference, the second laid over the first: grey is none, white is where the first is brighter, black the"
    )
    return f"{caption} second. {kind}{mirrored}{conflict}"


def _list(pairs: pd.DataFrame, names: list[str], key: str) -> None:
    """All pairs; a row opens its pair."""
    columns = [name for name in NAMES if name in pairs]
    parts = [name for name in duplicate_pairs.PARTS if (pairs[name] != "").any()]
    shown = pairs[[*columns, *parts]].assign(detail=pairs["detail"].round(3))
    heads = {**NAMES, duplicate_pairs.PARTS[0]: "Part of the first", duplicate_pairs.PARTS[1]: "Part of the second"}
    with st.expander("All of them as a table", icon=":material/table:"):
        chosen = shell.table(
            shown.rename(columns={name: heads[name] for name in shown}),
            f"pairs-{key}",
            pairs,
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
