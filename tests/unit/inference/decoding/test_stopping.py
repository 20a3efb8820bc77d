"""Where answers end: at the end of the turn, at a stop string, at the limit."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.config import Beam, Decoding, Sampling, Strategy
from luthier.inference import Generation
from luthier.inference.decoding import Stopping
from luthier.inference.local import LocalEngine

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
    rule = stopping(tokenizer, "xyz", "<|im_start|>")
    ids = [*first, *[1] * 50, *second]
    assert not rule.is_ended(ids[:-1])
    assert rule.is_ended(ids)
    assert rule.generation(ids).text == ""


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
