"""What a way of reusing earlier passes is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import ClassVar

from luthier.inference.decoding import Rows

# Tokens that are computed together: enough to keep the arithmetic units busy.
PREFILL_TOKENS = 2048


class Reuse(ABC):
    """A way to read prompts and to go on token by token.

    Attributes:
        description: for people, what is reused.
    """

    description: ClassVar[str]

    @abstractmethod
    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """Read some prompts.

        Args:
            prompts: token ids.
            batch: which of them.
            pass_cost: how many tokens sharing must spare, see `merge_cheap_prefixes`.

        Yields:
            Rows that are answered together. Each is to be used up before the next is asked for.
        """


def of_one_length(
    prompts: Sequence[Sequence[int]], batch: Sequence[int], tokens: int = PREFILL_TOKENS
) -> Iterator[list[int]]:
    """The prompts of a batch in groups of one length and at most so many tokens, or of one."""
    alike: dict[int, list[int]] = defaultdict(list)
    for index in batch:
        alike[len(prompts[index])].append(index)
    for length, members in alike.items():
        count = max(1, tokens // length)
        for first in range(0, len(members), count):
            yield members[first : first + count]
