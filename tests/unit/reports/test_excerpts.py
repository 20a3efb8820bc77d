"""What a template puts after every question is not what tells questions apart."""

from __future__ import annotations

import pytest

from luthier.reports.excerpts import common_ending, prompt_end


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
        rest = shown.removeprefix("… ")
        assert prompt.endswith(rest)
        assert len(rest) <= longest
        spaced = rest
        for token in special:
            spaced = spaced.replace(token, f" {token} ")
        assert set(spaced.split()) <= words, shown
        only_tokens = not set(spaced.split()) - {*special, "assistant"}
        assert only_tokens or not rest.startswith(special), shown


QUESTION = "Why is the sky blue?"


@pytest.mark.parametrize(
    ("prompt", "ending"),
    [
        (f"<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n"
         "<|im_start|>assistant\n", "<|im_end|>\n<|im_start|>assistant\n"),
        (f"<s>[INST] <<SYS>>\nYou help.\n<</SYS>>\n\n{QUESTION} [/INST]", " [/INST]"),
        (f"[INST] Hi [/INST] Hello</s>[INST]{QUESTION}[/INST]", "[/INST]"),
        (f"<bos><start_of_turn>user\n{QUESTION}<end_of_turn>\n<start_of_turn>model\n",
         "<end_of_turn>\n<start_of_turn>model\n"),
        (f"<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user"
         f"<|end_header_id|>\n\n{QUESTION}<|eot_id|>", "<|eot_id|>"),
        (f"<|system|>\nYou help.</s>\n<|user|>\n{QUESTION}</s>\n<|assistant|>\n",
         "</s>\n<|assistant|>\n"),
        (f"<｜begin▁of▁sentence｜><｜User｜>{QUESTION}<｜Assistant｜>", "<｜Assistant｜>"),
        (f"<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{QUESTION}<|END_OF_TURN_TOKEN|>",
         "<|END_OF_TURN_TOKEN|>"),
        (f"<|start|>system<|message|>Be brief.<|end|><|start|>user<|message|>{QUESTION}<|end|>"
         "<|start|>assistant", "<|end|><|start|>assistant"),
        (f"<|start_of_role|>user<|end_of_role|>{QUESTION}<|end_of_text|>\n", "<|end_of_text|>\n"),
        (f"[gMASK]<sop><|user|>\n{QUESTION}<|assistant|>", "<|assistant|>"),
        (f"<|im_system|>system<|im_middle|>You help.<|im_end|><|im_user|>user<|im_middle|>"
         f"{QUESTION}<|im_end|>", "<|im_end|>"),
        (QUESTION, ""),
    ],
)  # fmt: skip
def test_an_excerpt_begins_with_the_question(prompt: str, ending: str) -> None:
    assert prompt_end(prompt, ending, 60) == QUESTION
    assert prompt_end(prompt, ending, len(QUESTION) - 1) == "… is the sky blue?"


@pytest.mark.parametrize("prompt", ["<|im_start|>", "<s>", "[INST]", "user", "<b>x</b> user [A] b"])
def test_an_excerpt_of_tokens_alone_is_what_it_is(prompt: str) -> None:
    assert prompt_end(prompt, "", 60) == prompt
