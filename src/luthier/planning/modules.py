"""Modules of models, as recorded on a `Tape`.

Each mirrors the forward pass of its counterpart in transformers, so it keeps for the backward pass
what autograd keeps. The tests compare every family with real tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from luthier.planning.tape import Tape, Value, Weight

_FLOAT = 4
_INDEX = 8

# Tensors of its input's width that an activation keeps in addition, and how many of them are its
# own result. Transformers composes "gelu_new" of five operations; the others are one.
_KEPT_BY_ACTIVATION: Mapping[str, int] = {
    "gelu_new": 3,
    "gelu_fast": 6,
    "quick_gelu": 1,
}


class Norm(Protocol):
    """A normalisation."""

    def __call__(self, tape: Tape, name: str, x: Value) -> Value:
        """The normalised tensor."""


class Mlp(Protocol):
    """A feed-forward module."""

    def __call__(self, tape: Tape, name: str, x: Value) -> Value:
        """The output of the module."""


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """x / rms(x) · weight, computed in float32 (Zhang and Sennrich 2019, arXiv 1910.07467).

    Attributes:
        scaled_in_float: whether the weight is applied before casting back (OLMo 2).
        shifted: whether the weight is applied as 1 + weight, in float32 too (Gemma).
    """

    scaled_in_float: bool = False
    shifted: bool = False

    def __call__(self, tape: Tape, name: str, x: Value) -> Value:
        """Keep the float32 input, and the normalised value if the weight is trained."""
        trained = tape.parameter(Weight(name, (x.width,), "norm"))
        in_float = self.scaled_in_float or self.shifted
        source = x if tape.step.compiled else tape.cast(x, _FLOAT)
        if x.grad:
            tape.keep(source, Value(x.rows, 1, _FLOAT, False))
        if x.grad and self.shifted:
            tape.keep(Value(1, x.width, _FLOAT, False))
        if trained:
            tape.keep(tape.new(x, x.width, itemsize=_FLOAT if in_float else x.itemsize))
        tape.work(source, source)
        return tape.new(x, x.width, grad=x.grad or trained)


@dataclass(frozen=True, slots=True)
class T5Norm:
    """T5's norm: it scales the input itself, so a 16-bit input is kept beside its float32 copy."""

    def __call__(self, tape: Tape, name: str, x: Value) -> Value:
        """Keep the input in both precisions, and the normalised value if the weight is trained."""
        trained = tape.parameter(Weight(name, (x.width,), "norm"))
        if x.grad:
            tape.keep(x, tape.cast(x, _FLOAT), Value(x.rows, 1, _FLOAT, False))
        if trained:
            tape.keep(tape.new(x, x.width))
        return tape.new(x, x.width, grad=x.grad or trained)


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """(x - mean) / std · weight + bias, fused (Ba et al. 2016, arXiv 1607.06450)."""

    bias: bool = True

    def __call__(self, tape: Tape, name: str, x: Value) -> Value:
        """Keep the input and two statistics per row."""
        trained = tape.parameter(Weight(name, (x.width,), "norm"))
        if self.bias:
            trained = tape.parameter(Weight(name, (x.width,), "norm bias")) or trained
        if x.grad or trained:
            tape.keep(x, Value(x.rows, 2, x.itemsize, False))
        return tape.new(x, x.width, grad=x.grad or trained)


@dataclass(frozen=True, slots=True)
class NoNorm:
    """The identity, for blocks without a norm in this place."""

    def __call__(self, tape: Tape, name: str, x: Value) -> Value:
        """The input unchanged."""
        return x


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout (Srivastava et al. 2014); the identity if the rate is zero."""

    rate: float = 0.0

    def __call__(self, tape: Tape, x: Value) -> Value:
        """Keep the mask: a byte per number on a GPU, a number of the input's dtype on a CPU."""
        if not self.rate:
            return x
        if x.grad:
            tape.keep(Value(x.rows, x.width, x.itemsize if tape.step.on_cpu else 1, False))
        return tape.new(x, x.width)


@dataclass(frozen=True, slots=True)
class Activation:
    """A pointwise activation."""

    name: str

    def __call__(self, tape: Tape, x: Value) -> Value:
        """Keep the input, or for ReLU the result; composed activations keep more."""
        result = tape.new(x, x.width)
        if x.grad:
            tape.keep(result if self.name == "relu" else x)
            tape.keep(*(tape.new(x, x.width) for _ in range(_KEPT_BY_ACTIVATION.get(self.name, 0))))
            tape.work(result, x)
        tape.pointwise[id(result)] = result
        return result


@dataclass(frozen=True, slots=True)
class PlainMlp:
    """Two projections with an activation in between (Vaswani et al. 2017, section 3.3)."""

    hidden: int
    intermediate: int
    activation: Activation
    up: str
    down: str
    bias: bool = True
    inner_dropout: Dropout = Dropout()

    def __call__(self, tape: Tape, name: str, x: Value) -> Value:
        """See `Mlp`."""
        inner = tape.linear(f"{name}.{self.up}", x, self.intermediate, bias=self.bias)
        inner = self.inner_dropout(tape, self.activation(tape, inner))
        return tape.linear(f"{name}.{self.down}", inner, self.hidden, bias=self.bias)


