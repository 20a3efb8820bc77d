from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from luthier.config.prompt import PromptConfig
from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.data.tokenised import tokenise
from luthier.prompts.render import PromptRenderer

Make = Callable[..., Example]


@pytest.fixture(scope="module")
def renderer(tokenizer: Any) -> PromptRenderer:
    return PromptRenderer.from_config(PromptConfig(), tokenizer, context_window=2048)


@pytest.fixture
def examples(make_example: Make) -> list[Example]:
    return [
        make_example("short", "yes"),
        make_example("long " * 300, "no", where="rows.jsonl:817"),
        make_example("short too", "yes"),
    ]


def test_long_examples_are_dropped_and_named(
    examples: list[Example], renderer: PromptRenderer
) -> None:
    tokenised = tokenise(examples, renderer, max_length=100, too_long="drop", completions_only=True)
    assert [example.id for example in tokenised.examples] == [examples[0].id, examples[2].id]
    (dropped,) = tokenised.dropped
    length = renderer.training(examples[1], completions_only=True).length
    assert dropped.reason == "longer than 100 tokens"
    assert dropped.where.startswith(f"rows.jsonl:817 ({length} tokens: prompt ")


def test_long_examples_can_be_an_error(examples: list[Example], renderer: PromptRenderer) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:817 \(3\d\d tokens.*max_length"):
        tokenise(examples, renderer, max_length=100, too_long="error", completions_only=True)


def test_the_limit_itself_fits(examples: list[Example], renderer: PromptRenderer) -> None:
    length = renderer.training(examples[1], completions_only=True).length
    for limit, kept in ((length, 3), (length - 1, 2)):
        tokenised = tokenise(
            examples, renderer, max_length=limit, too_long="drop", completions_only=True
        )
        assert len(tokenised.examples) == kept


def test_nothing_is_truncated(examples: list[Example], renderer: PromptRenderer) -> None:
    for completions_only in (True, False):
        tokenised = tokenise(
            examples,
            renderer,
            max_length=2048,
            too_long="error",
            completions_only=completions_only,
        )
        assert tokenised.examples == tuple(
            renderer.training(example, completions_only=completions_only) for example in examples
        )


def test_plain_text_of_one_token_trains_nothing(tokenizer: Any) -> None:
    renderer = PromptRenderer.from_config(
        PromptConfig(chat_template="never"), tokenizer, context_window=2048
    )
    texts = [Example(text, (), (text,), where=f"f:{text}") for text in ("a", "a longer text")]
    tokenised = tokenise(texts, renderer, max_length=9, too_long="error", completions_only=True)
    assert [example.id for example in tokenised.examples] == ["a longer text"]
    assert [dropped.reason for dropped in tokenised.dropped] == ["no token to train on"]
