"""A real SLURM on this machine: Debian's slurm-wlm and munge, of one node, as root, in a folder of its own."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

from services import free_port, program, running

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MessageTimeout=60
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextlib.contextmanager
def slurm_cluster(folder: Path) -> Iterator[Path]:
    """The configuration file, for SLURM_CONF, of a SLURM that answers; it ends with the block."""
    folder.chmod(0o755)  # munge refuses a socket in a folder that others may not enter
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    ports, host = (free_port(), free_port()), platform.node().partition(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, host=host, ports=ports, cores=os.cpu_count()))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    files = (
        ("key-file", "munge.key"),
        ("socket", "munge.socket"),
        ("pid-file", "munged.pid"),
        ("log-file", "munged.log"),
    )
    words = [word for name, file in (*files, ("seed-file", "munge.seed")) for word in (f"--{name}", str(folder / file))]
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    munged = subprocess.Popen([program("munged"), "--force", "--foreground", *words])
    try:
        control = running([program("slurmctld"), "-D"], ports[0], folder / "control.out", environment)
        node = running([program("slurmd"), "-D", "-N", host], ports[1], folder / "node.out", environment)
        with control, node:
            yield conf
    finally:
        munged.terminate()
        munged.wait()
