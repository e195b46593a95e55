"""One run in plain English: its state, its accuracy and what it rests on."""

from covid_core.audit.model import verdicts
from covid_core.formatting import share
from covid_core.runs.store import Run


def line(run: Run) -> str:
    """A run in one line: id, state with its reason, accuracy. Raises RunDamaged."""
    status = run.status()
    return f"{run.id}  {status.state} {status.reason}  {accuracy(run)}".rstrip()


def accuracy(run: Run) -> str:
    """The accuracy of a finished run with the verdict of its audit; empty before. Raises RunDamaged."""
    if not run.result:
        return ""
    return f"test accuracy {share(run.accuracy('test'))}, {verdicts.of(run).in_passing}"
