"""Ray: one task per job. Ray itself is imported by attendants and on nodes only."""

import logging
import os
import socket
from collections.abc import Mapping
from typing import Any

import covid_core
from covid_core.errors import CovidCoreError
from covid_core.executors import node
from covid_core.executors.choice import Choice
from covid_core.executors.engines import End, Node
from covid_core.files import OUT_OF_MEMORY
from covid_core.runs.store import JobFolder

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing about anybody's use is sent
NAMESPACE = "second-look"
PATIENCE = 10.0  # seconds for a cluster to accept a connection
UNREACHED = "The Ray cluster {address} cannot be reached ({reason}). Start it, or correct its address on the Home page."
THIS = "of this computer"  # where no address was given


class RayTask:
    """A job in the hands of Ray."""

    def __init__(self, reference: Any):
        self._reference = reference

    def end(self) -> End | None:
        import ray

        if not ray.wait([self._reference], timeout=0)[0]:
            return None
        try:
            return End(reason=ray.get(self._reference))
        except ray.exceptions.OutOfMemoryError:
            return End(reason=OUT_OF_MEMORY, fault="memory")
        except ray.exceptions.TaskCancelledError:
            return End()
        except ray.exceptions.RayTaskError as error:  # Python's own on the node, before the worker took over
            return End(reason=node.NOT_STARTED.format(reason=error.cause or error))
        except ray.exceptions.RayError as error:  # of the node, or of the process there
            return End(is_lost=True, reason=str(error).strip().partition("\n")[0])

    def cancel(self) -> None:
        import ray

        ray.cancel(self._reference)


class RayClient:
    """A connection to a cluster, which ends with this process, and its tasks with it."""

    def __init__(self, choice: Choice):
        import ray

        self._work = ray.remote(
            num_cpus=choice.cores,
            num_gpus=choice.gpus,
            max_retries=0,  # the attendant does that, and writes it down
            max_calls=1,  # a process for each job, as on one computer
        )(node.work)
        self._label = choice.label

    def submit(self, folder: JobFolder, attempt: int, environment: Mapping[str, str]) -> RayTask:
        task = self._work.options(runtime_env={"env_vars": dict(environment)}, name=folder.id)
        return RayTask(task.remote(self._label, str(folder.path), attempt, covid_core.__version__))

    def nodes(self) -> list[Node]:
        import ray

        alive = [(one["NodeManagerHostname"], one["Resources"]) for one in ray.nodes() if one["Alive"]]
        return [Node(name, int(has.get("CPU", 0)), int(has.get("GPU", 0))) for name, has in alive]


def _call(address: str) -> None:
    """Raise OSError where nobody listens at host:port; Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()


def opened(choice: Choice) -> RayClient:
    """Connect to the cluster. Never starts one. Raises CovidCoreError."""
    import ray

    try:
        _call(choice.address)
        ray.init(choice.address or "auto", namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
        raise CovidCoreError(UNREACHED.format(address=choice.address or THIS, reason=reason)) from error
    return RayClient(choice)
