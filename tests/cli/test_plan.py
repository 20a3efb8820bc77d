from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.main import run
from luthier.records.dry_run import MeasuredPlan

EIGHT = ("llama-3.1-8b", "--hardware")
_SEVENTY = ("meta-llama/Llama-3.1-70B", "--hardware", "h100", "--devices", "8")
SEVENTY = ("plan", *_SEVENTY)
SEARCH = ("plan", "search", *_SEVENTY)


def document(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_plan_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    question = ("plan", "llama-3.1-8b", "--hardware", "rtx-4090", "--method", "qlora")
    assert run([*question, "--tokens", "1e6"]) == 0
    shown = capsys.readouterr().out
    assert "It fits on rtx-4090" in shown
    for word in ("weights", "activations", "tokens/s", "allocated", "device-hours"):
        assert word in shown
    assert all(len(line) <= 100 for line in shown.splitlines())


@pytest.mark.parametrize(
    ("arguments", "verdict", "code"),
    [
        (("gpt2", "--hardware", "t4"), "fits", 0),
        ((*EIGHT, "rtx-4090", "--seq-len", "600"), "may not fit", 0),
        ((*EIGHT, "t4"), "does not fit", 4),
        (
            ("inference", *EIGHT, "a30", "--seq-len", "45000"),
            "may not fit",
            0,
        ),
        (("inference", *EIGHT, "t4"), "does not fit", 4),
    ],
)
def test_the_verdict_is_in_the_words_the_document_and_the_exit_code(
    arguments: tuple[str, ...], verdict: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = document(capsys, "plan", *arguments, code=code)
    assert found["verdict"] == verdict
    assert found["fits"] == (verdict != "does not fit")
    assert run(["plan", *arguments]) == code
    shown = " ".join(capsys.readouterr().out.split())
    assert f" {verdict} on " in shown
    assert ("upper end of the estimate" in shown) == (verdict == "may not fit")


def test_searches_that_find_nothing_exit_with_4(capsys: pytest.CaptureFixture[str]) -> None:
    huge = ("plan", "search", "llama-3.1-70b", "--method", "full", "--hardware", "t4")
    assert document(capsys, *huge, code=4)["best"] == []
    assert run([*huge]) == 4
    assert "None of" in capsys.readouterr().out
    any_model = ("plan", "search", "any", "--hardware", "t4", "--method", "full")
    assert document(capsys, *any_model, "--seq-len", "1024", "--batch", "64")


def test_a_price_has_a_column_and_a_step_is_not_a_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--price", "2", "--hardware")
    assert run(["plan", "gpt2", *options, "h100"]) == 0
    shown = capsys.readouterr().out
    assert "a step; give --tokens" in shown
    assert " 0.0 s" not in shown
    assert "per million tokens" in shown
    for model, device in (("gpt2", "h100"), ("gpt2", "any"), ("any", "h100")):
        assert run(["plan", "search", model, *options, device]) == 0
        assert "cost/1M tokens" in capsys.readouterr().out
    question = ("plan", "search", "gpt2", *options, "h100", "--tokens", "1e9")
    assert run([*question]) == 0
    shown = capsys.readouterr().out
    assert "cost/1M" not in shown
    (found, *_) = document(capsys, *question)["best"]
    assert f"{found['cost']['money']:.2f}" in shown


def test_what_does_not_fit_is_said_with_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SEVENTY, "--seq-len", "2048", "--global-batch-size", "64"]) == 4
    shown = capsys.readouterr().out
    assert "It does not fit" in shown
    assert "because activations take" in shown
    assert "Try lora" in shown


def test_offloading_moves_the_states_to_the_host(capsys: pytest.CaptureFixture[str]) -> None:
    question = ("llama-3.1-8b", "--hardware", "rtx-4090", "--method", "full", "--offload")
    assert run(["plan", *question]) == 0
    shown = capsys.readouterr().out
    assert "It fits" in shown
    assert "host" in shown
    assert "tune cannot do this yet: offload" in shown
    found = document(capsys, "plan", "search", *question)
    assert {plan["parallel"] for plan in found["best"]} == {"fsdp"}
    for plan in found["best"]:
        memory = plan["memory"]
        assert memory["weights"] == memory["gradients"] == memory["optimizer"] == 0
        assert memory["host"] > plan["limit"]


