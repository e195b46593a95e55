"""Decisions about images: dismiss a finding, leave images out, change their class, keep them together.

Each is confirmed once and can be undone at once; ``decision_log`` lists them all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import streamlit as st

from covid_core import access
from covid_core.audit import tables
from covid_core.data import dataset as data
from covid_core.data import decisions
from covid_core.data.dataset import Dataset
from covid_core.data.decisions import DISMISS, LEAVE_OUT, RELABEL, Decision
from covid_core.errors import CovidCoreError
from covid_core.formatting import count, plural
from pages.shared import shell

AUTHOR = "decision_author"  # session: who decides; asked once
LAST = "decisions_last"  # session: numbers of the decisions that were made last, with what was done in words
NAME, NOTE, CLASS = "decision-author", "decision-note", "decision-class"  # widgets
NOTICE = "decision-notice"  # session: what was done, until a toast has shown it
REFUSED = "decision-refused"  # session: why the last one was not made
UNCHANGED = "No file is changed. The data set gets a new version. Existing runs keep theirs."
SAME_VERSION = "Nothing else changes: the images stay in the data set, which keeps its version."
ICONS = {  # by the verb that a button's label begins with
    "Dismiss": ":material/visibility_off:",
    "Leave out": ":material/block:",
    "Change class": ":material/label:",
    "Keep together": ":material/link:",
}


@dataclass(frozen=True)
class Proposal:
    """What is to be done, before it is confirmed: decisions, and in words what they come to.

    ``verb`` is on the button; ``done`` reports it afterwards, with {label} for a new class. ``classes`` are offered
    where the images are to get another one.
    """

    wanted: tuple[Decision, ...]
    verb: str
    sentence: str
    done: str
    classes: tuple[str, ...] = ()


def dismissal(names: Sequence[str], finding: str) -> Proposal:
    """A finding of some images is no fault."""
    of_images = f"“{finding}” of {plural(len(names), 'image')} is"
    wanted = tuple(Decision(DISMISS, name, finding=finding) for name in names)
    return Proposal(wanted, "Dismiss", f"{of_images} marked as checked. {SAME_VERSION}", f"{of_images} dismissed.")


def pair_dismissal(first: str, second: str) -> Proposal:
    """Two images are not one picture."""
    wanted = (Decision(DISMISS, first, after=second, finding=tables.SAME_PICTURE),)
    pair = f"The pair of {first} and {second} is"
    return Proposal(wanted, "Dismiss", f"{pair} marked as checked. {SAME_VERSION}", f"{pair} dismissed.")


def leaving_out(names: Sequence[str], dataset: Dataset) -> Proposal:
    """Images are no longer in the data set."""
    labels = dataset.images.loc[~dataset.images["image_id"].isin(names), "label"].value_counts()
    left = ", ".join(f"{label} {count(labels.get(label, 0))}" for label in dataset.classes)
    wanted = tuple(Decision(LEAVE_OUT, name) for name in names)
    sentence = f"{_named(names)} left out of {dataset.name} from now on. What stays: {left}. {UNCHANGED}"
    return Proposal(wanted, "Leave out", sentence, f"{_named(names)} left out.")


def relabelling(names: Sequence[str], dataset: Dataset) -> Proposal:
    """Images get another class, which is asked for."""
    wanted = tuple(Decision(RELABEL, name) for name in names)
    present = set(dataset.images.loc[dataset.images["image_id"].isin(names), "label"])
    others = tuple(label for label in dataset.imported.classes if present != {label})
    sentence = f"{_named(names)} given the class below from now on. {UNCHANGED}"
    return Proposal(wanted, "Change class", sentence, f"{_named(names)} {{label}} now.", others)


def grouping(groups: Sequence[Sequence[str]]) -> Proposal:
    """Images stay together in every group split: one or more groups of them."""
    wanted = tuple(one for group in groups for one in decisions.together(list(group)))
    images = plural(len({one.image_id for one in wanted}), "image")
    images += f" in {plural(len(groups), 'pair')}" if len(groups) > 1 else ""
    sentence = f"{images} will be in the same part of every group split. {UNCHANGED}"
    return Proposal(wanted, "Keep together", sentence, f"{images} are kept together.")


def _named(names: Sequence[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{count(len(names))} images are"


# Confirmed once


@st.dialog("Decide", icon=":material/gavel:")
def confirm(dataset: Dataset, proposal: Proposal) -> None:
    """Show what will be done, ask who decides, and do it."""
    st.markdown(f"**{proposal.verb}?** {shell.plain(proposal.sentence)}")
    if proposal.classes:
        st.selectbox("New class", proposal.classes, index=None, placeholder="Choose a class", key=CLASS)
    author_field()
    st.text_input("Why (may be left empty)", max_chars=decisions.LONGEST_NOTE, key=NOTE)
    wanted = _wanted(dataset, proposal)
    same = len(proposal.wanted) - len(wanted)
    if same:
        st.caption(f"{plural(same, 'image has', 'images have')} that class already.")
    button = {"key": "decision-go", "on_click": _do, "args": (dataset, proposal), "disabled": not wanted}
    if st.button(proposal.verb, type="primary", icon=":material/check:", **button) and not _show_refusal():
        st.rerun()


def author_field() -> None:
    """The field for who decides; asked once, and kept in the session."""
    st.text_input(
        "Your name",
        value=st.session_state.get(AUTHOR, ""),
        max_chars=decisions.LONGEST_AUTHOR,
        key=NAME,
        help="Kept with each decision, so that others can ask why.",
    )


def _wanted(dataset: Dataset, proposal: Proposal) -> list[Decision]:
    """The decisions with the class that is chosen, if one is, without images that have it already."""
    label = st.session_state.get(CLASS) if proposal.classes else None
    if label is None:
        return list(proposal.wanted)
    labels = dict(zip(dataset.images["image_id"], dataset.images["label"], strict=True))
    return [replace(one, after=label) for one in proposal.wanted if labels.get(one.image_id) != label]


def _do(dataset: Dataset, proposal: Proposal) -> None:
    """Write decisions, and remember how to undo them. In a callback: what refuses them is shown by the next page."""
    if proposal.classes and st.session_state.get(CLASS) is None:
        st.session_state[REFUSED] = "Choose the new class first."
        return
    author, note = st.session_state.get(NAME, ""), st.session_state.get(NOTE, "").strip()
    wanted = [replace(one, note=note) for one in _wanted(dataset, proposal)]
    try:
        changed = data.decide(shell.workspace(), dataset.id, wanted, author)
    except CovidCoreError as error:
        st.session_state[REFUSED] = str(error)
        return
    st.session_state[AUTHOR] = author
    done = proposal.done.replace("{label}", wanted[0].after)
    st.session_state[LAST] = (dataset.id, [one.number for one in decisions.latest(changed.decisions)], done)
    st.session_state[NOTICE] = f"{done} Undo it above, or on the tab Decisions."


def _show_refusal() -> bool:
    """Say why the last decision was refused, once. Returns whether it was."""
    reason = st.session_state.pop(REFUSED, "")
    if reason:
        st.error(shell.plain(reason), icon=":material/error:")
    return bool(reason)


@st.dialog("Take back?", icon=":material/undo:")
def confirm_undo(dataset: Dataset, numbers: Sequence[int]) -> None:
    """Take decisions back, once it is known who wants it."""
    what = plural(len(numbers), "decision")
    st.markdown(f"{what} will no longer be in force. The table keeps a line that says who took it back.")
    author_field()
    button = {"key": "take-back-go", "on_click": take_back, "args": (dataset.id, list(numbers))}
    if st.button("Take back", type="primary", icon=":material/undo:", **button) and not _show_refusal():
        st.rerun()


def take_back(dataset: str, numbers: Sequence[int]) -> None:
    """Take decisions back, in the name that was given last. In a callback."""
    author = st.session_state.get(NAME) or st.session_state.get(AUTHOR, "")
    try:
        data.take_back(shell.workspace(), dataset, numbers, author)
    except CovidCoreError as error:
        st.session_state[REFUSED] = str(error)
        return
    st.session_state[AUTHOR] = author
    st.session_state.pop(LAST, None)
    st.session_state[NOTICE] = f"{plural(len(numbers), 'decision')} taken back."


def last_one(dataset: Dataset) -> None:
    """What was just decided about this data set, with the button that undoes it."""
    _show_refusal()
    sentence = st.session_state.pop(NOTICE, "")
    if sentence:
        st.toast(shell.plain(sentence), icon=":material/check_circle:")
    of, numbers, done = st.session_state.get(LAST) or ("", [], "")
    in_force = {one.number for one in decisions.in_force(dataset.decisions)}
    if of != dataset.id or not in_force.issuperset(numbers):
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="decided-last"):
        st.markdown(f":material/check_circle: {shell.plain(done)}", width="content")
        arguments = (dataset.id, numbers)
        options = {"icon": ":material/undo:", "on_click": take_back, "args": arguments}
        shell.button("Undo", access.DECIDE, key="decision-undo", **options)
        st.button("Keep it", icon=":material/close:", key="decision-kept", on_click=st.session_state.pop, args=(LAST,))


# Buttons


def of_images(names: Sequence[str], dataset: Dataset, finding: str = "") -> dict[str, Callable[[], Proposal]]:
    """What can be decided about some images (of a finding): label of the button, and the proposal."""
    dismiss = {"Dismiss": lambda: dismissal(names, finding)} if finding else {}
    return dismiss | {
        "Leave out": lambda: leaving_out(names, dataset),
        "Change class": lambda: relabelling(names, dataset),
        "Keep together": lambda: grouping([names]),
    }


def buttons(
    dataset: Dataset, proposals: Mapping[str, Callable[[], Proposal]], key: str, images: int | None = None
) -> None:
    """A button per proposal, which asks and does it. ``images``: how many they are about; None: always enough."""
    for label, proposal in proposals.items():
        icon = next(icon for verb, icon in ICONS.items() if label.startswith(verb))
        too_few = images is not None and images < (2 if label == "Keep together" else 1)
        if shell.button(label, access.DECIDE, icon=icon, key=f"{key}-{label}", disabled=too_few):
            confirm(dataset, proposal())
