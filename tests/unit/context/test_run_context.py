"""How answers are generated follows from the configuration, the template and the data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import luthier
from luthier.config import Beam, RunConfig
from luthier.config.load import override
from luthier.context.answer_mode import decoding_of
from luthier.context.evaluation_task import evaluation_task
from luthier.context.prepare import prepare
from luthier.context.run_context import RunContext
from luthier.context.training_data import tokenised
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.inference import Generation
from luthier.inference.local.engine import LocalEngine
from luthier.ladder.checks import check_ladder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def settings(tiny_llama: Path, quick_settings: dict[str, Any]) -> dict[str, Any]:
    plain = {"model.id": str(tiny_llama), "prompt.chat_template": "never"}
    return {**quick_settings, **plain, "evaluate.max_new_tokens": 12}


def set_up(settings: dict[str, Any], **changes: Any) -> RunContext:
    return prepare(override(RunConfig(), {**settings, **changes}), Console(quiet=True))


def test_an_answer_after_shots_in_plain_text_ends_at_a_blank_line(
    settings: dict[str, Any], load_lively: Any, tiny_llama: Path
) -> None:
    """A base model goes on with a next question; this one writes blank lines now and then."""
    loaded = load_lively(tiny_llama)
    (blank,) = loaded.tokenizer("\n\n")["input_ids"]
    head = torch.nn.Linear(*reversed(loaded.model.lm_head.weight.shape))
    with torch.no_grad():
        head.weight.normal_(std=head.in_features**-0.5)
        head.bias.zero_()[blank] = 3.0
    loaded.model.lm_head = head
    setup = set_up(settings, **{"data.test_fraction": 0.6})
    task = evaluation_task(setup, 2)
    prompts = [setup.renderer.prompt(example).ids for example in task.examples]

    def answers(**changes: Any) -> list[Generation]:
        return LocalEngine(loaded).generate(
            prompts, decoding_of(setup, 2).model_copy(update=changes)
        )

    whole, ended = answers(stop=()), answers()
    places = [loaded.tokenizer.decode(answer.ids).find("\n\n") for answer in whole]
    assert sum(place > 0 for place in places) > 2
    for one, other, place in zip(ended, whole, places, strict=True):
        if place < 0:
            assert one == other
            continue
        assert (one.text, one.finish) == (other.text[:place].strip() if place else "", "stop")
        assert other.ids[: len(one.ids)] == one.ids != other.ids


def test_stop_strings_are_for_plain_text_with_shots(settings: dict[str, Any]) -> None:
    setup = set_up(settings)
    assert decoding_of(setup, 0).stop == ()
    assert decoding_of(setup, 1).stop == decoding_of(setup, 2).stop == ("\n\n",)
    assert decoding_of(setup, 1).max_new_tokens == 12
    chat = set_up(settings, **{"prompt.chat_template": "auto"})
    assert decoding_of(chat, 2).stop == ()


def test_the_configuration_decides(settings: dict[str, Any]) -> None:
    setup = set_up(settings, **{"evaluate.stop": [";"], "evaluate.decoding": {"strategy": "beam"}})
    assert decoding_of(setup, 0).stop == decoding_of(setup, 3).stop == (";",)
    assert decoding_of(setup, 0).strategy == Beam()
    none = set_up(settings, **{"evaluate.stop": []})
    assert decoding_of(none, 3).stop == ()


@pytest.fixture
def short_gpt2(tiny_gpt2: Path, tmp_path: Path) -> Path:
    """The tiny GPT-2 with a window of 48 tokens, past which it has no positions."""
    from transformers import AutoModelForCausalLM

    folder = shutil.copytree(tiny_gpt2, tmp_path / "short")
    model = AutoModelForCausalLM.from_pretrained(tiny_gpt2)
    model.transformer.wpe = torch.nn.Embedding(48, 32)
    model.config.n_positions = 48
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("method", ["lora", "prompt-tuning", "prefix-tuning", "p-tuning"])
def test_nothing_reaches_past_the_context_window(
    method: str, short_gpt2: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Virtual tokens take positions; examples, prompts and general text get what is left."""
    data = tmp_path / "rows.jsonl"
    rows = ({"prompt": f"Say {i}: " + "o " * (i % 40), "completion": str(i)} for i in range(120))
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings |= {"model.id": str(short_gpt2), "data.source": str(data), "train.epochs": 1}
    short = [row for row in data.read_text().splitlines() if row.count("o ") < 8]
    data.with_name("test.jsonl").write_text("\n".join(short[-6:]))
    settings |= {"data.test": str(data.with_name("test.jsonl")), "adapt.rungs": [method]}
    result = luthier.adapt(
        None, {**settings, "output": str(tmp_path / "runs")}, Console(quiet=True)
    )
    (rung,) = result.ladder.rungs
    assert (rung.status, rung.reason) == ("done", "")
    assert rung.training is not None
    virtual = 0 if method == "lora" else 16
    setup = set_up({**settings, "method": method})
    longest = max(len(example.input_ids) for example in tokenised(setup, "train").examples)
    assert 40 - virtual < longest <= 48 - virtual
    assert tokenised(setup, "train").dropped


def test_an_adapter_that_no_base_of_the_ladder_allows_is_found_before_the_first_rung(
    settings: dict[str, Any],
) -> None:
    changes = {"adapt.rungs": ["zero-shot", "lora", "full"], "model.quantisation": "int8"}
    with pytest.raises(UsageError, match="full trains the base"):
        check_ladder(set_up(settings, **changes))
    with pytest.raises(UsageError, match="paged-adamw-8bit"):
        check_ladder(
            set_up(settings, **{"adapt.rungs": ["lora"], "train.optimizer": "paged-adamw-8bit"})
        )


def test_more_time_is_not_another_run(settings: dict[str, Any]) -> None:
    def name(**changes: Any) -> str:
        config = override(RunConfig(), {**settings, **changes})
        return config.run_name("tune", "task", "model")

    assert name() == name(**{"train.max_time": 60, "train.checkpoint_every": 5})
    assert name() != name(**{"train.epochs": 9})


@pytest.mark.parametrize("strategy", ["sampling", "beam"])
def test_a_name_holds_the_settings_that_differ_from_the_defaults(strategy: str) -> None:
    def name(**changes: Any) -> str:
        return override(RunConfig(), changes).run_name("tune", "task", "model")

    other = name(**{"evaluate.decoding.strategy": strategy})
    assert name(**{"train.epochs": RunConfig().train.epochs, "output": "elsewhere"}) == name()
    assert len({name(), other, name(**{"seed": 1}), name(**{"prompt.shots": 1})}) == 4
