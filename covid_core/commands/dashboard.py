"""``app``, ``where`` and ``cache``: the dashboard itself, where its data lie, and what is there to save time."""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from covid_core import access, cache
from covid_core.access import activity
from covid_core.cache import Entry
from covid_core.commands.verbs import option, verb
from covid_core.errors import DataError, InvalidChoice
from covid_core.formatting import file_size, plural
from covid_core.runs import storage
from covid_core.workspace import HOME, SOURCE, Workspace, is_checkout, location

APP = SOURCE / "app.py" if is_checkout() else SOURCE / "second_look" / "app.py"  # as pyproject.toml lays it


@verb("app")
def do_app(_workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Start the dashboard and open it in the browser. It ends with Ctrl-C. Options of streamlit run, such as
    --server.port 8502, are handed on to it."""
    if not APP.is_file():
        raise InvalidChoice(f"The dashboard is not there ({APP}): install Second Look again.")
    # -P: whatever lies in the current folder, such as another checkout, is none of the server's business.
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(APP), *options.streamlit]
    if os.name != "nt":
        os.execv(sys.executable, command)  # signals and the exit code are the server's own then
    with contextlib.suppress(KeyboardInterrupt):  # it ends the server too
        return {"failed": subprocess.call(command) != 0, "text": ""}
    return {"text": ""}


@verb("where")
def do_where(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """Where data sets, runs and caches lie, and why there."""
    place = location()
    lines = [str(workspace.root), f"because {place.reason}"]
    if place.unused:
        lines.append(f"not used: {place.unused} (set {HOME} to it to open it)")
    return {
        "workspace": str(workspace.root),
        "reason": place.reason,
        "unused": str(place.unused) if place.unused else None,
        "text": "\n".join(lines),
    }


@verb(
    "cache",
    option("--clear", action="store_true", help="remove what can be computed again; runs and data sets stay"),
    option(
        "--kind",
        action="append",
        choices=(*cache.KINDS, storage.TRUNKS),
        help="what to clear; all but trunks (exported networks that no run refers to) by default",
    ),
)
def do_cache(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Size and limit of the cache; --clear empties it."""
    if options.kind and not options.clear:
        raise InvalidChoice("--kind says what --clear removes: give both, or neither.")
    limit = cache.limit()
    cleared = storage.clear(workspace, options.kind or cache.KINDS) if options.clear else None
    entries, unused = cache.entries(workspace), storage.unused_trunks(workspace)
    kinds = {kind: _usage([entry for entry in entries if entry.kind == kind]) for kind in cache.KINDS}
    answer = {"limit": limit, "bytes": cache.total(entries), "kinds": kinds, "unused_trunks": _usage(unused)}
    if cleared is not None:
        answer |= {"freed": cleared.freed, "in_use": [str(path) for path in cleared.in_use]}
    return {**answer, "text": "\n".join(_cache_lines(answer))}


@verb(
    "activity",
    option("--last", type=int, default=20, help="how many of the latest actions to list"),
    option("--forget", type=float, metavar="DAYS", help="remove the lines that are older than so many days"),
)
def do_activity(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Who started, changed or deleted what, newest first; --forget shortens the log."""
    if options.last < 0 or (options.forget or 0) < 0:
        raise InvalidChoice("--last and --forget take 0 or a larger number.")
    try:
        forgotten = None
        if options.forget is not None:
            forgotten = activity.forget(workspace, options.forget)
            access.note(workspace, f"shorten the log by {plural(forgotten, 'line')}")
        listed = activity.lines(workspace, options.last) if options.last else []
    except OSError as error:
        raise DataError(f"The log of actions cannot be read or written: {error.strerror or error}.") from error
    rows = [f"{one.when}  {one.who} ({one.role})  {one.did}  {one.what}".rstrip() for one in listed]
    return {"lines": [asdict(one) for one in listed], "forgotten": forgotten, "text": "\n".join(rows)}


def _usage(entries: list[Entry]) -> dict[str, Any]:
    used = max((entry.used for entry in entries), default=None)
    return {"bytes": cache.total(entries), "files": len(entries), "used": used}


def _cache_lines(answer: dict[str, Any]) -> list[str]:
    lines = [f"{file_size(answer['freed'])} freed"] if "freed" in answer else []
    lines += [f"in use, stays: {path}" for path in answer.get("in_use", ())]
    for kind, usage in answer["kinds"].items():
        used = f"  last used {time.strftime('%Y-%m-%d %H:%M', time.localtime(usage['used']))}" if usage["files"] else ""
        lines.append(f"{kind:8} {file_size(usage['bytes']):>9}  {plural(usage['files'], 'file')}{used}")
    lines.append(f"{file_size(answer['bytes'])} of {file_size(answer['limit'])}")
    unused = answer["unused_trunks"]["bytes"]
    if unused:
        lines.append(f"{file_size(unused)} of networks that no run refers to: cache --clear --kind trunks")
    return lines
