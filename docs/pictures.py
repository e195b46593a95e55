"""The pictures of these pages, from the running app: ``python -m docs.pictures`` (some minutes on two cores).

It draws a synthetic data set in an empty workspace, audits it, trains small networks from random weights, and opens the
app in an installed Chromium. ``--keep FOLDER`` leaves the workspace there and uses it again. Nothing is downloaded.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.screens.pages import BROWSERS, ROOT, server, until_healthy

PICTURES = ROOT / "docs" / "pictures"
WIDTH = 1280
LARGEST = 1_500_000  # bytes of all pictures together
PATIENCE = 600_000  # milliseconds for a page to come
SETTLED = 4_000  # milliseconds that charts and images are drawn after the server's last word
IDLE = "[data-testid=stApp][data-test-connection-state=CONNECTED][data-test-script-state=notRunning]"
FACTS = "facts.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="a folder for the workspace, used again when it is there")
    parser.add_argument("--only", nargs="+", default=[], help="names of pictures")
    given = parser.parse_args()
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("No Chromium or Chrome is installed.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = given.keep or Path(folder)
        os.environ["COVID_CORE_HOME"] = str(home / "workspace")
        ids = filled(home)
        arguments = ["--disable-gpu", "--no-first-run", *(["--no-sandbox"] if os.getuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        with server("app.py") as (_, url, _):
            until_healthy(url)
            for name, (address, height) in views(ids).items():
                if not given.only or name in given.only:
                    picture(browser, f"{url}/{address}", height, PICTURES / f"{name}.png")
        browser.close()
    size = sum(file.stat().st_size for file in PICTURES.glob("*.png"))
    print(f"{size:,} bytes in {PICTURES}")
    if size > LARGEST:
        raise SystemExit(f"The pictures must take at most {LARGEST:,} bytes.")


def views(ids: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """File name of each picture: the address that it shows, and how many pixels of it."""
    return {
        "dataset": (f"dataset?dataset={ids['dataset']}&tab=Images", 1080),
        "audit": (f"audit?dataset={ids['dataset']}&tab=Shortcut+learning", 1400),
        "train": (f"train?run={ids['baseline']}", 900),
        "compare": (f"compare?runs={ids['baseline']},{ids['pretrained']}", 1280),
        "predict": (f"predict?run={ids['baseline']}&image={ids['image']}", 1080),
        "lessons": ("lessons", 900),
        "glossary": ("?glossary=all", 900),
    }


def filled(home: Path) -> dict[str, str]:
    """A workspace with images, their audit, two runs and the audit of one. Returns their ids."""
    kept = home / FACTS
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))
    dataset = verb("demo", "--images", "600", "--plant", "near-duplicates", "--plant", "corner-tag")["dataset"]
    verb("audit", dataset)
    small = ["--set", "image_size=128", "--set", "epochs=12", "--wait"]
    baseline = verb("train", dataset, "--backbone", "baseline_cnn", *small)["run"]
    pretrained = verb("train", dataset, "--backbone", "mobilenet_v2", "--set", "weights=random", *small)["run"]
    verb("audit-run", baseline)
    verb("audit-run", pretrained)
    ids = {"dataset": dataset, "baseline": baseline, "pretrained": pretrained, "image": tested(baseline)}
    kept.write_text(json.dumps(ids), encoding="utf-8")
    return ids


def tested(run: str) -> str:
    """An image of the run's test part that its drawing calls COVID."""
    from covid_core.runs import store
    from covid_core.workspace import Workspace

    split = store.open_run(Workspace.default(), run).split()
    return str(split.loc[(split["part"] == "test") & (split["label"] == "COVID"), "image_id"].iloc[0])


def verb(*words: str) -> dict[str, str]:
    """What the command line answers."""
    print("second-look", *words, file=sys.stderr)
    command = [sys.executable, "-m", "covid_core", *words, "--json"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def picture(browser: Browser, url: str, height: int, to: Path) -> None:
    """The top of an address as a PNG, once the server has drawn all of it."""
    page = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme="light")
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.locator("h1").first.wait_for()
    page.locator(IDLE).wait_for()
    page.wait_for_timeout(SETTLED)
    page.locator(IDLE).wait_for()
    page.screenshot(path=to)
    page.close()


if __name__ == "__main__":
    main()
