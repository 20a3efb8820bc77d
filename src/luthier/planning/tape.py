"""A symbolic forward pass: what it multiplies, and what it keeps for the backward pass.

A model is described by modules that mirror its code (`luthier.planning.modules`), and a `Tape`
records what one pass through them does. Parameters, FLOPs and the memory of activations then come
from one description, instead of a formula each that can disagree. Autograd's own rules decide what
is kept:

* a product keeps its input if its weight is trained, and its weight if its input needs a gradient;
* a tensor that is kept twice is kept once;
* nothing is kept where no gradient flows, such as below the first adapted layer.

Sizes are numbers, not formulas: a tape is made for one batch and length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Protocol


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of the forward pass, known by identity.

    Attributes:
        rows: tokens, or rows of whatever it is.
        width: numbers in a row.
        itemsize: bytes of a number.
        grad: whether a gradient flows into it.
    """

    rows: int
    width: int
    itemsize: int
    grad: bool

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self.rows * self.width * self.itemsize


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter.

    Attributes:
        name: as in the model's own state dict, without the suffix ``.weight`` or ``.bias``.
        shape: its shape.
        kind: ``matrix`` (of a linear layer), ``output`` (the matrix that gives logits), ``bias``,
            ``norm``, ``norm bias``, ``embedding``, or ``adapter`` (a parameter that a method adds).
        active: the share of it that one token uses (experts).
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    active: float = 1.0

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def parameter(self) -> str:
        """Its name in the model's own state dict, suffix included."""
        if self.kind in {"bias", "norm bias"}:
            return f"{self.name}.bias"
        # Stacked experts are parameters themselves, not modules with a weight.
        return self.name if len(self.shape) > 2 else f"{self.name}.weight"


class Adaptation(Protocol):
    """What a tuning method changes in a forward pass."""

    def trains(self, weight: Weight) -> bool:
        """Whether a parameter of the base model is trained."""

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """The output of a linear layer with what the method adds to it."""

    def fold(self, tape: Tape, weight: Weight, parts: tuple[str, ...]) -> bool:
        """Whether the method adds to the stacked weights of experts, so that they are made anew.

        ``parts`` are the names by which the method's targets know them.
        """


@dataclass(frozen=True, slots=True)
class Pass:
    """The size and arithmetic of one forward pass.

    Attributes:
        batch: sequences.
        length: tokens of each (of the encoder, if there is one).
        target_length: tokens of each decoder sequence; 0 for a decoder-only model.
        itemsize: bytes of a number in the activations: 2 in 16-bit precision, otherwise 4.
        fused_attention: whether attention never holds a T × T matrix (SDPA's flash kernels).
        padded: whether the batch has padding, and attention an explicit mask.
        on_cpu: whether it runs on a CPU, whose kernels keep more where there is dropout.
        prefix: keys and values that a method puts before each sequence in every layer.
        compiled: whether each layer is compiled, so that norms keep no float32 copy of their input
            and an activation's result is computed again (approximately what inductor does).
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
    """What a forward pass through some modules does.

    Attributes:
        step: size and arithmetic.
        method: the tuning method.
        weights: every parameter that was used, in order.
        added: parameters that the method added.
        flops: multiply-adds times two of all products with a weight.
        weight_gradient_flops: of the products that give trained weights their gradients.
        input_gradient_flops: of the products that pass the gradient on.
        attention_flops: of the products of attention, the causal half not taken off.
        kept: tensors kept for the backward pass.
        products: what products with weights and fused attention gave, which selective checkpointing
            keeps.
        backward: the most that is there at once in the backward pass: what is kept up to an
            operation, and the gradients of that; bytes.
        constants: bytes of kept tensors that all layers share, by name.
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
        """Bytes of what selective checkpointing keeps."""
        return sum(value.nbytes for value in self.products.values())

    def keep(self, *values: Value) -> None:
        """Keep tensors for the backward pass; the same one is kept once."""
        for value in values:
            if not (self.step.compiled and id(value) in self.pointwise):
                self.kept[id(value)] = value

    def parameter(self, weight: Weight) -> bool:
        """Note a parameter, and say whether it is trained."""
        self.weights.append(weight)
        return self.method.trains(weight)

    def new(self, x: Value, width: int, *, grad: bool | None = None, itemsize: int = 0) -> Value:
        """A tensor with the rows of ``x``."""
        needs = x.grad if grad is None else grad
        return Value(x.rows, width, itemsize or x.itemsize, needs)

    def cast(self, x: Value, itemsize: int) -> Value:
        """``x`` in another precision; itself, where it already has it."""
        return x if x.itemsize == itemsize else self.new(x, x.width, itemsize=itemsize)

    def linear(self, name: str, x: Value, out: int, *, bias: bool = False) -> Value:
        """A product with a weight ``[out, in]``, as the method changes it."""
        weight = Weight(name, (out, x.width), "matrix")
        trained = self.parameter(weight)
        bias_trained = bias and self.parameter(Weight(name, (out,), "bias"))
        result = self.product(x, out, trained=trained, grad=bias_trained)
        return self.method.adapt(self, weight, x, result)

    def product(self, x: Value, out: int, *, trained: bool, grad: bool = False) -> Value:
        """A product with a weight that is trained or not; ``grad``: something else in it is."""
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
        """A product of tensors, number by number: each is kept for the gradient of the others."""
        first = inputs[0]
        grad = any(value.grad for value in inputs)
        if len(inputs) > 1 and grad:
            needed = {id(v): v for v in inputs if any(o.grad for o in inputs if o is not v)}
            self.keep(*needed.values())
        result = self.new(first, first.width, grad=grad)
        self.work(result, *inputs)
        return result

    def add(self, x: Value, y: Value) -> Value:
        """A sum: nothing is kept."""
        return self.new(x, x.width, grad=x.grad or y.grad, itemsize=max(x.itemsize, y.itemsize))

    def work(self, *gradients: Value) -> None:
        """Note gradients that exist together: then what was kept later is freed already."""
        at_once = self.kept_bytes + sum(v.nbytes for v in gradients if v.grad)
        self.backward = max(self.backward, at_once)


def count(weights: Sequence[Weight]) -> int:
    """Numbers in all of ``weights``; what appears twice under one name counts once."""
    return sum({(w.name, w.kind): w.count for w in weights}.values())
