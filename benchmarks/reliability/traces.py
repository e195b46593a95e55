"""What a program does to the files of a folder, by strace: the order of its publishes, and how often it calls what.

A file is published where it is renamed to a name that readers look for. In order means that a power cut leaves old or
new: what was written into it (or below it, of a folder) was synced before the rename, and the folder that holds the new
name after it. A kill alone cannot show this, because what the system had written for a killed process stays.
"""

import os
import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from covid_core import files

CALLS = (
    *("open", "openat", "creat", "write", "writev", "pwrite64", "sendfile", "copy_file_range", "truncate", "ftruncate"),
    *("fallocate", "fsync", "fdatasync", "link", "linkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat"),
    *("unlink", "unlinkat", "rmdir", "close"),
)
LINE = re.compile(r"(?P<time>[\d.]+) (?P<call>\w+)\((?P<arguments>.*)\)\s+= (?P<result>\S+)")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
OPENED = re.compile(r"\d+<([^<>]*)>")  # a descriptor as strace -y prints it
WRITES = frozenset({"write", "writev", "pwrite64", "sendfile", "copy_file_range", "ftruncate", "fallocate"})
RENAMES = frozenset({"rename", "renameat", "renameat2"})
SCRATCH = ("cache/uploads/",)  # what lies there is nobody's yet


@dataclass
class Order:
    """Publishes of a traced program: paths below its folder, and those of them that were not in order, with why."""

    published: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)


def traced(command: Sequence[str], root: Path, environment: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Run a command and all that it starts. Returns calls with their arguments, in order, that name ``root``.

    Raises CalledProcessError where it fails, FileNotFoundError without strace.
    """
    with tempfile.TemporaryDirectory() as folder:
        strace = ["strace", "-ff", "-y", "-ttt", "-qq", "-e", f"trace={','.join(CALLS)}", "-o", f"{folder}/trace"]
        subprocess.run([*strace, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
        lines = [line for path in Path(folder).iterdir() for line in path.read_text(errors="replace").split("\n")]
    calls = [match for match in map(LINE.match, lines) if match and match["result"] != "-1"]
    calls.sort(key=lambda match: float(match["time"]))
    return [(match["call"], match["arguments"]) for match in calls if str(root) in match["arguments"]]


def order_of(calls: Sequence[tuple[str, str]], root: Path) -> Order:
    """Which publishes below ``root`` a power cut would have left torn."""
    order, unsynced, waiting = Order(), Unsynced(), dict[str, str]()
    for call, arguments in calls:
        opened, quoted = OPENED.findall(arguments), QUOTED.findall(arguments)
        if call in WRITES:
            unsynced.add(opened[0])
        elif call in ("fsync", "fdatasync"):
            unsynced.remove(opened[0])
            waiting = {path: name for path, name in waiting.items() if str(Path(path).parent) != opened[0]}
        elif call in ("open", "openat") and "O_CREAT" in arguments:
            unsynced.add(quoted[-1])
        elif call in ("link", "linkat"):
            unsynced.link(*quoted[-2:])
        elif call in ("mkdir", "mkdirat"):
            unsynced.add(quoted[-1])
        elif call in RENAMES:
            source, target = quoted[-2:]
            name = unsynced.move(source, target) or ""
            if (shown := _shown(target, root)) is not None:
                order.published.append(shown)
                waiting[target] = shown
                if name:
                    order.broken[shown] = f"{Path(name).name} was renamed before it was synced"
    return Order(order.published, order.broken | {name: "its folder was not synced" for name in waiting.values()})


class Unsynced:
    """Paths of files and folders with content that a power cut would take; links share one."""

    def __init__(self) -> None:
        self._identities: dict[str, str] = {}  # what paths that were renamed or linked were called first
        self._unsynced: set[str] = set()

    def add(self, path: str) -> None:
        self._unsynced.add(self._identities.setdefault(path, path))

    def remove(self, path: str) -> None:
        self._unsynced.discard(self._identities.get(path, path))

    def link(self, source: str, target: str) -> None:
        self._identities[target] = self._identities.setdefault(source, source)

    def move(self, source: str, target: str) -> str | None:
        """Rename a file, or a folder with all below it. Returns a path of it that was not synced."""
        below = {path: name for path, name in self._identities.items() if f"{path}/".startswith(f"{source}/")}
        for path, name in below.items():
            del self._identities[path]
            self._identities[target + path.removeprefix(source)] = name
        return next((name for name in below.values() if name in self._unsynced), None)


def _shown(path: str, root: Path) -> str | None:
    """A path as readers see it below ``root``; None of what is hidden, scratch or elsewhere."""
    if not path.startswith(f"{root}/"):
        return None
    inner = path.removeprefix(f"{root}/")
    return None if any(part.startswith(".") for part in inner.split("/")) or inner.startswith(SCRATCH) else inner


@dataclass(frozen=True)
class Forked:
    """What some work came to: its calls in order with the thread of each, whether the fault struck, how it ended."""

    calls: list[tuple[str, str]]
    struck: bool
    failed: bool


class OneThread:
    """In place of a ThreadPoolExecutor: strace counts the calls of each thread by themselves."""

    def __init__(self, workers: int):
        pass

    def __enter__(self) -> "OneThread":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    map = staticmethod(map)


def forked(work: Callable[[], object], inject: str = "") -> Forked:
    """Do some work in a fork of this process, with a fault that strace injects."""
    pid = os.fork()
    if pid == 0:
        files.ThreadPoolExecutor = OneThread  # type: ignore[misc, assignment]
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    with tempfile.NamedTemporaryFile("r") as written:
        command = ["strace", "-f", "-e", f"trace={','.join(CALLS)}", "-o", written.name, "-p", str(pid)]
        command += ["-e", f"inject={inject}"] if inject else []
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            if "attached" not in (said := strace.stderr.readline()):
                os.kill(pid, signal.SIGKILL)
                raise SystemExit(f"strace cannot attach: {said}")
            os.kill(pid, signal.SIGCONT)
            strace.stderr.read()
        _, code = os.waitpid(pid, 0)
        log = written.read()
    struck = "(INJECTED)" in log or os.WIFSIGNALED(code)
    return Forked(re.findall(r"^(\d+) +(\w+)\(", log, re.MULTILINE), struck, code != 0)


def numbered(calls: Iterable[tuple[str, str]]) -> list[tuple[str, int]]:
    """Each call by its name and its number among those of that name in its thread, in order, each once."""
    counts: Counter[tuple[str, str]] = Counter()
    pairs: dict[tuple[str, int], None] = {}
    for thread, call in calls:
        counts[thread, call] += 1
        pairs[call, counts[thread, call]] = None
    return list(pairs)
