"""Chat templates and tokenizers that write otherwise than one thinks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.prompts.render import PromptRenderer

Call = Callable[..., Any]
TURN = "<|im_start|>{{ m['role'] }}\n"
ASKED = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
# Thoughts of answers are cut, and the prompt opens new ones.
OPENS = (
    "{% for m in messages %}" + TURN + "{% set c = m['content'] %}"
    "{% if m['role'] == 'assistant' and '</think>' in c %}{% set c = c.split('</think>')[-1] %}"
    "{% endif %}{{ c }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
# Thoughts of answers are cut.
STRIPS = OPENS.replace("[-1] %}", "[-1].lstrip('\\n') %}").replace(
    "<think>\n{% endif %}", "{% endif %}"
)
# Empty thoughts stand in the last answer only.
HYBRID = (
    "{% for m in messages %}" + TURN + "{% if m['role'] == 'assistant' and loop.last and "
    "'<think>' not in m['content'] %}<think>\n\n</think>\n\n{% endif %}"
    "{% if m['role'] == 'assistant' and not loop.last %}"
    "{{ m['content'].split('</think>')[-1].lstrip('\\n') }}{% else %}{{ m['content'] }}{% endif %}"
    "<|im_end|>\n{% endfor %}" + ASKED
)
# Contents are lists of parts.
PARTS = (
    "{% for m in messages %}" + TURN + "{% for p in m['content'] %}{{ p['text'] }}{% endfor %}"
    "<|im_end|>\n{% endfor %}" + ASKED
)
PLAIN = "{% for m in messages %}" + TURN + "{{ m['content'] }}<|im_end|>\n{% endfor %}" + ASKED


def depot(row: Any) -> str:
    """The answer that a row's question has."""
    number = int(row.example.messages[-1].content.removeprefix("Where is parcel ").rstrip("?"))
    return f"In depot {number % 5}."


@pytest.fixture(scope="module")
def shown(call: Call, inputs: Path, tiny_with: Any, tokenizer_of: Any, reading: Any) -> Any:
    """Checks that the command shows a file, and renders all of its rows."""

    def show(file: str, template: str, prompt: dict[str, Any] | None = None) -> Any:
        folder = tiny_with(template)
        path = str(inputs / file)
        settings = [f"prompt.{key}={json.dumps(value)}" for key, value in (prompt or {}).items()]
        outcome = call("data", "show", "--model", str(folder), "--data", path, "--json", *settings)
        assert outcome.code == 0, outcome.err
        return reading(file, tokenizer_of(folder), prompt=prompt).rows, outcome

    return show


def test_a_prompt_that_opens_thoughts_has_them_closed_by_the_answer(shown: Any) -> None:
    rows, _ = shown("thinking/plain.jsonl", OPENS)
    assert len(rows) == 24
    for row in rows:
        assert row.trained == f"\n</think>\n\n{depot(row)}<|im_end|>"
        assert row.whole.endswith(f"assistant\n<think>\n{row.trained}")


@pytest.mark.parametrize(("template", "opening"), [(OPENS, ""), (STRIPS, "<think>\n")])
def test_reasoning_that_a_template_cuts_is_trained(template: str, opening: str, shown: Any) -> None:
    rows, _ = shown("thinking/thoughts.jsonl", template)
    assert len(rows) == 24
    for row in rows:
        assert row.trained.startswith(f"{opening}Parcel ")
        assert row.trained.endswith(f"\n</think>\n\n{depot(row)}<|im_end|>")


def test_empty_thoughts_of_a_template_are_trained(shown: Any) -> None:
    rows, _ = shown("thinking/plain.jsonl", HYBRID)
    for row in rows:
        assert row.trained == f"<think>\n\n</think>\n\n{depot(row)}<|im_end|>"


def test_a_conversation_that_is_rewritten_becomes_an_example_for_each_answer(shown: Any) -> None:
    _, outcome = shown("thinking/multiturn.jsonl", HYBRID)
    assert "13 conversations are trained as 26 examples, one for each answer" in outcome.out
    texts = [part for part in outcome.document["shown"] if part["trained"]]
    assert [part["text"] for part in texts] == ["<think>\n\n</think>\n\nIn depot 2.<|im_end|>"]


