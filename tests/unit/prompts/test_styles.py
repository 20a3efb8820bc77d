"""The ids of transformers for every style of template and kind of tokenizer, masks by decoding."""

from __future__ import annotations

from itertools import compress
from typing import Any

import pytest
from tests.unit.prompts.chat_styles import STYLES, TOKENIZERS, dated, tokenizer

from luthier.core.example import Example, Message
from luthier.prompts.render import PromptRenderer

SINGLE = Example("1", (Message("user", "Where is parcel 4?"),), ("In depot 4.",), where="x:1")
MULTI = Example(
    "2",
    (
        Message("user", "Where is parcel 4?"),
        Message("assistant", "In depot 4."),
        Message("user", "And its shelf?"),
    ),
    ("Shelf 12.",),
    where="x:2",
)
RULED = Example("3", (Message("system", "Be exact."), *MULTI.messages), ("Shelf 12.",), where="x:3")


def chat(example: Example, as_parts: bool = False) -> list[dict[str, Any]]:
    turns = [*example.messages, Message("assistant", example.references[0])]
    return [
        {
            "role": turn.role,
            "content": [{"type": "text", "text": turn.content}] if as_parts else turn.content,
        }
        for turn in turns
    ]


def renderer(name: str, kind: str, **changes: Any) -> PromptRenderer:
    import copy

    style = STYLES[name]
    made = copy.copy(tokenizer(kind, style.end))
    made.chat_template = style.template
    changes = {"template_values": style.values, **changes}
    return PromptRenderer(made, True, None, 10_000, False, **changes)


@pytest.mark.sample(120)
@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", STYLES)
def test_ids_are_those_of_transformers(name: str, kind: str) -> None:
    render, style = renderer(name, kind), STYLES[name]
    made = render.tokenizer
    values = {**style.values, "date_string": "26 Jul 2024"}
    values["chat_template"] = dated(style.template)
    takes_system = name not in ("gemma-2", "mistral-v0.1")
    for example in (SINGLE, MULTI, *([RULED] if takes_system else [])):
        turns = chat(example, name == "parts")
        prompt = render.prompt(example)
        asked = made.apply_chat_template(turns[:-1], add_generation_prompt=True, **values)
        assert list(prompt.ids) == asked["input_ids"]
        trained = render.trainings(example, completion_only_loss=True)
        ends = [n for n, turn in enumerate(turns) if turn["role"] == "assistant"]
        ends = ends[-len(trained) :]
        for training, end in zip(trained, ends, strict=True):
            asked = made.apply_chat_template(turns[:end], add_generation_prompt=True, **values)
            assert list(training.input_ids[: training.prompt_length]) == asked["input_ids"]
            if not style.opens and not training.is_joined:
                whole = made.apply_chat_template(turns[: end + 1], **values)["input_ids"]
                ids = list(training.input_ids)
                if ids != whole[: len(ids)]:
                    assert ids[:-1] == whole[: len(ids) - 1]
                    assert ids[-1] == made.eos_token_id
        answers = [turn.content for turn in example.messages if turn.role == "assistant"]
        answers.append(example.references[0])
        said = "".join(
            made.decode(list(compress(training.input_ids, training.trained)))
            for training in trained
        )
        assert squeezed("".join(answers)) == without_marks(made, squeezed(said))
        assert all(training.input_ids[-1] == made.eos_token_id for training in trained)


def squeezed(text: str) -> str:
    return "".join(text.split())


def without_marks(made: Any, said: str) -> str:
    for token in made.added_tokens_decoder.values():
        said = said.replace(str(token.content), "")
    marks = (
        "<|START_RESPONSE|>",
        "<|END_RESPONSE|>",
        "<think>",
        "</think>",
        "analysis",
        "final",
        "<|end|>",
        "<|im_end|>",
        "<end_of_turn>",
    )
    for mark in (*marks, "<|eot_id|>", "<|channel|>", "<|message|>"):
        said = said.replace(mark, "")
    return said
