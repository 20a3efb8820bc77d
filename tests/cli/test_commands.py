"""Every command: its help, its JSON, and what it leaves for the next one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.core.console import Console
from luthier.core.errors import PreemptedError, UsageError

COMMANDS = (
    "adapt",
    "init",
    "plan",
    "plan estimate",
    "plan search",
    "plan inference",
    "plan trace",
    "plan check",
    "plan calibrate",
    "tune",
    "inspect",
    "resume",
    "extend",
    "prompt",
    "predict",
    "evaluate",
    "tasks",
    "submit",
    "compare",
    "judge",
    "forgetting",
    "sample-size",
    "merge",
    "push",
    "report",
    "data show",
    "data mix",
    "models pull",
    "models",
    "runs",
    "config show",
    "config schema",
    "doctor",
)
HEAVY = {"torch", "transformers", "peft", "datasets", "matplotlib", "pandas", "openpyxl"}

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def adapted(
    call: Call, quick: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory, one_thread: None
) -> Any:
    """A small ladder that the tests share; its JSON document."""
    output = tmp_path_factory.mktemp("runs")
    rungs = ["--rungs", "zero-shot,few-shot,lora"]
    outcome = call("adapt", *quick, *rungs, "--output", str(output), "--name", "mine", "--json")
    assert outcome.code == 0, outcome.err
    return outcome.document


def test_the_top_level_help_names_every_command(call: Call) -> None:
    outcome = call("--help")
    assert outcome.code == 0
    for command in COMMANDS:
        assert command.split()[0] in outcome.out
    assert "luthier adapt" in outcome.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help(call: Call, command: str) -> None:
    outcome = call(*command.split(), "--help")
    assert outcome.code == 0
    assert f"Usage: luthier {command}" in outcome.out
    assert outcome.err == ""


def test_a_person_sees_the_table_and_the_recommendation(
    call: Call, quick: tuple[str, ...], adapted: Any
) -> None:
    """The same command again goes on with the finished run: it prints, and measures nothing."""
    folder = Path(adapted["run"])
    rungs = ["--rungs", "zero-shot,few-shot,lora"]
    outcome = call("adapt", *quick, *rungs, "--output", str(folder.parent), "--name", "mine")
    assert outcome.code == 0
    assert outcome.err.count("already measured; not repeated") == 3
    words = " ".join(outcome.out.split())
    assert adapted["recommendation"]["sentence"] in words
    assert f"Report: {adapted['report']}" in words.replace(" /", " /")
    for rung in ("zero-shot", "few-shot", "lora"):
        assert rung in words


def test_adapt_gives_the_ladder(adapted: Any) -> None:
    stored = json.loads((Path(adapted["run"]) / "ladder.json").read_text())
    # The run may have been started again by another test, which takes some time.
    assert stored.pop("seconds") >= adapted["seconds"]
    assert stored.items() <= adapted.items()
    assert Path(adapted["report"]).is_file()


def test_tune_then_evaluate_then_prompt(
    call: Call, quick: tuple[str, ...], in_tmp_path: Path, one_thread: None
) -> None:
    tuned = call("tune", *quick, "--method", "lora", "train.epochs=1", "--json")
    assert tuned.code == 0, tuned.err
    assert tuned.document["method"] == "lora"
    run = tuned.document["run"]
    assert Path(run).parent == Path("runs")

    (check,) = call("plan", "check", run, "--json").document
    assert check["measured_peak_bytes"] == tuned.document["peak_memory_bytes"]
    # Every planned step was taken.
    assert check["measured_seconds"] == pytest.approx(tuned.document["seconds"])
    assert check["predicted_seconds"] > 0

    measured = call("evaluate", run, "evaluate.metrics=[chrf]", "evaluate.max_new_tokens=2")
    assert measured.code == 0, measured.err
    assert "chrf" in measured.out
    assert "exact_match" not in measured.out, "a run's setting was not overridden"
    assert "cut at 2 tokens" in measured.err

    again = call("evaluate", run, "--json")
    assert again.document["adapter"] == "lora"
    assert [metric["name"] for metric in again.document["metrics"]] == ["exact_match", "chrf"]

    asked = call("prompt", "--run", run, "--num", "2", "--json")
    assert [bool(answer["prediction"] and answer["references"]) for answer in asked.document] == [
        True,
        True,
    ]


def test_evaluate_a_model(
    call: Call, quick: tuple[str, ...], tiny_llama: Path, in_tmp_path: Path, one_thread: None
) -> None:
    """The model's place is the first argument; the options before it do not matter."""
    settings = [text for text in quick if not text.startswith("model.id")]
    outcome = call("evaluate", str(tiny_llama), *settings, "--shots", "1", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["shots"] == 1
    assert outcome.document["adapter"] == ""
    assert outcome.document["model"]["id"] == tiny_llama.name


def test_a_run_is_evaluated_with_its_own_data(call: Call, adapted: Any) -> None:
    rung = f"{adapted['run']}/rungs/zero-shot"
    outcome = call("evaluate", rung, "--data", "python-docstrings")
    assert outcome.code == UsageError.exit_code
    assert "a run is evaluated with its own model and data" in outcome.err


def test_a_rung_is_evaluated_again_and_has_a_report_of_its_own(call: Call, adapted: Any) -> None:
    rung = next(one for one in adapted["rungs"] if one["name"] == "lora")
    path = Path(adapted["run"]) / "rungs" / "lora"
    outcome = call("evaluate", str(path), "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["metrics"] == rung["metrics"]
    assert "lora" in (path / "report.html").read_text(encoding="utf-8")


def test_what_was_forgotten_before_and_after(call: Call, adapted: Any) -> None:
    before, after = (f"{adapted['run']}/rungs/{rung}" for rung in ("zero-shot", "lora"))
    arguments = ("forgetting", after, "--before", before)
    outcome = call(*arguments)
    assert outcome.code == 0, outcome.err
    for part in ("python-topics, nats/token", "parity, exact_match", "kind of general text"):
        assert part in outcome.out
    document = call(*arguments, "--json").document
    lora = next(rung for rung in adapted["rungs"] if rung["name"] == "lora")
    assert document["general"] == lora["forgetting"]
    assert document["tasks"][0]["lost"] <= document["tasks"][0]["comparison"]["n"]


def test_how_many_examples_a_difference_needs(call: Call, adapted: Any) -> None:
    planned = call("sample-size", "0.02", "--base-rate", "0.7")
    assert planned.code == 0, planned.err
    for part in ("8,336", "4,210", "0/1 scores, 70% of them right"):
        assert part in planned.out
    document = call("sample-size", "0.02", "--base-rate", "0.7", "--json").document
    assert [row["examples"] for row in document["rows"]] == [8336, 4210, 1723]
    run = f"{adapted['run']}/rungs/zero-shot"
    from_run = call("sample-size", "0.1", run)  # a random model gets nothing right
    assert from_run.code == UsageError.exit_code
    assert "has no spread" in from_run.err
    assert call("sample-size", "0.02").code == UsageError.exit_code


def test_compare(call: Call, adapted: Any, tmp_path: Path) -> None:
    rungs = [f"{adapted['run']}/rungs/{name}" for name in ("zero-shot", "few-shot", "lora")]
    outcome = call("compare", *rungs, "--metric", "chrf", "--items", "2", "--json")
    assert outcome.code == 0, outcome.err
    document = outcome.document
    assert document["names"] == ["zero-shot", "few-shot", "lora"]
    (task,) = document["tasks"]
    assert task["metric"] == "chrf"
    assert len(task["items"]) <= 2
    for comparison in task["comparisons"]:
        assert comparison["baseline"] == "zero-shot"
        assert comparison["n"] == adapted["examples"]["test"]
        assert comparison["p"] <= comparison["p_adjusted"] <= 1
    page = tmp_path / "compared.html"
    shown = call("compare", *rungs, "--html", str(page), "--items", "1").out
    assert "few-shot" in shown
    assert f"Side by side: {page}" in shown
    assert "few-shot" in page.read_text(encoding="utf-8")


def test_a_run_is_not_compared_with_itself(call: Call, adapted: Any) -> None:
    rung = f"{adapted['run']}/rungs/zero-shot"
    outcome = call("compare", rung, rung)
    assert outcome.code == 2
    assert "a run is named twice" in outcome.err


def test_report(call: Call, adapted: Any) -> None:
    outcome = call("report", adapted["run"], "--json")
    assert outcome.document["html"] == adapted["report"]
    assert Path(outcome.document["markdown"]).is_file()
    assert "Report: " in call("report", adapted["run"]).out


def test_runs(call: Call, adapted: Any, tmp_path: Path) -> None:
    folder = str(Path(adapted["run"]).parent)
    (found,) = call("runs", folder, "--json").document
    assert (found["name"], found["kind"], found["status"]) == ("mine", "adapt", "done")
    chosen = adapted["recommendation"]["rung"]  # a random model may give none that can be used
    assert found["result"].startswith(chosen or "no rung")
    assert found["as_stored"] == ["result"]
    assert "mine" in call("runs", folder).out
    assert call("runs", str(tmp_path / "none"), "--json").document == []
    assert "luthier adapt" in call("runs", str(tmp_path / "none")).out


def test_data_show(call: Call, quick: tuple[str, ...]) -> None:
    document = call("data", "show", *quick, "--json").document
    assert document["format"] == "prompt-completion"
    assert [split["name"] for split in document["splits"]] == ["train", "validation", "test"]
    assert sum(split["examples"] for split in document["splits"]) == 60
    trained = "".join(piece["text"] for piece in document["shown"] if piece["trained"])
    assert trained.startswith(("even", "odd"))
    assert document["lengths"]["unit"] == "tokens"
    shown = call("data", "show", *quick)
    assert shown.code == 0
    assert "⟦even" in shown.out or "⟦odd" in shown.out


def test_prompt(call: Call, quick: tuple[str, ...], one_thread: None) -> None:
    (answer,) = call("prompt", *quick, "--shots", "2", "--num", "1", "--json").document
    assert answer["prompt"].count("Is the number") == 3
    assert answer["references"][0] in ("even", "odd")
    outcome = call("prompt", *quick, "--num", "1")
    assert outcome.out.index("prompt") < outcome.out.index("answer") < outcome.out.index("accepted")


def test_prompt_with_a_question_of_ones_own(
    call: Call, quick: tuple[str, ...], one_thread: None
) -> None:
    ask = ("--input", "Is the number [7] even or odd?")
    (answer,) = call("prompt", *quick, *ask, "--json").document
    assert answer["prompt"].count("Is the number") == 1
    assert "[7]" in call("prompt", *quick, *ask).out, "square brackets were taken for markup"
    (shown,) = call("prompt", *quick, *ask, "--shots", "2", "--json").document
    assert shown["prompt"].count("Is the number") == 3
    assert shown["references"] == []


def test_templates(call: Call) -> None:
    found = call("prompt", "--templates", "--json").document
    assert {"summarise-dialogue/short", "nli-three-way/plain"} <= {item["name"] for item in found}
    table = call("prompt", "--templates").out
    assert all(item["name"] in table for item in found)


def test_models(call: Call) -> None:
    found = {item["name"]: item for item in call("models", "--json").document}
    assert "Apache-2.0" in found["smollm2-135m-instruct"]["licence"]
    assert "smollm2-135m-instruct" in call("models").out


def test_doctor(call: Call) -> None:
    checks = {check["name"]: check for check in call("doctor", "--json").document}
    assert {"versions", "device", "memory", "cache", "model"} <= checks.keys()
    assert luthier.__version__ in checks["versions"]["found"]
    assert "versions" in call("doctor").out


def test_config_show_can_be_run_again(call: Call, in_tmp_path: Path) -> None:
    """What is shown is a configuration: reading it back gives the same values."""
    document = call("config", "show", "train.epochs=1e-1", "--json").document
    assert document["train"]["epochs"] == 0.1
    Path("shown.yaml").write_text(call("config", "show", "train.epochs=1e-1").out)
    assert call("config", "show", "shown.yaml", "--json").document == document


def test_config_schema_explains_every_setting(call: Call) -> None:
    schema = call("config", "schema").document
    assert call("config", "schema", "--json").document == schema
    for name, section in [("RunConfig", schema), *schema["$defs"].items()]:
        for key, setting in section["properties"].items():
            assert setting.get("description"), f"{name}.{key} is not explained"


def test_a_dry_run_leaves_nothing(call: Call, quick: tuple[str, ...], in_tmp_path: Path) -> None:
    outcome = call("adapt", *quick, "--dry-run", "--json")
    assert outcome.code == 0, outcome.err
    document = outcome.document
    assert [item["method"] for item in document["methods"]] == ["prompt-tuning", "lora", "full"]
    for item in document["methods"]:
        assert min(item["memory_bytes"], item["steps"], item["seconds"]) > 0
    assert document["longest_prompt"] < document["context_window"] == 1024
    shown = call("tune", *quick, "--dry-run").out
    assert "lora" in shown
    assert "full" not in shown
    assert not list(in_tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (PreemptedError("stopped", fix="run the same command again"), 75),
    ],
    ids=["interrupted", "preempted"],
)
def test_interruptions_say_how_to_go_on(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def interrupted(_run: Path) -> None:
        raise error

    monkeypatch.setattr("luthier.report", interrupted)
    outcome = call("report", "anywhere")
    assert outcome.code == code
    assert "run the same command again" in outcome.err


def test_defects_keep_their_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a user's mistakes are put in words; a defect of the program must not be hidden."""

    def defective(_run: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("luthier.report", defective)
    with pytest.raises(ZeroDivisionError):
        call("report", "anywhere")


def test_errors_have_no_markup() -> None:
    """Square brackets of a message are printed, not obeyed."""
    import io

    stream = io.StringIO()
    Console(stream).error(UsageError("[bold]no[/bold]", where="[red]", fix="[/]"))
    assert stream.getvalue() == "error: [bold]no[/bold]\n  at: [red]\n  do: [/]\n"


def test_version_from_a_shell() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "luthier", "--version"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout.strip()) == (0, luthier.__version__)


def test_shell_completion_can_be_installed(call: Call) -> None:
    outcome = call("--install-completion", "--help")
    assert outcome.code == 0
    assert "completion" in call("--help").out


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    "action",
    [
        "import luthier",
        "import luthier.api",
        "from luthier.cli.main import run; run(['--help'])",
        "from luthier.cli.main import run; run(['adapt', '--help'])",
        "from luthier.cli.main import run; run(['plan', '--help'])",
        "from luthier.cli.main import run; run(['sample-size', '--help'])",
        "from luthier.cli.main import run; run(['evaluate', '--power', '0.1'])",
        "from luthier.cli.main import run; run(['config', 'show'])",
        "from luthier.cli.main import run; run(['prompt', '--templates'])",
        "from luthier.cli.main import run; run(['adapt', 'train.epoch=2'])",
    ],
)
def test_starting_imports_nothing_heavy(action: str) -> None:
    """Help and configuration errors come at once: torch alone takes a second to import."""
    code = f"{action}\nimport sys\nprint('HEAVY', *({HEAVY} & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1].split() == ["HEAVY"]
