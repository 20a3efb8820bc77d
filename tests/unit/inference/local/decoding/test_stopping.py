"""Where answers end: at the end of the turn, at a stop string, at the limit."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.config import Beam, Decoding, Sampling, Strategy
from luthier.inference import Generation
from luthier.inference.local.decoding import Stopping
from luthier.inference.local.engine import LocalEngine

TEXT = "Paris é 🜁.\n\nQuestion: Where?"


@pytest.fixture
def tokenizer(bundled_handle: Any) -> Any:
    return bundled_handle.tokenizer


def stopping(tokenizer: Any, *stop: str, limit: int = 100) -> Stopping:
    return Stopping(tokenizer, frozenset({2}), Decoding(max_new_tokens=limit, stop=stop))


def grown(rule: Stopping, ids: list[int]) -> list[int]:
    """The tokens up to the one with which the answer is over."""
    return next(ids[:n] for n in range(1, len(ids) + 1) if n == len(ids) or rule.is_over(ids[:n]))


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (("\n\n",), "Paris é 🜁."),
        (("Question:",), "Paris é 🜁."),
        (("stion: W",), "Paris é 🜁.\n\nQue"),
        (("🜁",), "Paris é"),
        (("is", "Pa"), ""),
        (("é 🜁.\n\nQuestion: Wher", "nothing"), "Paris"),
    ],
)
def test_a_stop_string_may_span_tokens(tokenizer: Any, stop: tuple[str, ...], text: str) -> None:
    rule = stopping(tokenizer, *stop)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    made = grown(rule, ids)
    assert rule.generation(made) == Generation(tuple(made), text, "stop")
    without = tokenizer.decode(made[:-1])
    assert not any(string in without for string in stop)


def test_special_tokens_are_no_text_and_hide_none(tokenizer: Any) -> None:
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("xy", "z"))
    rule = stopping(tokenizer, "xyz")
    ids = [*first, *[1] * 50, *second]
    assert not rule.is_ended(ids[:-1])
    assert rule.is_ended(ids)
    assert rule.generation(ids).text == ""


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """Tokens of a text in which special tokens count as such."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


# <|im_start|> is the token 1 and <repo_name> a further one; 2, <|im_end|>, ends the turn.
@pytest.mark.parametrize(
    ("made", "stop", "text"),
    [
        (" Paris<|im_start|>user", ("<|im_start|>",), "Paris"),
        (" Paris<repo_name>x", ("<repo_name>",), "Paris"),
        (" Paris<|im_start|>user\nWhat?", ("<|im_start|>user",), "Paris"),
        (" Paris<|im_start|>", ("is<|im_start|>",), "Par"),
        (" Paris.\n<|im_start|>", (".\n<|im_start|>",), "Paris"),
        (" Paris<|im_start|><repo_name>x", ("<|im_start|><repo_name>",), "Paris"),
        (" Paris<|im_start|>a<repo_name>b", ("<|im_start|>a<repo_name>b",), "Paris"),
        (" Paris<repo_name> is<|im_start|>", ("<|im_start|>",), "Paris is"),
        (" Paris<repo_name>é🜁<|im_start|>", ("🜁<|im_start|>",), "Parisé"),
        (" Paris<|im_start|>x", ("<|im_st",), "Paris"),
        (" Paris\n\n<|im_start|>", ("<|im_start|>", "\n\n"), "Paris"),
        ("<|im_start|>", ("<|im_start|>",), ""),
        (" Paris.<|im_end|>", (".<|im_end|>",), "Paris"),
    ],
)
def test_a_special_token_in_a_stop_string_ends_the_answer(
    tokenizer: Any, made: str, stop: tuple[str, ...], text: str
) -> None:
    rule = stopping(tokenizer, *stop)
    ids = ids_of(tokenizer, made)
    ended = grown(rule, [*ids, *ids_of(tokenizer, " more")])
    assert ids[: len(ended)] == ended
    answer = rule.generation(ended)
    assert (answer.text, answer.finish) == (text, "stop")
    if len(ended) < len(ids):  # the stop string has begun and not ended before
        assert not rule.is_over(ended[:-1])


@pytest.mark.parametrize("stop", ["</s>", "<|im_start|>"])
def test_a_stop_string_that_is_spelled_in_letters_ends_the_answer(
    tokenizer: Any, stop: str
) -> None:
    letters = tokenizer(stop, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert len(letters) > 1
    rule = stopping(tokenizer, stop)
    ended = grown(rule, [*ids_of(tokenizer, " Paris"), *letters, 5, 6])
    assert rule.generation(ended).text == "Paris"


def test_other_special_tokens_end_nothing(tokenizer: Any) -> None:
    rule = stopping(tokenizer, "</s>", "<|im_start|>user")
    ids = ids_of(tokenizer, " Paris<|im_start|>assistant<repo_name> is")
    assert grown(rule, ids) == ids
    assert rule.generation(ids) == Generation(tuple(ids), "Parisassistant is", "length")


def test_the_end_of_the_turn_and_the_limit(tokenizer: Any) -> None:
    ids = tokenizer("So it is", add_special_tokens=False)["input_ids"]
    rule = stopping(tokenizer, "?", limit=len(ids))
    assert [rule.is_over(ids[:n]) for n in range(1, len(ids) + 1)] == [False] * 2 + [True]
    assert rule.generation(ids) == Generation(tuple(ids), "So it is", "length")
    assert rule.is_over([*ids[:1], 2])
    assert rule.generation([*ids[:1], 2]) == Generation(tuple(ids[:1]), "So", "stop")
    assert rule.generation([2]) == Generation((), "", "stop")


@pytest.mark.parametrize("strategy", [None, Sampling(temperature=0.5), Beam(num_beams=2)])
@pytest.mark.parametrize("name", ["tiny_llama", "tiny_t5"])
def test_rows_end_at_a_stop_string(
    name: str, strategy: Strategy | None, load_lively: Any, request: pytest.FixtureRequest
) -> None:
    loaded = load_lively(request.getfixturevalue(name))
    chosen = {} if strategy is None else {"strategy": strategy}
    prompts = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16], [17]]
    engine = LocalEngine(loaded, 4096)
    whole = engine.generate(prompts, Decoding(max_new_tokens=12, **chosen))
    texts = [loaded.tokenizer.decode(answer.ids, skip_special_tokens=True) for answer in whole]
    stop = texts[0][4:7]
    stopped = engine.generate(prompts, Decoding(max_new_tokens=12, stop=(stop,), **chosen))
    if isinstance(strategy, Beam):  # what is finished early competes with what is longer
        assert all(stop not in answer.text for answer in stopped)
        return
    assert len(stopped[0].ids) < len(whole[0].ids)
    for one, other, text in zip(stopped, whole, texts, strict=True):
        assert one.ids == other.ids[: len(one.ids)]
        assert one.text == text.partition(stop)[0].strip()
        assert one.finish == ("stop" if stop in text else other.finish)
