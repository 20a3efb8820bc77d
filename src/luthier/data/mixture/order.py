"""The order of the examples of a mixture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice
from typing import NamedTuple

from luthier.data.mixture.draws import DrawOrder

GENERAL = "general text"
"""The name of the source of general texts that are replayed."""
_FEWEST = 4096


class Sources(NamedTuple):
    """The sources of a training, whose examples are numbered source by source.

    Attributes:
        names: their names.
        sizes: the number of examples of each.
        rates: their shares of the draws.
        num_draws: the draws of an epoch.
        may_repeat: whether few draws come in more than one epoch by default.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    rates: tuple[float, ...]
    num_draws: int
    may_repeat: bool = True

    @property
    def quotas(self) -> tuple[int, ...]:
        """The number of draws of each source in an epoch, rounded."""
        return tuple(round(rate * self.num_draws) for rate in self.rates)

    @property
    def num_general(self) -> int:
        """The number of general texts."""
        return dict(zip(self.names, self.sizes, strict=True)).get(GENERAL, 0)

    @property
    def num_replayed(self) -> int:
        """The number of general texts drawn in an epoch."""
        return dict(zip(self.names, self.quotas, strict=True)).get(GENERAL, 0)


def with_replay(num_examples: int, num_general: int, share: float) -> Sources | None:
    """The examples as one source and general texts as another; None: nothing is replayed.

    Args:
        num_examples: the number of training examples, all of which an epoch has.
        num_general: the number of general texts.
        share: the share of general texts among the draws.
    """
    if not num_general:
        return None
    general = round(num_examples * share / (1 - share))
    draws = num_examples + general
    sizes, rates = (num_examples, num_general), (num_examples / draws, general / draws)
    return Sources(("task", GENERAL), sizes, rates, draws)


@dataclass(frozen=True, slots=True)
class MixtureOrder:
    """The examples of each step of a mixture: the next draws.

    A further epoch goes on with further draws, so the sources stay at their rates throughout.

    Attributes:
        draws: the draws.
        num_draws: the draws of an epoch.
        batch_size: draws per step.
        may_repeat: as in `Sources`.
    """

    draws: DrawOrder
    num_draws: int
    batch_size: int
    may_repeat: bool = True

    @property
    def num_examples(self) -> int:
        """The number of examples in all sources."""
        return sum(self.draws.sizes)

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps per epoch."""
        return -(-self.num_draws // self.batch_size)

    def total_steps(self, epochs: float) -> int:
        """Number of optimizer steps in ``epochs`` epochs, at least one."""
        return max(1, round(epochs * self.steps_per_epoch))

    def step(self, step: int) -> list[int]:
        """Indices of the examples in step ``step`` (counted from 0)."""
        start, end = step * self.batch_size, (step + 1) * self.batch_size
        count = max(_FEWEST, 1 << (end - 1).bit_length())  # doubled, so that the cost is linear
        return list(_indices(self.draws, count)[start:end])


@lru_cache(maxsize=4)
def _indices(draws: DrawOrder, count: int) -> tuple[int, ...]:
    """The indices of the first ``count`` draws among the examples of all sources."""
    starts = [0, *accumulate(draws.sizes)]
    return tuple(starts[one.source] + one.example for one in islice(draws.draws(), count))
