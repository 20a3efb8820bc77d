"""Files with which a scheduler starts a training on several machines: Slurm and SkyPilot.

Both run ``luthier tune --nproc`` on every machine, which starts a process for each GPU. A training
that is stopped for another exits with code 75 after it has saved, and is queued again.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

import yaml

from luthier.core.errors import UsageError

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PORT = 29500
# Before the scheduler kills, a training has this long to save.
_WARNING_SECONDS = 300


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """What is run, and on what.

    Attributes:
        name: of the job.
        arguments: of ``luthier tune``: a configuration file and overrides.
        nodes: machines.
        gpus: of each machine; 0: one process each, on their processors.
        accelerator: the GPUs' name in SkyPilot's catalogue, such as ``H100``.
        hours: after which the scheduler ends the job; None: the queue's own limit.

    Raises:
        UsageError: counts that cannot be, or a name that a scheduler would not take.
    """

    name: str
    arguments: tuple[str, ...]
    nodes: int = 1
    gpus: int = 8
    accelerator: str = "H100"
    hours: float | None = None

    def __post_init__(self) -> None:
        if self.nodes < 1 or self.gpus < 0:
            raise UsageError(
                f"{self.nodes} machines with {self.gpus} GPUs cannot train",
                fix="give at least one machine",
            )
        if self.hours is not None and self.hours <= 0:
            raise UsageError(f"{self.hours} hours are none", fix="give a number above 0")
        for word in (self.name, self.accelerator):
            if not _WORD.fullmatch(word):
                raise UsageError(
                    f"{word!r} cannot name a job or a GPU",
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
    """A task in YAML for ``sky launch``; it installs Luthier where it runs."""
    meeting = (
        'MASTER_ADDR=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)',
        f"export MASTER_ADDR MASTER_PORT={_PORT}",
        'export NNODES="$SKYPILOT_NUM_NODES" NODE_RANK="$SKYPILOT_NODE_RANK"',
        _tune(job),
    )
    task = {
        "name": job.name,
        "workdir": ".",
        "num_nodes": job.nodes,
        "resources": {"accelerators": f"{job.accelerator}:{job.gpus}"} if job.gpus else {},
        "setup": "pip install luthier\n",
        "run": "\n".join(meeting) + "\n",
    }
    return yaml.safe_dump({key: value for key, value in task.items() if value}, sort_keys=False)


def _tune(job: ClusterJob) -> str:
    """The command of a machine."""
    arguments = (*job.arguments, "--nproc", str(max(1, job.gpus)))
    return shlex.join(["luthier", "tune", *arguments])


def _clock(hours: float) -> str:
    minutes = round(hours * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"
