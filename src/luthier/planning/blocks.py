"""Transformer blocks: combinations of attention, MLP, norms and residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from luthier.planning.attention import Attention
from luthier.planning.modules import Dropout, Mlp, NoNorm, Norm
from luthier.planning.tape import Tape, Value


class Block(Protocol):
    """A layer of a stack."""

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """The attention modules, whose keys and values are cached during generation."""

    def __call__(self, tape: Tape, name: str, x: Value, memory: Value | None) -> Value:
        """The hidden state after the block; ``memory`` is the encoder's output."""


@dataclass(frozen=True, slots=True)
class SubLayer:
    """x + dropout(after(inner(norm(x)))).

    Attributes:
        norm_name: the name of the input norm.
        norm: the norm before the inner module.
        inner_name: the name of the inner module.
        inner: attention or an MLP.
        after_name: the name of the output norm.
        after: the norm of the output.
        dropout: applied to the output.
        crosses: whether it attends to the encoder's output.
        norm_last: whether the first norm follows the sum instead (post-norm).
    """

    norm_name: str
    norm: Norm
    inner_name: str
    inner: Attention | Mlp
    after_name: str = ""
    after: Norm = NoNorm()
    dropout: Dropout = Dropout()
    crosses: bool = False
    norm_last: bool = False

    def __call__(self, tape: Tape, name: str, x: Value, memory: Value | None) -> Value:
        """The hidden state after the sub-layer."""
        norm_name = f"{name}.{self.norm_name}"
        normed = x if self.norm_last else self.norm(tape, norm_name, x)
        inner_name = f"{name}.{self.inner_name}".rstrip(".")
        if isinstance(self.inner, Attention):
            out = self.inner(tape, inner_name, normed, memory if self.crosses else None)
        else:
            out = self.inner(tape, inner_name, normed)
        out = self.dropout(tape, self.after(tape, f"{name}.{self.after_name}", out))
        total = tape.add(x, out)
        return self.norm(tape, norm_name, total) if self.norm_last else total


@dataclass(frozen=True, slots=True)
class SequentialBlock:
    """Sub-layers in sequence."""

    parts: tuple[SubLayer, ...]

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """See `Block`."""
        return tuple(part.inner for part in self.parts if isinstance(part.inner, Attention))

    def __call__(self, tape: Tape, name: str, x: Value, memory: Value | None) -> Value:
        """See `Block`."""
        for part in self.parts:
            x = part(tape, name, x, memory)
        return x


@dataclass(frozen=True, slots=True)
class ParallelBlock:
    """x + attention(norm(x)) + mlp(norm(x)), computed from the same input (GPT-J, GPT-NeoX, Phi).

    Attributes:
        norm_names: one name if both use the same norm, two if each has its own.
    """

    norm: Norm
    norm_names: tuple[str, ...]
    attention_name: str
    attention: Attention
    mlp: Mlp
    dropout: Dropout = Dropout()

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """See `Block`."""
        return (self.attention,)

    def __call__(self, tape: Tape, name: str, x: Value, memory: Value | None) -> Value:
        """See `Block`."""
        normed = [self.norm(tape, f"{name}.{norm}", x) for norm in self.norm_names]
        attended = self.attention(tape, f"{name}.{self.attention_name}", normed[0])
        fed = self.mlp(tape, f"{name}.mlp", normed[-1])
        both = tape.add(self.dropout(tape, attended), self.dropout(tape, fed))
        return tape.add(both, x)
