"""A prompt becomes the messages that a chat template wrote into it."""

from __future__ import annotations

import time

import pytest

from luthier.reports.messages import Message, messages_of

Q = "Why is the sky blue?"
SYSTEM, USER = Message("system", "You help."), Message("user", Q)


@pytest.mark.parametrize(
    ("prompt", "messages"),
    [
        (f"<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n{Q}<|im_end|>\n"
         "<|im_start|>assistant\n", (SYSTEM, USER)),
        (f"<s>[INST] <<SYS>>\nYou help.\n<</SYS>>\n\n{Q} [/INST]", (SYSTEM, USER)),
        (f"[INST] Hi [/INST] Hello</s>[INST]{Q}[/INST]",
         (Message("user", "Hi"), Message("assistant", "Hello"), USER)),
        (f"<bos><start_of_turn>user\n{Q}<end_of_turn>\n<start_of_turn>model\nBecause",
         (USER, Message("assistant", "Because"))),
        ("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nYou help.<|eot_id|>"
         f"<|start_header_id|>user<|end_header_id|>\n\n{Q}<|eot_id|>", (SYSTEM, USER)),
        (f"<|system|>\nYou help.</s>\n<|user|>\n{Q}</s>\n<|assistant|>\n", (SYSTEM, USER)),
        (f"<|system|>\n</s>\n<|user|>\n{Q}</s>\n<|assistant|>\n", (USER,)),
        (f"<｜begin▁of▁sentence｜>You help.<｜User｜>{Q}<｜Assistant｜>",
         (Message("prompt", "You help."), USER)),
        (f"<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{Q}<|END_OF_TURN_TOKEN|>", (USER,)),
        (f"<|start|>system<|message|>You help.<|end|><|start|>user<|message|>{Q}<|end|>",
         (SYSTEM, USER)),
        (f"<|start_of_role|>user<|end_of_role|>{Q}<|end_of_text|>\n", (USER,)),
        (f"[gMASK]<sop><|user|>\n{Q}<|assistant|>", (USER,)),
        (f"<|im_system|>system<|im_middle|>You help.<|im_end|><|im_user|>user<|im_middle|>{Q}"
         "<|im_end|>", (SYSTEM, USER)),
        (f"  {Q}\n", (Message("prompt", Q),)),
        ("", (Message("prompt", ""),)),
        ("<|im_start|>", (Message("prompt", "<|im_start|>"),)),
        ("<|im_start|>user\n<|im_end|>", (Message("prompt", "<|im_start|>user\n<|im_end|>"),)),
        ("the user said <b>this</b>", (Message("prompt", "the user said <b>this</b>"),)),
    ],
)  # fmt: skip
def test_turns_of_chat_templates_are_messages(prompt: str, messages: tuple[Message, ...]) -> None:
    assert messages_of(prompt) == messages


def test_lines_inside_a_message_stay() -> None:
    text = "Subject: Refund\n\n  Body: <b>where</b> is it?\nuser: me"
    prompt = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    assert messages_of(prompt) == (Message("user", text),)


@pytest.mark.parametrize(
    "hostile",
    ["<s> " * 20_000, "<|" * 50_000, "[INST]" * 20_000, " " * 100_000, "<s>user " * 10_000,
     "<|im_start|>\n" * 20_000, "<|im_start|>user " + "<s> " * 20_000, "<<SYS>>" * 20_000,
     "[INST]" + "<<SYS>>" * 20_000],
)  # fmt: skip
def test_no_prompt_takes_long(hostile: str) -> None:
    begun = time.perf_counter()
    messages_of(hostile)
    assert time.perf_counter() - begun < 2
