"""Generation with a causal model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial

from luthier.inference.local.budget import pass_cost_in_tokens
from luthier.inference.local.decoding import Rows
from luthier.inference.local.generator import Generator
from luthier.inference.local.reuse import Afresh, Reuse, ways_to_reuse
from luthier.models.cache_support import settled_length


class DecoderOnlyGenerator(Generator):
    """Generates token ids; see `Generator`."""

    def _start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], new_tokens: int
    ) -> Iterator[Rows]:
        """See `Generator._start`."""
        most = settled_length(self._model.config) - self._soft_prompt.length - new_tokens
        settled = [index for index in batch if len(prompts[index]) <= most]
        # In longer texts, RoPE frequencies change with every new token, and so do all keys.
        longer = [index for index in batch if len(prompts[index]) > most]
        cost = pass_cost_in_tokens(self._device)
        yield from self.way.start(prompts, settled, cost)
        yield from Afresh(self._conditioned).start(prompts, longer, cost)

    @cached_property
    def way(self) -> Reuse:
        """The fastest kind of reuse with the same results as whole texts.

        Raises:
            DataError: no kind has them, see `Trial`.
        """

        def agrees(way: Reuse) -> bool:
            return self._trial.agrees_step_by_step(partial(way.start, pass_cost=0))

        return self._trial.choose(ways_to_reuse(self._conditioned), agrees)
