"""What an engine runs on one of its nodes: a worker for one job, in the process that the engine has started."""

import importlib
import os
import platform
import sys
from pathlib import Path

import covid_core
from covid_core.executors.local import WORKER
from covid_core.runs.store import JobFolder

PLACE = "COVID_CORE_PLACE"  # environment of such a worker: where it is, in words
NOT_SHARED = "{place} has no folder {folder}. All nodes need the workspace under the same path."
NO_LOCKS = (
    "{place} does not see the locks of this workspace, so two nodes could change the same file at once. Put the "
    "workspace on a file system whose locks hold between computers (NFS 4 without nolock, Lustre with flock)."
)
NOT_STARTED = "The node could not start the job: {reason}. Are the same packages installed on all nodes?"
OTHER_VERSION = "{place} runs version {here} of Second Look, and this computer {there}. Install the same on both."


def work(engine: str, path: str, attempt: int | str, version: str) -> str:
    """Do the job in a folder. Returns "" where its worker has begun; how it ended stands in the folder. Else why not.

    The lock of the folder has to be seen as held: the attendant holds it on another computer.
    """
    place, folder = f"{engine}, node {platform.node()}", Path(path)
    if not folder.is_dir():
        return NOT_SHARED.format(place=place, folder=folder.parent.parent)
    if covid_core.__version__ != version:
        return OTHER_VERSION.format(place=place, here=covid_core.__version__, there=version)
    if not JobFolder(folder).lock.is_held():
        return NO_LOCKS.format(place=place)
    os.environ[PLACE] = place
    worker = importlib.import_module(WORKER)
    try:
        worker.main([path, str(attempt)], worker.log_into)
    finally:
        sys.stdout.flush()
    return ""
