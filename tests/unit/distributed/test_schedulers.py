"""Files for schedulers: they parse, and say what was asked."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from luthier.cli.main import run
from luthier.core.errors import UsageError
from luthier.distributed.schedulers import ClusterJob, sky_task, slurm_script

HOSTILE = ("run.yaml", "name=a; rm -rf $HOME", "data.source=it's `mine`")


def test_a_batch_script_is_bash_and_quotes_what_it_is_given() -> None:
    job = ClusterJob("job", HOSTILE, nodes=2, gpus=4, hours=1.5)
    script = slurm_script(job)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    for option in ("nodes=2", "gpus-per-node=4", "time=01:30:00", "requeue", "signal=TERM@300"):
        assert f"#SBATCH --{option}" in script
    (line,) = (line for line in script.splitlines() if line.startswith("srun"))
    inner = shlex.split(shlex.split(line)[-1])
    assert inner[0] == "NODE_RANK=$SLURM_NODEID"
    assert tuple(inner[4 : 4 + len(HOSTILE)]) == HOSTILE
    assert inner[-2:] == ["--nproc", "4"]


def test_a_task_is_yaml() -> None:
    task = yaml.safe_load(sky_task(ClusterJob("job", HOSTILE, nodes=3, gpus=8)))
    assert task["num_nodes"] == 3
    assert task["resources"] == {"accelerators": "H100:8"}
    subprocess.run(["bash", "-n"], input=task["run"], text=True, check=True)
    assert tuple(shlex.split(task["run"].splitlines()[-1])[2:-2]) == HOSTILE


@pytest.mark.parametrize(
    "values",
    [{"name": "a\n#SBATCH --x"}, {"accelerator": "H 100"}, {"nodes": 0}, {"hours": -1.0}],
)
def test_what_no_scheduler_takes_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ClusterJob(**{"name": "job", "arguments": (), **values})  # type: ignore[arg-type]


def test_the_command_checks_the_configuration_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["launch", "train.epocs=2", "--folder", str(tmp_path)]) == 2
    assert "epochs" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert run(["launch", "train.epochs=2", "--folder", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"luthier.sbatch", "luthier.sky.yaml"}
