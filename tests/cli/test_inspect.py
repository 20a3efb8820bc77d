"""``luthier inspect``: before and after a training, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]
SOFT = ("--method", "prompt-tuning", "methods.prompt-tuning.virtual_tokens=3")
WORDS = "methods.prompt-tuning.initial_text=' even number of'"

pytestmark = pytest.mark.usefixtures("one_thread", "in_tmp_path")


def inspect(call: Call, *arguments: str) -> Any:
    outcome = call("inspect", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    return outcome.document


def test_a_person_sees_what_trains(call: Call, quick: tuple[str, ...], in_tmp_path: Path) -> None:
    outcome = call("inspect", *quick, "--method", "lora")
    assert outcome.code == 0, outcome.err
    assert "lora trains 8.2 k of 92.3 k parameters" in outcome.out
    (row,) = [line for line in outcome.out.splitlines() if "q_proj.lora_A" in line]
    assert row.split() == [
        "model.layers.*.self_attn.q_proj.lora_A", "2", "8", "×", "32", "512", "6.2%", "float32",
    ]  # fmt: skip
    assert "soft prompt" not in outcome.out
    assert list(in_tmp_path.iterdir()) == []  # no run is made


def test_the_vectors_are_those_of_the_run_once_it_is_tuned(
    call: Call, quick: tuple[str, ...], in_tmp_path: Path
) -> None:
    settings = (*quick, *SOFT, WORDS)
    before = inspect(call, *settings)
    assert before["tuned_run"] is None
    # They start from the words.
    assert [vector[0]["text"] for vector in before["neighbours"]] == [" even", " number", " of"]
    assert [len(vector) for vector in before["neighbours"]] == [5, 5, 5]
    for vector in before["neighbours"]:
        similarities = [neighbour["similarity"] for neighbour in vector]
        assert similarities[0] == pytest.approx(1, abs=0.01)
        assert similarities == sorted(similarities, reverse=True)
    shown = call("inspect", *settings).out
    assert "The soft prompt before training" in shown
    assert "' even' 1.00" in shown

    tuned = call("tune", *settings, "train.epochs=1", "--json")
    assert inspect(call, *settings) == before  # that was a run of another name
    after = inspect(call, *settings, "train.epochs=1")
    assert after["tuned_run"] == tuned.document["run"]
    assert after["trained_parameters"] == tuned.document["trained_parameters"] == 3 * 32
    assert after["total_parameters"] == tuned.document["total_parameters"]
    assert after["groups"] == before["groups"]
    assert after["neighbours"] != before["neighbours"]
    assert inspect(call, f"{tuned.document['run']}/config.yaml") == after
    shown = call("inspect", *settings, "train.epochs=1").out
    assert "as tuned in runs/" in shown

    other = call("inspect", f"{tuned.document['run']}/config.yaml", "seed=1")
    assert other.code == 0
    assert "tuned with other settings" in other.err
    assert "before training" in other.out


def test_a_training_starts_from_the_vectors_that_are_shown_before_it(
    call: Call, quick: tuple[str, ...]
) -> None:
    """Also where a network makes them: what hardly learns leaves them where they were."""
    still = ("train.epochs=0.5", "methods.p-tuning.learning_rate=1e-6")
    settings = (*quick, *still, "--method", "p-tuning", "methods.p-tuning.virtual_tokens=2")
    before = inspect(call, *settings)
    assert {group["pattern"].split(".")[0] for group in before["groups"]} == {"prompt_encoder"}
    assert call("tune", *settings).code == 0
    after = inspect(call, *settings)
    assert after["tuned_run"]
    assert after["groups"] == before["groups"]  # the network is trained, though it is not saved
    nearest = [[vectors[0] for vectors in shown["neighbours"]] for shown in (before, after)]
    assert [one["id"] for one in nearest[0]] == [one["id"] for one in nearest[1]]
    similarities = [[one["similarity"] for one in some] for some in nearest]
    assert similarities[0] == pytest.approx(similarities[1], abs=1e-3)


def test_a_prefix_has_no_words(call: Call, quick: tuple[str, ...]) -> None:
    outcome = call("inspect", *quick, "--method", "prefix-tuning")
    assert outcome.code == 0, outcome.err
    assert "no nearest words" in outcome.out
    assert inspect(call, *quick, "--method", "prefix-tuning")["neighbours"] == []


def test_selective_is_told_what_to_train(call: Call, quick: tuple[str, ...]) -> None:
    chosen = (*quick, "--method", "selective")
    for command in (("inspect",), ("tune", "--dry-run")):
        refused = call(*command, *chosen)
        assert refused.code == 2
        assert "selective needs the names" in refused.err
        assert "methods.selective.parameters" in refused.err
        refused = call(*command, *chosen, "methods.selective.parameters=[mlpp]")
        assert refused.code == 2
        assert "'mlpp'" in refused.err
        assert "model.layers.*.mlp.up_proj.weight" in refused.err
    named = "methods.selective.parameters=['layers\\.1\\.mlp\\.', '^model\\.norm']"
    document = inspect(call, *chosen, named)
    assert [group["pattern"] for group in document["groups"]] == [
        "model.layers.*.mlp.gate_proj.weight",
        "model.layers.*.mlp.up_proj.weight",
        "model.layers.*.mlp.down_proj.weight",
        "model.norm.weight",
    ]
    forecast = call("tune", *chosen, named, "--dry-run", "--json").document
    assert forecast["methods"][0]["trained_parameters"] == document["trained_parameters"]
    tuned = call("tune", *chosen, named, "train.epochs=0.5", "--json").document
    assert tuned["trained_parameters"] == document["trained_parameters"] == 3 * 32 * 64 + 32


def test_a_ladder_with_nothing_to_train_is_refused_before_its_first_rung(
    call: Call, quick: tuple[str, ...], in_tmp_path: Path
) -> None:
    refused = call("adapt", *quick, "--rungs", "zero-shot,selective")
    assert refused.code == 2
    assert "selective needs the names" in refused.err
    assert list(in_tmp_path.iterdir()) == []


def test_the_former_option_names_the_command(call: Call) -> None:
    refused = call("tune", "--inspect")
    assert refused.code == 2
    assert "luthier inspect" in refused.err


def test_the_help_names_every_method(call: Call) -> None:
    from luthier.core.method_facts import METHOD_NAMES

    words = call("tune", "--help").out.replace(",", " ").replace(".", " ").split()
    assert set(METHOD_NAMES) <= set(words)
