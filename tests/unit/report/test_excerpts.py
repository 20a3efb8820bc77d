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
