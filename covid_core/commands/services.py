"""Verbs that join Second Look to programs of others."""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from covid_core import access
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
    option("--address", default="127.0.0.1", help="an address of this computer; one that others reach is refused"),
    option("--host", action="append", metavar="NAME", help="another host name, for a web server in front"),
)
def do_serve(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Predict images over HTTP, as predict --json does. It ends with Ctrl-C."""
    _need("serve", "fastapi", "fastapi_offline", "uvicorn")
    from covid_core.exchange.serve import server, tokens

    runs = [store.open_run(workspace, name) for name in dict.fromkeys(options.runs)]

    def begin(url: str) -> None:
        print(f"{url}/docs  {', '.join(run.name for run in runs)}", flush=True)
        print(f"tokens: {tokens.path_of(workspace)}", flush=True)

    server.serve(workspace, runs, options.address, options.port, options.host or [], begin)
    return {"text": ""}


@verb(
    "track",
    RUNS,
    option("--mlflow", metavar="URI", help="an MLflow server, such as http://127.0.0.1:5000"),
    option("--experiment", default="Second Look", help="of the MLflow server; Second Look by default, made there"),
    option("--tensorboard", metavar="FOLDER", help="write an event file into a folder for each run there"),
)
def do_track(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Write settings, figures with intervals, curves, charts, card and model of finished runs to an MLflow server, or
    all but the model as event files for TensorBoard. No pixel of an image leaves. Tracking a run again updates it."""
    if not options.mlflow and not options.tensorboard:
        raise InvalidChoice("Say where to: --mlflow URI, --tensorboard FOLDER, or both.")
    if options.mlflow:
        _need("mlflow", "mlflow")
    if options.tensorboard:
        _need("tensorboard", "tensorboardX")
    from covid_core.exchange.cards import card
    from covid_core.exchange.tracking import record

    access.check(workspace, access.ADMINISTER)
    rows, lines = [], []
    for run in [store.open_run(workspace, name) for name in dict.fromkeys(options.runs)]:
        made = card.of_run(workspace, run)
        tracked = record.of(run, {"card.html": card.to_html(made), "card.md": card.to_markdown(made)})
        row: dict[str, Any] = {"run": run.id, "mlflow": None, "tensorboard": None, "lacks": tracked.lacks}
        if options.mlflow:
            from covid_core.exchange.tracking import mlflow_server

            written = mlflow_server.write(tracked, options.mlflow, options.experiment)
            row["mlflow"] = written._asdict()
            lines.append(f"{run.id}  {written.url}{'' if written.is_new else '  was there'}")
        if options.tensorboard:
            from covid_core.exchange.tracking import event_files

            row["tensorboard"] = str(event_files.write(tracked, Path(options.tensorboard)))
            lines.append(f"{run.id}  {row['tensorboard']}")
        access.note(workspace, "track run", run.id)
        rows.append(row)
        lines += tracked.lacks
    return {"runs": rows, "text": "\n".join(lines)}
