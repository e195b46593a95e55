"""What kills, failing disks and second processes do to runs and data sets: ``crashes`` as checks of the score card."""

from benchmarks.reliability import crashes
from benchmarks.reliability.place import Measured, Place
from covid_core.workspace import Workspace

ALL = "benchmarks/results/crashes.jsonl has more kills and system calls."
FEW_STEPS = ("epoch", "run")  # a file, and a folder
KILLS, TIMES = {True: 5, False: 200}, {True: 20, False: 100}


def home(place: Place) -> Workspace:
    """Images and a finished run, made once."""
    return crashes.trained(Workspace(place.folder / "killed" / "workspace"))


def _kills(place: Place) -> dict[str, object]:
    if "kills" not in place.notes:
        place.notes["kills"] = crashes.kills(home(place).root, KILLS[place.quick])
    return place.notes["kills"]


def _calls(place: Place, *faults: str) -> dict[str, int]:
    """Faults at system calls of all publishes, or of two: how many, files torn, steps that then could not be done."""
    steps = FEW_STEPS if place.quick else crashes.STEPS
    found = [crashes.each_call(step, fault=fault) for fault in faults for step in steps]
    return {name: sum(one[name] for one in found) for name in ("points", "torn", "stuck")}


def killed(place: Place) -> Measured:
    """Random kills of trainings, and kills at each system call of a publish."""
    found, calls = _kills(place), _calls(place, crashes.KILL)
    figure = {name: found[name] for name in ("kills", "shown_running", "unreadable", "slowest_seconds")} | calls
    wrong = (figure["shown_running"], figure["unreadable"], figure["torn"], figure["stuck"])
    return Measured(figure, not any(wrong), ALL if place.quick else "")


def resumed(place: Place) -> Measured:
    """What the runs lost at these kills, and how far their scores are from those of one that was left alone."""
    found = _kills(place)
    figure = {name: found[name] for name in ("kills", "most_epochs_lost", "completed", "largest_difference")}
    held = found["most_epochs_lost"] <= 1 and found["largest_difference"] < 1e-6
    return Measured(figure, held, ALL if place.quick else "")


def refused(place: Place) -> Measured:
    """Trainings on a disk that is filled at three moments, and publishes on one that fails from each call on."""
    found, calls = crashes.full_disk(home(place).root), _calls(place, *crashes.REFUSED)
    held = found["said_full"] == found["resumed"] == found["moments"] and not calls["torn"] + calls["stuck"]
    return Measured({**found, **calls}, held, ALL if place.quick else "")


def publishes(place: Place) -> Measured:
    """The order of system calls of every kind of publish, by strace."""
    found = crashes.publishing_order(place.folder / "order")
    return Measured(found, found["publishes"] > 0 and found["out_of_order"] == 0)


def twice(place: Place) -> Measured:
    """Two processes with the same queue, and two who resume the same run."""
    times = TIMES[place.quick]
    found = {**crashes.claims(home(place).root, times), **crashes.resumptions(home(place).root, times)}
    held = found["begun"] == found["jobs"] and not found["begun_twice"] + found["started_twice"] + found["not_started"]
    return Measured(found, held)
