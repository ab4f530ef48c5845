"""Debian's SLURM on this machine alone: munged, slurmctld and slurmd, out of a folder.

Nothing of the system's own configuration is read or written, and they run as whoever we are.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo")
CPUS = 8
CONF = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=100000
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=here Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs that are not installed; Debian has them in slurm-wlm and munge."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    return [name for name in COMMANDS if not shutil.which(name, path=path)]


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which `sbatch` finds the cluster. Raises TimeoutError where its node does
    not come up.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key, conf = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    ports = free_ports()
    host, user = socket.gethostname().partition(".")[0], who()
    conf.write_text(CONF.format(folder=folder, host=host, user=user, cpus=CPUS, **ports))
    env = {"SLURM_CONF": str(conf), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    munge = ["munged", "--foreground", "--force", f"--key-file={key}"]
    munge += [f"--socket={folder / 'munge.socket'}", f"--pid-file={folder / 'munged.pid'}"]
    munge += [f"--log-file={folder / 'munged.log'}", f"--seed-file={folder / 'munged.seed'}"]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for words in (munge, ["slurmctld", "-D", "-c"], ["slurmd", "-D", "-N", host]):
            with (folder / f"{words[0]}.out").open("wb") as out:
                daemons.append(
                    subprocess.Popen(words, env=os.environ | env, stdout=out, stderr=out)
                )
            if words is munge:
                until(lambda: (folder / "munge.socket").exists())
        until(lambda: "idle" in asked(["sinfo", "--noheader"], env))
        yield env
        asked(["scancel", f"--user={user}"], env)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(20)
            daemon.kill()
            daemon.wait()


def free_ports() -> dict[str, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return {"controller": one.getsockname()[1], "daemon": other.getsockname()[1]}


def who() -> str:
    return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()


def asked(words: list[str], env: dict[str, str]) -> str:
    return subprocess.run(words, env=os.environ | env, capture_output=True, text=True).stdout


def wait(env: dict[str, str], seconds: float) -> None:
    """Until no job waits or runs."""
    until(lambda: not asked(["squeue", "--noheader"], env).strip(), seconds)


def until(condition: object, seconds: float = 30.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("SLURM does not come to it")
        time.sleep(0.2)
