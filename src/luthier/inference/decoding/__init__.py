"""Decoding: how the tokens of an answer are chosen, a file a strategy, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.config import Beam, Greedy, Sampling, Strategy
from luthier.inference.decoding.base import Decoder, Rows
from luthier.inference.decoding.beam import BeamDecoder
from luthier.inference.decoding.sampling import SamplingDecoder
from luthier.inference.decoding.stepwise import GreedyDecoder
from luthier.inference.decoding.stopping import Stopping

__all__ = ["Decoder", "Rows", "Stopping", "decoder_for"]


def decoder_for(strategy: Strategy, prompts: Sequence[Sequence[int]]) -> Decoder:
    """What decodes as a strategy says."""
    match strategy:
        case Greedy():
            return GreedyDecoder()
        case Sampling():
            return SamplingDecoder(strategy, prompts)
        case Beam():
            return BeamDecoder(strategy)
