"""A model described by its ``config.json``: parameters, FLOPs, KV cache; no weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from luthier.planning.blocks import Block
from luthier.planning.modules import Dropout, NoNorm, Norm
from luthier.planning.tape import Pass, Tape, Value, Weight, count


@dataclass(frozen=True, slots=True)
class Stack:
    """A sequence of layers followed by a norm.

    Attributes:
        name: the name of the list of layers, such as ``model.layers``.
        layers: one block each; equal blocks are the same object.
        norm_name: the name of the final norm.
        norm: the final norm.
        dropout: applied after the norm.
    """

    name: str
    layers: tuple[Block, ...]
    norm_name: str
    norm: Norm = NoNorm()
    dropout: Dropout = Dropout()


@dataclass(frozen=True, slots=True, eq=False)
class Architecture:
    """A model's structure.

    Attributes:
        family: the ``model_type`` of its configuration.
        hidden: width of the hidden state.
        vocabulary: rows of the embedding.
        context: maximum sequence length in tokens; 0: unlimited.
        embeddings: token, position and other embedding tables.
        decoder: the decoder stack.
        encoder: the encoder stack of an encoder-decoder model.
        tied: whether the output layer shares the token embedding.
        head: the name of the output layer.
        head_bias: whether the output layer has a bias.
        capped: whether logits pass through a soft cap.
        embedding_width: width of the token embedding, if it differs from ``hidden``.
        embedding_dropout: applied to the embedded tokens.
        projections: from that width to ``hidden`` and back, if they differ.
    """

    family: str
    hidden: int
    vocabulary: int
    context: int
    embeddings: tuple[Weight, ...]
    decoder: Stack
    encoder: Stack | None = None
    tied: bool = True
    head: str = "lm_head"
    head_bias: bool = False
    capped: bool = False
    embedding_width: int = 0
    embedding_dropout: Dropout = Dropout()
    projections: tuple[str, ...] = ()

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """Encoder and decoder, or the decoder only."""
        return (self.encoder, self.decoder) if self.encoder else (self.decoder,)

    @property
    def layers(self) -> int:
        """Number of layers in all stacks."""
        return sum(len(stack.layers) for stack in self.stacks)

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether there is an encoder."""
        return self.encoder is not None

    def weights(self) -> tuple[Weight, ...]:
        """Every parameter, with its name in the model; tied ones once."""
        tape = Tape(Pass(1, 1, target_length=1), _Untrained())
        for stack in self.stacks:
            x = memory = Value(1, self.hidden, 2, False)
            for index, layer in enumerate(stack.layers):
                x = layer(tape, f"{stack.name}.{index}", x, memory)
            stack.norm(tape, stack.norm_name, x)
        return (*self.embeddings, *self.projection_weights(), *tape.weights, *self.head_weights())

    def projection_weights(self) -> tuple[Weight, ...]:
        """The projections between the embedding width and the hidden width."""
        shapes = ((self.hidden, self.embedding_width), (self.embedding_width, self.hidden))
        return tuple(
            Weight(name, shape, "matrix")
            for name, shape in zip(self.projections, shapes, strict=False)
        )

    def head_weights(self) -> tuple[Weight, ...]:
        """The parameters of the output layer that are not shared with the token embedding."""
        width = self.embedding_width or self.hidden
        own = () if self.tied else (Weight(self.head, (self.vocabulary, width), "output"),)
        bias = (Weight(self.head, (self.vocabulary,), "bias"),) if self.head_bias else ()
        return own + bias

    @property
    def parameters(self) -> int:
        """N: the number of parameters, tied ones once."""
        return _parameters(self)

    @property
    def non_embedding_parameters(self) -> int:
        """N without embeddings and output layer, as counted by Kaplan et al. 2020 (table 1)."""
        return self.parameters - count([*self.embeddings, *self.head_weights()])

    @property
    def active_parameters(self) -> int:
        """The number of parameters used per token; below N only with experts."""
        return round(sum(weight.count * weight.active for weight in self.weights()))

    def kv_bytes_per_token(self, itemsize: int) -> int:
        """Bytes of the decoder's KV cache per token, over all layers, without cross-attention.

        2 · kv_heads · head_dim · itemsize per layer.
        """
        return sum(
            2 * layer.attentions[0].kv_heads * layer.attentions[0].head_dim * itemsize
            for layer in self.decoder.layers
        )

    def linears(self) -> Iterable[Weight]:
        """The matrices of linear layers except the output layer: the targets of adapters."""
        return (weight for weight in self.weights() if weight.kind == "matrix")


class _Untrained:
    """A method that trains nothing."""

    def trains(self, weight: Weight) -> bool:
        return False

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        return out

    def fold(self, tape: Tape, weight: Weight, parts: tuple[str, ...]) -> bool:
        return False


@lru_cache(maxsize=256)
def _parameters(architecture: Architecture) -> int:
    """The number of parameters, cached because a search needs it for every plan."""
    return count(architecture.weights())
