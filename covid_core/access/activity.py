"""The log of a workspace: who did what. A file of JSON lines that only grows, but for ``forget``."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from covid_core import files
from covid_core.workspace import Workspace

REFUSED = "refused: "  # begins what somebody tried and might not
FILE = "activity.jsonl"  # in the workspace
LONGEST = 200  # characters of a field of the log
LONGEST_AGE = 36500  # days
BLOCK = 1 << 16  # bytes of the log that are read at once, from its end


@dataclass(frozen=True)
class Line:
    """A line of the log. ``when`` is ISO 8601 in UTC; ``what`` an id."""

    when: str
    who: str
    role: str
    did: str
    what: str


def append(workspace: Workspace, who: str, role: str, did: str, what: str) -> None:
    """Add a line to the log: it only grows, by one write for each line. Where it cannot be written, so that somebody
    can delete something on a full disk, what was done stays done and the log of the server says so."""
    when = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = Line(when, who[:LONGEST], role, did[:LONGEST], what[:LONGEST])
    text = json.dumps(asdict(line), ensure_ascii=False)
    try:
        workspace.root.mkdir(parents=True, exist_ok=True)
        files.append_line(workspace.root / FILE, text, 0o600)
    except OSError as error:
        logging.getLogger(__name__).error("Not noted, because %s: %s", error.strerror or error, text)


def lines(workspace: Workspace, most: int) -> list[Line]:
    """The last ``most`` lines of the log, newest first; those that a crash tore are left out. Raises OSError."""
    read: list[Line] = []
    for text in _backwards(workspace.root / FILE):
        try:
            read.append(Line(**json.loads(text)))
        except (ValueError, TypeError):
            continue
        if len(read) == most:
            break
    return read


def _backwards(path: Path) -> Iterator[bytes]:
    """Lines of a file, the last first."""
    if not path.exists():
        return
    with open(path, "rb") as handle:
        end, rest = handle.seek(0, os.SEEK_END), b""
        while end > 0:
            start = max(0, end - BLOCK)
            handle.seek(start)
            first, *whole = (handle.read(end - start) + rest).split(b"\n")
            yield from (line for line in reversed(whole) if line)
            end, rest = start, first
        if rest:
            yield rest


def forget(workspace: Workspace, days: float) -> int:
    """Remove the lines that are older than so many days. Returns how many. Raises OSError."""
    limit = (datetime.now(UTC) - timedelta(days=min(days, LONGEST_AGE))).isoformat(timespec="milliseconds")
    every = lines(workspace, sys.maxsize)
    young = [one for one in reversed(every) if one.when.removesuffix("Z") >= limit.removesuffix("+00:00")]
    if len(young) < len(every):
        text = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in young)
        with files.published(workspace.root / FILE) as temporary:
            temporary.touch(0o600)
            temporary.write_text(text, encoding="utf-8")
    return len(every) - len(young)
