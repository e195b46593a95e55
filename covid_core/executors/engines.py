"""What an engine has to offer: a task for a job's folder, which ends, is lost, or can be taken back."""

import importlib
from collections.abc import Mapping
from typing import NamedTuple, Protocol, cast

from covid_core.executors.choice import Choice
from covid_core.runs.store import Fault, JobFolder


class End(NamedTuple):
    """How a task ended. ``is_lost``: with its node or process, so that the job can start again; ``reason`` says why a
    job could not begin, or what was lost; both empty where the worker itself has had its last word."""

    is_lost: bool = False
    reason: str = ""
    fault: Fault = ""


class Node(NamedTuple):
    """A computer of an engine that answers."""

    name: str
    cores: int
    gpus: int


class Task(Protocol):
    """A job that was handed over."""

    def end(self) -> End | None:
        """How it ended; None while it waits or works."""

    def cancel(self) -> None:
        """Take it back before it begins, or end its process."""


class EngineClient(Protocol):
    """A connection to an engine, for the life of an attendant."""

    def submit(self, folder: JobFolder, attempt: int, environment: Mapping[str, str]) -> Task:
        """Hand a job over, for its worker to start with that much more environment."""

    def nodes(self) -> list[Node]:
        """The computers that jobs can go to. Raises CovidCoreError."""


def opened(choice: Choice) -> EngineClient:
    """Connect. Raises CovidCoreError."""
    module = importlib.import_module(f"covid_core.executors.{choice.engine}")
    return cast(EngineClient, module.opened(choice))