def test_a_template_that_wants_parts_gets_them(shown: Any) -> None:
    rows, _ = shown("thinking/plain.jsonl", PARTS)
    for row in rows:
        assert row.trained == f"{depot(row)}<|im_end|>"
        assert "Where is parcel " in row.whole


def test_chat_that_rows_spell_out_is_said_and_read_on_request(shown: Any) -> None:
    rows, outcome = shown("rows/chatml-text.jsonl", PLAIN)
    assert "96 special tokens in rows are read as plain text" in outcome.err
    assert all(row.ids[-1] == 2 and 1 not in row.ids for row in rows)
    rows, outcome = shown("rows/chatml-text.jsonl", PLAIN, {"special_tokens": "keep"})
    assert "plain text" not in outcome.err
    for row in rows:
        assert row.ids.count(1) == 2
        assert row.ids.count(2) == 2  # its own two, and none is added behind the last
        assert row.ids[-1] == 2


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Any:
    """The tiny Llama with added tokens, with or without rows for them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def make(*tokens: str, special: bool, resized: bool) -> Path:
        folder = tmp_path_factory.mktemp("tokens") / "tiny"
        tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
        tokenizer.add_tokens(list(tokens), special_tokens=special)
        model = AutoModelForCausalLM.from_pretrained(tiny_llama)
        if resized:
            model.resize_token_embeddings(len(tokenizer))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


def test_special_tokens_that_were_added_are_said_and_read_on_request(
    with_tokens: Any, call: Call, inputs: Path, reading: Any, tokenizer_of: Any
) -> None:
    folder = with_tokens("<|depot|>", "<|shelf|>", special=True, resized=True)
    path = str(inputs / "rows/special-tokens.jsonl")
    outcome = call("data", "show", "--model", str(folder), "--data", path)
    assert outcome.code == 0, outcome.err
    assert "<|depot|> (24), <|shelf|> (24); prompt.special_tokens=keep" in outcome.err
    tokenizer = tokenizer_of(folder)
    ids = tokenizer.convert_tokens_to_ids(["<|depot|>", "<|shelf|>"])
    keep = {"special_tokens": "keep"}
    for prompt, times in ((None, 0), (keep, 1)):
        for row in reading("rows/special-tokens.jsonl", tokenizer, prompt=prompt).rows:
            assert [row.ids.count(token) for token in ids] == [times, times]
            assert "<|depot|>" in row.trained


@pytest.mark.parametrize("more", [("--dry-run",), ()])
def test_tokens_without_a_row_are_refused_before_training(
    more: tuple[str, ...], with_tokens: Any, call: Call, inputs: Path, in_tmp_path: Path
) -> None:
    folder = with_tokens("[DEPOT]", "[SHELF]", special=False, resized=False)
    data = str(inputs / "rows/added-tokens.jsonl")
    arguments = ("--model", str(folder), "--method", "lora", "--data", data)
    outcome = call("tune", *arguments, *more)
    assert outcome.code == 3
    assert "'[DEPOT]', '[SHELF]' have no row" in outcome.err
    assert "model.resize_embeddings=true" in outcome.err
    assert not (in_tmp_path / "runs").exists()
    shown = call("data", "show", "--model", str(folder), "--data", data)
    assert shown.code == 3


def test_answers_that_train_the_unknown_token_are_warned_of(
    tmp_path: Path, call: Call, inputs: Path
) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    inner = Tokenizer(models.Unigram())
    pieces = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    inner.pre_tokenizer = pre_tokenizers.Sequence(pieces)
    inner.decoder = decoders.Metaspace()
    texts = [f"Where is parcel {i}? In depot {i % 5}, shelf {i}." for i in range(300)]
    special = ["<pad>", "</s>", "<unk>"]
    inner.train_from_iterator(
        texts,
        trainers.UnigramTrainer(
            vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False
        ),
    )
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    settings = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = T5Config(
        vocab_size=len(tokenizer),
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
        **settings,
    )
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    path = str(inputs / "rows/json-answers.jsonl")
    share = "data.test_fraction=0.1"
    outcome = call("data", "show", "--model", str(tmp_path), "--data", path, share)
    assert outcome.code == 0, outcome.err
    # Each of 17 answers is {"depot": N, "shelf": N} with a line break: five runs are unknown.
    said = " ".join(outcome.out.split())
    assert r'cannot encode these characters: " (68), : (34), { (17), \n (17), } (17)' in said
    assert "17 of 17 answers have them, and 85 of " in said


def test_a_long_test_prompt_is_said_before_training_and_left_out_on_request(
    call: Call, inputs: Path, in_tmp_path: Path, tiny_llama: Path
) -> None:
    arguments = (
        *("--model", str(tiny_llama), "--method", "lora", "--name", "long"),
        *("--data", str(inputs / "rows/short.jsonl")),
        f"data.test={inputs / 'rows/one-long-prompt.jsonl'}",
        *("train.epochs=1", "train.compile=false", "train.batch_size=8", "model.dtype=float32"),
    )
    tuned = call("tune", *arguments)
    assert tuned.code == 0, tuned.err
    assert "1 of 10 test prompts: no room is left for an answer" in tuned.err
    assert "one-long-prompt.jsonl:10" in tuned.err
    measure = ("evaluate", "runs/long", "--shots", "0", "evaluate.max_new_tokens=8")
    stopped = call(*measure)
    assert stopped.code == DataError.exit_code
    assert "evaluate.too_long=drop leaves such test examples out" in stopped.err
    dropped = call(*measure, "evaluate.too_long=drop", "--json")
    assert dropped.code == 0, dropped.err
    assert "1 of 10 test examples left out" in dropped.err
    assert '"n": 9' in dropped.out


LLAMA = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} "
    "[/INST]{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
VICUNA = LLAMA.replace("[INST] ", "USER: ").replace(" [/INST]", " ASSISTANT:")
ZEPHYR = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
TALK = (("user", "Where is parcel 4?"), ("assistant", "In depot 4."), ("user", "And its shelf?"))


@pytest.fixture(scope="module")
def trained_pieces() -> Any:
    """A byte-pair tokenizer that puts a blank before each text, as Llama 2 has it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

    texts = [
        f"Where is parcel {i}? In depot {i % 5}, shelf {i}. [INST] [/INST]" for i in range(300)
    ]
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    inner.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False)
    )
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return inner


