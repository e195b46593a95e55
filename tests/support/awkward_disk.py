"""Every verb and every page on a disk that takes nothing: ``python awkward_disk.py WORKSPACE DISK ro|full``.

DISK is an empty disk of the process's own (``on_disk`` starts it on one). Prints one JSON object: verbs with exit code
and error, pages with their errors.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from page_tests import APP, PATIENCE
from streamlit.testing.v1 import AppTest
from waiting import LONG

from benchmarks.reliability.crashes import fill
from covid_core.commands import main
from covid_core.commands.verbs import VERBS
from covid_core.workspace import Workspace

SIZE = "64m"
PAGES = ("home", "dataset", "audit", "train", "compare", "predict", "lessons")
NOT_DONE = {"app", "kaggle"}  # a server, and a download


def words_of(workspace: Workspace) -> dict[str, list[str]]:
    """Arguments of the verbs that need some."""
    (dataset,), (run,) = ([path.name for path in folder.iterdir()] for folder in (workspace.datasets, workspace.runs))
    files = workspace.datasets / dataset / "files"
    image = str(next(path for path in files.rglob("*.png") if path.parent.name == "images"))
    of_dataset = dict.fromkeys(
        ("summary", "audit", "map", "delete-dataset", "decisions", "group-duplicates"), [dataset]
    )
    of_run = dict.fromkeys(
        ("show", "annotate", "stop", "resume", "delete", "reference", "audit-run", "robustness"), [run]
    )
    return {
        **of_dataset,
        **of_run,
        "import": [str(files)],
        "merge": [dataset, dataset],
        "demo": ["--images", "12"],
        "decide": ["leave-out", dataset, "x"],
        "take-back": [dataset, "1"],
        "train": [dataset, "--backbone", "baseline_cnn"],
        "study": [dataset, "--random-where-missing"],
        "compare": [run, run],
        "evaluate": [run, dataset],
        "predict": [run, image],
        "drift": [run, str(Path(image).parent)],
        "segment": [dataset],
        "add-backbone": [image],
        "delete-backbone": ["x"],
        "delete-segmenter": ["x"],
        "report": [run, "--to", str(workspace.root)],
        "bundle": [run, str(workspace.root.parents[1] / "runs.zip"), "--licence", "CC0"],  # beside the disk
    }


def on_disk(source: Path, kind: str) -> dict[str, Any]:
    """What the program prints in a process with a disk of its own, for which it is root, or has user namespaces."""
    with tempfile.TemporaryDirectory() as place:
        disk = f"{place}/disk"
        Path(disk).mkdir()
        mount = f'mount -t tmpfs -o size={SIZE} none {disk} && exec "$@"'
        alone = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-m", "sh", "-c", mount, "sh"]
        command = [*alone, sys.executable, __file__, str(source), disk, kind]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(APP.parents[1]), str(Path(__file__).parent)))}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=LONG)
    return json.loads(done.stdout.splitlines()[-1])


def verb(words: list[str]) -> list[object]:
    """Exit code, and the answer's error or what went wrong."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as errors:
            code = main.main([*words, "--json"])
        return [code, json.loads(out.getvalue()).get("error", "")]
    except SystemExit as wrong:
        return [wrong.code, errors.getvalue()[-200:]]
    except BaseException:
        return ["traceback", traceback.format_exc()[-600:]]


def page(name: str) -> list[str]:
    """Its exceptions, and the errors that it shows."""
    drawn = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    drawn.switch_page(f"{name}.py")
    drawn.run()
    return [one.value + " ".join(one.stack_trace[-2:]) for one in drawn.exception] + [one.value for one in drawn.error]


def program(source: str, disk: str, kind: str) -> None:
    workspace = Workspace(Path(disk) / "workspace")
    shutil.copytree(source, workspace.root)
    words = words_of(workspace)
    shutil.rmtree(workspace.root / "studies", ignore_errors=True)
    if kind == "ro":
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    else:
        fill(Path(disk))
    os.environ["COVID_CORE_HOME"] = str(workspace.root)
    in_turn = sorted(VERBS.keys() - NOT_DONE, key=lambda name: name.startswith("delete"))  # which a full disk takes
    verbs = {name: verb([name, *words.get(name, [])]) for name in in_turn}
    print(json.dumps({"verbs": verbs, "pages": {name: page(name) for name in PAGES}}))


if __name__ == "__main__":
    program(*sys.argv[1:])
