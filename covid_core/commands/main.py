"""The command line: ``second-look VERB ...``, or ``python -m covid_core VERB ...``.

Every verb but ``app`` and ``serve`` takes ``--json``: one JSON object on stdout, everything else on stderr. Exit code:
0 done, 1 refused or failed, 2 wrong use. Ids are printed, so verbs chain.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from covid_core import __version__, files
from covid_core.commands import bundles, dashboard, datasets, engine, models, pacs, reports, services, training
from covid_core.commands.verbs import VERBS, option
from covid_core.errors import CovidCoreError
from covid_core.reports.encode import encode
from covid_core.runs import store
from covid_core.workspace import Workspace, location

TOPICS = (
    dashboard,
    engine,
    datasets,
    training,
    models,
    reports,
    bundles,
    services,
    pacs,
)  # imported, they enter their verbs
ENDLESS = (dashboard.do_app, services.do_serve)  # their answer is a server
JSON = option("--json", action="store_true", help="answer with one JSON object")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit code: 1 also where the reader of the answer closed the pipe (``| head -1``)."""
    options = _options(arguments)
    unused = location().unused
    if unused is not None and options.verb is not dashboard.do_where:
        print(f"note: the workspace {unused} is not used; second-look where says which is", file=sys.stderr)
    try:
        answer = options.verb(Workspace.default(), options)
        text = answer.pop("text") if "text" in answer else "\n".join(f"{key}: {value}" for key, value in answer.items())
    except (CovidCoreError, OSError) as error:
        reason = str(error) if isinstance(error, CovidCoreError) else files.refusal_of(error)
        if not reason:  # a bug, which keeps its traceback
            raise
        print(f"error: {reason}", file=sys.stderr)
        if options.json:
            print(json.dumps({"error": reason}, ensure_ascii=False))
        return 1
    try:
        print(
            json.dumps(encode(answer), ensure_ascii=False) if options.json else text,
            flush=True,  # here, where a closed pipe can be caught
        )
    except BrokenPipeError:  # as Python's documentation has it: else the flush at the exit complains
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    failed = answer.get("failed") or answer.get("state") in (store.FAILED, store.INTERRUPTED)
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for; ``app`` hands on to Streamlit what it does not know, every other verb refuses it."""
    parser = _parser()
    options, others = parser.parse_known_args(arguments)
    if options.verb is dashboard.do_app:
        options.streamlit = others
    elif others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="second-look", description="The dashboard, and all of it without one.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    for name, (work, arguments) in VERBS.items():
        added = verbs.add_parser(name, help=work.__doc__, description=work.__doc__)
        for argument, settings in arguments if work in ENDLESS else [*arguments, JSON]:
            added.add_argument(argument, **settings)
        added.set_defaults(verb=work, json=False)
    return parser
