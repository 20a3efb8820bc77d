"""Files for schedulers: they parse, and say what was asked."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from luthier.cli.main import run
from luthier.core.errors import UsageError
from luthier.distributed.installing import Source, find_source
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
    subprocess.run(["bash", "-n"], input=task["setup"], text=True, check=True)
    subprocess.run(["bash", "-n"], input=task["run"], text=True, check=True)
    assert tuple(shlex.split(task["run"].splitlines()[-1])[2:-2]) == HOSTILE


@pytest.fixture(params=["wheel", "folder", "git", "version"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    place = tmp_path / "a b; rm"
    place.mkdir()
    (place / "pyproject.toml").write_text("")
    wheel = place / "luthier-0.1.0-py3-none-any.whl"
    wheel.write_text("")
    given = {
        "wheel": str(wheel),
        "folder": str(place),
        "git": "git+https://example.org/luthier.git@v1",
        "version": "luthier==0.1.0",
    }
    return find_source(given[request.param])


@pytest.mark.parametrize("bucket", ["", "my-bucket"])
def test_machines_install_what_is_named_into_an_environment_of_their_own(
    source: Source, bucket: str, tmp_path: Path
) -> None:
    """The scripts are run with a python3 that only writes down how it was called."""
    job = ClusterJob("job", ("run.yaml",), source=source, bucket=bucket)
    task = yaml.safe_load(sky_task(job))
    setup = slurm_script(job).partition("# The processes meet")[0]
    for script, is_sky in ((setup, False), (task["setup"], True)):
        home = tmp_path / f"home-{is_sky}"
        home.mkdir()
        calls = recorded(script, home)
        assert calls[0] == ["-m", "venv", f"{home}/.venvs/luthier"]
        *pip, requirement = calls[1]
        assert pip == ["-m", "pip", "install"]
        if is_sky and source.path:
            assert requirement == f"{home}/luthier-source/{source.path.name}"
            mounted = task["file_mounts"][f"~/luthier-source/{source.path.name}"]
            assert mounted == str(source.path)
        else:
            assert requirement == source.requirement
        assert "LUTHIER_CACHE" in script
    assert ("output=/luthier-bucket/runs" in task["run"]) == bool(bucket)
    assert ("/luthier-bucket" in task.get("file_mounts", {})) == bool(bucket)


def recorded(script: str, home: Path) -> list[list[str]]:
    """The arguments of every python3 that a script calls."""
    log, tools = home / "log", home / "tools"
    tools.mkdir()
    python = tools / "python3"
    python.write_text(
        "#!/bin/bash\n"
        f'printf "%s\\n" "$#" "$@" >> {log}\n'
        'if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; '
        ': > "$3/bin/activate"; fi\n'
    )
    python.chmod(0o755)
    environment = {"HOME": str(home), "PATH": f"{tools}:/usr/bin:/bin"}
    subprocess.run(["bash", "-e"], input=script, text=True, check=True, env=environment)
    lines, calls = log.read_text().splitlines(), []
    while lines:
        count = int(lines.pop(0))
        calls.append([lines.pop(0) for _ in range(count)])
    return calls


@pytest.mark.parametrize("given", ["nowhere.whl", "luthier; rm -rf /", "http://x/y", "other==1"])
def test_what_pip_would_not_take_for_luthier_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="cannot install"):
        find_source(given)


def test_without_a_name_it_is_what_runs_here() -> None:
    assert find_source(None).requirement


@pytest.mark.parametrize(
    "values",
    [
        {"bucket": "No Bucket"},
        {"name": "a\n#SBATCH --x"},
        {"accelerator": "H 100"},
        {"nodes": 0},
        {"hours": -1.0},
    ],
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
