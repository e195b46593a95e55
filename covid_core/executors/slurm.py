"""SLURM, by submitit: one batch job per job. submitit is imported by attendants and on nodes only.

``squeue`` says what still waits or works: unlike ``sacct``, which submitit uses, it needs no accounting database.
"""

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from typing import Any, Protocol

import covid_core
from covid_core.errors import CovidCoreError
from covid_core.executors import node
from covid_core.executors.choice import Choice
from covid_core.executors.engines import End, Node
from covid_core.runs.store import JobFolder

CLUSTER = "slurm"  # submitit's name; without it, submitit would start processes here where it finds no SLURM
FOLDER = "executors"  # of the workspace, which all nodes see: what submitit hands over, a folder per job
SQUEUE_EVERY = 5.0  # seconds; one question for all jobs of this user
GONE_FOR = 10.0  # seconds out of the queue without a result until a job counts as lost: a file may come late
UNREACHED = "SLURM does not answer, or refuses the job: {reason}"
LOST = "SLURM ended it (time limit, memory, or a lost node)"


class Queue(Protocol):
    """What is in an engine's queue."""

    def has(self, job: Any) -> bool:
        """Whether a job waits or works."""


class Squeue:
    """SLURM's queue, read now and then."""

    def __init__(self) -> None:
        self._listed: set[str] = set()
        self._read = -SQUEUE_EVERY

    def has(self, job: Any) -> bool:
        if time.monotonic() - self._read > SQUEUE_EVERY:
            done = subprocess.run(["squeue", "--me", "--noheader", "--format=%A"], capture_output=True, text=True)
            if done.returncode:  # it does not answer at this moment, which says nothing of the jobs
                return True
            self._listed, self._read = set(done.stdout.split()), time.monotonic()
        return str(job.job_id) in self._listed


class SlurmTask:
    """A job in the hands of SLURM."""

    def __init__(self, job: Any, queue: Queue):
        self._job = job
        self._queue = queue
        self._submitted = self._seen = time.monotonic()
        self._is_cancelled = False

    def end(self) -> End | None:
        if self._job.paths.result_pickle.exists():
            error = self._job.exception()
            reason = node.NOT_STARTED.format(reason=str(error).strip().rpartition("\n")[2]) if error else ""
            reason = reason or self._job.result()
            shutil.rmtree(self._job.paths.folder, ignore_errors=True)
            return End(reason=reason)
        if self._is_cancelled:
            return End()
        now = time.monotonic()
        if now - self._submitted < SQUEUE_EVERY or self._queue.has(self._job):
            self._seen = now
        return End(is_lost=True, reason=LOST) if now - self._seen > GONE_FOR else None

    def cancel(self) -> None:
        self._job.cancel(check=False)
        self._is_cancelled = True


class SlurmClient:
    """What submits jobs to SLURM, or to another ``cluster`` of submitit with a queue of its own."""

    def __init__(self, choice: Choice, cluster: str = CLUSTER, queue: Queue | None = None):
        self._choice = choice
        self._cluster = cluster
        self._queue = queue or Squeue()

    def submit(self, folder: JobFolder, attempt: int, environment: Mapping[str, str]) -> SlurmTask:
        import submitit

        choice = self._choice
        asked: dict[str, Any] = {"timeout_min": choice.minutes, "name": folder.id}
        asked["slurm_setup" if self._cluster == CLUSTER else "local_setup"] = [
            f"export {name}={shlex.quote(value)}" for name, value in environment.items()
        ]
        asked |= {"slurm_cpus_per_task": choice.cores, "slurm_use_srun": False}
        asked |= {"slurm_partition": choice.address} if choice.address else {}
        asked |= {"gpus_per_node": choice.gpus} if choice.gpus else {}
        # sbatch hands on the whole environment of this computer, with its secrets, unless it is told not to
        asked |= {"slurm_additional_parameters": {"export": "NONE"}} if self._cluster == CLUSTER else {}
        try:
            executor = submitit.AutoExecutor(folder.workspace.root / FOLDER / folder.id, cluster=self._cluster)
            executor.update_parameters(**asked)
            words = (choice.label, str(folder.path), attempt, covid_core.__version__)
            return SlurmTask(executor.submit(node.work, *words), self._queue)
        except (submitit.core.utils.FailedJobError, RuntimeError, OSError) as error:
            raise CovidCoreError(UNREACHED.format(reason=str(error).strip().rpartition("\n")[2])) from error

    def nodes(self) -> list[Node]:
        command = ["sinfo", "--noheader", "--Node", "--responding", "--format=%N|%c|%G"]
        if self._choice.address:
            command.append(f"--partition={self._choice.address}")
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", "") or str(error)
            raise CovidCoreError(UNREACHED.format(reason=reason.strip().partition("\n")[0])) from error
        rows = {line.split("|")[0]: line.split("|")[1:] for line in done.stdout.splitlines() if line}
        return [Node(name, int(cores), _gpus_in(resources)) for name, (cores, resources) in rows.items()]


def _gpus_in(resources: str) -> int:
    """Of SLURM's generic resources, such as ``gpu:2`` or ``gpu:a100:4(S:0-1)``."""
    return sum(int(number) for number in re.findall(r"\bgpu(?::[^:,()]+)?:(\d+)", resources))


def opened(choice: Choice) -> SlurmClient:
    """What submits to the SLURM that this computer's commands reach."""
    return SlurmClient(choice)
