"""What a template puts after every question is not what tells questions apart."""

from __future__ import annotations

import pytest

from luthier.report.excerpts import common_ending, prompt_end


@pytest.mark.parametrize(
    ("prompts", "ending"),
    [
        (["Is it 3?<|im_end|>\n<|im_start|>assistant\n", "Why?<|im_end|>\n<|im_start|>assistant\n"],
         "<|im_end|>\n<|im_start|>assistant\n"),
        (["2 + 2\nAnswer:", "3 + 5\nAnswer:"], "\nAnswer:"),
        (["walking", "talking"], ""),
        (["the same", "the same"], ""),
        (["alone"], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_the_ending_is_what_all_prompts_share_from_a_word_on(
    prompts: list[str], ending: str
) -> None:
    assert common_ending(prompts) == ending


def test_the_end_of_a_prompt_is_one_line() -> None:
    assert prompt_end("one\n two\nAnswer:", "\nAnswer:", 20) == "one two"
    assert prompt_end("a long question", "", 8) == "… question"


CHAT = "<|im_start|>system You help.<|im_end|> <|im_start|>user Why is the sky blue?"


@pytest.mark.parametrize(
    "prompt",
    [
        CHAT,
        "<s>[INST] Say why the sky is blue. [/INST] Because.</s>[INST] And the sea? [/INST]",
        "<start_of_turn>user Why is that so?<end_of_turn> <start_of_turn>model Because",
        "<|start_header_id|>user<|end_header_id|> Tell me.<|eot_id|><|start_header_id|>assistant",
    ],
)
def test_an_excerpt_begins_with_a_whole_word_or_special_token(prompt: str) -> None:
    """Wherever it is cut: of a special token either all is there or nothing."""
    special = (
        *("<|im_start|>", "<|im_end|>", "<s>", "</s>", "[INST]", "[/INST]"),
        *("<start_of_turn>", "<end_of_turn>"),
        *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    )
    pieces = prompt
    for token in special:
        pieces = pieces.replace(token, f" {token} ")
    words = set(pieces.split())
    longest_word = max(map(len, words))
    for longest in range(longest_word + 1, len(prompt)):
        shown = prompt_end(prompt, "", longest)
        assert shown.startswith("… ")
        rest = shown[2:]
        assert prompt.endswith(rest)
        assert len(rest) <= longest
        spaced = rest
        for token in special:
            spaced = spaced.replace(token, f" {token} ")
        assert set(spaced.split()) <= words, shown
