"""How far each exported format of each run is from the app, and how large it is: the table of docs/exchange.md.

    python -m benchmarks.exchange.forms RUN ...

The runs are those of the workspace in use. Each format's own example runs in a process of its own on 32 images. ONNX
needs the extra ``onnx``, and the page LiteRT.js in the workspace.
"""

import argparse
from zipfile import ZipFile

from covid_core.errors import CovidCoreError
from covid_core.exchange.forms import exported
from covid_core.exchange.forms.formats import FORMATS
from covid_core.formatting import file_size
from covid_core.nets.forms.writing import write
from covid_core.runs import store
from covid_core.work import silent
from covid_core.workspace import Workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN")
    workspace, names = Workspace.default(), parser.parse_args().runs
    print(f"| run | {' | '.join(FORMATS)} |\n| --- |{' --- |' * len(FORMATS)}")
    for run in (store.open_run(workspace, name) for name in names):
        cells = [measured(workspace, run, name) for name in FORMATS]
        print(f"| {run.name}: {run.spec.network.label}, {run.spec.strategy} | {' | '.join(cells)} |", flush=True)


def measured(workspace: Workspace, run: store.Run, name: str) -> str:
    """The largest difference of a probability, and the size of the model; or the refusal."""
    try:
        archive = exported.make(workspace, run, name, write, silent)
    except CovidCoreError as error:
        return str(error)
    facts = exported.facts_of(archive)
    with ZipFile(archive) as opened:
        size = sum(one.file_size for one in opened.infolist() if one.filename.startswith(facts["model"]))
    return f"{facts['parity']['largest_difference']:.0e}, {file_size(size)}"


if __name__ == "__main__":
    main()
