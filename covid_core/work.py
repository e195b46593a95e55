"""How long work runs: in order, on all cores, with bounded memory, telling how far it is."""

import contextlib
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CORES = "COVID_CORE_CORES"  # environment of a worker that shares its machine
NICENESS = 5  # the pages stay quick while a worker trains: of a core that both want they get three parts of four
TRIES = 5  # at the niceness of a session

Progress = Callable[[float, str], None]
"""Called with the share done in [0, 1] and a short text. It may raise Stopped to end the work."""


def silent(_share: float, _message: str) -> None:
    """Progress that nobody watches."""


def part_of(progress: Progress, start: float, end: float, name: str = "") -> Progress:
    """Progress of one step of a longer work, from ``start`` to ``end`` of it; its messages begin with ``name``."""
    return lambda share, message: progress(start + (end - start) * share, name + message)


def cores() -> int:
    """Processor cores that this process may use: all of the machine, or what an engine has given it."""
    if os.environ.get(CORES, "").isdigit():
        return max(1, int(os.environ[CORES]))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blocks(values: Any, size: int) -> Iterator[Any]:
    """A sequence or array, ``size`` of its entries at a time."""
    return (values[start : start + size] for start in range(0, len(values), size))


def ordered_map(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int = 64
) -> Iterator[Result]:
    """Like ``executor.map``, but with at most ``ahead`` results waiting, so memory does not grow with ``items``."""
    source = iter(items)
    waiting: deque[Future[Result]] = deque(executor.submit(function, item) for item in itertools.islice(source, ahead))
    try:
        while waiting:
            result = waiting.popleft().result()
            for item in itertools.islice(source, 1):
                waiting.append(executor.submit(function, item))
            yield result
    finally:
        for future in waiting:
            future.cancel()


def lower_session(process: int) -> None:
    """Let pages go before a process that was just started in a session of its own, and before all that it starts.

    Where Linux groups processes by their session, niceness counts within the group alone, and the group has one of its
    own (sched(7), "The autogroup feature"): without it, a training takes as much of the processor as the pages. Where
    the platform has neither, nothing changes.
    """
    if hasattr(os, "setpriority"):
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.setpriority(os.PRIO_PROCESS, process, max(NICENESS, os.getpriority(os.PRIO_PROCESS, process)))
    for _ in range(TRIES):
        try:
            Path(f"/proc/{process}/autogroup").write_text(str(NICENESS), encoding="ascii")
        except BlockingIOError:  # Linux changes one group in a tenth of a second, but for root
            time.sleep(0.1)
        except OSError:  # there are no such groups, or the process has ended
            return
        else:
            return
