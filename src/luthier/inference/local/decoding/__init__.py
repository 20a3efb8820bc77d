"""Decoding strategies, one per file, and the rules that end an answer."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.config import Beam, Greedy, Sampling, Strategy
from luthier.inference.local.decoding.base import Decoder, Rows
from luthier.inference.local.decoding.beam import BeamDecoder
from luthier.inference.local.decoding.constraints import Constraints
from luthier.inference.local.decoding.sampling import SamplingDecoder
from luthier.inference.local.decoding.stepwise import GreedyDecoder
from luthier.inference.local.decoding.stopping import Stopping
from luthier.inference.local.decoding.streaming import StreamedStopping

__all__ = ["Constraints", "Decoder", "Rows", "Stopping", "StreamedStopping", "decoder_for"]


def decoder_for(
    strategy: Strategy, prompts: Sequence[Sequence[int]], constraints: Constraints
) -> Decoder:
    """The decoder for a strategy, with a model's constraints."""
    match strategy:
        case Greedy():
            return GreedyDecoder(constraints)
        case Sampling():
            return SamplingDecoder(constraints, strategy, prompts)
        case Beam():
            return BeamDecoder(constraints, strategy)
