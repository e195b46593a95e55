"""The frame of every page: question and answer, the data set in use, tables and charts that download."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from covid_core import access, files, glossary
from covid_core.data import dataset as data
from covid_core.data import decisions
from covid_core.data.dataset import Dataset
from covid_core.errors import CovidCoreError, UnknownId
from covid_core.formatting import as_read, count, plural
from covid_core.reports import tables
from covid_core.runs import pinned_dataset, store
from covid_core.workspace import Workspace
from pages.shared import paper, presentation, run_cache, url_state

MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>$:~&])")
REPLACED = re.compile(  # Streamlit makes links, icons, arrows and dashes of these where they are escaped, too
    r"(?<=:)(?=//|material/|streamlit:)|(?<=www)(?=\.)|(?=@)|(?<=[<>~-])(?=[-=>])", re.IGNORECASE
)
WORD_JOINER = "\u2060"  # has no width
BLANKS = re.compile(r"^\s+|\s+$|[^\S ]")  # what Markdown drops, or reads as code and new paragraphs
TERMS = "page_terms"  # session: glossary keys of the open page
TERMS_WIDTH = 480  # pixels; less on a phone
CHOICE = "dataset-choice"  # key of the widget
IN_USE, VIEWED = "dataset_in_use", "datasets_viewed"  # session: an id; ids
OPENED = "pages_opened"  # session: names
ERRORS = "callback_errors"  # session: sentences that are not on screen yet
STYLE = Path(__file__).with_name("style.css")
PICTURES = {"svg": "For print, sharp at every size", "png": "300 dots per inch"}  # light, with title and caption
RESEARCH_ONLY = "For research and teaching. Not a medical device."
SYNTHETIC = (
    "These images are synthetic: a program drew them, without any patient. Figures on them are no medical findings."
)


def plain(text: object) -> str:
    """Text that a user chose (a file, run or class name) so that Markdown shows it letter by letter."""
    escaped = MARKDOWN.sub(r"\\\1", REPLACED.sub(WORD_JOINER, str(text)))
    return BLANKS.sub(lambda blanks: "".join(f"&#{ord(blank)};" for blank in blanks[0]), escaped)


def workspace() -> Workspace:
    """The workspace of this server."""
    return Workspace.default()


def heading(question: str, answer: str = "") -> None:
    """The page's question in one line, and its answer, in words with the figures it rests on, in the next."""
    st.html(STYLE)
    _error_of_callback()
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        st.title(question)
        _terms_of_page()
    if answer:
        st.markdown(answer)


def _terms_of_page() -> None:
    """The glossary entries of the page behind "?", and the way to all of them."""
    with st.popover("?", help="What the terms on this page mean", key="glossary-terms"):
        terms = [glossary.GLOSSARY[key].markdown for key in sorted(st.session_state.get(TERMS, ()))]
        st.markdown("\n\n".join(terms), width=TERMS_WIDTH)
        st.page_link("home.py", label="All terms", icon=":material/menu_book:", query_params={"glossary": "all"})


@contextlib.contextmanager
def errors_shown(draw: Callable[[str], object] | None = None) -> Iterator[None]:
    """Show an error that the user can mend as one sentence. A bug keeps its traceback.

    ``draw``: takes the sentence in place of a box on the page.
    """
    draw = draw or functools.partial(st.error, icon=":material/error:")
    try:
        yield
    except CovidCoreError as error:
        draw(plain(error))
    except OSError as error:
        if not (refusal := files.refusal_of(error)):
            raise
        draw(refusal)


def tried(action: Callable[..., object], *arguments: object) -> None:
    """An action of a callback. Its error is shown by the next heading or button that is drawn.

    What a callback draws itself stands above the page, out of sight, and moves all below it: an open menu becomes that
    of its neighbour. In a fragment it takes the place of other elements, and the browser shows a blank page.
    """
    with errors_shown(st.session_state.setdefault(ERRORS, []).append):
        action(*arguments)


def _error_of_callback() -> None:
    for sentence in dict.fromkeys(st.session_state.pop(ERRORS, ())):
        st.toast(sentence, icon=":material/error:", duration="infinite")


def refused(right: str, owner: str | None = None) -> dict[str, Any]:
    """Options of what the visitor may not press: disabled, with the reason as its help; none where he may press it.

    ``right`` and ``owner`` are those of ``covid_core.access``.
    """
    reason = access.actor().refusal(right, owner)
    return {"disabled": True, "help": reason} if reason else {}


def button(
    label: str, right: str, owner: str | None = None, draw: Callable[..., Any] = st.button, **options: Any
) -> Any:
    """A button, or what ``draw`` makes, for whoever has a right; to others it says why they may not press it."""
    drawn = draw(label, **options | refused(right, owner))
    _error_of_callback()
    return drawn


