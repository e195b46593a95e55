"""Verbs that join Second Look to programs of others."""

import argparse
import importlib.util
from typing import Any

from covid_core.commands.verbs import ARGUMENTS, option, verb
from covid_core.errors import InvalidChoice
from covid_core.runs import store
from covid_core.workspace import Workspace

RUNS = option("runs", nargs="+", metavar="RUN", help=ARGUMENTS["run"])


def _need(extra: str, *modules: str) -> None:
    """Raise InvalidChoice, with the command that adds it, where an extra is not installed."""
    if not all(importlib.util.find_spec(one) for one in modules):
        raise InvalidChoice(f'This needs an extra: python -m pip install "second-look[{extra}]"')


@verb(
    "serve",
    RUNS,
    option("--port", type=int, default=8600, help="where to listen; 0 for any that is free, 8600 by default"),
    option("--address", default="127.0.0.1", help="of this computer; one that others reach is refused"),
    option(
        "--host", action="append", metavar="NAME", help="a further name in addresses, where a web server is between"
    ),
)
def do_serve(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Answer for images over HTTP with what runs make of them, as predict --json does. It ends with Ctrl-C."""
    _need("serve", "fastapi", "fastapi_offline", "uvicorn")
    from covid_core.exchange.serve import server, tokens

    runs = [store.open_run(workspace, name) for name in dict.fromkeys(options.runs)]

    def begin(url: str) -> None:
        print(f"{url}/docs  {', '.join(run.name for run in runs)}", flush=True)
        print(f"tokens: {tokens.path_of(workspace)}", flush=True)

    server.serve(workspace, runs, options.address, options.port, options.host or [], begin)
    return {"text": ""}
