"""Chat templates that behave like published ones, written anew; small tokenizers of each kind."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from tests.unit.prompts import later_styles as later

CORPUS = [
    f"Where is parcel {n}? In depot {n % 5}, shelf {n}.\n\nuser: And who brought it? é 日本 "
    f'{{"depot": {n}}} [INST] assistant said: The answer is {n * 7}. <think> thinking </think>\n'
    "abcdefghijklmnopqrstuvwxyz_ABC - find_parcel name parameters arguments number abcdefghi\n"
    for n in range(300)
]


@dataclass(frozen=True)
class Style:
    """A template, and how it is to be used.

    Attributes:
        template: Jinja.
        values: arguments.
        opens: the prompt opens reasoning that an answered conversation does not show.
        end: the end token of a tokenizer for it.
    """

    template: str
    values: dict[str, Any] = field(default_factory=dict)
    opens: bool = False
    end: str = "</s>"


_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN_TOOLS = (
    "{% if tools %}<|im_start|>system\n{% if messages[0].role == 'system' %}"
    "{{ messages[0].content }}\n\n{% endif %}# Tools\n<tools>{% for t in tools %}\n{{ t | tojson }}"
    "{% endfor %}\n</tools><|im_end|>\n{% elif messages[0].role != 'system' %}<|im_start|>system\n"
    "You help, and your name is Probe.<|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n"
    "{{ m.content }}\n</tool_response><|im_end|>\n{% elif not (tools and m.role == 'system') %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls or [] %}"
    '\n<tool_call>\n{"name": "{{ c.function.name }}", "arguments": '
    "{{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN3 = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}"
    "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% set said = m.content %}"
    "{% set thought = '' %}{% if m.reasoning_content is string %}"
    "{% set thought = m.reasoning_content %}{% elif '</think>' in said %}"
    "{% set thought = said.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{% if loop.index0 > ns.last and (loop.last or thought) %}<think>\n{{ thought.strip('\n') }}\n"
    "</think>\n\n{% endif %}{{ said }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
_LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set turns = messages[1:] %}"
    "{% set rule = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}{% else %}"
    "{% set turns = messages %}{% set rule = '' %}{% endif %}{% for m in turns %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}"
    "{% endif %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ rule if loop.first else '' }}"
    "{{ m.content.strip() }} [/INST]{% else %} {{ m.content.strip() }} {{ eos_token }}{% endif %}"
    "{% endfor %}"
)
_MISTRAL_V3 = (
    "{% if messages[0].role == 'system' %}{% set rule = messages[0].content %}"
    "{% set turns = messages[1:] %}{% else %}{% set turns = messages %}{% endif %}"
    "{{ bos_token }}{% for m in turns %}{% if m.role == 'user' %}"
    "{% if tools and (m == turns[0]) %}[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]"
    "{% endif %}{% if rule is defined and loop.first %}[INST] {{ rule }}\n\n{{ m.content }}[/INST]"
    "{% else %}[INST] {{ m.content }}[/INST]{% endif %}{% elif m.tool_calls %}[TOOL_CALLS] ["
    "{% for c in m.tool_calls %}{% if c.id | length != 9 %}"
    "{{ raise_exception('Tool call IDs should be 9 letters and digits') }}{% endif %}"
    '{{ c.function | tojson }}[:-1], "id": "{{ c.id }}"}{{ ", " if not loop.last else "" }}'
    "{% endfor %}]{{ eos_token }}{% elif m.role == 'tool' %}{% if m.tool_call_id | length != 9 %}"
    "{{ raise_exception('Tool call IDs should be 9 letters and digits') }}{% endif %}"
    '[TOOL_RESULTS] {"content": {{ m.content }}, "call_id": "{{ m.tool_call_id }}"}[/TOOL_RESULTS]'
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
_LLAMA3 = (
    "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{% if messages[0].role == 'system' %}{% set rule = messages[0].content | trim %}"
    "{% set turns = messages[1:] %}{% else %}{% set rule = '' %}{% set turns = messages %}"
    "{% endif %}{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\n"
    "Today Date: {{ date_string }}\n\n{{ rule }}<|eot_id|>{% if tools %}"
    "<|start_header_id|>user<|end_header_id|>\n\nFunctions:\n{% for t in tools %}"
    "{{ t | tojson(indent=4) }}\n\n{% endfor %}{{ turns[0].content | trim }}<|eot_id|>"
    "{% set turns = turns[1:] %}{% endif %}{% for m in turns %}{% if m.tool_calls %}"
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('one call at once') }}{% endif %}"
    "{% set c = m.tool_calls[0].function %}<|start_header_id|>assistant<|end_header_id|>\n\n"
    '{"name": "{{ c.name }}", "parameters": {{ c.arguments | tojson }}}<|eot_id|>'
    "{% elif m.role == 'tool' %}<|start_header_id|>ipython<|end_header_id|>\n\n"
    "{{ m.content | tojson }}<|eot_id|>{% else %}<|start_header_id|>{{ m.role }}<|end_header_id|>"
    "\n\n{{ m.content | trim }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('No system role') }}"
    "{% endif %}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_GEMMA3 = (
    "{{ bos_token }}{% set rule = '' %}{% set turns = messages %}"
    "{% if messages[0].role == 'system' %}{% set turns = messages[1:] %}"
    "{% set rule = (messages[0].content if messages[0].content is string else "
    "messages[0].content[0].text) + '\n\n' %}{% endif %}{% for m in turns %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ rule if loop.first else '' }}"
    "{% if m.content is string %}{{ m.content | trim }}{% else %}{% for p in m.content %}"
    "{{ p.text | trim }}{% endfor %}{% endif %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_PARTS = (  # as vision models have it: a text is lost
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for p in m.content %}"
    "{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_R1 = (
    "{{ bos_token }}{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'user' %}<|User|>{{ m.content }}"
    "{% elif m.role == 'assistant' %}{% set said = m.content %}{% if '</think>' in said %}"
    "{% set said = said.split('</think>')[-1] %}{% endif %}<|Assistant|>{{ said }}{{ eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
_HARMONY = (
    "<|start|>system<|message|>You are a model.\nReasoning: {{ reasoning_effort or 'medium' }}"
    "<|end|>{% for m in messages %}{% if m.role == 'system' %}<|start|>developer<|message|>"
    "{{ m.content }}<|end|>{% elif m.role == 'assistant' %}{% if m.thinking and loop.last %}"
    "<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
    "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}{% else %}"
    "<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
_TAGGED = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

STYLES = {
    "chatml": Style(_CHATML, end="<|im_end|>"),
    "qwen2.5": Style(_QWEN_TOOLS, end="<|im_end|>"),
    "qwen3": Style(_QWEN3, end="<|im_end|>"),
    "qwen3-fast": Style(_QWEN3, {"enable_thinking": False}, end="<|im_end|>"),
    "smollm2": Style(
        "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\n"
        "You are a helper named Probe.<|im_end|>\n{% endif %}<|im_start|>{{ m.role }}\n"
        "{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        end="<|im_end|>",
    ),
    "llama-2": Style(_LLAMA2),
    "mistral-v0.1": Style(
        "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) "
        "%}{{ raise_exception('must alternate') }}{% endif %}{% if m.role == 'user' %}"
        "{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}{{ m.content + eos_token + ' ' }}"
        "{% endif %}{% endfor %}"
    ),
    "mistral-v0.3": Style(_MISTRAL_V3),
    "mistral-tekken": Style(_MISTRAL_V3.replace("[INST] ", "[INST]").replace("%} {{", "%}{{")),
    "llama-3": Style(
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
        "{{ m.content | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
        "{% endif %}",
        end="<|eot_id|>",
    ),
    "llama-3.1": Style(_LLAMA3, end="<|eot_id|>"),
    "gemma-2": Style(_GEMMA),
    "gemma-3": Style(_GEMMA3),
    "parts": Style(_PARTS, end="<|im_end|>"),
    "phi-3": Style(
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
    ),
    "phi-4": Style(
        "{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}",
        end="<|im_end|>",
    ),
    "zephyr": Style(_TAGGED),
    "tinyllama": Style(_TAGGED.replace("\n{% endfor", "\n\n{% endfor")),
    "falcon-3": Style(
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}"
        "{{ eos_token if m.role == 'assistant' else '' }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    ),
    "vicuna": Style(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ messages[0].content }} "
        "{% set turns = messages[1:] %}{% else %}A curious user talks to a helper. "
        "{% set turns = messages %}{% endif %}{% for m in turns %}{% if m.role == 'user' %}"
        "USER: {{ m.content }} {% else %}ASSISTANT: {{ m.content }}{{ eos_token }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    ),
    "deepseek-r1": Style(_R1, opens=True),
    "qwq": Style(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and not "
        "loop.last %}{{ m.content.split('</think>')[-1].lstrip('\n') }}{% else %}{{ m.content }}"
        "{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
        opens=True,
        end="<|im_end|>",
    ),
    "command-r": Style(
        "{{ bos_token }}{% for m in messages %}<|START_OF_TURN_TOKEN|><|"
        "{{ {'user': 'USER', 'assistant': 'CHATBOT', 'system': 'SYSTEM'}[m.role] }}_TOKEN|>"
        "{{ m.content.strip() }}<|END_OF_TURN_TOKEN|>{% endfor %}"
        "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}",
        end="<|END_OF_TURN_TOKEN|>",
    ),
    "granite": Style(
        "{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}"
        "{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}"
        "<|start_of_role|>assistant<|end_of_role|>{% endif %}"
    ),
    "olmo-2": Style(
        "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}"
        "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}"
        "{% if not loop.last or m.role != 'assistant' %}\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    ),
    "gpt-oss": Style(_HARMONY, end="<|return|>"),
    "glm-4": Style(
        "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "nemotron": Style(
        "<SPECIAL_10>System\n{% if messages[0].role == 'system' %}{{ messages[0].content }}"
        "{% set turns = messages[1:] %}{% else %}{% set turns = messages %}{% endif %}\n"
        "{% for m in turns %}<SPECIAL_11>{{ m.role | capitalize }}\n{{ m.content.strip() }}\n"
        "{% endfor %}{% if add_generation_prompt %}<SPECIAL_11>Assistant\n"
        "{{ '<think></think>' if thinking is defined and not thinking else '<think>\n' }}"
        "{% endif %}",
        opens=True,
    ),
    "yi": Style(_CHATML, end="<|im_end|>"),
    "deepseek-v3": Style(later.DEEPSEEK_V3),
    "deepseek-v3.1": Style(later.DEEPSEEK_V31),
    "deepseek-v3.1-thinking": Style(later.DEEPSEEK_V31, {"thinking": True}, opens=True),
    "kimi-k2": Style(later.KIMI_K2, end="<|im_end|>"),
    "smollm3": Style(later.SMOLLM3, end="<|im_end|>"),
    "smollm3-fast": Style(later.SMOLLM3, {"enable_thinking": False}, end="<|im_end|>"),
    "gemma-4": Style(later.GEMMA4, opens=True, end="<end_of_turn>"),
    "gemma-4-thinking": Style(later.GEMMA4, {"enable_thinking": True}, end="<end_of_turn>"),
    "mistral-v7": Style(later.MISTRAL_V7),
    "glm-4.5": Style(later.GLM45),
    "glm-4.5-fast": Style(later.GLM45, {"enable_thinking": False}),
    "qwen3.5": Style(later.QWEN35, opens=True, end="<|im_end|>"),
    "qwen3.5-fast": Style(later.QWEN35, {"enable_thinking": False}, end="<|im_end|>"),
    "late-end": Style(later.LATE_END, end="<|im_end|>"),
    "command-a": Style(later.COMMAND_A, end="<|END_OF_TURN_TOKEN|>"),
    "granite-3.3": Style(later.GRANITE_33),
    "llama-4": Style(later.LLAMA4, end="<|eot_id|>"),
    "phi-4-mini": Style(later.PHI4_MINI, end="<|end|>"),
}

TODAY = datetime(2024, 7, 26, tzinfo=UTC)
"""What templates take for today."""


def dated(template: str) -> str:
    """A template with the date in place of the clock, for transformers to render."""
    return re.sub(r"strftime_now\('(.*?)'\)", lambda found: f"'{TODAY:{found[1]}}'", template)


SPECIAL = (
    "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|eot_id|>",
    "<|start_header_id|>", "<|end_header_id|>", "<start_of_turn>", "<end_of_turn>", "<|User|>",
    "<|Assistant|>", "<|start|>", "<|end|>", "<|return|>", "<|channel|>", "<|message|>", "<|user|>",
    "<|assistant|>", "<|system|>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>",
    "<|start_of_role|>", "<|end_of_role|>", "[gMASK]", "<sop>", "<SPECIAL_10>", "<SPECIAL_11>",
    "<|START_RESPONSE|>", "<|END_RESPONSE|>",
)  # fmt: skip
_FIRST = SPECIAL[:3]
_FEW = ("llama-legacy", "llama", "prepend", "metaspace")
"""Tokenizers as the first ones of their kind have them: only <s>, </s> and <unk> are special."""


@cache
def tokenizer(name: str, end: str) -> Any:
    """A tokenizer of one kind that ends texts with ``end``."""
    import copy

    from transformers import AddedToken, PreTrainedTokenizerFast

    special = [*_FIRST, end] if name in _FEW else [*SPECIAL]
    options = {"bos_token": "<s>", "eos_token": end, "unk_token": "<unk>"}
    if name.startswith("llama"):
        made = _llama(legacy=name == "llama-legacy")
        made.add_special_tokens({"eos_token": end})
        return made
    backend = copy.deepcopy(_BACKENDS[name]())
    made = PreTrainedTokenizerFast(tokenizer_object=backend, **options)
    if name == "stripping":  # as Phi-3's, which take white space beside them
        special = [
            AddedToken(each, special=True, rstrip=True, lstrip="end" in each) for each in special
        ]
    made.add_special_tokens({"additional_special_tokens": special})
    return made


def _sentencepiece() -> Any:
    from tokenizers import Tokenizer, models, normalizers, trainers

    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=[*_FIRST, *bytes_], show_progress=False
    )
    # The real ones never join words, nor a line break with anything.
    words = [
        piece for text in CORPUS for line in text.split("\n") for piece in line.split(" ") if piece
    ]
    made.train_from_iterator(words, trainer)
    return made


@cache
def _prepend() -> Any:
    from tokenizers import decoders

    made = _sentencepiece()
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return made


def _llama(*, legacy: bool) -> Any:
    import json
    import tempfile
    from pathlib import Path

    from transformers import AutoTokenizer, LlamaTokenizer

    raw = json.loads(_prepend().to_str())["model"]
    made = LlamaTokenizer(
        vocab=raw["vocab"],
        merges=[tuple(pair) for pair in raw["merges"]],
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        legacy=legacy,
        add_bos_token=True,
    )
    with tempfile.TemporaryDirectory() as folder:  # loading decides on the form
        made.save_pretrained(Path(folder))
        return AutoTokenizer.from_pretrained(folder)


def _metaspace() -> Any:
    from tokenizers import decoders, normalizers, pre_tokenizers

    made = _prepend()
    import copy

    made = copy.deepcopy(made)
    made.normalizer = normalizers.Sequence([])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return made


def _gemma() -> Any:
    import copy

    from tokenizers import normalizers, pre_tokenizers

    made = copy.deepcopy(_prepend())
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return made


def _byte_level() -> Any:
    from tokenizers import pre_tokenizers

    return _bytes(pre_tokenizers.ByteLevel(add_prefix_space=False))


def _prefix_space() -> Any:
    """GPT-2's and Falcon's with a blank before every text."""
    from tokenizers import pre_tokenizers

    return _bytes(pre_tokenizers.ByteLevel(add_prefix_space=True))


def _tiktoken() -> Any:
    """Those of Llama 3, Qwen and Tekken: line breaks are one word, digits are cut in threes."""
    from tokenizers import Regex, pre_tokenizers

    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    return _bytes(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(words), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    )


def _bytes(before: Any) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = before
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=[*_FIRST],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    return made


def _unigram() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=[*_FIRST], unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    return made


def _word_piece() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.WordPiece(unk_token="<unk>"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=500, special_tokens=[*_FIRST], show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    return made


_BACKENDS = {
    "prepend": _prepend,
    "metaspace": _metaspace,
    "gemma": _gemma,
    "byte-level": _byte_level,
    "unigram": _unigram,
    "word-piece": _word_piece,
    "mistral-v3": _metaspace,
    "stripping": _byte_level,
    "prefix-space": _prefix_space,
    "tiktoken": _tiktoken,
}
TOKENIZERS = ("llama-legacy", "llama", *_BACKENDS)
