"""`mirage launch`: a run as an array of SLURM jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirage.cli import options
from mirage.cli.text import command, counted, fields, near, say, say_json

if TYPE_CHECKING:
    from mirage.job import Job


@click.command(
    epilog=options.example("mirage launch reformat.yaml --nodes 4 --time 4:00:00 --gpus 1 --print")
)
@options.configured
@click.option(
    "--nodes", default=1, show_default=True, type=click.IntRange(1), help="How many jobs."
)
@click.option("--account", metavar="NAME")
@click.option("--partition", metavar="NAME")
@click.option("--qos", metavar="NAME")
@click.option("--time", metavar="TIME", help="The time limit of each job, such as 4:00:00.")
@click.option("--reservation", metavar="NAME")
@click.option("--gpus", metavar="N", help="GPUs of each job: 1, or a100:2.")
@click.option("--cpus", metavar="N", type=click.IntRange(1), help="CPUs of each job.")
@click.option("--memory", metavar="SIZE", help="Memory of each job, such as 64G.")
@click.option(
    "--grace",
    metavar="SECONDS",
    default=120,
    show_default=True,
    type=click.IntRange(1),
    help="How long before the end of its time a job is told to finish its calls.",
)
@click.option(
    "--sbatch", "lines", metavar="OPTION", multiple=True, help="A further #SBATCH line, as it is."
)
@click.option(
    "--environment",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A shell file that each job sources first.",
)
@click.option("--container", metavar="IMAGE", help="Run in this image, with apptainer.")
@click.option("--print", "only_print", is_flag=True, help="Show the script, and submit nothing.")
@options.as_json
def launch(config: Path, nodes: int, only_print: bool, as_json: bool, **given: Any) -> int:
    """Submit a run to SLURM, as an array of jobs.

    Each job joins the run and works on blocks until it is done. Again, it submits jobs only for
    what is owed, and counts those that still wait or run.
    """
    from mirage import api
    from mirage.scale import slurm
    from mirage.scale.token import leave

    flags = {name: given.pop(name) for name in options.FLAGS}
    job = api.check(config, **flags)
    folder = job.folder.root.absolute() / "slurm"
    arrays = slurm.submitted(folder)
    there = [] if only_print else slurm.waiting(arrays)
    left = owed(job)
    count = min(nodes - len(there), left)
    if count < 1:
        why = f"{counted(len(there), 'job')} are there" if left else "nothing is owed"
        return told({"submitted": None, "tasks": 0, "reason": why}, as_json)
    array = (words(config, nodes, flags), slurm.Allocation(count, **given))
    name = folder.parent.name
    if only_print:
        say(slurm.script(name, folder, *array).rstrip("\n"))
        return 0
    text = slurm.script(name, folder, *array, leave(folder.parent))
    job_id = slurm.submit(text, folder, count).job
    return told({"submitted": job_id, "tasks": count, "logs": str(folder)}, as_json)


def owed(job: Job) -> int:
    """How many jobs have something to do: as many as blocks are owed; without end where that is
    not known yet.
    """
    from mirage.work.publish import standing

    if not job.folder.surveyed:
        return sys.maxsize
    return len(standing(job.work, job.folder.blocks()).owed)


def words(config: Path, nodes: int, flags: dict[str, Any]) -> list[str]:
    """The command of each job."""
    from mirage.given import here

    found = [sys.executable, "-m", "mirage", "run", str(config.absolute()), "--join", str(nodes)]
    for flag, value in flags.items():
        if value is not None:
            text = here(value) if flag in ("source", "sink", "run_dir") else str(value)
            found += [f"--{flag.replace('_', '-')}", text]
    return found


def told(what: dict[str, Any], as_json: bool) -> int:
    if as_json:
        say_json(what)
    elif not what["tasks"]:
        say(f"nothing was submitted: {what['reason']}")
    else:
        logs = near(what["logs"])
        said = f"{what['submitted']}, {counted(what['tasks'], 'job')}"
        say(fields([("array", said), ("logs", logs)]))
        say(f"\nnext: {click.style(command('mirage', 'status', Path(logs).parent), bold=True)}")
    return 0
