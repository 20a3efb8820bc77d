"""What a run was made from may not change under it; more epochs are asked for by name."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import PreemptedError
from luthier.core.files import read_json, read_lines


@pytest.fixture
def stopped(make_tuning: Any, tiny_llama: Path, parity_file: Path, tmp_path: Path) -> Any:
    """A run stopped after some steps, with a model folder and a data file of its own."""
    model, data = tmp_path / "model", tmp_path / "data.jsonl"
    shutil.copytree(tiny_llama, model)
    shutil.copy(parity_file, data)
    tuning = make_tuning(**{"model.id": str(model), "data.source": str(data)})
    code = tuning.stop(lambda: tuning.steps >= 3, signal.SIGTERM)
    assert code == PreemptedError.exit_code
    return tuning


@pytest.mark.sample(1)
@pytest.mark.parametrize("signalled", [signal.SIGTERM, signal.SIGINT])
def test_an_extension_that_is_stopped_goes_on_by_resume(stopped: Any, signalled: Any) -> None:
    assert stopped.finish() == 0
    extend = ("extend", str(stopped.run), "--steps", "200")
    steps, said = stopped.steps, len(stopped.log)
    assert stopped.stop(lambda: stopped.steps >= steps + 2, signalled, *extend) != 0
    assert f"luthier resume {stopped.run}" in " ".join(stopped.log[said:].split())
    assert "same command" not in stopped.log[said:]
    assert len(list(read_lines(stopped.run / "extensions.jsonl"))) == 1


def change_data(folder: Path) -> None:
    path = folder / "data.jsonl"
    lines = path.read_text().splitlines()
    lines[7] = json.dumps({"prompt": "Is the number 7 even or odd?", "completion": "odd!"})
    path.write_text("\n".join(lines) + "\n")


def change_tokenizer(folder: Path) -> None:
    path = folder / "model" / "tokenizer.json"
    rules = json.loads(path.read_text())
    rules["model"]["merges"].pop()
    path.write_text(json.dumps(rules))


@pytest.mark.parametrize(
    ("change", "named"), [(change_data, "content."), (change_tokenizer, "content.tokenizer")]
)
def test_changed_files_are_refused_and_named(
    change: Callable[[Path], None], named: str, stopped: Any, tmp_path: Path
) -> None:
    change(tmp_path)
    before = stopped.losses()
    for command in ((), ("resume", str(stopped.run))):
        said = len(stopped.log)
        assert stopped.finish(*command) == 2
        assert named in stopped.log[said:]
        assert " before, " in stopped.log[said:]
    assert stopped.losses() == before


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("train.epochs=9", "train.epochs: 3.0 before, 9.0 now"),
        ("train.batch_size=2", "train.batch_size: 4 before, 2 now"),
        ("methods.full.learning_rate=0.5", "methods.learning_rate: 0.02 before, 0.5 now"),
        ("seed=1", "seed: 0 before, 1 now"),
        ("data.num_train=9", "data.num_train: null before, 9 now"),
    ],
)
def test_changed_settings_are_refused_and_named(setting: str, shown: str, stopped: Any) -> None:
    before = stopped.losses()
    assert stopped.finish(*stopped.command, setting) == 2
    assert shown in stopped.log
    assert stopped.losses() == before


def test_a_run_goes_on_from_its_directory_alone(
    stopped: Any, undisturbed: Any, tmp_path: Path
) -> None:
    reference, _ = undisturbed
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    stopped.run.rename(moved)
    assert stopped.finish("resume", str(moved)) == 0, stopped.log
    stopped.run = moved
    assert stopped.outcome() == reference.outcome()
    weights = stopped.outcome()["weights"]
    assert stopped.finish("resume", str(moved)) == 0, stopped.log
    assert "already tuned; not repeated" in stopped.log
    assert stopped.outcome()["weights"] == weights


def test_a_finished_training_is_extended(make_tuning: Any, undisturbed: Any) -> None:
    reference, _ = undisturbed
    tuning = make_tuning()
    assert tuning.finish() == 0, tuning.log
    first = tuning.losses()
    code = tuning.finish("extend", str(tuning.run), "--epochs", "2", "--learning-rate", "0.01")
    assert code == 0, tuning.log
    assert first == reference.losses()
    assert tuning.losses()[: len(first)] == first
    assert len(tuning.losses()) == len(first) // 3 * 5
    rates = [line["learning_rate"] for line in read_lines(tuning.run / "metrics.jsonl")]
    assert rates[len(first) - 1] == 0.02
    assert rates[len(first)] == 0.01
    (extension,) = read_json(tuning.run / "training.json")["extensions"]
    assert extension["step"] == len(first)
    assert (extension["epochs_before"], extension["epochs"]) == (3.0, 5.0)
    assert (extension["learning_rate_before"], extension["learning_rate"]) == (0.02, 0.01)


def test_a_training_is_extended_by_steps_and_steps_by_epochs(
    make_tuning: Any, undisturbed: Any
) -> None:
    reference, _ = undisturbed
    tuning = make_tuning()
    assert tuning.finish() == 0, tuning.log
    first = tuning.losses()
    epoch = len(first) // 3
    assert tuning.finish("extend", str(tuning.run), "--steps", "4") == 0, tuning.log
    assert tuning.losses()[: len(first)] == first == reference.losses()
    assert len(tuning.losses()) == len(first) + 4
    assert tuning.finish("extend", str(tuning.run), "--epochs", "1") == 0, tuning.log
    assert len(tuning.losses()) == len(first) + 4 + epoch
    extensions = read_json(tuning.run / "training.json")["extensions"]
    limits = [(one["max_steps_before"], one["max_steps"]) for one in extensions]
    assert limits == [(None, len(first) + 4), (len(first) + 4, len(first) + 4 + epoch)]


def test_an_extension_has_the_time_of_the_training_once_more(make_tuning: Any) -> None:
    tuning = make_tuning(**{"train.max_time": 0.001})
    assert tuning.finish() == 0, tuning.log
    assert len(tuning.losses()) == 1
    assert tuning.finish("extend", str(tuning.run), "--epochs", "1") == 0, tuning.log
    assert "stopped by the time limit" in tuning.log
    record = read_json(tuning.run / "training.json")
    assert record["stopped"] == "time"
    assert record["steps"] == len(tuning.losses()) == 2
    assert tuning.finish("extend", str(tuning.run), "--epochs", "1") == 0, tuning.log
    assert [one["max_time"] for one in read_json(tuning.run / "training.json")["extensions"]] == [
        0.001,
        0.001,
    ]


def test_an_unfinished_training_is_extended_and_interrupted_again(
    stopped: Any, make_tuning: Any
) -> None:
    """Stopped, extended, killed and resumed, it equals one that was extended at the same step."""
    step = stopped.steps
    straight = stopped.run.parent / "straight"
    shutil.copytree(stopped.run, straight)
    assert stopped.finish("extend", str(straight), "--epochs", "1") == 0, stopped.log
    stopped.command = ["extend", str(stopped.run), "--epochs", "1"]
    killed = stopped.stop(lambda: stopped.steps > step + 2, signal.SIGKILL)
    assert killed == -signal.SIGKILL
    assert stopped.finish("resume", str(stopped.run)) == 0, stopped.log
    found = stopped.outcome()
    stopped.run = straight
    assert found == stopped.outcome()
    assert found["steps"] == len(found["losses"])


def test_what_cannot_be_extended_is_refused(make_tuning: Any, stopped: Any) -> None:
    for wrong in (["--epochs", "0"], ["--steps", "-1"], [], ["--epochs", "1", "--steps", "1"]):
        assert stopped.finish("extend", str(stopped.run), *wrong) == 2
    shutil.rmtree(stopped.run / "checkpoints")
    assert stopped.finish("extend", str(stopped.run), "--epochs", "1") == 2
    assert "no checkpoint to continue from" in stopped.log
