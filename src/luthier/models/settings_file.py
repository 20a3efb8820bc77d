"""Checks of a model's ``config.json`` before use: readable, and of plausible sizes.

transformers creates lists and modules in the numbers given there, even a billion. The headers of
the weights give upper bounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.core.errors import DataError
from luthier.core.untrusted import parse_foreign
from luthier.core.user_files import read_given

CONFIG = "config.json"
_AGAIN = "download the file again"
_MOST_BYTES = 16 * 2**20
_MOST_COUNT = 10_000
"""Limit of layers, heads or experts; the largest published models have a few hundred."""
_MOST_ENTRIES = 2**16
"""Limit of entries in a list or object, or of a classifier's classes."""
_MOST_WIDTH = 2**24
_MOST_POSITIONS = 2**30
_MOST = 2**63  # of any integer other than a length that means "no limit"
# Fields that real models have without a matching tensor: defaults of unused parts.
_ALWAYS_COUNT, _ALWAYS_WIDTH = 1024, 2**18
# Numbers of modules and of their parts, by their names in transformers' configurations.
_COUNTS = re.compile(
    r"(num|n)_(\w+_)?(layers?|blocks?|heads?|experts?|stages?|codebooks?|groups?|per_tok|flows"
    r"|quantizers?|repeats?|levels?|functions?|networks?|stacks?|registers?)"
    r"|(\w+_)?layers|(\w+_)?depths?|block_repeats|first_k_dense_replace|ngram|\w+_layer_start_index"
    r"|(\w+_)?kernel_size|(\w+_)?block_number|inner_group_num|stage_num_blocks"
)
_WIDTHS = re.compile(
    r"(\w+_)?(vocab|hidden|intermediate|embedding|ffn|mlp|state|projection)_(size|dim|width)"
    r"|(\w+_)?(dim|rank|vocab_size\w*)|d_\w+|n_embd|n_inner|(\w+_)?ffn_dim"
)
_POSITIONS = re.compile(
    r"(\w+_)?(max_position_embeddings|n_positions|n_ctx|max_seq_len|seq_length)"
)
_CLASSES = re.compile(r"num_(labels|classes)")
# Scales of rotary position embeddings, which are divisors.
_DIVISORS = re.compile(
    r"(\w+_)?rope_theta|rope_local_base_freq|rotary_emb_base|factor|low_freq_factor|high_freq_factor"
)
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_WINDOWS = ("max_position_embeddings", "n_positions", "n_ctx")
_LEAST_WINDOW = 8
# Limits of a range may be infinite.
_UNLIMITED = re.compile(r"\w*(limit|range|max_length)")


def read_config(folder: Path) -> dict[str, Any]:
    """The values of a model's ``config.json``.

    Raises:
        DataError: it is missing, too large, not a JSON object, or has an implausible number.
    """
    path = folder / CONFIG
    try:
        values = parse_foreign(read_given(path, _MOST_BYTES), str(path))
    except DataError as error:
        raise DataError(error.problem, where=error.where, fix=_AGAIN) from None
    if not isinstance(values, dict):
        problem = "this config.json is not a JSON object"
        raise DataError(problem, where=str(path), fix=_AGAIN)
    for name, value in named_numbers(values):
        _check(name, value, str(path))
    for name, length in _lengths(values):
        if length > _MOST_ENTRIES:
            raise _wrong(name, f"has {length:,} entries", str(path))
    return values


def check_sizes(values: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], where: str) -> None:
    """Compare the sizes in a configuration with the existing tensors, before any is created.

    Args:
        values: the content of ``config.json``.
        shapes: shapes of the tensors in the model's files, by name; empty if unknown.
        where: the file, for errors.

    Raises:
        DataError: there are more layers than tensors, or a size exceeds any tensor's.
    """
    if not shapes:
        return
    # Tensors of several experts or heads share one dimension; packed ones have only one.
    longest = max((math.prod(shape) for shape in shapes.values()), default=0)
    limits = (
        (_COUNTS, max(_ALWAYS_COUNT, len(shapes))),
        (_WIDTHS, max(_ALWAYS_WIDTH, longest)),
    )
    for name, value in named_numbers(values):
        last = _last(name)
        for pattern, most in limits:
            if pattern.fullmatch(last) and value > most:
                raise _wrong(
                    name,
                    f"is {value:,}, but the files have {len(shapes):,} tensors of at most "
                    f"{longest:,} numbers",
                    where,
                )


def longest_window(values: Mapping[str, Any]) -> float:
    """The longest context window in a configuration or its parts, in tokens; 0 if none."""
    named = (value for name, value in named_numbers(values) if _POSITIONS.fullmatch(_last(name)))
    return max(named, default=0)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _check(name: str, value: float, where: str) -> None:
    last = _last(name)
    if not math.isfinite(value):
        if not _UNLIMITED.fullmatch(last):
            raise _wrong(name, f"is {value}", where)
        return
    for pattern, most in (
        (_COUNTS, _MOST_COUNT),
        (_WIDTHS, _MOST_WIDTH),
        (_POSITIONS, _MOST_POSITIONS),
        (_CLASSES, _MOST_ENTRIES),
    ):
        if not pattern.fullmatch(last):
            continue
        if value < -1:  # some use −1 for none
            raise _wrong(name, f"is {_short(value)}, but cannot be below 0", where)
        if value > most:
            raise _wrong(name, f"is {_short(value)}, but can be at most {most:,}", where)
    if name in _WINDOWS and value in range(1, _LEAST_WINDOW):
        raise _wrong(name, f"is {_short(value)}, too few tokens for a prompt and an answer", where)
    if (_DIVISORS.fullmatch(last) or name in _LAYERS) and value <= 0:
        raise _wrong(name, f"is {_short(value)}, but must be above 0", where)
    if abs(value) > _MOST and not _UNLIMITED.fullmatch(last):
        raise _wrong(name, f"is {_short(value)}, which is too large", where)


def _wrong(name: str, problem: str, where: str) -> DataError:
    return DataError(
        f"{name} {problem}",
        where=f'{where}, field "{name}"',
        fix="download config.json and the weights of the same model",
    )


def _short(value: float) -> str:
    text = f"{value:,}"
    return text if len(text) < 30 else f"{value:.3g}"


def named_numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in settings with its dotted name; one in a list has the list's."""
    if isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from named_numbers(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from named_numbers(inner, name)


def _lengths(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """The number of entries of every list and object in a config, with its name."""
    if not isinstance(value, (Mapping, list)):
        return
    yield name, len(value)
    for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from _lengths(inner, f"{name}.{key}" if name else str(key))
