"""Streaming of an answer while it is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from luthier.config import Decoding
from luthier.inference.engine import Generation
from luthier.inference.local.decoding.stopping import Stopping
from luthier.inference.streaming import TextStream


class StreamedStopping(Stopping):
    """A `Stopping` that streams the text of the answer as it grows.

    Args:
        tokenizer, stop_ids, decoding: see `Stopping`.
        tell: receives the pieces.
    """

    def __init__(
        self,
        tokenizer: Any,
        stop_ids: frozenset[int],
        decoding: Decoding,
        tell: Callable[[str], object],
    ) -> None:
        super().__init__(tokenizer, stop_ids, decoding)
        self._stream = TextStream(tell, decoding.stop)

    def is_over(self, ids: Sequence[int]) -> bool:
        """See `Stopping.is_over`."""
        is_over = super().is_over(ids)
        if not is_over:
            self._stream.update(self.visible(ids))
        return is_over

    def generation(self, ids: Sequence[int]) -> Generation:
        """See `Stopping.generation`. The rest of the text is streamed."""
        generation = super().generation(ids)
        self._stream.finish(generation.text)
        return generation
