"""How long each page takes to answer on the server, with a full workspace: ``python -m benchmarks.pages``.

Every page is run as the server runs it (app.py, then the page) in one process, first cold, then warm several times; the
browser's own drawing is not in it. By default 4,014 films are made (grey noise over a gradient, 256 px, three classes)
and imported; ``--data FOLDER`` takes real ones. The runs are made records, complete but for their models.

Prints one JSON line: seconds per page (cold, warm median, all warm times), and the machine's facts.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

PAGES = ("home", "dataset", "train", "compare", "predict")
FILMS_PER_CLASS = 1338
SIDE = 256
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, help="a folder of real films, one folder per class")
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--repeats", type=int, default=5)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COVID_CORE_HOME"] = str(Path(folder) / "workspace")
        films = fill(given.data or made_films(Path(folder) / "films"), given.runs)
        answer = {page: timed(page, given.repeats) for page in PAGES}
    print(json.dumps({"benchmark": "pages", "films": films, "runs": given.runs, "pages": answer, "machine": machine()}))


def made_films(folder: Path, per_class: int = FILMS_PER_CLASS) -> Path:
    """Quick films that decode like real ones: 256 px, grey, noisy enough that PNG cannot shrink them much."""
    from covid_core.data.images import png_bytes

    rng = np.random.default_rng(0)
    gradient = np.linspace(40, 180, SIDE, dtype=np.float32)[:, None]
    for label in ("COVID", "Normal", "Viral Pneumonia"):
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            noise = rng.integers(0, 40, (SIDE, SIDE), dtype=np.uint8)
            film = (gradient * rng.uniform(0.7, 1.2) + noise).clip(0, 255).astype(np.uint8)
            (folder / label / f"{label}-{number}.png").write_bytes(png_bytes(film))
    return folder


def fill(source: Path, runs: int) -> int:
    """Import the films and make ``runs`` finished runs on them. Returns the number of films."""
    from covid_core.data import importing
    from covid_core.workspace import Workspace
    from tests import made_runs

    workspace = Workspace.default()
    dataset = importing.import_folder(workspace, source)
    sizes = {"train": 2728, "validation": 643, "test": 643}
    for number in range(runs):
        table = made_runs.all_parts(sizes, skill=1 + number / 10, seed=number)
        made_runs.made_run(workspace, table, name=f"Run {number}")
    return len(dataset.films)


def timed(page: str, repeats: int) -> dict[str, float | list[float]]:
    """Seconds of one cold answer and of several warm ones, in one session, as a user comes back to a page."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    app.run()
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        app.switch_page(page_file(page)).run()
        times.append(round(time.perf_counter() - begin, 3))
        if app.exception:
            raise SystemExit(f"{page}: {app.exception[0].value}")
    return {"cold": times[0], "warm": statistics.median(times[1:]), "warm_all": times[1:]}


def page_file(page: str) -> str:
    """Where the page lies, from the project's folder."""
    return f"app_pages/{page}.py"


def machine() -> dict[str, object]:
    return {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}


if __name__ == "__main__":
    main()
