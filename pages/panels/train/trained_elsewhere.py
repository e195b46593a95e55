"""Models that were trained elsewhere: the split leaves as a table, their scores come back and become a run."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import pandas as pd
import streamlit as st

from covid_core import access
from covid_core.data.dataset import Dataset
from covid_core.data.imports.archives import LARGEST_READ
from covid_core.exchange import predictions
from covid_core.exchange.predictions import SCALES, Matched, Scale
from covid_core.reports import tables
from covid_core.runs import candidates
from covid_core.runs.store import Run
from pages.shared import shell
from pages.shared.run_cache import CachedRun

OWN, BY_NUMBERS = "", ""  # the parts are those of the file; what the scores are is read from it
KINDS = ["csv", "tsv", "txt", "xlsx", "gz"]
MOST_PREVIEWS = 4  # each may be as large as its file


def show(dataset: Dataset, cached: Sequence[CachedRun]) -> None:
    """The split of a run to take away, and the form for scores of the same images."""
    of_dataset = [one.run for one in cached if one.is_usable and one.run.dataset.id == dataset.id]
    runs = {run.id: run for run in sorted(of_dataset, key=lambda run: not run.has_network)}
    st.markdown(
        "Train anywhere, for example in PyTorch, on the split of a run. Then hand in a table with a row per image: "
        "the image's path, file name or SHA-256, and a score for each class. It becomes a run that Compare tests "
        "against others, image by image."
    )
    names = dict(zip(runs, candidates.unique_names(list(runs.values())), strict=True))
    row = st.container(horizontal=True, vertical_alignment="bottom")
    like = row.selectbox(
        "Split",
        [*runs, OWN],
        format_func=lambda run: f"That of {names[run]}" if run else "Parts named in the file, else all test images",
        key=f"elsewhere-like-{dataset.id}",
        width=480,
        help="Runs are compared where they were tested on the same images.",
    )
    if like:
        with row:
            split_button(runs[like], "elsewhere")
    uploaded = st.file_uploader(
        "Predictions (CSV, TSV or XLSX)", type=KINDS, max_upload_size=LARGEST_READ // 2**20, key="elsewhere-file"
    )
    if uploaded is None:
        return
    left, right = st.columns(2)
    title = left.text_input(
        "Name", max_chars=tables.LONGEST_NAME, key="elsewhere-name", placeholder=PurePath(uploaded.name).stem
    )
    scale = right.selectbox(
        "The numbers are",
        [BY_NUMBERS, *SCALES],
        format_func=lambda one: one.capitalize() or "Read from columns and numbers",
        key="elsewhere-scale",
    )
    with shell.errors_shown():
        content = uploaded.getvalue()
        places = {"like": like} if like else {"dataset": dataset.id}
        key = f"{hashlib.sha256(content).hexdigest()} {places} {scale} {title} {uploaded.name} {dataset.version}"
        one = _matched(key, uploaded.name, content, places, title, scale or None)
        st.markdown("\n".join(f"- {shell.plain(sentence)}" for sentence in one.sentences))
        lists(one.facts, "elsewhere")
        right = {"right": access.TRAIN, "key": "elsewhere-go", "type": "primary", "icon": ":material/add:"}
        if shell.button("Add as a run", **right):
            st.switch_page("train.py", query_params={"run": predictions.publish(shell.workspace(), one).id})


@st.cache_resource(max_entries=MOST_PREVIEWS, show_spinner="Matching rows with images")
def _matched(
    key: str, name: str, _content: bytes, _places: Mapping[str, str], title: str, scale: Scale | None
) -> Matched:
    return predictions.matched(shell.workspace(), name, _content, title=title, scale=scale, **_places)


def split_button(run: Run, place: str) -> None:
    """The download of a run's split."""
    st.download_button(
        "Save the split",
        lambda: tables.to_csv(predictions.split_table(run)),
        f"split-{run.id}.csv",
        "text/csv",
        key=f"split-{place}-{run.id}",
        icon=":material/download:",
        help="Image, class and part of every image, to train elsewhere on the same images",
    )


def lists(facts: Mapping[str, Any], place: str) -> None:
    """The names of test images without prediction, and of rows without image, where a sentence has not all of them."""
    for title, names in (
        ("Test images without prediction", facts["lacking_test"]),
        ("Rows without image", facts["unknown_names"]),
    ):
        if len(names) > predictions.MOST_NAMED:
            with st.expander(title, icon=":material/list:"):
                table = pd.DataFrame({"Image": names})
                shell.table(table, f"{place}-{title.split()[0].lower()}", alt=title)