def confirm(
    label: str,
    question: str,
    button: str,
    icon: str = ":material/delete:",
    *,
    right: str,
    owner: str | None = None,
    **options: Any,
) -> bool:
    """An action that cannot be undone: what it removes, and its button, behind ``label``, for whoever has the right.

    ``options`` are those of ``st.button``; an ``on_click`` shows its error. Returns whether the button was clicked.
    """
    if "on_click" in options:
        options["args"] = (options.pop("on_click"), *options.get("args", ()))
        options["on_click"] = tried
    with st.popover(label, icon=icon, **refused(right, owner)):
        st.markdown(question)
        pressed = st.button(button, icon=icon, **options)
    _error_of_callback()
    return pressed


def sidebar_foot() -> None:
    """The foot of the sidebar on every page."""
    with st.sidebar:
        st.caption(f"**Second Look**  \n{RESEARCH_ONLY}")


@st.cache_resource(max_entries=4, show_spinner="Opening the data set")
def _opened(root: str, identifier: str, created: float, decided: int) -> Dataset:
    """Opened anew where the data set is another, or more was decided about it."""
    return data.open_dataset(Workspace.default(), identifier)


def open_dataset(identifier: str) -> Dataset:
    """A data set by id, kept open between reruns. Raises UnknownId or DataError."""
    place = workspace()
    listed = {info["id"]: info for info in data.list_datasets(place)}
    created = listed.get(identifier, {}).get("created", 0.0)
    return _opened(str(place.root), identifier, created, decisions.stamp(place.datasets / identifier))


def dataset_of(run: store.Run) -> Dataset:
    """A run's data set as it was when the run was made, kept open. Raises UnknownId or DataError."""
    opened = _dataset_or_why(run)
    decided = decisions.stamp(opened.folder)
    return _as_it_was(str(run.path), str(opened.folder), opened.info["created"], decided, run, opened)


def dataset_to_try(run: store.Run) -> Dataset:
    """The same, or the data set as it is where it never was that version: any of its images can be handed in.

    Raises UnknownId or DataError.
    """
    present = _dataset_or_why(run)
    return present if pinned_dataset.version_of(run, present).before is None else dataset_of(run)


def _dataset_or_why(run: store.Run) -> Dataset:
    try:
        return open_dataset(run.dataset.id)
    except UnknownId as error:
        raise pinned_dataset.gone(run) from error


@st.cache_resource(max_entries=8, show_spinner=False)
def _as_it_was(path: str, folder: str, created: float, decided: int, _run: store.Run, _opened: Dataset) -> Dataset:
    return pinned_dataset.at_version_of(_run, _opened)


def version_of(run: store.Run) -> pinned_dataset.Version:
    """Which version of its data set a run used, against the one that is there now."""
    try:
        return pinned_dataset.version_of(run, open_dataset(run.dataset.id))
    except CovidCoreError:
        return pinned_dataset.Version(None)


def pick_dataset() -> Dataset | None:
    """The data set that the page is about: from its address, the last choice, or the newest. None where there is none.

    Draws the selection and the note on synthetic images.
    """
    listed = [info for info in data.list_datasets(workspace()) if not info.get("damaged")]
    if not listed:
        return None
    names = {info["id"]: f"{info['name']} ({count(sum(info['counts'].values()))} images)" for info in listed}
    wanted = st.query_params.get("dataset") or st.session_state.get(IN_USE)
    if wanted and wanted not in names:
        st.info("The data set of this address is not here (any more). This is another one.", icon=":material/info:")
    if url_state.is_moved("dataset") or st.session_state.get(CHOICE) not in names:
        st.session_state[CHOICE] = wanted if wanted in names else next(iter(names))
    chosen = st.selectbox(
        "Data set", list(names), key=CHOICE, format_func=names.__getitem__, help="Add others on the Data set page."
    )
    st.session_state[IN_USE] = chosen
    url_state.write("dataset", chosen)
    with errors_shown():
        opened = open_dataset(chosen)
        synthetic_note(opened)
        return opened
    return None


def in_use(listed: Sequence[Mapping[str, Any]]) -> str | None:
    """Id of the data set that a page without a choice is about: the last choice, or the newest of ``listed``."""
    ids = [info["id"] for info in listed]
    chosen = st.session_state.get(IN_USE)
    return chosen if chosen in ids else next(iter(ids), None)


def note_view(identifier: str) -> None:
    """Note that the images of a data set were shown in this browser session."""
    st.session_state[VIEWED] = st.session_state.get(VIEWED, frozenset()) | {identifier}


def was_viewed(identifier: str | None) -> bool:
    """Whether they were shown; to draw, import or select a data set does not show it."""
    return identifier in st.session_state.get(VIEWED, ())


def note_page(name: str) -> None:
    """Note that a page was opened in this browser session."""
    st.session_state[OPENED] = st.session_state.get(OPENED, frozenset()) | {name}


def was_opened(name: str) -> bool:
    """Whether that page was opened."""
    return name in st.session_state.get(OPENED, ())


def synthetic_note(dataset: Dataset) -> None:
    """The note where the images of a data set are synthetic."""
    if dataset.is_synthetic:
        synthetic_info()


