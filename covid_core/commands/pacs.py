"""Verbs about a PACS and a folder in which images arrive: fetch images, send results back, answer what arrives."""

import argparse
import sys
from pathlib import Path
from typing import Any

from covid_core import files
from covid_core.commands.verbs import option, progress, verb
from covid_core.errors import ImageError, InvalidChoice, cause
from covid_core.exchange.pacs import servers
from covid_core.formatting import plural
from covid_core.presets import parse_assignments
from covid_core.reports import prediction_text
from covid_core.runs import store
from covid_core.workspace import Workspace

MOST_BYTES = 20 * 10**9  # of a query, as of an archive
PACS = f"name of a PACS, as {servers.SETTING}=NAME=ADDRESS has it"
COVERAGE = option("--coverage", type=float, default=0.9, help="how often the prediction set contains the true class")


@verb(
    "fetch",
    option("pacs", help=PACS),
    option("--study", metavar="UID", default="", help="Study Instance UID"),
    option("--query", action="append", metavar="KEY=VALUE", help="such as StudyDate=20240101; may be repeated"),
    option("--most", type=int, default=1000, help="refuse a query that matches more images"),
    option("--to", required=True, metavar="FOLDER", help="where the DICOM files go; they name patients"),
)
def do_fetch(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Fetch the plain radiographs of a study or a query from a PACS (DICOMweb) into a folder, for predict or import."""
    from covid_core.exchange.pacs import dicomweb, results

    server, folder = servers.named(options.pacs), Path(options.to)
    results.check_outside(workspace, folder)
    query = parse_assignments(options.query or []) | ({dicomweb.STUDY_QUERY: options.study} if options.study else {})
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in dicomweb.images(workspace, server, query, options.most, MOST_BYTES, progress()):
            files.write_bytes(folder / name, content)
            paths.append(folder / name)
    except OSError as error:
        raise InvalidChoice(f"Nothing can be written into {folder}: {cause(error)}.") from error
    return {"pacs": server.name, "files": paths, "text": "\n".join(map(str, paths))}


@verb(
    "send",
    "run",
    option("files", nargs="+", metavar="FILE", help="DICOM images"),
    option("--pacs", metavar="NAME", help=f"{PACS}: store the results there"),
    option("--to", metavar="FOLDER", help="write the results there instead; they name the patient"),
    COVERAGE,
)
def do_send(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Send the predictions for DICOM images back into their studies: a structured report (TID 1500) and a picture, both
    marked as research, not for diagnosis. An image without a prediction gets none."""
    from covid_core.exchange.pacs import dicomweb, results
    from covid_core.images import sandbox
    from covid_core.images.codec import content_of
    from covid_core.inference.assessment import assess, examined
    from covid_core.inference.predictor import Predictor

    if bool(options.pacs) == bool(options.to):
        raise InvalidChoice("Say where the results go: --pacs NAME or --to FOLDER.")
    server = servers.named(options.pacs) if options.pacs else None
    results.check_available()
    run = store.open_run(workspace, options.run)
    predictor, rows = Predictor.open(workspace, run), []
    for path in options.files:
        row = {"file": path, "answer": None, "written": [], "stored": False}
        try:
            content = content_of(path)
            image = sandbox.read_image(content)
            about = {"name": path, "run": run.name, "coverage": options.coverage}
            one = examined(workspace, run, assess(predictor, image, **about), image)
            result = results.of(run, one, content)
            row["answer"] = prediction_text.verdict([one])[0]
            if server:
                dicomweb.store(workspace, server, list(result.files.values()))
                row["stored"] = True
            else:
                row["written"] = results.write(workspace, result, Path(options.to))
        except ImageError as error:
            row["error"] = str(error)
        rows.append(row)
    return {
        "run": run.id,
        "pacs": server.name if server else None,
        "results": rows,
        "failed": any("error" in row for row in rows),
        "text": "\n".join(_sent(row, server) for row in rows),
    }


def _sent(row: dict[str, Any], server: servers.Server | None) -> str:
    if "error" in row:
        return f"{row['file']}: {row['error']}"
    where = f"stored in {server.name}" if server else ", ".join(map(str, row["written"]))
    return f"{row['file']}: {row['answer']} Report and picture: {where}."


@verb(
    "watch",
    "run",
    option("folder", help="where images arrive, also in folders below"),
    option("--to", metavar="FOLDER", help="where the predictions go; beside the images by default"),
    COVERAGE,
)
def do_watch(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Predict each image that arrives in a folder, once, as soon as it is whole, until Ctrl-C. Each prediction is a
    line of JSON, with the keys of predict, in second-look-RUN.jsonl."""
    from covid_core.exchange import watched_folder

    run = store.open_run(workspace, options.run)
    to = Path(options.to) if options.to else None
    watched = watched_folder.WatchedFolder(workspace, run, Path(options.folder), to, options.coverage)
    print(f"watching {options.folder}; Ctrl-C ends it", file=sys.stderr)
    answered = watched.follow(lambda answer: print(prediction_text.line(answer), file=sys.stderr))
    text = f"{plural(answered, 'image')} answered: {watched.answers}"
    return {"run": run.id, "images": answered, "answers": watched.answers, "text": text}
