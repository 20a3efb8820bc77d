from __future__ import annotations

from typing import Any

import pytest

from luthier.config import PromptConfig
from luthier.core.errors import DataError
from luthier.data.general import GeneralText
from luthier.data.replay import general_example, replay_examples
from luthier.prompts.render import PromptRenderer

TEXTS = [GeneralText(text) for text in ("one two three", "four five", "six " * 50)]


@pytest.fixture
def renderer(bundled_handle: Any) -> PromptRenderer:
    return PromptRenderer.from_config(PromptConfig(), bundled_handle.tokenizer, context_window=8192)


def ids_of(renderer: PromptRenderer, text: str) -> tuple[int, ...]:
    return tuple(renderer.tokenizer(text)["input_ids"])


def test_every_token_but_the_first_is_predicted(renderer: PromptRenderer) -> None:
    made = replay_examples(TEXTS[:2], renderer, [], 512)
    assert [example.input_ids for example in made] == [
        ids_of(renderer, text) for text, _ in TEXTS[:2]
    ]
    for example in made:
        assert example.trained == (False, *[True] * (len(example.input_ids) - 1))


def test_a_long_text_is_cut_and_no_token_is_lost(renderer: PromptRenderer) -> None:
    whole = ids_of(renderer, TEXTS[2].text)
    pieces = replay_examples(TEXTS[2:], renderer, [], 16)
    joined = tuple(token for piece in pieces for token in piece.input_ids)
    assert joined in (whole, whole[:-1])  # a single token has nothing to be predicted from
    assert max(piece.length for piece in pieces) == 16
    assert len({piece.id for piece in pieces}) == len(pieces)


def test_what_is_measured_is_not_trained_on(renderer: PromptRenderer) -> None:
    whole, part = ids_of(renderer, TEXTS[0].text), ids_of(renderer, TEXTS[2].text)[:20]
    made = replay_examples(TEXTS, renderer, [whole, part], 512)
    assert [example.input_ids for example in made] == [ids_of(renderer, TEXTS[1].text)]
    with pytest.raises(DataError, match="no general text is left"):
        replay_examples(TEXTS[:1], renderer, [whole], 512)


def test_an_encoder_decoder_says_what_it_cannot_do(word_tokenizer: Any) -> None:
    renderer = PromptRenderer.from_config(
        PromptConfig(), word_tokenizer, context_window=512, encoder_decoder=True
    )
    with pytest.raises(DataError, match="plain text") as caught:
        replay_examples(TEXTS, renderer, [], 512)
    assert caught.value.where == "data.replay"
    assert "max_forgetting" in caught.value.fix
    assert replay_examples([], renderer, [], 512) == ()


def test_an_encoder_decoder_says_a_text_to_an_empty_question() -> None:
    example = general_example("a", (5, 6, 7), question=1)
    assert (example.input_ids, example.decoder_ids, example.num_trained) == ((1,), (5, 6, 7), 3)
