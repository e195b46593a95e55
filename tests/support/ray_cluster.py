"""A real cluster of Ray on this machine: a head without cores and two nodes of one core each, of which one can be lost.

As a program it holds the cluster: "kill" on its standard input ends a node as a loss of power does.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MEMORY = 80 * 1024 * 1024  # bytes of Ray's object store, which nothing here uses


class RayCluster:
    """``address`` for ``ray.init``."""

    def __init__(self, process: subprocess.Popen):
        self._process = process
        self.address = self._line()

    def lose_a_node(self) -> None:
        self._process.stdin.write("kill\n")
        self._process.stdin.flush()
        assert self._line() == "killed"

    def _line(self) -> str:
        line = self._process.stdout.readline().strip()
        assert line, "the cluster has ended; its log tells why"
        return line


@contextlib.contextmanager
def ray_cluster(folder: Path, nodes: int = 2) -> Iterator[RayCluster]:
    """A cluster that ends with the block; its log lies in ``folder``."""
    with open(folder / "cluster.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, str(nodes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )
    with process:
        try:
            yield RayCluster(process)
        finally:
            process.stdin.close()  # it shuts the cluster down
            process.wait()


def main() -> None:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=MEMORY) for _ in range(int(sys.argv[1]))]
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