def test_a_plan_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    plan = document(capsys, *SEVENTY, "--checkpointing", "full", "--tokens", "1e7", "--price", "2")
    assert plan["fits"] is True
    assert plan["allocated_bytes"] < plan["reserved_bytes"] < plan["device_bytes"]
    assert plan["cost"]["money"] == pytest.approx(2 * plan["cost"]["device_hours"])


def test_the_best_are_in_order_of_speed(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, *SEARCH, "--seq-len", "2048", "--global-batch-size", "64")
    speeds = [plan["tokens_per_second"] for plan in found["best"]]
    assert speeds == sorted(speeds, reverse=True)
    assert all(plan["device_bytes"] <= plan["limit"] for plan in found["best"])
    assert found["tried"] > 100


def test_the_smallest_hardware_and_the_largest_model(capsys: pytest.CaptureFixture[str]) -> None:
    plans = document(capsys, "plan", "search", *EIGHT, "any", "--method", "qlora")
    places = [(not plan["tune_can_run"], plan["devices"] * plan["limit"]) for plan in plans]
    assert places == sorted(places)
    (largest,) = document(
        capsys, "plan", "search", "any", "--hardware", "rtx-4090", "--method", "qlora"
    )
    assert largest["device_bytes"] <= largest["limit"]


def test_a_search_without_a_step_tries_every_micro_batch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = document(capsys, *SEARCH, "--seq-len", "2048")["best"][0]
    alone = document(capsys, *SEARCH, "--seq-len", "2048", "--global-batch-size", "8")
    assert found["batch"] > 1
    assert found["tokens_per_second"] > alone["best"][0]["tokens_per_second"]


def test_experts_are_not_quantised(capsys: pytest.CaptureFixture[str]) -> None:
    """What quantises goes through linear layers, and experts are stacks of matrices."""
    question = ("plan", "mistralai/Mixtral-8x7B-v0.1", "--hardware", "h100", "--method")
    answers = (document(capsys, *question, method, code=4) for method in ("lora", "qlora"))
    plain, quantised = (answer["memory"] for answer in answers)
    assert 0.9 * plain["weights"] < quantised["weights"] < plain["weights"]


def test_the_answers_of_an_encoder_decoder_are_as_long_as_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    question = ("plan", "inference", "t5-small", "--hardware", "h100", "--seq-len", "512")
    asked = document(capsys, *question)
    assert asked == document(capsys, *question, "--target-length", "512")
    assert asked["fits"] is True


def test_a_search_keeps_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--precision", "nf4", "--checkpointing", "full", "--parallel", "ddp")
    found = document(capsys, *SEARCH, *given)
    for plan in found["best"]:
        assert (plan["precision"], plan["checkpointing"], plan["parallel"]) == (
            "nf4",
            "full",
            "ddp",
        )


def test_any_method_may_win_and_equal_plans_are_listed_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    question = ("plan", "search", "gpt2", "--hardware", "t4")
    found = document(capsys, *question, "--method", "any")
    lora = document(capsys, *question)
    assert found["tried"] > 5 * lora["tried"]
    assert found["best"][0]["tokens_per_second"] >= lora["best"][0]["tokens_per_second"]
    assert all(plan["tune_can_run"] for plan in found["best"])
    sizes = [(plan["tokens_per_second"], plan["device_bytes"]) for plan in lora["best"]]
    assert len(set(sizes)) == len(sizes)


