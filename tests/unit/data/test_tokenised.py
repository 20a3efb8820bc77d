from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from luthier.config.prompt import PromptConfig
from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.data.caveats import token_caveats
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
    tokenised = tokenise(
        examples, renderer, max_length=100, too_long="drop", completion_only_loss=True
    )
    assert [example.id for example in tokenised.examples] == [examples[0].id, examples[2].id]
    (dropped,) = tokenised.dropped
    length = renderer.training(examples[1], completion_only_loss=True).length
    assert dropped.reason == "longer than 100 tokens"
    assert dropped.where.startswith(f"rows.jsonl:817 ({length} tokens: prompt ")


def test_long_examples_can_be_an_error(examples: list[Example], renderer: PromptRenderer) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:817 \(3\d\d tokens.*max_length"):
        tokenise(examples, renderer, max_length=100, too_long="error", completion_only_loss=True)


def test_the_limit_itself_fits(examples: list[Example], renderer: PromptRenderer) -> None:
    length = renderer.training(examples[1], completion_only_loss=True).length
    for limit, kept in ((length, 3), (length - 1, 2)):
        tokenised = tokenise(
            examples, renderer, max_length=limit, too_long="drop", completion_only_loss=True
        )
        assert len(tokenised.examples) == kept


def test_nothing_is_truncated(examples: list[Example], renderer: PromptRenderer) -> None:
    for completion_only_loss in (True, False):
        tokenised = tokenise(
            examples,
            renderer,
            max_length=2048,
            too_long="error",
            completion_only_loss=completion_only_loss,
        )
        assert tokenised.examples == tuple(
            renderer.training(example, completion_only_loss=completion_only_loss)
            for example in examples
        )


def test_an_example_without_a_trained_answer_is_left_out(
    make_example: Make, renderer: PromptRenderer
) -> None:
    withheld = replace(
        make_example("a", "b", where="f:1"), answer=Message("assistant", "b", is_trained=False)
    )
    kept = make_example("c", "d")
    tokenised = tokenise(
        [withheld, kept], renderer, max_length=99, too_long="error", completion_only_loss=True
    )
    assert [example.id for example in tokenised.examples] == [kept.id]
    assert [dropped.reason for dropped in tokenised.dropped] == ["no trained tokens"]


@pytest.fixture
def losing(tokenizer: Any) -> PromptRenderer:
    """A template that iterates over texts as if they were lists of parts, and finds nothing."""
    changed = copy.copy(tokenizer)
    changed.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content.words }}{% endfor %}"
    return PromptRenderer.from_config(PromptConfig(), changed, context_window=2048)


def test_what_a_template_leaves_out_is_listed_or_dropped(
    examples: list[Example], losing: PromptRenderer
) -> None:
    options: dict[str, Any] = {"max_length": 99, "too_long": "drop", "completion_only_loss": True}
    with pytest.raises(DataError, match=r"\(3 places\).*the chat template leaves out") as caught:
        tokenise(examples, losing, **options)
    assert "rows.jsonl:817" in str(caught.value)
    dropped = tokenise(examples, losing, invalid="drop", **options)
    assert not dropped.examples
    assert len(dropped.dropped) == 3


def test_a_conversation_may_give_several_examples(make_example: Make, tokenizer: Any) -> None:
    changed = copy.copy(tokenizer)
    changed.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ '(now) ' if loop.last else '' }}{{ m.content }}\n"
        "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )
    renderer = PromptRenderer.from_config(PromptConfig(), changed, context_window=2048)
    turns = (Message("user", "one?"), Message("assistant", "1"), Message("user", "two?"))
    example = replace(make_example("x", "2"), messages=turns)
    tokenised = tokenise(
        [example], renderer, max_length=99, too_long="error", completion_only_loss=True
    )
    assert [each.id for each in tokenised.examples] == [f"{example.id}-1", f"{example.id}-2"]
    (caveat,) = token_caveats(tokenised.rendered, renderer)
    assert "1 conversations are trained as 2 examples" in caveat
