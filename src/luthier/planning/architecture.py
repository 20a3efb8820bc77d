"""A model as its ``config.json`` describes it: parameters, FLOPs, key/value cache; no weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from luthier.planning.blocks import Block
from luthier.planning.modules import Dropout, NoNorm, Norm
from luthier.planning.tape import Pass, Tape, Value, Weight, count


@dataclass(frozen=True, slots=True)
class Stack:
    """Layers one after the other, and a norm.

    Attributes:
        name: the name of the list of layers, such as ``model.layers``.
        layers: a block each; equal ones are the same object.
        norm_name: the name of the norm at the end.
        norm: that norm.
        dropout: after that norm.
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
        context: the longest sequence in tokens; 0 where there is no limit.
        embeddings: tables of tokens and positions, and what else is looked up.
        decoder: the stack that predicts.
        encoder: the stack that reads, in an encoder-decoder model.
        tied: whether the output layer shares the first table.
        head: the name of the output layer.
        head_bias: whether it has one.
        capped: whether logits pass through a soft cap.
        embedding_width: width of the token table where it differs from ``hidden``.
        embedding_dropout: on the embedded tokens.
        projections: from that width to ``hidden`` and back, where they differ.
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
        """Encoder and decoder, or the decoder alone."""
        return (self.encoder, self.decoder) if self.encoder else (self.decoder,)

    @property
    def layers(self) -> int:
        """Blocks of all stacks."""
        return sum(len(stack.layers) for stack in self.stacks)

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether there is an encoder."""
        return self.encoder is not None

    def weights(self) -> tuple[Weight, ...]:
        """Every parameter, tied ones once, named as in the model."""
        tape = Tape(Pass(1, 1, target_length=1), _Untrained())
        for stack in self.stacks:
            x = memory = Value(1, self.hidden, 2, False)
            for index, layer in enumerate(stack.layers):
                x = layer(tape, f"{stack.name}.{index}", x, memory)
            stack.norm(tape, stack.norm_name, x)
        return (*self.embeddings, *self.projection_weights(), *tape.weights, *self.head_weights())

    def projection_weights(self) -> tuple[Weight, ...]:
        """Between the width of the tables and that of the hidden state."""
        shapes = ((self.hidden, self.embedding_width), (self.embedding_width, self.hidden))
        return tuple(
            Weight(name, shape, "matrix")
            for name, shape in zip(self.projections, shapes, strict=False)
        )

    def head_weights(self) -> tuple[Weight, ...]:
        """What the output layer adds to the table it may share."""
        width = self.embedding_width or self.hidden
        own = () if self.tied else (Weight(self.head, (self.vocabulary, width), "output"),)
        bias = (Weight(self.head, (self.vocabulary,), "bias"),) if self.head_bias else ()
        return own + bias

    @property
    def parameters(self) -> int:
        """N: all parameters, tied ones once."""
        return _parameters(self)

    @property
    def non_embedding_parameters(self) -> int:
        """N without tables and without the output layer, as Kaplan et al. 2020 count (table 1)."""
        return self.parameters - count([*self.embeddings, *self.head_weights()])

    @property
    def active_parameters(self) -> int:
        """Parameters that one token uses; fewer than N only with experts."""
        return round(sum(weight.count * weight.active for weight in self.weights()))

    def kv_bytes_per_token(self, itemsize: int) -> int:
        """Bytes of keys and values of one decoder token, over all layers, cross-attention left out.

        2 · kv_heads · head_dim · itemsize a layer.
        """
        return sum(
            2 * layer.attentions[0].kv_heads * layer.attentions[0].head_dim * itemsize
            for layer in self.decoder.layers
        )

    def linears(self) -> Iterable[Weight]:
        """The matrices of linear layers but the output layer: what adapters are put on."""
        return (weight for weight in self.weights() if weight.kind == "matrix")


class _Untrained:
    """Nothing is trained."""

    def trains(self, weight: Weight) -> bool:
        return False

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        return out

    def fold(self, tape: Tape, weight: Weight, parts: tuple[str, ...]) -> bool:
        return False


@lru_cache(maxsize=256)
def _parameters(architecture: Architecture) -> int:
    """Counted once for each model: a search asks for it in every plan."""
    return count(architecture.weights())