def test_generation_needs_weights_and_a_cache(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("plan", "inference", "llama-3.1-8b", "--hardware", "rtx-4090")
    one = document(capsys, *arguments, "--seq-len", "4096")
    four = document(capsys, *arguments, "--seq-len", "4096", "--batch", "4")
    assert one["weights"] == 8_030_261_248 * 2
    # Keys and values of 8 heads of 128 in 32 layers, 2 bytes each: 128 KiB a token.
    assert one["cache"] == 4096 * 128 * 1024
    assert four["cache"] == 4 * one["cache"]
    assert run([*arguments, "--seq-len", "4096", "--batch", "64"]) == 4
    assert "does not fit on rtx-4090" in capsys.readouterr().out


def test_the_trace_is_in_the_document(tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("plan", "trace", str(tiny_llama), "--seq-len", "256")
    trace = document(capsys, *arguments)
    assert abs(trace["error"]) < 0.1
    assert trace["measured_peak_bytes"] > 84_128 * 4


def test_the_picture_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "plan.svg"
    assert run(["plan", "gpt2", "--hardware", "t4", "--svg", str(target)]) == 0
    assert target.read_text().startswith("<svg")
    assert "activations" in target.read_text()


def test_predicted_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    stored = MeasuredPlan(predicted_bytes={}, predicted_peak_bytes=110, measured_peak_bytes=100)
    stored.write(tmp_path / "plan.json")
    (check,) = document(capsys, "plan", "check", str(tmp_path))
    assert check["error"] == pytest.approx(0.1)
    assert check["seconds_error"] is None  # planned where the device's speed was not known
    timed = {"predicted_seconds": 30.0, "measured_seconds": 40.0}
    stored.model_copy(update=timed).write(tmp_path / "plan.json")
    (check,) = document(capsys, "plan", "check", str(tmp_path))
    assert check["seconds_error"] == pytest.approx(-0.25)
    assert run(["plan", "check", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "-25%" in said
    assert "shown as stored" in said
    assert {"predicted_peak_bytes", "measured_seconds"} <= set(check["as_stored"])
    (tmp_path / "plan.json").unlink()
    assert run(["plan", "check", str(tmp_path)]) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody/nothing",), "nobody/nothing"),
        (("gpt2", "--hardware", "h1000"), "did you mean"),
        (("gpt2", "--method", "lorra"), "did you mean 'lora'"),
        (("gpt2", "--method", "qlorra"), "did you mean 'qlora'"),
        (("gpt2", "--precision", "fp4"), "known: float32"),
        (("gpt2", "--precision", "bf16-mixed", "--hardware", "v100"), "V100-16GB lacks bfloat16"),
        (("gpt2", "--hardware", "h100", "--devices", "12"), "nodes of 8"),
        (
            ("gpt2", "--hardware", "h100", "--devices", "8", "--parallel", "single"),
            "kind of parallelism",
        ),
        (("gpt2", "--batch", "3", "--global-batch-size", "8"), "does not divide"),
        (("gpt2", "--seq-len", "4096"), "context window of 1024"),
        (("gpt2", "--method", "full", "--precision", "nf4"), "quantised to nf4 cannot be trained"),
        (("gpt2", "--batch", "0"), "at least 1"),
        (("gpt2", "--loss-token-fraction", "2"), "out of range"),
        (("gpt2", "--tokens", "-1"), "cannot train on"),
        (("gpt2", "--tokens", "inf"), "cannot train on"),
        (("gpt2", "--global-batch-size", "0"), "at least 1"),
        (("gpt2", "--offload"), "no host to offload to"),
        (
            ("gpt2", "--hardware", "h100", "--parallel", "single", "--offload"),
            "cannot offload them",
        ),
    ],
)
def test_what_cannot_be_is_a_clear_error(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", *arguments]) in {2, 3}
    shown = " ".join(capsys.readouterr().err.split())
    assert said in shown
    assert "Traceback" not in shown


def test_a_plan_imports_no_torch() -> None:
    code = (
        "import sys; from luthier.cli.main import run; "
        f"run({list(SEVENTY)!r}); "
        "heavy = {'torch', 'transformers', 'peft', 'matplotlib', 'pydantic'} & set(sys.modules); "
        "sys.exit(repr(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
