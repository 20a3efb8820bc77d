"""``luthier launch``."""

from __future__ import annotations

import math
from pathlib import Path

from luthier.cli.flags import Json, Whole
from luthier.cli.options import read_configuration
from luthier.cli.output import print_json, print_result
from luthier.core.errors import UsageError
from luthier.core.files import write_atomically
from luthier.distributed.installing import find_source
from luthier.distributed.schedulers import ClusterJob, sky_task, slurm_script


def launch(
    *arguments: str,
    job: str = "luthier",
    nodes: Whole = 1,
    gpus: Whole = 8,
    accelerator: str = "H100",
    hours: float | None = None,
    install: str | None = None,
    bucket: str = "",
    folder: Path = Path(),
    json: Json = False,
) -> None:
    """Write the files with which Slurm or SkyPilot tunes on several machines.

    Each machine installs Luthier in its own virtual environment, and keeps a cache.

    Args:
        arguments: As for tune: a YAML file, and single settings as section.key=value.
        job: The name of the job and of its files.
        nodes: Number of machines.
        gpus: GPUs per machine; 0: one process per machine, on its CPU.
        accelerator: The GPU's name in SkyPilot's catalogue.
        hours: Time limit of the job in hours; default: the queue's limit.
        install: The requirement for pip: a wheel, a folder, git+https://…, or luthier==VERSION;
            default: the source of this installation.
        bucket: SkyPilot's bucket for runs and cache, kept when the machines are gone.
        folder: The folder for the files.
    """
    if hours is not None and not 0 < hours < math.inf:
        raise UsageError(f"--hours is {hours}", fix="give a number above 0")
    read_configuration(arguments, None)  # a mistake is cheaper to find here than in the queue
    described = ClusterJob(
        job, arguments, nodes, gpus, accelerator, hours, find_source(install), bucket
    )
    slurm, sky = folder / f"{job}.sbatch", folder / f"{job}.sky.yaml"
    write_atomically(slurm, slurm_script(described))
    write_atomically(sky, sky_task(described))
    if json:
        print_json({"slurm": str(slurm), "skypilot": str(sky)})
        return
    print_result(f"Slurm:     sbatch {slurm}", f"SkyPilot:  sky launch {sky}")
