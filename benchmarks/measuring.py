"""What every benchmark shares: both sides in turn in one run, raw times, medians, their ratio, the machine's facts.

Standard output holds nothing but JSON lines, so ``>> benchmarks/results/NAME.jsonl`` keeps them; how far a benchmark is
goes to standard error.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
LOAD_BEFORE = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None  # before the benchmark adds its own


def options(description: str, repeats: int = 3) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes: ``--data FOLDER`` and ``--repeats N``."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder of real images, one folder per class")
    parser.add_argument("--repeats", type=int, default=repeats, help="how often each side runs, in turn")
    return parser


def in_turn(sides: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Run all sides one after the other, ``repeats`` times; each gives its own seconds."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for repeat in range(repeats):
        for side, run in sides.items():
            seconds[side].append(round(run(), 3))
            tell(f"{side}, {repeat + 1} of {repeats}: {seconds[side][-1]} s")
    return seconds


def result(
    benchmark: str, seconds: Mapping[str, Sequence[float]], ours: str, peer: str, **facts: Any
) -> dict[str, Any]:
    """The JSON object of one comparison: raw times, medians, how many times faster ``ours`` is than ``peer``."""
    medians = {side: round(statistics.median(times), 3) for side, times in seconds.items()}
    return {
        "benchmark": benchmark,
        "seconds": {side: list(times) for side, times in seconds.items()},
        "median": medians,
        "times_faster": round(medians[peer] / medians[ours], 2),
        **facts,
        "machine": machine(),
    }


def tell(line: str) -> None:
    """How far a benchmark is, on standard error."""
    print(line, file=sys.stderr, flush=True)


def show(answer: Mapping[str, Any]) -> None:
    """One JSON line on standard output."""
    print(json.dumps(answer), flush=True)


def seconds_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[float, str]:
    """Run a whole process. Returns its wall-clock seconds and its standard output; ends the benchmark if it fails."""
    begin = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, text=True, check=False
    )
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout[-2000:]}")
    return seconds, done.stdout


def in_fresh_process(work: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """What ``work`` measured of itself, in a process that has done nothing else; ends the benchmark if it fails."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(work, *given).result()


def command_line(*words: str, home: Path) -> tuple[float, dict[str, Any]]:
    """One verb of ``python -m covid_core`` in the workspace ``home``: its seconds and its JSON answer."""
    seconds, output = seconds_of([sys.executable, "-m", "covid_core", *words, "--json"], {"COVID_CORE_HOME": str(home)})
    return seconds, json.loads(output)


def peak_megabytes() -> int:
    """The most memory that this process has held so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gigabytes": round(psutil.virtual_memory().total / 1e9),
        "load_before": LOAD_BEFORE,
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
