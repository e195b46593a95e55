"""``app`` and ``where``: the dashboard itself, and where its data lie."""

import argparse
import contextlib
import os
import subprocess
import sys
from typing import Any

from covid_core.commands.verbs import verb
from covid_core.errors import InvalidChoice
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
