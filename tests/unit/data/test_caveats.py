"""What is said of texts before they are trained on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.prompts.chat_styles import STYLES, tokenizer

from luthier.config.prompt import PromptConfig
from luthier.core.example import Example, Message
from luthier.data.caveats import added_system, text_caveats, token_caveats
from luthier.data.tokenised import tokenise
from luthier.prompts.render import PromptRenderer

Make = Callable[..., Example]


def renderer(kind: str, style: str = "", *, encodes: bool = False, **prompt: Any) -> PromptRenderer:
    made = copy.copy(tokenizer(kind, STYLES[style].end if style else "</s>"))
    if style:
        made.chat_template = STYLES[style].template
    config = PromptConfig(**prompt)
    return PromptRenderer.from_config(config, made, context_window=512, encoder_decoder=encodes)


def said_of(render: PromptRenderer, *examples: Example) -> list[str]:
    options = {"max_length": 10_000, "too_long": "error", "completion_only_loss": True}
    rendered = tokenise(examples, render, **options).rendered
    return list(token_caveats(rendered, render))


def test_special_tokens_in_rows_are_counted_and_named(make_example: Make) -> None:
    rows = [
        make_example("<|im_start|>a<|im_end|>", "b<|im_end|>", where="f:1"),
        make_example("plain", "text", where="f:2"),
        make_example("c", "<|im_end|>", where="f:3"),
    ]
    (caveat,) = text_caveats(rows, renderer("byte-level", "chatml"))
    assert caveat.startswith("4 special tokens in rows are read as plain text, in 2 of 3 examples")
    assert "such as f:1" in caveat
    assert "<|im_end|> (3), <|im_start|> (1)" in caveat
    assert "prompt.special_tokens=keep" in caveat
    (kept,) = text_caveats(rows, renderer("byte-level", "chatml", special_tokens="keep"))
    assert "are read as such" in kept
    assert not [*text_caveats(rows[1:2], renderer("byte-level", "chatml"))]


@pytest.mark.parametrize("kind", ["unigram", "word-piece"])
@pytest.mark.parametrize("encodes", [True, False])
def test_characters_that_a_tokenizer_cannot_write(
    make_example: Make, kind: str, encodes: bool
) -> None:
    render = renderer(kind, encodes=encodes)
    (caveat,) = said_of(
        render, make_example("where?", "Ω in depot\nΩ", where="f:1"), make_example("a", "depot 1")
    )
    assert "cannot encode these characters" in caveat
    assert "Ω (2)" in caveat
    assert "\\n (1)" in caveat or kind == "unigram"
    assert "1 of 2 answers have them" in caveat
    assert "are <unk>" in caveat
    assert not said_of(render, make_example("Ω", "In depot 4."))


@pytest.mark.parametrize("kind", ["byte-level", "llama", "prepend", "gemma"])
def test_tokenizers_with_bytes_write_everything(make_example: Make, kind: str) -> None:
    assert not said_of(renderer(kind), make_example("a", "Ω 日本\n\t{}é 🎻"))


def test_answers_that_begin_in_a_token_are_counted(make_example: Make) -> None:
    made = copy.copy(tokenizer("byte-level", "</s>"))
    made.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    render = PromptRenderer.from_config(PromptConfig(), made, context_window=512)
    (caveat,) = said_of(render, make_example("a", "In depot", where="f:4"))
    assert caveat.startswith("1 answers begin in the middle of a token")
    assert "f:4" in caveat


def test_the_system_message_of_a_template_is_said(make_example: Make) -> None:
    asked = make_example("a", "b")
    ruled = Example("1", (Message("system", "Be kind."), Message("user", "a")), ("b",))
    render = renderer("byte-level", "smollm2")
    assert "'You are a helper named Probe.'" in added_system([ruled, asked], render)
    assert added_system([ruled], render) == ""
    assert added_system([asked], renderer("byte-level", "chatml")) == ""
    assert added_system([asked], renderer("byte-level", "smollm2", system="Be kind.")) == ""
