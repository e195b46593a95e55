"""``cache``: how much is kept to save time."""

import argparse
import time
from typing import Any

from covid_core import cache
from covid_core.cache import Entry
from covid_core.commands.verbs import option, verb
from covid_core.errors import InvalidChoice
from covid_core.formatting import file_size, plural
from covid_core.runs import storage
from covid_core.workspace import Workspace


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
    """How much is kept to save time, of which limit; --clear empties it."""
    if options.kind and not options.clear:
        raise InvalidChoice("--kind says what --clear removes: give both, or neither.")
    limit = cache.limit()
    cleared = storage.clear(workspace, options.kind or cache.KINDS) if options.clear else None
    kept, unused = cache.entries(workspace), storage.unused_trunks(workspace)
    kinds = {kind: _kept_answer([entry for entry in kept if entry.kind == kind]) for kind in cache.KINDS}
    answer = {"limit": limit, "bytes": cache.total(kept), "kinds": kinds, "unused_trunks": _kept_answer(unused)}
    if cleared is not None:
        answer |= {"freed": cleared.freed, "in_use": [str(path) for path in cleared.in_use]}
    return {**answer, "text": "\n".join(_cache_lines(answer))}


def _kept_answer(kept: list[Entry]) -> dict[str, Any]:
    used = max((entry.used for entry in kept), default=None)
    return {"bytes": cache.total(kept), "files": len(kept), "used": used}


def _cache_lines(answer: dict[str, Any]) -> list[str]:
    lines = [f"{file_size(answer['freed'])} freed"] if "freed" in answer else []
    lines += [f"in use, stays: {path}" for path in answer.get("in_use", ())]
    for kind, kept in answer["kinds"].items():
        used = f"  last used {time.strftime('%Y-%m-%d %H:%M', time.localtime(kept['used']))}" if kept["files"] else ""
        lines.append(f"{kind:8} {file_size(kept['bytes']):>9}  {plural(kept['files'], 'file')}{used}")
    lines.append(f"{file_size(answer['bytes'])} of {file_size(answer['limit'])}")
    unused = answer["unused_trunks"]["bytes"]
    if unused:
        lines.append(f"{file_size(unused)} of networks that no run refers to: cache --clear --kind trunks")
    return lines
