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

    The machines get Luthier into a virtual environment of its own, and keep a cache.

    Args:
        arguments: As for tune: a YAML file, and single settings as section.key=value.
        job: The job's name, and that of the files.
        nodes: How many machines.
        gpus: GPUs of each machine; 0: one process on each, on its processors.
        accelerator: The name of the GPUs in SkyPilot's catalogue.
        hours: Hours after which the job ends; default: the queue's own limit.
        install: What pip installs: a wheel, a folder, git+https://…, or luthier==VERSION; default:
            what this Luthier was installed from.
        bucket: SkyPilot's bucket for runs and cache, which outlives the machines.
        folder: Where the files go.
    """
    if hours is not None and not 0 < hours < math.inf:
        raise UsageError(f"--hours is {hours}", fix="give a number above 0")
    read_configuration(arguments, None)  # a mistake costs less here than in the queue
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
