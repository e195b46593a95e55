"""Verbs that take runs away in one file, and bring those of others in."""

import argparse
from pathlib import Path
from typing import Any

from covid_core.commands.verbs import ARGUMENTS, option, progress, verb
from covid_core.exchange.bundle import opening, packing
from covid_core.formatting import file_size, plural
from covid_core.jobs import kinds
from covid_core.jobs.kinds import OpenRequest
from covid_core.runs import store
from covid_core.workspace import Workspace


@verb(
    "bundle",
    option("runs", nargs="+", metavar="RUN", help=ARGUMENTS["run"]),
    option("file", metavar="FILE", help="where the bundle goes, such as runs.zip"),
    option("--licence", default="", help="of the data, as you state it: in the bundle and on cards"),
    option("--images", action="store_true", help="with all images of the runs' data sets; without, no pixels go along"),
)
def do_bundle(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Write finished runs into one file that another workspace opens: it compares and predicts with them."""
    runs = [store.open_run(workspace, name) for name in dict.fromkeys(options.runs)]
    file = Path(options.file).expanduser().absolute()
    about = {"images": options.images, "progress": progress()}
    packed = packing.pack(workspace, runs, file, options.licence, **about)
    held = f"with {plural(packed.images, 'image')}" if packed.images else "without images"
    lines = [
        f"{file}  {plural(len(packed.runs), 'run')}, {held}, {file_size(packed.bytes)}",
        f"SHA-256 {packed.sha256}",
        *([f"Studies: {', '.join(study.name for study in packed.studies)}."] if packed.studies else []),
        f"Licence of the data: {packed.licence or 'not stated'}.",
        opening.NO_PATIENTS,
    ]
    return {
        "file": str(file),
        "runs": [{"run": run.id, "name": run.name} for run in packed.runs],
        "studies": [study.id for study in packed.studies],
        "bytes": packed.bytes,
        "sha256": packed.sha256,
        "images": packed.images,
        "licence": packed.licence,
        "note": opening.NO_PATIENTS,
        "text": "\n".join(lines),
    }


WORDS = {"opened": "opened", "here": "was here already"}


@verb("open", option("file", metavar="FILE", help="a bundle of runs, as bundle makes it"))
def do_open(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Check a bundle and add its runs under their own ids. What is there already stays unchanged."""
    request = OpenRequest(source=str(Path(options.file).expanduser().absolute()))
    opened = kinds.of(request).work(workspace, request, progress())
    rows = [_row(workspace, one["run"], one["state"]) for one in opened["runs"]]
    lines = [line for row in rows for line in (f"{row['run']}  {row['name']}  {WORDS[row['state']]}", *row["lacks"])]
    stated = f"Licence of the data: {opened['licence'] or 'not stated'}."
    note = {"sha256": opened["sha256"], "licence": opened["licence"], "note": opening.NO_PATIENTS}
    lines += [f"Study: {store.open_study(workspace, name).name}." for name in opened["studies"]]
    text = "\n".join([*lines, f"SHA-256 {opened['sha256']}", stated, opening.NO_PATIENTS])
    return {"runs": rows, "studies": opened["studies"], **note, "text": text}


def _row(workspace: Workspace, identifier: str, state: str) -> dict[str, Any]:
    run = store.open_run(workspace, identifier)
    return {"run": run.id, "name": run.name, "state": state, "lacks": opening.lacks(workspace, run)}
