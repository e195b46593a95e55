"""Verbs that write reports: a course report, and the card of a run or a data set."""

import argparse
from pathlib import Path
from typing import Any

from covid_core.commands.training import runs_of
from covid_core.commands.verbs import option, progress, verb
from covid_core.errors import CovidCoreError
from covid_core.runs import store
from covid_core.workspace import Workspace


@verb(
    "report",
    option("ids", nargs="*", metavar="STUDY_OR_RUN", help="what the report is about: studies, runs, or both"),
    option("--study", action="append", help="a study, as compare takes it"),
    option(
        "--format",
        default="html",
        help="html (default), ipynb, docx, pdf, zip; the last three need a Chrome or Chromium",
    ),
    option("--to", metavar="FOLDER", default=".", help="where it is written; the current folder by default"),
)
def do_report(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Write a course report: data set, baseline, transfer, networks, comparison, augmentation, insights, methods."""
    from covid_core.reports.course import formats, sections, subject  # statistics and figures, which other verbs lack

    formats.checked(options.format)
    wanted = list(dict.fromkeys([*options.ids, *(options.study or [])]))
    if not wanted:
        raise CovidCoreError("Say which studies or runs: report STUDY_OR_RUN...")
    studies = {study.id: study for study in store.list_studies(workspace)}
    runs: dict[str, store.Run] = {}
    for identifier in wanted:
        of_study = runs_of(workspace, studies[identifier]) if identifier in studies else []
        runs |= {run.id: run for run in of_study or [store.open_run(workspace, identifier)]}
    study = studies.get(wanted[0]) if len(wanted) == 1 else None
    about = subject.subject_of(workspace, list(runs.values()), study, progress=progress())
    written = formats.write(sections.document_of(about), about, options.format, Path(options.to))
    return {"files": [str(path) for path in written], "text": "\n".join(map(str, written))}


@verb(
    "card",
    option("id", metavar="RUN_OR_DATASET", help="of a finished run, or of a data set"),
    option("--format", choices=["html", "md"], default="html", help="a page (default), or Markdown"),
    option("--to", metavar="FILE", help="by default card-ID in the current folder"),
)
def do_card(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Write a model card or a data card: what files show of it, and of the items of CLAIM, TRIPOD+AI and STARD-AI."""
    from covid_core.exchange.cards import card  # as above

    made = card.named(workspace, options.id)
    path = Path(options.to or f"card-{options.id}.{options.format}")
    card.write(made, options.format, path)
    counts = {one.title: one.counts for one in made.checklists}
    lines = [
        str(path),
        *(f"{title}: {', '.join(f'{n} {state}' for state, n in of.items())}" for title, of in counts.items()),
    ]
    return {"file": str(path), "checklists": counts, "text": "\n".join(lines)}
