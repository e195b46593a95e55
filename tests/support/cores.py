"""Processes that share the cores take as many threads each as there are for it, and none waits for work at full speed.

Imported before anything computes; what tests start inherits it.
"""

import os
import sys

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # where it is set, each process compiles anew all that it imports
sys.dont_write_bytecode = False
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # on busy cores t-SNE took six times the processor's time else
if WORKERS > 1:
    # of TensorFlow, one thread each saved a sixth of the time of tests that train, three processes on two cores
    for library in ("OMP", "OPENBLAS", "MKL", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
        name = f"{library}_THREADS" if library.startswith("TF") else f"{library}_NUM_THREADS"
        os.environ.setdefault(name, str(max(1, (os.cpu_count() or 1) // WORKERS)))
