"""``engine``: where jobs are done, this computer or an engine."""

import argparse
from typing import Any

from covid_core.commands.verbs import option, verb
from covid_core.executors import choice, engines
from covid_core.executors.choice import ENGINES, Choice
from covid_core.formatting import plural
from covid_core.specs import parse
from covid_core.workspace import Workspace


@verb(
    "engine",
    option("name", nargs="?", choices=list(ENGINES), help="where jobs are done from now on; none: print the choice"),
    option("--address", default="", help="of Ray, host:port of the cluster; of SLURM, the partition"),
    option("--cores", type=int, default=1, help="processor cores for each job; 1 by default"),
    option("--gpus", type=int, default=0, help="graphics cards for each job; 0 by default"),
    option("--minutes", type=int, default=1440, help="SLURM's time limit per job; a longer job goes on in a new one"),
    option("--parts", type=int, default=1, help="parallel jobs that compute the image features of a training"),
    option("--nodes", action="store_true", help="connect, and list the computers of the engine"),
)
def do_engine(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Where jobs are done: on this computer, or by Ray or SLURM on many."""
    if options.name:
        fields = ("address", "cores", "gpus", "minutes", "parts")
        choice.choose(
            workspace, parse(Choice, {"engine": options.name, **{one: getattr(options, one) for one in fields}})
        )
    chosen = choice.chosen(workspace)
    nodes = engines.opened(chosen).nodes() if options.nodes and not chosen.is_local else []
    answer = {**chosen.model_dump(mode="json"), "set_outside": choice.is_set_outside()}
    lines = [
        choice.in_words(chosen),
        *(f"{one.name}  {plural(one.cores, 'core')}, {plural(one.gpus, 'graphics card')}" for one in nodes),
    ]
    return {**answer, "nodes": [one._asdict() for one in nodes], "text": "\n".join(lines)}
