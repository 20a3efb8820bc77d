"""Texts as tokens, for tokenizers that mark where texts begin and end."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.evaluation.asking.encode import TextEncoder, windows

WORDS = ("the", "cat", "sat", "on", "mat", "un", "happy", "unhappy")
BEGIN, END = 0, 1


@pytest.fixture(scope="module", params=["<s> $A", "<s> $A </s>", "$A </s>", "$A"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """Words as tokens, and the special tokens that a tokenizer of this kind adds."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ("<s>", "</s>", "<unk>", *WORDS, *(f" {word}" for word in WORDS))
    pieces = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.Split(Regex(" ?[a-z]+"), "isolated")
    pieces.post_processor = processors.TemplateProcessing(
        single=request.param, special_tokens=[("<s>", BEGIN), ("</s>", END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture
def encoder(tokenizer: Any) -> TextEncoder:
    return TextEncoder(tokenizer, context_window=64)


def words(tokenizer: Any, ids: Any) -> str:
    return "".join(tokenizer.convert_ids_to_tokens(list(ids)))


def test_a_continuation_is_its_own_words(tokenizer: Any, encoder: TextEncoder) -> None:
    requests = encoder.pairs("the cat", [" sat on", " mat"])
    begin = "<s>" if tokenizer("the")["input_ids"][0] == BEGIN else ""
    assert [words(tokenizer, one.context) for one in requests] == [f"{begin}the cat"] * 2
    assert [words(tokenizer, one.continuation) for one in requests] == [" sat on", " mat"]


def test_a_prompt_does_not_end_the_text(tokenizer: Any, encoder: TextEncoder) -> None:
    assert words(tokenizer, encoder.ids("the cat")).endswith("the cat")


def test_what_begins_or_ends_a_text_is_not_counted_in_it(
    tokenizer: Any, encoder: TextEncoder
) -> None:
    (window,) = windows(encoder.literal_ids("the cat sat"), 64)
    assert window.context == ()
    assert words(tokenizer, window.continuation) == "the cat sat"


def test_an_answer_that_joins_the_last_word_is_scored_with_it(
    tokenizer: Any, encoder: TextEncoder
) -> None:
    (request,) = encoder.pairs("the cat un", ["happy"])
    assert words(tokenizer, request.context).endswith("the cat")
    assert words(tokenizer, request.continuation) == " unhappy"


def test_an_encoder_reads_texts_as_the_tokenizer_ends_them(tokenizer: Any) -> None:
    encoder = TextEncoder(tokenizer, context_window=64, encoder_decoder=True)
    (request,) = encoder.pairs("the cat", [" sat"])
    assert request.context == tuple(tokenizer("the cat")["input_ids"])
    assert words(tokenizer, request.continuation) == " sat"
