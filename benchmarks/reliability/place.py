"""Where the checks of the score card are made: a scratch folder, a small trained run, servers of their own."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import measuring

# What makes images, runs and servers.
SUPPORT = [str(measuring.ROOT / "tests" / name) for name in ("support", "e2e", "")]
sys.path[:0] = SUPPORT

from app_server import App  # noqa: E402

from covid_core.runs import store  # noqa: E402
from covid_core.workspace import Workspace  # noqa: E402


class Unmeasured(Exception):
    """A check that cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Measured:
    """What a check gave. ``held``: whether its target was reached; None where the measurement is too coarse to tell,
    and ``reason`` says why. ``reason`` may also say what a figure does not cover."""

    figure: Mapping[str, Any]
    held: bool | None
    reason: str = ""


@dataclass
class Place:
    """``quick``: shorter loops. ``data``: a folder of real images, one folder per class, where one is given."""

    folder: Path
    quick: bool
    data: Path | None = None
    notes: dict[str, Any] = field(default_factory=dict)  # what two checks measure at once
    ran: dict[str, list[str]] = field(default_factory=dict)  # how the tests of a file, or of a name, ended

    @cached_property
    def workspace(self) -> Workspace:
        """240 drawn images and a small network that was really trained on them."""
        made = Workspace(self.folder / "trained" / "workspace")
        measuring.in_fresh_process(_train, made.root)  # TensorFlow stays out of this process
        return made

    @property
    def run(self) -> store.Run:
        return store.list_runs(self.workspace)[0][0]

    @contextmanager
    def server(self, name: str, before: Sequence[str] = (), **environment: str) -> Iterator[App]:
        """A server on a copy of the workspace. ``before``: a program that starts it, and its options."""
        home = self.folder / name
        shutil.copytree(self.workspace.root, home / "workspace")
        app = App(home)
        own = {"COVID_CORE_HOME": str(home / "workspace"), "KERAS_HOME": str(home), **environment}
        app.start([*before, sys.executable, "-m", "streamlit", "run", app.script], environment={**os.environ, **own})
        try:
            yield app
        finally:
            app.kill()
            app.kill_workers()

    def tests(self, *chosen: str) -> Measured:
        """Tests of this project, each a file or FILE::NAME: how many of them pass. Held where all do; a skipped one is
        not held."""
        self.run_tests([one for one in chosen if one not in self.ran])
        count = Counter(outcome for one in chosen for outcome in self.ran[one])
        tests, broken = count.total(), count["failure"] + count["error"]
        held = count["passed"] == tests > 0 or (False if broken else None)
        reason = f"{count['skipped']} skipped" if count["skipped"] else ""
        return Measured({"tests_passed": count["passed"], "tests": tests}, held, reason)

    def run_tests(self, chosen: Sequence[str], processes: int = 2) -> None:
        """Run them all at once, since to start takes longer than most of them, and note how each ended."""
        if not chosen:
            return
        report = self.folder / "tests.xml"
        options = ["-q", "-p", "no:cacheprovider", "-m", "", "-n", str(processes), "-o", "junit_family=xunit1"]
        command = [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", *chosen]
        done = subprocess.run(command, cwd=measuring.ROOT, stdout=subprocess.DEVNULL, check=False)
        if done.returncode not in (0, 1):
            raise Unmeasured(f"pytest ended with {done.returncode}: {' '.join(chosen)}")
        cases = list(xml.parse(report).iter("testcase"))
        self.ran |= {one: [_outcome(case) for case in cases if _is_of(case, one)] for one in chosen}


def _is_of(case: xml.Element, chosen: str) -> bool:
    path, _, name = chosen.partition("::")
    return case.get("file") == path and name in ("", case.get("name", "").partition("[")[0])


def _outcome(case: xml.Element) -> str:
    return next((part.tag for part in case if part.tag in ("failure", "error", "skipped")), "passed")


def _train(root: Path) -> dict[str, Any]:
    import trained_runs

    from covid_core.data.imports import importing

    workspace = Workspace(root)
    dataset = importing.import_phantom(workspace, trained_runs.IMAGES, seed=3, plant=("clear-lesions",))
    return {"run": trained_runs.tiny_run(workspace, dataset).id}
