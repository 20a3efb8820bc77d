"""Validation of a peft adapter's ``adapter_config.json`` before peft reads it.

Peft loads other models and files named in the file, creates tensors of the sizes in it, and uses
its strings as regular expressions, which Python cannot interrupt.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from luthier.core.errors import DataError
from luthier.models.settings_file import named_numbers

# Fields that make peft import a module or load other models, with their harmless values.
_ELSEWHERE: Mapping[str, tuple[Any, ...]] = {
    "megatron_config": (),
    "adapters": (),
    "shadow_model": ("mirror",),
}
# The prompt depends on a task id given with each text.
_OF_SEVERAL_TASKS = "MULTITASK_PROMPT_TUNING"
# The initial values of a soft prompt; its trained ones are in the file, so these are not needed.
_FIRST_VALUES: Mapping[str, Any] = {
    "prompt_tuning_init": "RANDOM",
    "prompt_tuning_init_text": None,
    "prompt_tuning_init_state_dict_path": None,
    "tokenizer_name_or_path": None,
    "tokenizer_kwargs": None,
}
_RANKS = re.compile(r"r|\w+_r|(\w+_)?ranks?|rank_pattern\..*|num_virtual_tokens|adapter_len")
_REPEATED = re.compile(r"(\w+_)?(n?iters?|terms|depth|layers|nblocks|steps_of_\w+)")
_SIZES = re.compile(r"(num|n)_\w+|\w+_(size|dim|length|len|num)|(u|k|topk|top_k|gralora_k)")
# Fields that real adapters have without a matching tensor.
_ALWAYS_RANK, _MOST_REPEATED, _ALWAYS_SIZE = 1024, 1000, 2**18
_MOST = 2**32
"""Limit of any other number: seeds may be this large, scales are far smaller."""
_NITER = re.compile(r"\w+_niter_(\d+)")
_AGAIN = "download the adapter again, or save it again with peft's save_pretrained"
_PATTERN = re.compile(r"[*+{]")
_LONGEST_PATTERN = 10_000
_SECONDS = 30.0
"""Limit for all patterns of an adapter; CPU time where the system supports it."""
# The forms in which peft matches a module's name.
_TRIAL = r"""
import json, re, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
except ImportError:
    pass
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    for form in (r"(?:%s)\Z", r"(.*\.)?(%s)$", r"(^|.*\.)%s($|\..*)", r"(?:^|.*?\.)%s\.(\d+)\."):
        try:
            compiled = re.compile(form.replace("%s", pattern))
        except re.error:
            continue
        for name in names:
            compiled.match(name)
"""


def check_adapter(
    settings: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], where: str
) -> None:
    """Reject settings that refer to code or files elsewhere, or to more than the adapter has.

    Args:
        settings: the content of ``adapter_config.json``.
        shapes: shapes of the adapter's tensors, by name.
        where: the adapter, for errors.

    Raises:
        DataError: a field names code or another model, or a number exceeds any tensor's size.
    """
    for name, harmless in _ELSEWHERE.items():
        if (value := settings.get(name)) and value not in harmless:
            raise _wrong(name, "refers to Python code or models outside the adapter", where)
    if settings.get("peft_type") == _OF_SEVERAL_TASKS:
        raise _wrong(
            "peft_type", "is a kind of adapter for several tasks, which is not supported", where
        )
    longest = max((max(shape, default=1) for shape in shapes.values()), default=1)
    whole = sum(map(math.prod, shapes.values()))
    limits = (
        (_RANKS, max(_ALWAYS_RANK, longest)),
        (_REPEATED, _MOST_REPEATED),
        (_SIZES, max(_ALWAYS_SIZE, whole)),
        (re.compile(".*"), _MOST),
    )
    for name, value in named_numbers(settings):
        last = name.rpartition(".")[2]
        most = next(
            most for pattern, most in limits if pattern.fullmatch(name) or pattern.fullmatch(last)
        )
        if not abs(value) <= most:
            raise _wrong(name, f"is {value:.6g}, but can be at most {most:,}", where)
    _check_layers(settings.get("layer_replication"), len(shapes), where)
    started = _NITER.fullmatch(str(settings.get("init_lora_weights")))
    if started and len(started[1]) > len(str(_MOST_REPEATED)) - 1:
        raise _wrong("init_lora_weights", f"requests {started[1][:20]} rounds", where)


def neutral(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that make peft build the same adapter without loading other files or models."""
    first = {name: value for name, value in _FIRST_VALUES.items() if name in settings}
    return {**settings, **first, "base_model_name_or_path": None}


def require_quick_patterns(settings: Mapping[str, Any], names: Collection[str], where: str) -> None:
    """Test an adapter's patterns on the names of a model's modules, with a time limit.

    Args:
        settings: the content of ``adapter_config.json``.
        names: the names of all modules.
        where: the adapter, for errors.

    Raises:
        DataError: they take too long.
    """
    patterns = sorted({text for text in _texts(settings) if _PATTERN.search(text)})
    if not patterns:
        return
    if max(map(len, patterns)) > _LONGEST_PATTERN or not _are_tried(patterns, names):
        raise DataError(
            f"matching this pattern against module names takes too long: {patterns[0][:60]}",
            where=where,
            fix="list the modules by name instead",
        )


def _are_tried(patterns: Sequence[str], names: Collection[str]) -> bool:
    """Whether a separate process matches all patterns and names in time."""
    command = [sys.executable, "-I", "-S", "-c", _TRIAL]
    given = json.dumps([patterns, sorted(names)])
    try:
        ran = subprocess.run(  # noqa: S603 - this interpreter, with Luthier's own script
            command, input=given.encode(), timeout=_SECONDS, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return ran.returncode == 0


def _check_layers(ranges: Any, tensors: int, where: str) -> None:
    """Reject more copies of layers than there are tensors for."""
    if not ranges:
        return
    try:
        copies = sum(max(0, end - start) + 1 for start, end in ranges)
    except (TypeError, ValueError):
        raise _wrong("layer_replication", "is not a list of pairs of numbers", where) from None
    if copies > max(_ALWAYS_RANK, tensors):
        raise _wrong("layer_replication", f"makes {copies:,} layers", where)


def _wrong(name: str, problem: str, where: str) -> DataError:
    return DataError(f"{name} {problem}", where=f'{where}, field "{name}"', fix=_AGAIN)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from value
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
