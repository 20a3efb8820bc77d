"""What the tuning of one library is told, and what it tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import Field

from luthier.records.base import Record

Kind = Literal["lora", "qlora", "full"]


class Case(Record):
    """What is tuned, and how.

    Attributes:
        contender: which library.
        kind: the method.
        model: the folder with the base model.
        examples: a file with a JSON list of (ids, trained) pairs.
        batch: examples of a step.
        steps: how many; the first is not timed.
        learning_rate: constant.
        dtype: of the weights.
        micro_batch: examples of a forward pass (tokens for Luthier).
        packed: whether TRL packs examples into rows.
        compiled: whether the layers are compiled, before or in the first step.
        threads: of torch.
        profiled: whether the last step is profiled instead of timed (Luthier alone).
    """

    contender: str
    kind: Kind
    model: str
    examples: str
    batch: int
    steps: int
    learning_rate: float
    dtype: Literal["float32", "bfloat16"]
    micro_batch: int
    packed: bool = False
    compiled: bool = False
    threads: int
    profiled: bool = False


class Measurement(Record):
    """What it took.

    Attributes:
        losses: of each step, in nats per trained token.
        seconds: of each step.
        tokens: real tokens of each step, padding not counted.
        peak_bytes: the highest resident memory of the process.
        start_seconds: from the start of the process's work to the first step.
        where: shares of a step's time by kind of operation, where it was asked for.
    """

    losses: tuple[float, ...]
    seconds: tuple[float, ...]
    tokens: tuple[int, ...]
    peak_bytes: int
    start_seconds: float
    where: dict[str, float] = Field(default_factory=dict)

    @property
    def tokens_per_second(self) -> float:
        """Of all steps but the first."""
        return sum(self.tokens[1:]) / sum(self.seconds[1:])


Example = tuple[list[int], list[bool]]


def load_examples(case: Case) -> list[Example]:
    """Those of all its steps, in order."""
    rows = json.loads(Path(case.examples).read_text(encoding="utf-8"))
    return [(ids, trained) for ids, trained in rows[: case.batch * case.steps]]


def measurement(
    case: Case, rows: Sequence[Example], losses: Sequence[float], times: Sequence[float]
) -> Measurement:
    """From the times at the start, before the first step, and after each."""
    lengths = [len(ids) for ids, _ in rows]
    return Measurement(
        losses=tuple(losses),
        seconds=tuple(b - a for a, b in pairwise(times[1:])),
        tokens=tuple(
            sum(lengths[n * case.batch : (n + 1) * case.batch]) for n in range(case.steps)
        ),
        peak_bytes=_peak_bytes(),
        start_seconds=times[1] - times[0],
    )


def _peak_bytes() -> int:
    """The highest resident memory (Linux): getrusage would begin with that of the parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
