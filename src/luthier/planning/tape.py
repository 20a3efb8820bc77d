"""A symbolic forward pass that records products and tensors kept for the backward pass.

A model is described by modules that mirror its code (`luthier.planning.modules`), and a `Tape`
records one pass through them. Parameters, FLOPs and activation memory then come from one
description and cannot disagree. Autograd's rules decide which tensors are kept:

* a product keeps its input if its weight is trained, and its weight if its input needs a gradient;
* a tensor kept by several operations counts once;
* nothing is kept where no gradient flows, such as below the first adapted layer.

Sizes are numbers, not formulas: a tape is made for one batch size and length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Protocol


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of the forward pass, compared by identity.

    Attributes:
        rows: tokens, or other rows.
        width: numbers per row.
        itemsize: bytes per number.
        grad: whether a gradient flows into it.
    """

    rows: int
    width: int
    itemsize: int
    grad: bool

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return self.rows * self.width * self.itemsize


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter.

    Attributes:
        name: the name in the model's state dict, without the suffix ``.weight`` or ``.bias``.
        shape: its shape.
        kind: ``matrix`` (of a linear layer), ``output`` (the matrix that gives logits), ``bias``,
            ``norm``, ``norm bias``, ``embedding``, or ``adapter`` (a parameter that a method adds).
        active: the share used by one token (experts).
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    active: float = 1.0

    @property
    def count(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def parameter(self) -> str:
        """The name in the model's state dict, including the suffix."""
        if self.kind in {"bias", "norm bias"}:
            return f"{self.name}.bias"
        # Stacked experts are parameters, not modules with a weight.
        return self.name if len(self.shape) > 2 else f"{self.name}.weight"


class Adaptation(Protocol):
    """The effect of a tuning method on a forward pass."""

    def trains(self, weight: Weight) -> bool:
        """Whether a parameter of the base model is trained."""

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """The output of a linear layer with the method's addition."""

    def fold(self, tape: Tape, weight: Weight, parts: tuple[str, ...]) -> bool:
        """Whether the method changes the stacked weights of experts, which recreates them.

        ``parts`` are their names in the method's targets.
        """


@dataclass(frozen=True, slots=True)
class Pass:
    """The size and arithmetic of one forward pass.

    Attributes:
        batch: number of sequences.
        length: tokens per sequence (of the encoder, if there is one).
        target_length: tokens per decoder sequence; 0 for a decoder-only model.
        itemsize: bytes per activation: 2 in 16-bit precision, otherwise 4.
        fused_attention: whether attention never materialises a T × T matrix (SDPA's flash kernels).
        padded: whether the batch has padding, so that attention needs an explicit mask.
        on_cpu: whether it runs on a CPU, whose kernels keep more with dropout.
        prefix: keys and values that a method prepends to each sequence in every layer.
        compiled: whether each layer is compiled, so that norms keep no float32 copy of their input
            and activation results are recomputed (approximately as in inductor).
    """

    batch: int
    length: int
    target_length: int = 0
    itemsize: int = 2
    fused_attention: bool = True
    padded: bool = False
    on_cpu: bool = False
    prefix: int = 0
    compiled: bool = False


@dataclass(slots=True)
class Tape:
    """The record of a forward pass through some modules.

    Attributes:
        step: size and arithmetic.
        method: the tuning method.
        weights: every parameter used, in order.
        added: parameters added by the method.
        flops: of all products with a weight (two per multiply-add).
        weight_gradient_flops: of the products for gradients of trained weights.
        input_gradient_flops: of the products that propagate the gradient.
        attention_flops: of the products of attention, without subtracting the causal half.
        kept: tensors kept for the backward pass.
        products: results of weight products and fused attention, kept by selective checkpointing.
        backward: peak bytes in the backward pass: tensors kept up to an operation, and its
            gradients.
        constants: bytes of kept tensors shared by all layers, by name.
        pointwise: results of activations.
    """

    step: Pass
    method: Adaptation
    weights: list[Weight] = field(default_factory=list)
    added: list[Weight] = field(default_factory=list)
    flops: float = 0.0
    weight_gradient_flops: float = 0.0
    input_gradient_flops: float = 0.0
    attention_flops: float = 0.0
    kept: dict[int, Value] = field(default_factory=dict)
    products: dict[int, Value] = field(default_factory=dict)
    backward: int = 0
    constants: dict[str, int] = field(default_factory=dict)
    pointwise: dict[int, Value] = field(default_factory=dict)

    @property
    def kept_bytes(self) -> int:
        """Bytes kept for the backward pass."""
        return sum(value.nbytes for value in self.kept.values())

    @property
    def product_bytes(self) -> int:
        """Bytes kept with selective checkpointing."""
        return sum(value.nbytes for value in self.products.values())

    def keep(self, *values: Value) -> None:
        """Keep tensors for the backward pass; repeated ones count once."""
        for value in values:
            if not (self.step.compiled and id(value) in self.pointwise):
                self.kept[id(value)] = value

    def parameter(self, weight: Weight) -> bool:
        """Record a parameter; True if it is trained."""
        self.weights.append(weight)
        return self.method.trains(weight)

    def new(self, x: Value, width: int, *, grad: bool | None = None, itemsize: int = 0) -> Value:
        """A new tensor with the rows of ``x``."""
        needs = x.grad if grad is None else grad
        return Value(x.rows, width, itemsize or x.itemsize, needs)

    def cast(self, x: Value, itemsize: int) -> Value:
        """``x`` in another precision; unchanged if it already has it."""
        return x if x.itemsize == itemsize else self.new(x, x.width, itemsize=itemsize)

    def linear(self, name: str, x: Value, out: int, *, bias: bool = False) -> Value:
        """A product with a weight ``[out, in]``, as the method changes it."""
        weight = Weight(name, (out, x.width), "matrix")
        trained = self.parameter(weight)
        bias_trained = bias and self.parameter(Weight(name, (out,), "bias"))
        result = self.product(x, out, trained=trained, grad=bias_trained)
        return self.method.adapt(self, weight, x, result)

    def product(self, x: Value, out: int, *, trained: bool, grad: bool = False) -> Value:
        """A product with a weight, trained or not; ``grad``: another factor needs a gradient."""
        flops = 2.0 * x.rows * x.width * out
        self.flops += flops
        self.weight_gradient_flops += flops * trained
        self.input_gradient_flops += flops * x.grad
        if trained:
            self.keep(x)
        result = self.new(x, out, grad=x.grad or trained or grad)
        if result.grad:
            self.products[id(result)] = result
            self.work(result, x)
        return result

    def elementwise(self, *inputs: Value) -> Value:
        """An elementwise product: each tensor is kept for the gradient of the others."""
        first = inputs[0]
        grad = any(value.grad for value in inputs)
        if len(inputs) > 1 and grad:
            needed = {id(v): v for v in inputs if any(o.grad for o in inputs if o is not v)}
            self.keep(*needed.values())
        result = self.new(first, first.width, grad=grad)
        self.work(result, *inputs)
        return result

    def add(self, x: Value, y: Value) -> Value:
        """A sum, which keeps nothing."""
        return self.new(x, x.width, grad=x.grad or y.grad, itemsize=max(x.itemsize, y.itemsize))

    def work(self, *gradients: Value) -> None:
        """Record gradients that exist together, when tensors kept later are already freed."""
        at_once = self.kept_bytes + sum(v.nbytes for v in gradients if v.grad)
        self.backward = max(self.backward, at_once)


def count(weights: Sequence[Weight]) -> int:
    """The number of elements in ``weights``; parameters with the same name count once."""
    return sum({(w.name, w.kind): w.count for w in weights}.values())
