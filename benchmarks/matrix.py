"""The configurations that the planner is held against: a designed subset of their product.

Every pair of levels of two axes occurs that a row may have (see `_possible`). The subset is chosen
by the greedy algorithm for weighted set cover (Chvátal 1979, A greedy heuristic for the
set-covering problem): in each round the configuration that adds most for its effort. A pair that
occurs already adds little, and less each time, so the rounds go on until there are enough rows.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from luthier.core.method_facts import METHOD_NAMES, MethodName
from luthier.records.base import Record
from models import ENCODER_DECODERS, MODELS, WITH_BIASES

# The loop's default for train.micro_batch_tokens, and what a processor gets done in time that has
# to emulate bfloat16 products or to dequantise weights.
_MAX_TOKENS = 2048
_MAX_SLOW_TOKENS = 128
# What a row costs however short its steps are: a process starts, and short steps are repeated.
_START = 100.0


class Case(Record):
    """One configuration. Its micro-batch is cut from running text, two to an optimizer step.

    Attributes:
        model: a key of `models.MODELS`.
        method: the tuning method, with the settings that it has by default.
        dtype: of the weights in memory.
        checkpointing: whether activations are computed again.
        micro_batch: sequences in a forward pass.
        length: tokens of the longest; of the encoder's input, in an encoder-decoder model.
        trained: the share of the positions that is predicted; of an encoder-decoder model, the
            decoder's length over the encoder's.
        padded: whether the sequences differ in length.
    """

    model: str
    method: MethodName
    dtype: Literal["float32", "bfloat16"]
    checkpointing: bool
    micro_batch: int
    length: int
    trained: float
    padded: bool

    @property
    def tokens(self) -> int:
        """Tokens of a forward pass, padding included."""
        return self.micro_batch * self.length

    @property
    def lengths(self) -> list[int]:
        """Tokens of each sequence of an optimizer step, those of the first micro-batch first."""
        less = self.length // 128 if self.padded else 0
        return [self.length - less * index for index in range(2 * self.micro_batch)]

    def num_trained(self, length: int) -> int:
        """Positions of a sequence of so many tokens that are predicted."""
        return round(length * self.trained)

    @property
    def key(self) -> str:
        """A name that the same configuration always has."""
        return " ".join(f"{name}={value}" for name, value in self.model_dump().items())


AXES: dict[str, Sequence[Any]] = {
    "model": tuple(MODELS),
    # By default selective trains nothing: it has to be told what.
    "method": tuple(name for name in METHOD_NAMES if name != "selective"),
    "dtype": ("float32", "bfloat16"),
    "checkpointing": (False, True),
    "micro_batch": (1, 4, 8),
    "length": (128, 256, 512),
    "trained": (1.0, 0.25),
    "padded": (False, True),
}

Pair = tuple[tuple[str, Any], tuple[str, Any]]


def design(*, at_least: int, fast_bfloat16: bool) -> list[Case]:
    """The rows of the matrix, always the same ones.

    Args:
        at_least: how many rows; there are more where the pairs need more.
        fast_bfloat16: whether the machine multiplies bfloat16 natively. Elsewhere such rows stay
            small.
    """
    waiting = {case.key: (case, _pairs(case)) for case in _possible(fast_bfloat16)}
    missing = {pair for _, pairs in waiting.values() for pair in pairs}
    seen: Counter[Pair] = Counter()
    chosen: list[Case] = []
    while waiting and (missing or len(chosen) < at_least):

        def worth(key: str) -> float:
            case, pairs = waiting[key]
            value = sum((pair in missing) + 0.2 ** seen[pair] for pair in pairs)
            return value / _effort(case, fast_bfloat16)

        case, pairs = waiting.pop(max(waiting, key=worth))
        chosen.append(case)
        seen.update(pairs)
        missing.difference_update(pairs)
    return chosen


def _possible(fast_bfloat16: bool) -> Iterator[Case]:
    for levels in itertools.product(*AXES.values()):
        case = Case(**dict(zip(AXES, levels, strict=True)))
        if case.tokens > (_MAX_SLOW_TOKENS if _is_slow(case, fast_bfloat16) else _MAX_TOKENS):
            continue
        if not _is_defined(case):
            continue
        if case.micro_batch > 1 or not case.padded:  # one sequence alone is never padded
            yield case


def _is_slow(case: Case, fast_bfloat16: bool) -> bool:
    return not fast_bfloat16 and (case.dtype == "bfloat16" or case.method == "qlora")


def _is_defined(case: Case) -> bool:
    """Whether the method has something to train in this model, and may be checkpointed."""
    if case.method == "bitfit":
        return case.model in WITH_BIASES
    if case.method == "qlora" and case.dtype == "bfloat16":  # both slow where either is
        return False
    if case.method == "prefix-tuning":
        return not case.checkpointing and case.model not in ENCODER_DECODERS
    return True


def _pairs(case: Case) -> tuple[Pair, ...]:
    return tuple(itertools.combinations(((axis, getattr(case, axis)) for axis in AXES), 2))


def _effort(case: Case, fast_bfloat16: bool) -> float:
    """How dear a row is: products of its passes, weighed so that long and emulated ones are few."""
    slowness = 100 if _is_slow(case, fast_bfloat16) else 1
    size = 1 if MODELS[case.model] else 3  # the bundled model is the largest by far
    products = (3 if case.method == "full" else 2) + case.checkpointing
    return _START + case.tokens * products * size * slowness / 400
