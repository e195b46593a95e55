"""The score card of reliability: a check per row, one JSON line each.

``python -m benchmarks.scorecard [--quick] [--data FOLDER] [--only NUMBER ...] [--table FILE]``

``figure`` is what was measured, ``held`` whether it reaches the target. What cannot be measured here has ``held: null``
and the reason: it is neither reached nor missed. ``--quick`` takes less than 10 minutes on two cores; its soak is a
slope over 5 minutes. ``--data`` takes real images, one folder per class, for the checks that drawn ones cannot answer.
``--table`` also writes the checks as a table in Markdown. Needs requirements-dev.txt and Chromium; strace for check 19.
"""

import contextlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.reliability import dependencies, hostile, load, on_disk, privacy, reading
from benchmarks.reliability.place import Measured, Place, Unmeasured

DICOM = ("tests/hostile/test_hostile_dicom.py", "tests/hostile/test_pydicom_files.py")
NAMES = ("tests/unit/data/test_plain_names.py", "tests/e2e/test_plain_names_drawn.py")
ARCHIVES = "tests/unit/data/imports/test_archives.py"
MODELS = "tests/unit/runs/test_stored_weights.py"
BOMB = "test_a_model_bomb_is_refused_in_little_memory_without_tensorflow"
DOORS = "tests/unit/exchange"
PACS = (f"{DOORS}/test_dicomweb.py", f"{DOORS}/test_pacs_results.py", f"{DOORS}/test_watched_folder.py")
ENGINES = "tests/unit/executors/test_attendant.py"
NO_NODE = "A real cluster that loses a node is a test of .ci/run --full."
NAN = "tests/unit/nets/test_fitting.py::test_a_loss_that_is_not_a_number_names_epoch_and_batch"
NO_GPU = "Processes and graphics memory after a stop are not measured here."
HELD = {True: "yes", False: "**no**", None: "not measured"}
SOAK = 29


@dataclass(frozen=True)
class Tests:
    """A measurement that is a set of this project's tests. ``note``: what they do not cover."""

    chosen: tuple[str, ...]
    note: str = ""

    def __call__(self, place: Place) -> Measured:
        found = place.tests(*self.chosen)
        return replace(found, reason=" ".join(filter(None, (found.reason, self.note))))


@dataclass(frozen=True)
class Check:
    """One row: what is measured, what is to be reached, and the measurement."""

    what: str
    target: str
    measure: Callable[[Place], Measured]


def tests(*chosen: str, note: str = "") -> Tests:
    return Tests(chosen, note)


CHECKS: dict[int, Check] = {
    1: Check("Hostile images handled as expected", "100 %", tests("tests/hostile/test_hostile_images.py")),
    2: Check("Hostile DICOM files handled as expected", "100 %", tests(*DICOM)),
    3: Check("Mutated files: unmapped errors, late answers", "0 / 0 of 100,000", hostile.mutated),
    4: Check("Server memory: rise over a hostile upload", "at most 512 MB", hostile.memory),
    5: Check("Longest answer to a hostile upload", "at most 5 s", hostile.answer),
    6: Check("Another session beside it: ratio of p95", "at most 1.2", hostile.others),
    7: Check("Grey levels of a 16-bit ramp that are kept", "at least 250 of 256", reading.grey_levels),
    8: Check("Twins of one image: largest difference of scores", "at most 0.001", reading.twins),
    9: Check("Files without content that get a prediction", "0", reading.without_content),
    10: Check("Foreign pictures refused; chest images refused", ">= 90 %; <= 5 %", reading.foreign),
    11: Check("Hostile archives refused, nothing left outside", "100 %", tests(ARCHIVES)),
    12: Check("50 faults among 1,000 images reported exactly", "recall 100 %, 0 false", reading.faults_of_a_data_set),
    13: Check("Malicious model files that run code", "0", tests(MODELS)),
    14: Check("Memory while a huge model is refused", "at most 300 MB", tests(f"{MODELS}::{BOMB}")),
    15: Check("Names that become markup, links or formulas", "0", tests(*NAMES)),
    16: Check("Paths in addresses that leave the workspace", "0", hostile.paths),
    17: Check("Handshakes: foreign, rebinding, without origin, own", "403 / 403 / 101 / 101", hostile.handshakes),
    18: Check("Listening sockets beyond this computer", "0", privacy.sockets),
    19: Check("Connections to other computers in a page walk", "0", privacy.connections),
    20: Check("A secret of an upload in files, logs, other sessions", "0", privacy.canary),
    21: Check("Killed: runs shown as running, files unreadable", "0 / 0", on_disk.killed),
    22: Check("Epochs lost at a kill; resumed equals uninterrupted", "at most 1; below 1e-6", on_disk.resumed),
    23: Check("Full or failing disk: said, earlier checkpoint goes on", "100 %", on_disk.refused),
    24: Check("Publishes in order: write, fsync, rename, fsync", "100 %", on_disk.publishes),
    25: Check("Jobs started or resumed twice", "0", on_disk.twice),
    26: Check("Damaged run folders: errors raised, sound runs lost", "0 / 0", tests("tests/soak/test_damaged_runs.py")),
    27: Check("Loss that is no number: epoch and batch named", "within 1 epoch", tests(NAN, note=NO_GPU)),
    28: Check("20 sessions and 50 jobs: p95 of pages, running jobs", "at most 3 s; 1", load.crowds),
    SOAK: Check("Soak: memory and open files per hour", "at most 1 MB; 0", load.soak),
    30: Check("Known vulnerabilities of dependencies; roles", "0; 100 %", dependencies.vulnerabilities_and_roles),
    31: Check("Changed and hostile bundles opened; pixels in a bundle", "0", tests(f"{DOORS}/test_bundle.py")),
    32: Check("Hostile requests to the server handled as expected", "100 %", tests(f"{DOORS}/test_serve.py")),
    33: Check("Odd answers of a PACS; identifiers kept after a result", "100 %; 0", tests(*PACS)),
    34: Check("Exported model that differs from the app handed out", "0 above 1e-4", tests(f"{DOORS}/test_forms.py")),
    35: Check("Hostile tables of predictions handled as expected", "100 %", tests(f"{DOORS}/test_predictions.py")),
    36: Check("Jobs of an engine after a lost node", "completed or failed, none twice", tests(ENGINES, note=NO_NODE)),
}
TIMED = (5, 6, 28)  # nothing else may run beside these; the soak has a processor that others use


