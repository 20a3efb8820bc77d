"""What public reports say goes wrong with tokens: doubled beginnings, lost ends, split letters."""

from __future__ import annotations

import copy
from itertools import compress
from typing import Any

import pytest
from tests.unit.prompts.chat_styles import STYLES, TOKENIZERS, tokenizer

from luthier.core.example import Example, Message
from luthier.prompts.render import PromptRenderer

ASKED = (Message("user", "Where is parcel 4?"),)
SOME = (
    "chatml",
    "llama-2",
    "llama-3",
    "gemma-2",
    "mistral-v7",
    "phi-3",
    "vicuna",
    "qwen3",
    "olmo-2",
)


def begun(kind: str, end: str, *, ends: bool = False) -> Any:
    """A tokenizer that begins every text with ``<s>``, and perhaps ends it with its end token."""
    from tokenizers.processors import TemplateProcessing

    made = copy.deepcopy(tokenizer(kind, end))
    tokens = [("<s>", made.bos_token_id), (end, made.eos_token_id)]
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"<s> $A {end}" if ends else "<s> $A", special_tokens=tokens
    )
    assert made("x")["input_ids"][0] == made.bos_token_id
    return made


def rendered(name: str, made: Any, **changes: Any) -> PromptRenderer:
    made.chat_template = STYLES[name].template
    values = {"template_values": STYLES[name].values, **changes}
    return PromptRenderer(made, True, None, 10_000, False, **values)


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("ends", [False, True])
def test_a_text_begins_and_ends_once(kind: str, ends: bool) -> None:
    """OpenRLHF#393, alignment-handbook#127: texts that hold what the tokenizer adds as well."""
    made = begun(kind, "</s>", ends=ends)
    for keeps in (True, False):
        render = rendered("zephyr", made, keep_special=keeps)
        plain = render.training(Example("1", (), ("In depot 4.",)), completion_only_loss=True)
        assert plain.input_ids.count(made.bos_token_id) == 1
        assert plain.input_ids.count(made.eos_token_id) == 1
        assert plain.input_ids[-1] == made.eos_token_id
        assert plain.trained == (False, *(True for _ in plain.input_ids[1:]))
    keeping = rendered("zephyr", made, keep_special=True)
    for text in ("<s>In depot 4.</s>", "<s>In depot 4.", "In depot 4.</s>"):
        ids = keeping.training(Example("1", (), (text,)), completion_only_loss=True).input_ids
        assert ids.count(made.bos_token_id) == 1, text
        assert ids.count(made.eos_token_id) == 1, text
        assert (ids[0], ids[-1]) == (made.bos_token_id, made.eos_token_id)
    assert keeping.text_ids("<s>In").count(made.bos_token_id) == 1


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_plain_prompt_begins_once(kind: str) -> None:
    made = begun(kind, "</s>")
    plain = PromptRenderer(made, False, None, 10_000, False, keep_special=True)
    for text in ("Where?", "<s>Where?"):
        ids = plain.prompt(Example("1", (Message("user", text),), ())).ids
        assert ids.count(made.bos_token_id) == 1
        assert ids[0] == made.bos_token_id


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", SOME)
def test_a_conversation_begins_as_its_template_says(name: str, kind: str) -> None:
    plain = rendered(name, copy.copy(tokenizer(kind, STYLES[name].end)))
    render = rendered(name, begun(kind, STYLES[name].end, ends=True))
    example = Example("1", ASKED, ("In depot 4.",))
    assert render.prompt(example).ids == plain.prompt(example).ids
    (one,) = render.trainings(example, completion_only_loss=True)
    (other,) = plain.trainings(example, completion_only_loss=True)
    assert one == other
    assert one.input_ids.count(render.tokenizer.eos_token_id) >= 1


ODD = (
    "\nIn depot 4.",
    "  In depot 4.",
    "\n\n4",
    "👩‍🚀 はい 🏭",
    "é́",
    "\tTab",
    "4\r\n5",
    "1234567",
    " ",
)
"""Answers that share a token with what stands before them, or have letters of many bytes."""


@pytest.mark.sample(120)
@pytest.mark.parametrize("answer", [text for text in ODD if text.strip()])
@pytest.mark.parametrize(
    "kind", [kind for kind in TOKENIZERS if kind not in ("unigram", "word-piece")]
)
@pytest.mark.parametrize("name", SOME)
def test_all_of_an_answer_is_trained_and_nothing_else(name: str, kind: str, answer: str) -> None:
    """Qwen3-VL#1199, prime-rl#1103, Bunny#111: masks that cut at the wrong token."""
    render = rendered(name, copy.copy(tokenizer(kind, STYLES[name].end)))
    made = render.tokenizer
    example = Example(
        "1", (*ASKED, Message("assistant", answer), Message("user", "Sure?")), (answer,)
    )
    prompt = render.prompt(example)
    parts = render.trainings(example, completion_only_loss=True)
    assert parts[-1].input_ids[: parts[-1].prompt_length] == prompt.ids
    said = "".join(
        made.decode(
            list(compress(part.input_ids, part.trained)), clean_up_tokenization_spaces=False
        )
        for part in parts
    )
    for mark in (
        "<|im_end|>",
        "<|eot_id|>",
        "<end_of_turn>",
        "<|end|>",
        "</s>",
        "<think>",
        "</think>",
    ):
        said = said.replace(mark, "")
    squeezed = "".join(said.split())
    assert squeezed == "".join((answer + answer).split())
    assert parts[-1].input_ids[-1] == made.eos_token_id
    assert parts[-1].trained[-1]


def test_an_end_token_that_pads_too_is_trained() -> None:
    """TRL#1623, #3091: elsewhere labels are taken away where an id is that of padding."""
    from luthier.training.layout import Padded

    made = copy.copy(tokenizer("byte-level", "<|im_end|>"))
    made.pad_token = made.eos_token
    render = rendered("chatml", made)
    texts = ("In depot 4.", "I cannot say where it is, since nobody has seen it.")
    examples = [
        render.training(Example(str(n), ASKED, (text,)), completion_only_loss=True)
        for n, text in enumerate(texts)
    ]
    targets = Padded(1.0).batch(examples).targets_K.tolist()
    wanted = [
        token
        for each in examples
        for token, is_trained in zip(each.input_ids, each.trained, strict=True)
        if is_trained
    ]
    assert sorted(targets) == sorted(wanted)
    assert targets.count(made.eos_token_id) == 2
