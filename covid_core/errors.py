"""The errors that a user can mend. Anything else is a bug and keeps its traceback."""

from pathlib import Path


def cause(error: BaseException, *places: Path) -> str:
    """What a library says went wrong, for a sentence that anybody may read: without the paths that the text of an
    OSError names, and with the names alone of the files and folders ``places``."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    for place in places:
        text = text.replace(str(place), place.name)
    return text.splitlines()[0].rstrip(".")


class CovidCoreError(Exception):
    """Base of all errors whose text is meant for the user: one sentence, what was wrong and what to try."""


class InvalidChoice(CovidCoreError, ValueError):
    """A setting breaks a rule. The text names the rule and the value received."""


class ImageError(CovidCoreError):
    """A file could not be read faithfully, so nothing may be predicted from it."""


class DataError(CovidCoreError):
    """A data set, folder or archive cannot be used."""


class UnknownId(DataError):
    """There is no data set, run or study of that id in the workspace."""


class NoRoom(CovidCoreError):
    """What a job has to keep does not fit the limit of the cache, or the disk."""


class WeightsUnavailable(CovidCoreError):
    """ImageNet weights were asked for and are neither in the cache nor to be had from the network."""


class PacsError(CovidCoreError):
    """A PACS cannot be reached, refuses, or sends what cannot be used."""


class RunError(CovidCoreError):
    """A run or job cannot do what was asked of it."""


class Diverged(RunError):
    """The loss of a training is not a number. ``is_model_published``: the best weights before were published."""

    is_model_published = False


class RunDamaged(RunError):
    """Files of a run are missing, torn, or not the ones that the run recorded."""


class JobRefused(RunError):
    """The job was not started."""


class NotPermitted(CovidCoreError):
    """Whoever acts may not do that."""


class Stopped(CovidCoreError):
    """The user asked the job to stop. Workers raise it; it is not a failure."""
