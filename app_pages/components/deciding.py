"""What a reader does about films: dismiss a finding, leave films out, change their class, keep them together.

Each asks once, says what it will do, and can be undone at once; ``decided`` lists them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from app_pages.components import shell
from covid_core.data import audit_tables, decisions
from covid_core.data import dataset as data
from covid_core.data.dataset import Dataset
from covid_core.data.decisions import DISMISS, LEAVE_OUT, RELABEL, Decision
from covid_core.errors import CovidCoreError
from covid_core.formatting import count, plural

AUTHOR = "decision_author"  # session: who decides; asked once
LAST = "decisions_last"  # session: numbers of the decisions that were made last, with what was done in words
TRIED = "decision-note"
UNCHANGED = "No file is changed. The data set gets a new version; runs that exist keep theirs."


@dataclass(frozen=True)
class Wish:
    """What is to be done, before it is asked for: decisions, and in words what they come to.

    ``classes`` are offered where the films are to get another class.
    """

    wanted: tuple[Decision, ...]
    title: str
    told: str
    done: str
    classes: tuple[str, ...] = ()


def dismissal(names: Sequence[str], finding: str) -> Wish:
    """To say that a finding of some films is nothing."""
    films = plural(len(names), "film")
    wanted = tuple(Decision(DISMISS, name, finding=finding) for name in names)
    told = f"“{finding}” of {films} is put aside as looked at. The films stay in the data set, which keeps its version."
    return Wish(wanted, "Dismiss this finding?", told, f"“{finding}” of {films} is dismissed.")


def pair_dismissal(first: str, second: str) -> Wish:
    """To say that two films are not one picture."""
    wanted = (Decision(DISMISS, first, after=second, finding=audit_tables.SAME_PICTURE),)
    told = f"{first} and {second} are put aside as looked at. Both stay in the data set, which keeps its version."
    return Wish(wanted, "Dismiss this pair?", told, f"The pair of {first} and {second} is dismissed.")


def leaving_out(names: Sequence[str], dataset: Dataset) -> Wish:
    """To take films out of the data set."""
    films = plural(len(names), "film")
    left = count(len(dataset.films) - len(names))
    told = f"{_named(names)} out of {dataset.name} from now on; {left} stay. {UNCHANGED}"
    wanted = tuple(Decision(LEAVE_OUT, name) for name in names)
    return Wish(wanted, f"Leave out {films}?", told, f"{films} {_are(names)} left out.")


def relabelling(names: Sequence[str], dataset: Dataset) -> Wish:
    """To give films another class; which one is asked."""
    films = plural(len(names), "film")
    wanted = tuple(Decision(RELABEL, name) for name in names)
    told = f"{_named(names)} given the class below from now on. {UNCHANGED}"
    return Wish(
        wanted,
        f"Change the class of {films}?",
        told,
        f"{films} {_have(names)} another class.",
        dataset.imported.classes,
    )


def grouping(groups: Sequence[Sequence[str]]) -> Wish:
    """To keep films together, so that no split parts them: one or more groups of them."""
    wanted = tuple(one for group in groups for one in decisions.together(list(group)))
    films = plural(len({one.image_id for one in wanted}), "film")
    in_groups = f" in {plural(len(groups), 'pair')}" if len(groups) > 1 else ""
    told = f"{films}{in_groups} will be in the same part of every split that keeps groups together. {UNCHANGED}"
    return Wish(wanted, f"Keep {films} together?", told, f"{films}{in_groups} are kept together.")


def _named(names: Sequence[str]) -> str:
    films = names[0] if len(names) == 1 else plural(len(names), "film")
    return f"{films} {_are(names)}"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


# Asked once


@st.dialog("Decide", icon=":material/gavel:")
def ask(dataset: Dataset, wish: Wish) -> None:
    """Say what will be done, ask who decides, and do it."""
    st.markdown(f"**{shell.plain(wish.title)}**")
    st.markdown(shell.plain(wish.told))
    wanted = wish.wanted
    if wish.classes:
        label = st.selectbox("New class", wish.classes, key="decision-class")
        wanted = tuple(replace(one, after=label) for one in wanted if _label(dataset, one.image_id) != label)
        if len(wanted) < len(wish.wanted):
            same = len(wish.wanted) - len(wanted)
            st.caption(f"{plural(same, 'film has', 'films have')} that class already.")
    author = ask_author()
    note = st.text_input("Why (not needed)", max_chars=decisions.LONGEST_NOTE, key=TRIED)
    if st.button("Do it", type="primary", icon=":material/check:", key="decision-go", disabled=not wanted):
        try:
            _do(dataset, [replace(one, note=note.strip()) for one in wanted], author, wish.done)
        except CovidCoreError as error:
            st.error(shell.plain(error), icon=":material/error:")
        else:
            st.rerun()


def ask_author() -> str:
    """The field for who decides; asked once, and kept in the session."""
    return st.text_input(
        "Your name",
        value=st.session_state.get(AUTHOR, ""),
        max_chars=decisions.LONGEST_AUTHOR,
        key="decision-author",
        help="Kept with each decision, so that others can ask why.",
    )


def _label(dataset: Dataset, name: str) -> str:
    return str(dataset.films["label"].iat[dataset.row_of(name)])


def _do(dataset: Dataset, wanted: Sequence[Decision], author: str, done: str) -> None:
    """Write decisions, and remember how to undo them. Raises InvalidChoice or DataError."""
    changed = data.decide(shell.workspace(), dataset.id, wanted, author)
    st.session_state[AUTHOR] = author
    numbers = [one.number for one in changed.decisions[-len(wanted) :]]
    st.session_state[LAST] = (dataset.id, numbers, done)
    st.toast(f"{shell.plain(done)} Undo it above, or on the tab Decisions.", icon=":material/check_circle:")


def take_back(dataset: str, numbers: Sequence[int], author: str) -> None:
    """Take decisions back. In a callback."""
    with shell.told():
        data.take_back(shell.workspace(), dataset, numbers, author)
        st.session_state[AUTHOR] = author
        st.session_state.pop(LAST, None)
        st.toast(f"{plural(len(numbers), 'decision')} taken back.", icon=":material/undo:")


def last_one(dataset: Dataset) -> None:
    """What was just decided about this data set, with the button that undoes it."""
    of, numbers, done = st.session_state.get(LAST) or ("", [], "")
    in_force = {one.number for one in decisions.in_force(dataset.decisions)}
    if of != dataset.id or not in_force.issuperset(numbers):
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="decided-last"):
        st.markdown(f":material/check_circle: {shell.plain(done)}", width="content")
        arguments = (dataset.id, numbers, st.session_state.get(AUTHOR, ""))
        st.button("Undo", icon=":material/undo:", key="decision-undo", on_click=take_back, args=arguments)
        st.button("Keep it", icon=":material/close:", key="decision-kept", on_click=st.session_state.pop, args=(LAST,))


# Buttons


def buttons(dataset: Dataset, names: Sequence[str], finding: str, key: str) -> None:
    """What can be done about some films with a finding."""
    names = list(names)
    with st.container(horizontal=True):
        made = (
            ("Dismiss", ":material/visibility_off:", lambda: dismissal(names, finding)),
            ("Leave out", ":material/block:", lambda: leaving_out(names, dataset)),
            ("Change class", ":material/label:", lambda: relabelling(names, dataset)),
            ("Keep together", ":material/link:", lambda: grouping([names])),
        )
        for label, icon, wish in made:
            too_few = len(names) < (2 if label == "Keep together" else 1)
            if st.button(label, icon=icon, key=f"{key}-{label}", disabled=too_few):
                ask(dataset, wish())