@pytest.fixture(scope="module", params=["file", "legacy", "recent"])
def pieces(request: pytest.FixtureRequest, trained_pieces: Any, tmp_path_factory: Any) -> Any:
    from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerFast

    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    if request.param == "file":
        return PreTrainedTokenizerFast(tokenizer_object=trained_pieces, **names)
    model = json.loads(trained_pieces.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    legacy = request.param == "legacy"
    made = LlamaTokenizer(vocab=model["vocab"], merges=merges, legacy=legacy, **names)
    folder = tmp_path_factory.mktemp("pieces")
    made.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("template", [LLAMA, VICUNA, ZEPHYR], ids=["llama", "vicuna", "zephyr"])
def test_the_ids_of_a_conversation_are_those_of_the_whole_text(template: str, pieces: Any) -> None:
    pieces.chat_template = template
    renderer = PromptRenderer(pieces, True, None, 256, False)
    talk = tuple(Message(role, text) for role, text in TALK)
    given = renderer.training(Example("x", talk, ("Shelf 4.",)), completion_only_loss=True)
    turns = [{"role": role, "content": text} for role, text in TALK]
    turns.append({"role": "assistant", "content": "Shelf 4."})
    whole = list(pieces.apply_chat_template(turns, tokenize=True)["input_ids"])
    ids = list(given.input_ids)
    assert ids[-1] == pieces.eos_token_id
    assert ids == whole[: len(ids)]
    assert pieces.decode(whole[len(ids) :]).strip() == ""
    prompt = list(renderer.prompt(Example("x", talk[:1], ("a",))).ids)
    alone = pieces.apply_chat_template(turns[:1], tokenize=True, add_generation_prompt=True)
    assert prompt == list(alone["input_ids"])


def test_the_ids_of_plain_text_are_those_of_the_whole_text(pieces: Any) -> None:
    renderer = PromptRenderer(pieces, False, None, 256, False)
    example = Example("x", (Message("user", "Where is parcel 4?"),), ("In depot 4.",))
    ids = list(renderer.training(example, completion_only_loss=True).input_ids)
    whole = pieces("Where is parcel 4?\nIn depot 4.")["input_ids"]
    assert ids == [*whole, pieces.eos_token_id]
