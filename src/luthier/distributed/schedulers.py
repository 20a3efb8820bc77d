"""Job files for training on several machines with Slurm or SkyPilot.

Both run ``luthier tune --nproc`` on every machine, which starts a process per GPU. A preempted
training saves, exits with code 75, and is queued again.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

import yaml

from luthier.core.errors import UsageError
from luthier.core.units import counted
from luthier.distributed.installing import Source

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PORT = 29500
# Time for saving before the scheduler kills a training.
_WARNING_SECONDS = 300
_BUCKET_FOLDER = "/luthier-bucket"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """The command and the resources of a job.

    Attributes:
        name: the name of the job.
        arguments: arguments of ``luthier tune``: a configuration file and overrides.
        nodes: number of machines.
        gpus: GPUs per machine; 0: one CPU process per machine.
        accelerator: the GPUs' name in SkyPilot's catalogue, such as ``H100``.
        hours: the time limit of the job; None: the queue's limit.
        source: the source for installing Luthier into its own environment.
        bucket: SkyPilot's bucket, in which runs and cache outlive the machines; empty: none.

    Raises:
        UsageError: the counts are impossible, or a name is invalid for a scheduler.
    """

    name: str
    arguments: tuple[str, ...]
    nodes: int = 1
    gpus: int = 8
    accelerator: str = "H100"
    hours: float | None = None
    source: Source = Source("luthier")
    bucket: str = ""

    def __post_init__(self) -> None:
        if self.nodes < 1 or self.gpus < 0:
            raise UsageError(
                f"cannot train on {counted(self.nodes, 'machine')} with "
                f"{counted(self.gpus, 'GPU')}",
                fix="give at least one machine",
            )
        if self.hours is not None and self.hours <= 0:
            raise UsageError(f"{self.hours} hours are not possible", fix="give a number above 0")
        if self.bucket and not _BUCKET.fullmatch(self.bucket):
            raise UsageError(
                f"{self.bucket!r} is not a valid bucket name",
                fix="use 3 to 63 lower-case letters, digits, dots, dashes and underscores",
            )
        for word in (self.name, self.accelerator):
            if not _WORD.fullmatch(word):
                raise UsageError(
                    f"{word!r} is not a valid name of a job or a GPU",
                    fix="use letters, digits, dots, dashes and underscores",
                )


def slurm_script(job: ClusterJob) -> str:
    """A batch script for ``sbatch``."""
    options = {
        "job-name": job.name,
        "nodes": str(job.nodes),
        "ntasks-per-node": "1",
        "gpus-per-node": str(job.gpus) if job.gpus else None,
        "time": _clock(job.hours) if job.hours else None,
        "output": "%x-%j.log",
        "signal": f"TERM@{_WARNING_SECONDS}",
        "requeue": "",
    }
    lines = [
        f"#SBATCH --{name}{'=' + value if value else ''}"
        for name, value in options.items()
        if value is not None
    ]
    return "\n".join(
        [
            "#!/bin/bash",
            *lines,
            "",
            "# All machines must see these folders. The environment is made once.",
            'export LUTHIER_CACHE="${LUTHIER_CACHE:-$HOME/.cache/luthier}"',
            'LUTHIER_VENV="${LUTHIER_VENV:-$HOME/.venvs/luthier}"',
            *_environment(job.source.requirement),
            "",
            "# The processes meet at the first machine.",
            'MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            f'export MASTER_ADDR MASTER_PORT={_PORT} NNODES="$SLURM_NNODES"',
            "",
            "srun --kill-on-bad-exit=1 bash -c "
            + shlex.quote(f'NODE_RANK="$SLURM_NODEID" exec {_tune(job)}'),
            "code=$?",
            "# 75: it was asked to stop, and has saved.",
            'if [ "$code" -eq 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi',
            'exit "$code"',
            "",
        ]
    )


def sky_task(job: ClusterJob) -> str:
    """A task in YAML for ``sky launch``, which installs Luthier on its machines.

    With a bucket, runs and cache are stored in it and survive the loss of a machine.
    """
    here = job.source.path
    requirement = f"$HOME/luthier-source/{here.name}" if here else job.source.requirement
    mounts: dict[str, Any] = {}
    if here:
        mounts[f"~/luthier-source/{here.name}"] = str(here)
    if job.bucket:
        mounts[_BUCKET_FOLDER] = {"name": job.bucket, "mode": "MOUNT_CACHED"}
    meeting = (
        *_folders(job),
        '. "$LUTHIER_VENV/bin/activate"',
        'MASTER_ADDR=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)',
        f"export MASTER_ADDR MASTER_PORT={_PORT}",
        'export NNODES="$SKYPILOT_NUM_NODES" NODE_RANK="$SKYPILOT_NODE_RANK"',
        _tune(job, f"output={_BUCKET_FOLDER}/runs" if job.bucket else ""),
    )
    task = {
        "name": job.name,
        "workdir": ".",
        "num_nodes": job.nodes,
        "resources": {"accelerators": f"{job.accelerator}:{job.gpus}"} if job.gpus else {},
        "file_mounts": mounts,
        "setup": "\n".join((*_folders(job), *_environment(requirement))) + "\n",
        "run": "\n".join(meeting) + "\n",
    }
    return yaml.safe_dump({key: value for key, value in task.items() if value}, sort_keys=False)


def _folders(job: ClusterJob) -> tuple[str, ...]:
    """Folders of a SkyPilot machine for the environment and the cache."""
    cache = f"{_BUCKET_FOLDER}/cache" if job.bucket else "$HOME/.cache/luthier"
    return ('LUTHIER_VENV="$HOME/.venvs/luthier"', f'export LUTHIER_CACHE="{cache}"')


def _environment(requirement: str) -> tuple[str, ...]:
    """Commands that create the environment if missing, install Luthier, and activate it."""
    home = "$HOME/"
    quoted = (
        f'"$HOME"/{shlex.quote(requirement.removeprefix(home))}'
        if requirement.startswith(home)
        else shlex.quote(requirement)
    )
    return (
        'if [ ! -x "$LUTHIER_VENV/bin/luthier" ]; then',
        '  python3 -m venv "$LUTHIER_VENV" || exit 1',
        f'  "$LUTHIER_VENV/bin/python" -m pip install {quoted} || exit 1',
        "fi",
        '. "$LUTHIER_VENV/bin/activate"',
    )


def _tune(job: ClusterJob, output: str = "") -> str:
    """The command of a machine; a given output folder is kept."""
    given = any(argument.startswith("output=") for argument in job.arguments)
    own = (output,) if output and not given else ()
    arguments = (*job.arguments, *own, "--nproc", str(max(1, job.gpus)))
    return shlex.join(["luthier", "tune", *arguments])


def _clock(hours: float) -> str:
    minutes = round(hours * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"
