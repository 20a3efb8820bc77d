from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

WORDS = (*"abcdefg", "one", "two", "system", "\n", "?")


@pytest.fixture(scope="session")
def smollm(bundled_handle: Any) -> Any:
    """The tokenizer of the bundled model, with its chat template."""
    return bundled_handle.tokenizer


def _word_level(template: str, **special: str) -> Any:
    """A tokenizer of a few words; ``template`` says what it puts around a text."""
    transformers = pytest.importorskip("transformers")
    vocabulary = {word: index for index, word in enumerate([*special.values(), "[unk]", *WORDS])}
    backend = Backend(models.WordLevel(vocabulary, unk_token="[unk]"))
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [backend.pre_tokenizer, pre_tokenizers.Split("\n", "isolated")]
    )
    if template:
        pairs = [(token, vocabulary[token]) for token in special.values()]
        backend.post_processor = processors.TemplateProcessing(template, None, pairs)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[unk]", **special
    )


@pytest.fixture(scope="session")
def base() -> Any:
    """Like that of a Llama base model: begins a text with a token, ends none, cannot chat."""
    return _word_level("<s> $A", bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="session")
def t5() -> Any:
    """Like T5's: ends every text with a token."""
    return _word_level("$A </s>", eos_token="</s>", pad_token="<pad>")


@pytest.fixture(scope="session")
def endless() -> Any:
    """A tokenizer without an end token."""
    return _word_level("")