def synthetic_info() -> None:
    """The note on synthetic images."""
    st.info(SYNTHETIC, icon=":material/draw:")


def usable_runs(predicting: bool = False) -> tuple[list[store.Run], list[store.BrokenRun]]:
    """Runs that can be compared, newest first, and the folders that cannot be opened; or those that can predict, too.

    An archived run is among them only where the address names it.
    """
    runs, broken = run_cache.listed()
    named = {run for name in ("run", "runs") for run in st.query_params.get(name, "").split(",")}
    usable = [one.run for one in runs if one.is_usable and (one.run.id in named or not one.run.annotation.archived)]
    return [run for run in usable if run.has_network or not predicting], broken


def broken_notice(broken: list[store.BrokenRun]) -> None:
    """Runs that cannot be opened, with the reason; the others are not affected."""
    if broken:
        with st.expander(f"Left out: {plural(len(broken), 'damaged run')}", icon=":material/warning:"):
            for entry in broken:
                st.markdown(f"{plain(entry.id)}: {plain(entry.reason)}")


def table(
    frame: pd.DataFrame, name: str, downloaded: pd.DataFrame | None = None, digits: int | None = None, **options: Any
) -> Any:
    """A table with its download. ``name`` is the file's name without suffix and the key.

    ``downloaded`` is what the file holds, where that is not the table itself. ``digits`` are the decimals of its
    numbers on screen; the file has all of them.
    """
    if digits is not None:
        downloaded = frame if downloaded is None else downloaded
        floats = list(frame.select_dtypes("floating"))
        frame = frame.assign(**{one: frame[one].map(lambda value: as_read(value, digits)) for one in floats})
        options["column_config"] = {one: st.column_config.NumberColumn(format=f"%.{digits}f") for one in floats}
    if presentation.is_static(frame) and "on_select" not in options:
        shown = st.table(texts(frame), hide_index=True, alt=options.get("alt"))
    else:
        shown = st.dataframe(frame, placeholder="–", hide_index=True, width="stretch", **options)
    content = frame if downloaded is None else downloaded
    st.download_button(
        "CSV", lambda: tables.to_csv(content), f"{name}.csv", "text/csv", key=f"csv-{name}", icon=":material/download:"
    )
    return shown


def texts(frame: pd.DataFrame, undefined: str = "") -> pd.DataFrame:
    """A table as a static one shows it: names are no Markdown, numbers have separators, and four figures at most."""

    def text(cell: object) -> str:
        if pd.isna(cell):
            return undefined
        if isinstance(cell, int | float | np.integer) and not isinstance(cell, bool):
            return count(cell) if float(cell).is_integer() else f"{cell:,.4g}"
        return plain(cell).replace(" %", "\u00a0%")  # a number and its sign stay on one line

    return frame.map(text)


@st.cache_resource(max_entries=128, show_spinner=False, hash_funcs=run_cache.BY_FILES)
def drawn(what: str, version: Any, _draw: Callable[[], go.Figure]) -> go.Figure:
    """A figure that is drawn once for all sessions, and never changed: Plotly needs 20 to 100 ms for one.

    Args:
        what: which figure of the app it is, with every choice that it depends on.
        version: changes whenever its data do; runs in it, whenever one of their files does.
    """
    return _draw()


def chart(
    figure: go.Figure,
    name: str,
    config: Mapping[str, Any] | None = None,
    *,
    alt: str,
    title: str = "",
    caption: str = "",
    on_screen: float = presentation.ON_SCREEN,
    **options: Any,
) -> Any:
    """A chart in the app's theme, with its downloads: a picture for paper, or a page that opens anywhere.

    Args:
        name: of the files, without suffix; the key.
        alt: the chart in words: "what it shows", or "what it shows: its numbers".
        title, caption: of the picture, where they are not the two parts of ``alt``.
        on_screen: how much of the screen's height it takes where the page is presented.
    """
    shown = st.plotly_chart(
        presentation.fitted(figure, on_screen),
        width="stretch",
        theme="streamlit",
        alt=alt,
        config={"displaylogo": False, "modeBarButtonsToRemove": ["toImage"], **(config or {})},
        **{"key": f"chart-{name}", **options},
    )
    if not presentation.is_on():
        head, _, rest = alt.partition(": ")
        _downloads(figure, name, title or head, f"{caption or rest}. {RESEARCH_ONLY}".replace("..", ".").lstrip(". "))
    return shown


@st.fragment
def _downloads(figure: go.Figure, name: str, title: str, caption: str) -> None:
    """The figure as files, in a menu; only this menu is drawn again when a picture is wanted."""
    menu = st.popover("Download", icon=":material/download:", type="tertiary", key=f"download-{name}")
    with menu, st.container(horizontal=True):
        wanted = [kind for kind, use in PICTURES.items() if st.button(kind.upper(), key=f"{kind}-{name}", help=use)]
        if st.button("HTML", key=f"html-{name}", help="A page to zoom and hover"):
            wanted.append("html")
    for kind in wanted:
        paper.save(figure, name, kind, title, caption)