@dataclass(frozen=True, slots=True)
class GatedMlp:
    """activation(x · gate) · (x · up) · down (Shazeer 2020, arXiv 2002.05202).

    Attributes:
        gate: the name of the gate, or with an empty ``up`` of the fused gate-up projection.
    """

    hidden: int
    intermediate: int
    activation: Activation
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    inner_dropout: Dropout = Dropout()
    bias: bool = False

    def __call__(self, tape: Tape, name: str, x: Value) -> Value:
        """See `Mlp`."""
        if self.up:
            gate = tape.linear(f"{name}.{self.gate}", x, self.intermediate, bias=self.bias)
            gate = self.activation(tape, gate)
            if x.grad:  # kept for the product below, and alive while the other projection runs
                tape.keep(gate)
            up = tape.linear(f"{name}.{self.up}", x, self.intermediate, bias=self.bias)
        else:
            both = tape.linear(f"{name}.{self.gate}", x, 2 * self.intermediate, bias=self.bias)
            gate = self.activation(tape, tape.new(both, self.intermediate))
            up = tape.new(both, self.intermediate)
        inner = tape.elementwise(gate, up)
        inner = self.inner_dropout(tape, inner)
        return tape.linear(f"{name}.{self.down}", inner, self.hidden, bias=self.bias)


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of gated MLPs; a router selects some of them for each token.

    Fedus et al. 2021 (arXiv 2101.03961). The weights of all experts are stacked in two tensors, and
    tokens are sorted by expert.

    Attributes:
        number: the number of experts.
        chosen: experts per token.
        parts: the names of gate, up and down projections for a method's targets; empty where peft
            does not adapt experts and router.
        normalised: whether the scores of the selected experts are normalised to sum to one.
        float_scores: whether scores stay float32.
        shared: an additional MLP used by every token, if any.
    """

    hidden: int
    intermediate: int
    number: int
    chosen: int
    activation: Activation
    parts: tuple[str, ...] = ()
    normalised: bool = False
    float_scores: bool = False
    shared: GatedMlp | None = None

    def __call__(self, tape: Tape, name: str, x: Value) -> Value:
        """Keep the tensors of the selected experts, for each token once per expert."""
        scores = self._route(tape, f"{name}.gate", x)
        result = self._experts(tape, f"{name}.experts", x, scores)
        if not self.shared:
            return result
        out = self.shared(tape, f"{name}.shared_expert", x)
        gate = tape.linear(f"{name}.shared_expert_gate", x, 1)
        if gate.grad:
            tape.keep(gate := tape.new(gate, 1))  # the sigmoid keeps its result
        return tape.add(result, tape.elementwise(out, gate))

    def _route(self, tape: Tape, name: str, x: Value) -> Value:
        """The scores of the selected experts: softmax in float32, then top-k."""
        weight = Weight(name, (self.number, self.hidden), "matrix")
        logits = self._product(tape, weight, x, ("gate",))
        itemsize = _FLOAT if self.float_scores else x.itemsize
        if logits.grad:
            tape.keep(tape.new(logits, self.number, itemsize=_FLOAT))
            tape.keep(tape.new(logits, self.chosen, itemsize=_INDEX))
        if logits.grad and self.normalised:
            tape.keep(tape.new(logits, 1, itemsize=_FLOAT))
            tape.keep(tape.new(logits, self.chosen, itemsize=_FLOAT))
        return Value(x.rows * self.chosen, 1, itemsize, logits.grad)

    def _experts(self, tape: Tape, name: str, x: Value, scores: Value) -> Value:
        """The outputs of the selected experts, weighted by their scores and summed."""
        share = self.chosen / self.number
        up_shape = (self.number, 2 * self.intermediate, self.hidden)
        down_shape = (self.number, self.hidden, self.intermediate)
        routed = Value(x.rows * self.chosen, x.width, x.itemsize, x.grad)
        for sorted_by_expert in (routed, scores):
            if sorted_by_expert.grad:
                tape.keep(tape.new(routed, 1, itemsize=_INDEX))
        up_weight = Weight(f"{name}.gate_up_proj", up_shape, "matrix", share)
        both = self._product(tape, up_weight, routed, self.parts[:2])
        gate, up = (tape.new(both, self.intermediate) for _ in range(2))
        inner = tape.elementwise(self.activation(tape, gate), up)
        down_weight = Weight(f"{name}.down_proj", down_shape, "matrix", share)
        out = self._product(tape, down_weight, inner, self.parts[2:])
        if out.grad:  # the boundaries of each expert's tokens
            tape.keep(Value(self.number, 1, 4, False))
        weighted = tape.elementwise(out, scores)
        if weighted.grad:  # the token order before sorting
            tape.keep(tape.new(weighted, 1, itemsize=_INDEX))
        return Value(x.rows, self.hidden, x.itemsize, weighted.grad)

    def _product(self, tape: Tape, weight: Weight, x: Value, parts: tuple[str, ...]) -> Value:
        """A product with stacked matrices, one per expert, or with the router's matrix."""
        trained = tape.parameter(weight)
        folded = bool(self.parts) and tape.method.fold(tape, weight, parts)
        if folded and x.grad:
            tape.keep(Value(1, weight.count, x.itemsize, False))
        return tape.product(x, weight.shape[-2], trained=trained or folded)
