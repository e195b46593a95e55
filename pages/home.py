"""Home: what is loaded, what was trained, the next step, and where each reader starts."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from covid_core import access
from covid_core.data import dataset as data
from covid_core.formatting import plural
from pages.panels.home import cache_usage, engine_form, glossary_view
from pages.shared import import_jobs, run_cache, shell
from pages.shared.exchange import bundles

CHOSEN = "home_chosen"  # session: the page that the primary button named when it was clicked
WORDS = tomllib.loads(Path(__file__).resolve().with_suffix(".toml").read_text(encoding="utf-8"))
PAGES, READERS = WORDS["pages"], WORDS["readers"]


@dataclass(frozen=True)
class Situation:
    """What is there: readable data sets, runs with their states, and whether the images in use were viewed."""

    datasets: list[dict[str, Any]]
    runs: list[run_cache.CachedRun]
    viewed: bool

    @property
    def images(self) -> int:
        return sum(sum(info["counts"].values()) for info in self.datasets)

    @property
    def active(self) -> int:
        return sum(one.is_active for one in self.runs)

    @property
    def usable(self) -> int:
        return sum(one.is_usable for one in self.runs)

    @property
    def next_step(self) -> str:
        """The one thing to do now: a key of PAGES, or ``draw``."""
        if not self.datasets and not self.usable:
            return "draw"
        if self.usable:
            return "compare"
        if self.active:
            return "watch"
        return "train" if self.viewed else "dataset"


def main() -> None:
    """The page, top to bottom."""
    if chosen := st.session_state.pop(CHOSEN, None):
        st.switch_page(chosen)
    if glossary_view.PARAMETER in st.query_params:
        glossary_view.show()
        return
    top = st.container()
    with st.container():  # what stands below keeps its place: a menu that moves opens again
        bundles.panel()
        import_jobs.panel()  # a finished import selects its data set, so the situation is read after it
    situation = _situation()
    with top:
        shell.heading("What should I do next?", _in_words(situation))
        _synthetic_note(situation.datasets)
    _next_step(situation)
    _workflow(situation)
    _readers()
    cache_usage.section()
    engine_form.section()
    glossary_view.link()
    st.caption(
        f"{shell.RESEARCH_ONLY} Images stay on {engine_form.where_images_stay()}. "
        "A score is the output of a network, not the probability of a disease."
    )
    with st.container(key="unseen"):  # the browser loads the drawing library now, and not with the first chart
        st.plotly_chart(go.Figure(), height=1)


def _synthetic_note(datasets: list[dict[str, Any]]) -> None:
    drawn = [info for info in datasets if info["kind"] == "phantom"]
    if drawn and len(drawn) == len(datasets):
        shell.synthetic_info()
    elif drawn:
        images = plural(sum(sum(info["counts"].values()) for info in drawn), "image")
        st.info(
            f"{images} of these are synthetic: a program drew them. Figures on them are no medical findings.",
            icon=":material/draw:",
        )


def _situation() -> Situation:
    listed = [info for info in data.list_datasets(shell.workspace()) if not info.get("damaged")]
    return Situation(listed, run_cache.listed()[0], shell.was_viewed(shell.in_use(listed)))


def _in_words(situation: Situation) -> str:
    if not situation.datasets and not situation.runs:
        return "Nothing is loaded yet. Start with synthetic images, which a program draws: every page works with them."
    parts = ["No data set"]
    if situation.datasets:
        parts = [f"{plural(situation.images, 'image')} in {plural(len(situation.datasets), 'data set')}"]
    if situation.usable:
        parts.append(f"{plural(situation.usable, 'trained model')}")
    if situation.active:
        parts.append(f"{plural(situation.active, 'run')} running or waiting")
    if len(parts) == 1:
        parts.append("no trained model yet")
    return ", ".join(parts) + "."


def _next_step(situation: Situation) -> None:
    draws = situation.next_step == "draw"
    if draws:
        import_jobs.offer_demonstration("**See the whole app at work:** images, models, audits and predictions.")
    with st.container(horizontal=True, vertical_alignment="center"):
        if draws:
            import_jobs.start_phantom_button()
        else:
            page, label, icon = PAGES[situation.next_step]
            # Bound to the page that it names: by the time a click arrives, the next step may be another.
            st.button(label, type="primary", icon=icon, key="next-step", on_click=_choose, args=(page,))
        address = import_jobs.OWN_IMAGES
        link = {"icon": ":material/upload:", "query_params": address, **shell.refused(access.IMPORT)}
        st.page_link("dataset.py", label="Add your own images", **link)
        bundles.offer()


def _choose(page: str) -> None:
    st.session_state[CHOSEN] = page  # a callback itself cannot open another page


def _workflow(situation: Situation) -> None:
    trained = plural(situation.usable, "trained model") if situation.usable else "no trained model yet"
    training = f"{plural(situation.active, 'run')} running or waiting" if situation.active else trained
    images = plural(situation.images, "image") if situation.datasets else "none yet"
    steps = (
        ("Images", images, "dataset", bool(situation.datasets)),
        ("View", "classes, sources, sizes", "dataset", situation.viewed),
        ("Audit", "errors, duplicates, shortcuts", "audit", bool(situation.datasets) and shell.was_opened("audit")),
        ("Train", training, "train", bool(situation.usable)),
        (
            "Compare",
            "same test images, 95 % intervals",
            "compare",
            bool(situation.usable) and shell.was_opened("compare"),
        ),
        ("Predict", "one image, with the evidence", "predict", bool(situation.usable) and shell.was_opened("predict")),
    )
    st.subheader("Workflow")
    with st.grid(3, min_column_width=112):
        for number, (name, state, key, done) in enumerate(steps, start=1):
            icon = ":material/check_circle:" if done else f":material/counter_{number}:"
            with st.container(border=True, height="stretch"):
                st.page_link(PAGES[key][0], label=f"**{name}**", icon=icon)
                st.caption(state)


def _readers() -> None:
    st.subheader("Who it is for")
    with st.grid(3, min_column_width=240):
        for reader, row in READERS.items():
            with st.container(border=True, height="stretch"):
                st.markdown(f"**{reader}**")
                st.markdown(row["line"])
                for key in row["pages"]:
                    page, label, icon = PAGES[key]
                    address = {"study": "new"} if key == "study" else None
                    st.page_link(page, label=label, icon=icon, query_params=address)


main()