def main() -> None:
    parser = measuring.options(__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter loops: within 10 minutes on two cores")
    parser.add_argument("--only", nargs="+", type=int, choices=CHECKS, default=list(CHECKS), help="these checks")
    parser.add_argument("--table", type=Path, help="a file for the table in Markdown")
    chosen, begin = parser.parse_args(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), chosen.quick, chosen.data)
        answers = {answer["check"]: answer for answer in measured(place, chosen.only)}
    used = sum(sum(resource.getrusage(whose)[:2]) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    measuring.tell(f"Took {time.monotonic() - begin:.0f} s, and {used:.0f} s of processor, detached workers left out.")
    if chosen.table:
        chosen.table.write_text(table(answers), encoding="utf-8")
    sys.exit(any(answer["held"] is False for answer in answers.values()))


def measured(place: Place, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """All checks; the soak and the tests of this project beside those that are not timed. Each line is shown when it is
    there."""
    wanted = [number for number in numbers if number != SOAK]
    by_tests = [number for number in wanted if isinstance(CHECKS[number].measure, Tests)]
    chosen = [one for number in by_tests for one in CHECKS[number].measure.chosen]
    beside = [load.in_background(partial(_run_tests, place, chosen))]
    if SOAK in numbers:
        measuring.tell(f"Trained for the checks: {place.run.name}")  # before two threads want it
        beside.append(load.in_background(lambda: shown(answered(place, SOAK))))
    alone = [number for number in wanted if number not in (*TIMED, *by_tests)]
    done = [shown(answered(place, number)) for number in alone]
    _, *soaked = (wait() for wait in beside)
    done += [*soaked, *(shown(answered(place, number)) for number in by_tests)]
    done += [shown(answered(place, number)) for number in wanted if number in TIMED]
    return sorted(done, key=lambda answer: answer["check"])


def _run_tests(place: Place, chosen: list[str]) -> None:
    """In one process, since others work; where that breaks off, each check runs its own."""
    with contextlib.suppress(Unmeasured):
        place.run_tests(chosen, processes=1)


def answered(place: Place, number: int) -> dict[str, Any]:
    """One check as JSON. A measurement that breaks off measured nothing, and says where."""
    check, begin = CHECKS[number], time.monotonic()
    try:
        found = check.measure(place)
    except Unmeasured as reason:
        found = Measured({}, None, str(reason))
    except Exception as error:  # of whatever kind: the other checks still run
        found = Measured({}, None, f"The measurement broke off: {type(error).__name__}: {error}"[:300])
    return {
        "check": number,
        "what": check.what,
        "figure": dict(found.figure),
        "target": check.target,
        "held": found.held,
        "reason": found.reason,
        "seconds": round(time.monotonic() - begin, 1),
        "quick": place.quick,
        "load": round(os.getloadavg()[0], 1),  # of the machine, this work included
    }


def shown(answer: dict[str, Any]) -> dict[str, Any]:
    measuring.show(answer)
    return answer


def table(answers: Mapping[int, Mapping[str, Any]]) -> str:
    """The checks in Markdown."""
    lines = ["| # | check | figure | target | held |", "| --- | --- | --- | --- | --- |"]
    for number, answer in sorted(answers.items()):
        figure = ", ".join(f"{name.replace('_', ' ')} {json.dumps(value)}" for name, value in answer["figure"].items())
        cells = (str(number), answer["what"], f"{figure}. {answer['reason']}".strip(". "), answer["target"])
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} | {HELD[answer['held']]} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
