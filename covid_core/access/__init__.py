"""Who may do what in a workspace, and the log of who did it.

The functions that change a workspace call ``check`` first and ``note`` when it is done, so no page and no address gets
around them. Whoever runs a command on this machine is an administrator of its workspace; a server tells by ``install``
who its visitor is.
"""

import getpass
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from covid_core.access import activity
from covid_core.errors import NotPermitted
from covid_core.workspace import Workspace


class Role(IntEnum):
    """What somebody is; each may what those before it may."""

    NOBODY = 0
    STUDENT = 1  # admitted by a class code
    VIEWER = 2
    TRAINER = 3
    ADMIN = 4

    @property
    def label(self) -> str:
        return "administrator" if self is Role.ADMIN else self.name.lower()


class Right(NamedTuple):
    """The least role that may do something: to what is its own or new, and to what belongs to ``others``."""

    own: Role
    others: Role
    words: str


LESSON, VIEW, UPLOAD, CLASS, DECIDE, PACS, COMPUTE, TRAIN, IMPORT, ADMINISTER = (
    *("lesson", "view", "upload", "class", "decide", "pacs", "compute", "train", "import", "administer"),
)
TAKE_RUNS, TAKE_IMAGES, OPEN = "take runs", "take images", "open"
RIGHTS = {
    LESSON: Right(Role.STUDENT, Role.TRAINER, "work on the lessons"),
    VIEW: Right(Role.VIEWER, Role.VIEWER, "view data sets and runs"),
    UPLOAD: Right(Role.VIEWER, Role.VIEWER, "hand in files"),
    CLASS: Right(Role.TRAINER, Role.TRAINER, "open a class"),
    DECIDE: Right(Role.TRAINER, Role.TRAINER, "decide about images"),
    PACS: Right(Role.TRAINER, Role.TRAINER, "fetch from a PACS or send to it"),
    COMPUTE: Right(Role.TRAINER, Role.ADMIN, "start, stop or remove such a job"),
    TRAIN: Right(Role.TRAINER, Role.ADMIN, "start, change or delete such a run"),
    IMPORT: Right(Role.ADMIN, Role.ADMIN, "add or delete data sets"),
    TAKE_RUNS: Right(Role.TRAINER, Role.TRAINER, "save runs as a bundle, or export their models"),
    TAKE_IMAGES: Right(Role.ADMIN, Role.ADMIN, "save images in a bundle"),
    OPEN: Right(Role.ADMIN, Role.ADMIN, "open a bundle of runs"),
    ADMINISTER: Right(Role.ADMIN, Role.ADMIN, "change what all users share"),
}


@dataclass(frozen=True)
class Actor:
    """Who acts: a name that the server or the system vouches for, and a role. ``is_local``: on this machine itself."""

    name: str
    role: Role
    is_local: bool = False

    def may(self, right: str, owner: str | None = None) -> bool:
        """Whether this actor may do something new (``owner`` None), or to what ``owner`` made ("": nobody known)."""
        return self.role >= self._needed(right, owner)

    def refusal(self, right: str, owner: str | None = None) -> str:
        """Why this actor may not do that, in two sentences; empty where he may."""
        if self.may(right, owner):
            return ""
        needed = self._needed(right, owner)
        article = "an" if needed is Role.ADMIN else "a"
        role = self.role.label if self.role else "none"
        return f"Only {article} {needed.label} may {RIGHTS[right].words}. Your role here: {role}."

    def _needed(self, right: str, owner: str | None) -> Role:
        return RIGHTS[right].own if owner in (None, self.name) else RIGHTS[right].others

    @property
    def owner(self) -> str:
        """What is written on what this actor makes: nothing on this machine itself, where everybody may everything."""
        return "" if self.is_local else self.name


def local() -> Actor:
    """Whoever runs this process."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):  # an account without a name, as in containers
        name = f"user {os.getuid()}" if hasattr(os, "getuid") else "user"
    return Actor(name, Role.ADMIN, is_local=True)


_present: Callable[[], Actor] = local


def install(source: Callable[[], Actor]) -> None:
    """Have ``source`` say who acts in this process."""
    global _present
    _present = source


def actor() -> Actor:
    """Who acts now."""
    return _present()


def check(workspace: Workspace, right: str, owner: str | None = None, what: str = "") -> Actor:
    """Who acts, if he may. Raises NotPermitted, which the log notes.

    Args:
        workspace: whose log it is.
        right: of RIGHTS.
        owner: who made what is to be changed; None where it is new.
        what: its id, for the log.
    """
    present = actor()
    if refusal := present.refusal(right, owner):
        note(workspace, f"{activity.REFUSED}{RIGHTS[right].words}", what)
        raise NotPermitted(refusal)
    return present


def note(workspace: Workspace, did: str, what: str = "") -> None:
    """Add what the present actor has done to the log; ``what`` is an id."""
    present = actor()
    activity.append(workspace, present.name, present.role.label, did, what)
