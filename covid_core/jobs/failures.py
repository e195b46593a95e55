"""Why a job failed: its kind, as far as something can be offered against it, and a sentence with what to try."""

from typing import NamedTuple

from covid_core import files
from covid_core.errors import CovidCoreError, Diverged
from covid_core.runs.store import Fault

TENSORFLOW_OUT_OF_MEMORY = "ResourceExhaustedError"  # by name: the class itself would cost TensorFlow's start
DEVICE_WORDS = ("gpu", "cuda", "cudnn", "ptx", "compute capability", "libdevice", "rocm")  # of TensorFlow's messages
STALLED = "Nothing has happened for {minutes} minutes. Look at the log, then start this again."
DEVICE = "The graphics card failed, or TensorFlow does not support it. Train on the processor instead."
DEVICE_MEMORY = "The graphics card is out of memory. Try a smaller batch size, or train on the processor instead."
KEPT = "The best model before that is kept and can be used."
OF_SYSTEM: dict[str, Fault] = {files.DISK_FULL: "disk", files.OUT_OF_MEMORY: "memory"}


class Failure(NamedTuple):
    """A sentence for the user, and the kind of the failure where something can be offered against it."""

    reason: str
    fault: Fault = ""


NO_FAILURE = Failure("")


def failure_of(error: Exception) -> Failure:
    """Why a job failed."""
    kind, system = type(error).__name__, files.refusal_of(error)
    if system in OF_SYSTEM:
        return Failure(system, OF_SYSTEM[system])
    if isinstance(error, Diverged) and error.is_model_published:
        return Failure(f"{error} {KEPT}", "diverged")
    if isinstance(error, CovidCoreError):
        return Failure(str(error))
    is_of_device = _is_of_tensorflow(error) and any(word in str(error).lower() for word in DEVICE_WORDS)
    if isinstance(error, MemoryError) or kind == TENSORFLOW_OUT_OF_MEMORY:
        return Failure(DEVICE_MEMORY, "device") if is_of_device else Failure(files.OUT_OF_MEMORY, "memory")
    if is_of_device:
        return Failure(DEVICE, "device")
    if isinstance(error, OSError):
        return Failure(system or f"The disk or a file failed: {error.strerror or error}.")
    return Failure(system or f"A bug in Second Look ended the job ({kind}). The log has details.")


def _is_of_tensorflow(error: Exception) -> bool:
    return any(kind.__module__.startswith("tensorflow.") for kind in type(error).__mro__)
