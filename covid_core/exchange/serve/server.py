"""Starts the prediction server, and ends with it."""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence

import uvicorn

from covid_core import access
from covid_core.access.web import LOOPBACK, OVERRIDE
from covid_core.errors import InvalidChoice, cause
from covid_core.evaluation.conformal import USUAL_COVERAGE
from covid_core.exchange.serve import api, tokens
from covid_core.exchange.serve.api import Served
from covid_core.exchange.serve.guard import Guard
from covid_core.images.codec import png_bytes
from covid_core.inference.predictor import Predictor
from covid_core.reports import image_report
from covid_core.runs.store import Run
from covid_core.synthetic import phantom
from covid_core.workspace import Workspace

BACKLOG = 128  # connections that wait to be accepted
MOST_CONNECTIONS = 256
LAST_SECONDS = 5  # for requests that are being answered when the server ends


def serve(
    workspace: Workspace,
    runs: Sequence[Run],
    address: str,
    port: int,
    hosts: Sequence[str],
    begin: Callable[[str], None],
) -> None:
    """Answer for finished runs until the process is asked to end.

    Args:
        workspace: of the runs.
        runs: what answers; the first where a request names none.
        address: to listen at: of this computer alone, but where OVERRIDE is set.
        port: to listen at; 0 for any that is free.
        hosts: further names in the address of requests, as a web server in between passes them on.
        begin: is called with the server's address once it listens.

    Raises InvalidChoice for an address or port that cannot be had, DataError for a wrong file of tokens, RunDamaged.
    """
    if address not in LOOPBACK and os.environ.get(OVERRIDE) != "1":
        raise InvalidChoice(
            f"The address must be one of this computer alone ({', '.join(LOOPBACK)}), received: {address!r}. Let a web "
            f"server with TLS pass requests on, or set {OVERRIDE}=1."
        )
    token_file = tokens.path_of(workspace)
    tokens.actors(token_file)  # wrong lines are told now
    with _listening(address, port) as listener:
        served = {run.id: Served(run, Predictor.open(workspace, run)) for run in runs}
        drawn = [("", lambda: png_bytes(phantom.image_at(0).pixels))]
        for run, predictor in served.values():  # so that no request waits for what the first one has to open
            image_report.of_files(workspace, run, predictor, drawn, coverage=USUAL_COVERAGE, anyway=True)
        access.install(api.visitor)
        names = {*LOOPBACK, address.lower(), *map(str.lower, hosts)}
        config = uvicorn.Config(
            Guard(api.application(workspace, served, token_file), names),
            lifespan="off",
            ws="none",
            http="h11",
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=LAST_SECONDS,
        )
        name = f"[{address}]" if ":" in address else address
        begin(f"http://{name}:{listener.getsockname()[1]}")
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again when it has ended
            uvicorn.Server(config).run(sockets=[listener])


def _listening(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = cause(error).partition(" (")[0]  # Python adds the address
        raise InvalidChoice(
            f"The server cannot listen at {address}, port {port}: {reason}. Try another --port."
        ) from error
