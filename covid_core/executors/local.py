"""Processes of this computer, and the environment of workers wherever they are."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from covid_core.executors.choice import source_folder
from covid_core.runs.store import JobFolder
from covid_core.work import lower_session

WORKER = "covid_core.jobs.worker"  # by name: it stands above, and is another process's
NO_GRAPHICS_CARD = {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}  # NVIDIA's and AMD's own switches

# For glibc's malloc (others do not read it): take big arrays from the heap and keep them there. By default each
# training step gets its activations from the system and gives them back, and zeroing those pages took a quarter of it.
KEEP_MEMORY = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592:glibc.malloc.hugetlb=1"


def started(module: str, words: Sequence[str], log_path: Path, environment: Mapping[str, str]) -> int:
    """Start a module of this package with the words of its command line, in a session of its own so that it outlives
    this process. Returns its process id."""
    with open(log_path, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            **_detached(),
        )
    lower_session(process.pid)
    threading.Thread(target=process.wait, daemon=True).start()  # an end that nobody notes leaves a zombie
    return process.pid


def settings(folder: JobFolder) -> dict[str, str]:
    """What a worker's environment has beside that of its machine. glibc takes the last of two settings, so the user's
    own one counts."""
    paths = [str(source_folder()), os.environ.get("PYTHONPATH", "")]
    return {
        "COVID_CORE_HOME": str(folder.workspace.root),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "OPENBLAS_NUM_THREADS": "1",  # a head's matrices are small: a second thread costs more than it brings
        "GLIBC_TUNABLES": ":".join(filter(None, (KEEP_MEMORY, os.environ.get("GLIBC_TUNABLES", "")))),
        **(NO_GRAPHICS_CARD if folder.processor_requested() else {}),
    }


def environment(folder: JobFolder) -> dict[str, str]:
    """What a worker of this computer is started with."""
    return {**os.environ, **settings(folder)}


def _detached() -> dict[str, Any]:
    """Popen's arguments for a process that no Ctrl-C, logout or closing server takes along."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    return {"start_new_session": True}
