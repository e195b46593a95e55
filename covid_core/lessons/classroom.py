"""Predictions of the lessons, kept per browser, and classes: several browsers that predict together.

A prediction is one small file, ``predictions/CLASS/LESSON/VISITOR.json``; ALONE is that of no class.
Secrets of browsers are never written: a visitor is the SHA-256 of one. Who opened a class alone resets its lessons;
without a class, a reset takes nothing from other browsers.
"""

import hashlib
import re
import secrets
import time
from pathlib import Path

from covid_core import access, files
from covid_core.errors import JobRefused, UnknownId
from covid_core.lessons import preparation
from covid_core.lessons.catalogue import named
from covid_core.workspace import Workspace

FOLDER, RECORD = "predictions", "class.json"
ALONE = "alone"
WHOLE = "[!.]*.json"  # hidden ones are half written
LETTERS, LENGTH = "ABCDEFGHJKMNPQRSTUVWXYZ23456789", 6  # of a code: nothing that a projector makes ambiguous
CODE = re.compile(f"[{LETTERS}]{{{LENGTH}}}")
UNUSED_SECONDS = 3 * 3600.0  # a class in which nobody has predicted for so long ends by itself: its opener may be gone
USED_SECONDS = 2 * 3600.0  # a lesson stays for the browsers that have used it so lately: a lecture, and time after it
NOT_OPENER = "A class uses the lessons. Only the browser that opened it resets them."
ANOTHER_CLASS = "Another class is open, and uses the lessons: the images and runs stay."


def visitor_of(secret: str) -> str:
    """The visitor whose browser holds this secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


# Classes


def open_class(workspace: Workspace, visitor: str) -> str:
    """Open a class; its code. Classes that have ended are removed. Raises NotPermitted."""
    access.check(workspace, access.CLASS)
    for folder in _root(workspace).glob("*"):
        if folder.name != ALONE and not is_open(workspace, folder.name):
            files.remove_folder(folder)
    code = "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
    folder = _root(workspace) / code
    folder.mkdir(parents=True)
    files.write_json(folder / RECORD, {"opener": visitor, "created": time.time()})
    access.note(workspace, "open class", code)
    return code


def close_class(workspace: Workspace, visitor: str, code: str) -> None:
    """Close a class and remove its predictions. Raises JobRefused for anybody but its opener."""
    if not is_opener(workspace, visitor, code):
        raise JobRefused("Only the browser that opened the class can close it.")
    files.remove_folder(_root(workspace) / code)


def is_open(workspace: Workspace, code: str) -> bool:
    """Whether a class of that code is open, and has been used within UNUSED_SECONDS."""
    created = float(_record(workspace, code).get("created", 0))
    if time.time() - created < UNUSED_SECONDS:
        return True
    used = [_changed(path) for path in (_root(workspace) / code).glob("*")] if created else []
    return time.time() - max(used, default=0.0) < UNUSED_SECONDS


def is_opener(workspace: Workspace, visitor: str, code: str) -> bool:
    """Whether the visitor has opened that class."""
    return _record(workspace, code).get("opener") == visitor


def joined(workspace: Workspace, code: str) -> str:
    """The code of an open class, as it was typed. Raises UnknownId."""
    plain = code.strip().upper()
    if not plain:
        raise UnknownId("Enter the class code first. Your instructor shows it.")
    if not is_open(workspace, plain):
        raise UnknownId(f"No class is open with the code {code.strip()[:20]!r}. Check the code with your instructor.")
    return plain


def why_shared(workspace: Workspace, visitor: str, key: str) -> str:
    """Why a visitor may not remove a prepared lesson, which all browsers share; empty where he may.

    Who has opened all open classes may. Without a class, a visitor may where no other used the lesson lately.
    """
    codes = [folder.name for folder in _root(workspace).glob("*") if is_open(workspace, folder.name)]
    own = [is_opener(workspace, visitor, code) for code in codes]
    if not all(own):
        return ANOTHER_CLASS if any(own) else NOT_OPENER
    if not codes and _others_use(workspace, visitor, key):
        return "Another browser uses this lesson. Its images and runs stay."
    return ""


def _others_use(workspace: Workspace, visitor: str, key: str) -> bool:
    """Whether another browser has prepared the lesson, or predicted in it, within USED_SECONDS."""
    now = preparation.state_of(workspace, key)
    used = {path.stem: path.stat().st_mtime for path in (_root(workspace) / ALONE / key).glob(WHOLE)}
    if now.status is not None and now.visitor:
        used[now.visitor] = max(now.status.updated or time.time(), used.get(now.visitor, 0.0))  # None: queued
    return any(time.time() - when < USED_SECONDS for whose, when in used.items() if whose != visitor)


def check_shared(workspace: Workspace, visitor: str, key: str) -> None:
    """Raises JobRefused unless the visitor may remove a prepared lesson."""
    reason = why_shared(workspace, visitor, key)
    if reason:
        raise JobRefused(reason)


def reset(workspace: Workspace, visitor: str, key: str, code: str = ALONE) -> None:
    """Begin a lesson anew: the visitor's own prediction goes, and of a class that he opened, everybody's.

    What was prepared goes where no other browser loses it (``why_shared``). Raises JobRefused for who has
    joined a class.
    """
    if code != ALONE and not is_opener(workspace, visitor, code):
        raise JobRefused(NOT_OPENER)
    if not why_shared(workspace, visitor, key):
        preparation.reset(workspace, key)
    if code == ALONE:
        withdraw(workspace, visitor, key)
    elif (_root(workspace) / code / named(key).key).is_dir():
        files.remove_folder(_root(workspace) / code / named(key).key)


# Predictions


def predict(workspace: Workspace, visitor: str, key: str, percent: float | None, code: str = ALONE) -> None:
    """Store what a visitor predicts for a lesson; None where he goes on without a prediction."""
    path = _path(workspace, visitor, key, code)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, {"percent": percent})


def prediction(workspace: Workspace, visitor: str, key: str, code: str = ALONE) -> tuple[bool, float | None]:
    """Whether a visitor has answered a lesson's question, and with which per cent (None: with nothing)."""
    path = _path(workspace, visitor, key, code)
    return (True, _percent(path)) if path.is_file() else (False, None)


def withdraw(workspace: Workspace, visitor: str, key: str, code: str = ALONE) -> None:
    """Remove a visitor's prediction of a lesson."""
    _path(workspace, visitor, key, code).unlink(missing_ok=True)


def predictions(workspace: Workspace, code: str, key: str) -> list[float]:
    """What a class has predicted for a lesson, in per cent."""
    predicted = [_percent(path) for path in (_root(workspace) / code / named(key).key).glob(WHOLE)]
    return sorted(percent for percent in predicted if percent is not None)


def _root(workspace: Workspace) -> Path:
    return workspace.root / FOLDER


def _path(workspace: Workspace, visitor: str, key: str, code: str) -> Path:
    return _root(workspace) / code / named(key).key / f"{visitor}.json"


def _percent(path: Path) -> float | None:
    try:
        percent = files.read_json(path)["percent"]
    except FileNotFoundError:  # withdrawn at this moment
        return None
    return None if percent is None else float(percent)


def _changed(path: Path) -> float:
    """When a file was written, or a prediction in a folder made or withdrawn last; 0 where it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _record(workspace: Workspace, code: str) -> dict[str, object]:
    """Who opened a class, and when; empty where there is none. Codes come from addresses: only plain ones count."""
    path = _root(workspace) / code / RECORD
    try:
        return dict(files.read_json(path)) if CODE.fullmatch(code) else {}
    except FileNotFoundError:
        return {}
