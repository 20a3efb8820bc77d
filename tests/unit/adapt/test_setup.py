"""How answers are generated follows from the configuration, the template and the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.adapt.setup import Setup, prepare
from luthier.config import Beam, RunConfig
from luthier.config.load import override
from luthier.core.console import Console
from luthier.inference import Generation
from luthier.inference.local import LocalEngine

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def settings(tiny_llama: Path, quick_settings: dict[str, Any]) -> dict[str, Any]:
    plain = {"model.id": str(tiny_llama), "prompt.chat_template": "never"}
    return {**quick_settings, **plain, "evaluate.max_new_tokens": 12}


def set_up(settings: dict[str, Any], **changes: Any) -> Setup:
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
    setup = set_up(settings)
    task = setup.task(2)
    prompts = [setup.renderer.prompt(example).ids for example in task.examples]

    def answers(**changes: Any) -> list[Generation]:
        return LocalEngine(loaded).generate(prompts, task.decoding.model_copy(update=changes))

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
    assert setup.decoding(0).stop == ()
    assert setup.decoding(1).stop == setup.task(2).decoding.stop == ("\n\n",)
    assert setup.decoding(1).max_new_tokens == 12
    chat = set_up(settings, **{"prompt.chat_template": "auto"})
    assert chat.decoding(2).stop == ()


def test_the_configuration_decides(settings: dict[str, Any]) -> None:
    setup = set_up(settings, **{"evaluate.stop": [";"], "evaluate.decoding": {"strategy": "beam"}})
    assert setup.decoding(0).stop == setup.decoding(3).stop == (";",)
    assert setup.decoding(0).strategy == Beam()
    none = set_up(settings, **{"evaluate.stop": []})
    assert none.decoding(3).stop == ()
