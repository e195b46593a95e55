"""``second-look VERB`` and ``python -m covid_core VERB``: see ``covid_core.commands.main``."""

import os
import sys

if sys.argv[1:2] != ["app"]:
    # As workers have it: probes and pairs keep the cores busy themselves, and on a busy computer threads that wait for
    # one another cost the ladder 100 s of processor instead of 28. Before anything imports NumPy, which reads it once.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def run() -> int:
    """The command of the installed package. Returns the exit code."""
    from covid_core.commands.main import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
