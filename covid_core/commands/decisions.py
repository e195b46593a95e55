"""``decide``, ``take-back`` and ``decisions``: what people decided about images of a data set."""

import argparse
import getpass
from dataclasses import asdict
from typing import Any

from covid_core.commands.verbs import option, verb
from covid_core.data import dataset as data
from covid_core.data import decisions
from covid_core.data.dataset import Dataset
from covid_core.data.decisions import DISMISS, GROUP, LEAVE_OUT, RELABEL, Decision
from covid_core.errors import InvalidChoice
from covid_core.formatting import plural
from covid_core.workspace import Workspace

ACTIONS = {action.replace(" ", "-"): action for action in (LEAVE_OUT, RELABEL, GROUP, DISMISS)}
NOTE = option("--note", default="", help="why, in a line")
AUTHOR = option("--author", default="", help="who decides; the user of this computer by default")


@verb(
    "decide",
    "dataset",
    option("action", choices=ACTIONS),
    option("images", nargs="+", metavar="IMAGE_ID"),
    option("--to", default="", metavar="CLASS", help="the new class, for relabel"),
    option("--finding", default="", help="which finding, for dismiss; the audit names them"),
    NOTE,
    AUTHOR,
)
def do_decide(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Leave images out, relabel or group them, or dismiss a finding; files are never changed."""
    opened = data.decide(workspace, options.dataset, _wanted(options), options.author or getpass.getuser())
    return _answer(opened, decisions.latest(opened.decisions))


@verb("take-back", "dataset", option("numbers", nargs="+", type=int, metavar="NUMBER"), NOTE, AUTHOR)
def do_take_back(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Take decisions back, by their numbers."""
    author = options.author or getpass.getuser()
    opened = data.take_back(workspace, options.dataset, options.numbers, author, options.note)
    return _answer(opened, decisions.latest(opened.decisions))


@verb("decisions", "dataset")
def do_decisions(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """All decisions on images of a data set, and its version after each."""
    opened = data.open_dataset(workspace, options.dataset)
    return {**_answer(opened, opened.decisions), "versions": opened.versions}


def _wanted(options: argparse.Namespace) -> list[Decision]:
    action = ACTIONS[options.action]
    if action == GROUP:
        if len(options.images) < 2:
            raise InvalidChoice("A group needs two images at least.")
        return decisions.together(options.images, options.note)
    return [
        Decision(action, image, options.to if action == RELABEL else "", options.finding, options.note)
        for image in options.images
    ]


def _answer(opened: Dataset, listed: tuple[Decision, ...]) -> dict[str, Any]:
    valid = {one.number for one in decisions.in_force(opened.decisions)}
    rows = [asdict(one) | {"in_force": one.number in valid} for one in listed]
    lines = [_line(row) for row in rows] or ["No decision yet: try decide."]
    lines.append(f"{opened.name}: {plural(len(opened.images), 'image')} in use, version {opened.version[:12]}")
    return {
        "dataset": opened.id,
        "images": len(opened.images),
        "counts": opened.counts,
        "version": opened.version,
        "decisions": rows,
        "text": "\n".join(lines),
    }


def _line(row: dict[str, Any]) -> str:
    action = row["action"]
    what = {
        RELABEL: f"{row['image_id']}: {row['before']} -> {row['after']}",
        GROUP: f"{row['image_id']} with {row['after']}",
        DISMISS: f"{row['image_id']}: {' '.join(filter(None, (row['finding'], row['after'])))}",
        decisions.TAKE_BACK: f"number {row['after']} ({row['image_id']})",
    }.get(action, row["image_id"])
    back = "" if row["in_force"] or action == decisions.TAKE_BACK else "  (taken back)"
    note = f"  {row['note']}" if row["note"] else ""
    return f"{row['number']:>4}  {row['when'][:16].replace('T', ' ')}  {row['author']}  {action} {what}{note}{back}"
