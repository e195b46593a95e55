"""What may go without a loss, as far as only the runs can tell: caches that no job uses, networks that no run names.

The caches themselves know nothing of jobs (``covid_core.cache``).
"""

import contextlib
import math
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from covid_core import access, cache, files
from covid_core.cache import Cleared, Entry
from covid_core.errors import JobRefused, RunDamaged, UnknownId
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Status
from covid_core.workspace import Workspace, list_folders

TRUNKS = "trunks"  # the kind of an exported network's files: not a cache, finished runs predict with them
RECORD_AGE = 7 * 24 * 3600.0  # seconds for which one may want to know how an import ended


def clear(workspace: Workspace, kinds: Collection[str] = cache.KINDS) -> Cleared:
    """Remove what can be computed again, but for what a job that is at work has opened since it began.

    ``kinds`` are those of the cache and TRUNKS, the networks that no run names; old records of imports go in any case.
    Raises JobRefused, with nothing removed, where TRUNKS are asked for while a training has not ended.
    """
    access.check(workspace, access.ADMINISTER)
    trunks = _removable_trunks(workspace) if TRUNKS in kinds else []
    _sweep_records(workspace)
    began = [status.started or 0.0 for status in _unfinished(workspace) if status.state == store.RUNNING]
    caches, networks = cache.clear(workspace, kinds, min(began, default=math.inf)), cache.remove(trunks)
    access.note(workspace, "clear caches", ", ".join(kinds))
    return Cleared(caches.freed + networks.freed, caches.in_use + networks.in_use)


def is_busy(workspace: Workspace) -> bool:
    """Whether a run or another job has not ended."""
    return bool(_unfinished(workspace))


def unused_trunks(workspace: Workspace) -> list[Entry]:
    """Files of exported networks that no run names; none while a training that may come to name one has not ended.

    A network is a group of files whose names begin with its key, and a run names the key.
    """
    if _unfinished_in(workspace.runs):
        return []
    needed = tuple(_named_trunks(workspace))
    return [entry for entry in cache.files_in(TRUNKS, workspace.trunks) if not entry.path.name.startswith(needed)]


def _removable_trunks(workspace: Workspace) -> list[Entry]:
    if _unfinished_in(workspace.runs):
        raise JobRefused("A run waits or trains and may need any of the exported networks. Wait for it, or stop it.")
    return unused_trunks(workspace)


def _sweep_records(workspace: Workspace) -> None:
    """Forget how imports ended that ended more than seven days ago; their data sets stay."""
    for job in store.list_jobs(workspace):
        with contextlib.suppress(FileNotFoundError):  # dismissed in another window at this moment
            if _status(job).is_final and time.time() - job.path.stat().st_mtime > RECORD_AGE:
                files.remove_folder(job.path)


def _named_trunks(workspace: Workspace) -> Iterator[str]:
    """Keys in the results of all runs, also of those whose settings this version cannot read."""
    for folder in list_folders(workspace.runs):
        try:
            key = JobFolder(folder).result.get("trunk")
        except RunDamaged:
            continue  # without its result it cannot predict, whatever network is there
        if key:
            yield key


def _unfinished(workspace: Workspace) -> list[Status]:
    return _unfinished_in(workspace.runs) + _unfinished_in(workspace.jobs)


def _unfinished_in(parent: Path) -> list[Status]:
    return [status for folder in list_folders(parent) if not (status := _status(JobFolder(folder))).is_final]


def _status(job: JobFolder) -> Status:
    """Its status; where that is damaged, whether it works is told by its lock alone."""
    try:
        return job.status()
    except RunDamaged:
        return Status(store.RUNNING if job.lock.is_held() else store.FAILED)
    except UnknownId:
        return Status(store.STOPPED)
