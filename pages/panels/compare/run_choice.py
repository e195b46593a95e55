"""What the Compare page compares: a study, runs, and one set of test images."""

from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from covid_core.evaluation import comparison
from covid_core.formatting import count, plural
from covid_core.reports import run_text, study_text
from covid_core.runs import candidates
from covid_core.runs.store import Run, Study
from pages.shared import import_jobs, run_cache, url_state
from pages.shared.run_cache import RunCandidate

AT_FIRST = 12  # runs that are chosen when nobody has chosen; more make the curves hard to read
MOST_OF_A_STUDY = 40  # runs that are chosen with a study; folds times seeds may be more than anybody can look at
Shown = TypeVar("Shown")


def single_runs() -> DeltaGenerator:
    st.subheader("Single runs")
    st.caption(
        "One run is one fold or one seed: good for viewing images and curves, not for choosing the better model."
    )
    return st.container()


def nothing_to_compare() -> None:
    """What to do while there is no finished run."""
    runs, _ = run_cache.listed()
    active = [one for one in runs if one.is_active]
    with st.container(border=True):
        if active:
            st.markdown(f"**{plural(len(active), 'run')} still at work.** They can be compared when they are finished.")
            st.page_link("train.py", label="Watch them on the Train page", icon=":material/arrow_forward:")
            return
        failed = f" {plural(len(runs), 'run')} ended without a result." if runs else ""
        import_jobs.offer_demonstration(f"**No finished run yet.**{failed} Train two models, and compare them here.")
        st.page_link("train.py", label="Train a model", icon=":material/arrow_forward:")


def pick_study(studies: dict[str, Study]) -> Study | None:
    if not studies:
        return None
    key, names = "compare_study", {"": "All runs", **{study.id: study.name for study in studies.values()}}
    wanted = st.query_params.get("study", "")
    if url_state.is_moved("study") or st.session_state.get(key) not in names:
        st.session_state[key] = wanted if wanted in names else ""
    chosen = st.selectbox("Study", list(names), format_func=names.__getitem__, key=key, width=280)
    url_state.write("study", chosen)
    return studies.get(chosen)


def pick_runs(usable: list[Run], study: Study | None) -> list[Run]:
    """The runs to compare: from the address, from the study, or those that were tested like the newest."""
    offered = {run.id: run for run in usable if study is None or run.id in study.runs}
    names = dict(zip(offered, candidates.unique_names(list(offered.values())), strict=True))
    newest = next((run.split_hash for run in offered.values()), "")
    like_newest = [run.id for run in offered.values() if run.split_hash == newest]
    by_default = list(offered)[:MOST_OF_A_STUDY] if study else like_newest[:AT_FIRST]
    options = {"placeholder": "Choose runs", "help": "Type to search by name."}
    key = f"compare_runs_{study.id if study else ''}"
    chosen = url_state.multiselect("Runs", "runs", names, by_default, key, **options)
    if chosen == by_default and len(chosen) < len(offered):
        which = "of this study" if study else "tested on the newest run's images"
        shown = f"{count(len(chosen))} {which}" if len(chosen) > 1 else "run"
        st.caption(f"The newest {shown}; {count(len(offered))} can be chosen.")
    if study and len(offered) < len(study.runs):
        lacking, members = len(study.runs) - len(offered), plural(len(study.runs), "run")
        st.caption(f"{lacking} of {members} of this study have no result.")
    return [offered[identifier] for identifier in chosen]


def pick_group(loaded: list[RunCandidate], study: Study | None) -> list[RunCandidate]:
    """Runs of one set of test images. Where the choice holds several, they are never ranked together.

    ``study`` is the one that the page is about: repeats and sources left out have shown together above.
    """
    groups = comparison.grouped(loaded)
    if len(groups) < 2:
        return groups[0] if groups else []
    sizes = [
        f"{run_text.images(candidates.image_choice(group[0].run))} ({plural(group[0].assessment.test.n, 'image')}, "
        f"{plural(len(group), 'run')})"
        for group in groups
    ]
    if study and study.is_by_source:
        st.caption(study_text.OWN_IMAGES)
    elif study and study.is_repeats:
        st.caption(f"Each of the {len(groups)} folds has test images of its own, so one is shown at a time.")
    else:
        st.warning(
            f"Not comparable: different test images. Each of the {len(groups)} sets of test images is ranked alone. "
            "Folds and seeds are compared in the tab Repeats.",
            icon=":material/warning:",
        )
    position = st.selectbox(
        "Test images",
        range(len(groups)),
        format_func=sizes.__getitem__,
        key="compare_group",
        help="What each set is: data set, share or fold, and the seed of the split.",
    )
    return groups[position]


def few(order: list[Shown], at_once: int, key: str) -> list[Shown]:
    """Which runs a figure shows: all, or, where they are too many to be told apart, some of them, the best first."""
    pages = -(-len(order) // at_once)
    if pages == 1:
        return order
    with st.container(horizontal=True, vertical_alignment="center"):
        page = st.pagination(pages, key=key)
        first, last = (page - 1) * at_once, min(page * at_once, len(order))
        st.caption(f"Runs {count(first + 1)} to {count(last)} of {count(len(order))}, the best first")
    return order[first:last]
