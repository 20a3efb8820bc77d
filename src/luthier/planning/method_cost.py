"""Trained and added parameters of each tuning method, and their cost in a forward pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from luthier.core.targets import ALL_LINEAR, Names, Selection, ends_with
from luthier.planning.tape import Adaptation, Tape, Value, Weight

_FLOAT = 4


class Tuning(Adaptation, Protocol):
    """A tuning method. Equal methods have the same hash, so that a pass is traced once for them."""

    def __hash__(self) -> int: ...

    @property
    def virtual_tokens(self) -> int:
        """Number of tokens prepended to every sequence."""

    @property
    def prefix(self) -> int:
        """Number of keys and values prepended to every sequence in every layer."""

    @property
    def input_grad(self) -> bool:
        """Whether a gradient flows into the embedded input."""

    def layer_key(self, name: str) -> object:
        """A key that is equal for layers that are treated alike."""

    def prompt_weights(self, hidden: int, kv_widths: tuple[int, ...]) -> tuple[Weight, ...]:
        """Parameters outside of layers, such as a soft prompt."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """The frozen base model: the foundation of adapters."""

    @property
    def virtual_tokens(self) -> int:
        """0."""
        return 0

    @property
    def prefix(self) -> int:
        """0."""
        return 0

    @property
    def input_grad(self) -> bool:
        """False: the input is not trained."""
        return False

    def trains(self, weight: Weight) -> bool:
        """False."""
        return False

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """The output unchanged."""
        return out

    def fold(self, tape: Tape, weight: Weight, parts: tuple[str, ...]) -> bool:
        """False: nothing is added."""
        return False

    def layer_key(self, name: str) -> object:
        """The same key for all layers."""
        return None

    def prompt_weights(self, hidden: int, kv_widths: tuple[int, ...]) -> tuple[Weight, ...]:
        """Empty."""
        return ()


@dataclass(frozen=True, slots=True)
class Full(Frozen):
    """Full fine-tuning: every parameter is trained."""

    @property
    def input_grad(self) -> bool:
        """True: the embedding is trained."""
        return True

    def trains(self, weight: Weight) -> bool:
        """True."""
        return True


@dataclass(frozen=True, slots=True)
class Selective(Frozen):
    """Training of parameters of some kinds (BitFit, Ben Zaken et al. 2022, 2106.10199; norms)."""

    kinds: tuple[str, ...]

    def trains(self, weight: Weight) -> bool:
        """Whether the parameter is of a selected kind."""
        return weight.kind in self.kinds


@dataclass(frozen=True, slots=True)
class LastLayers(Frozen):
    """Training of the layers from ``first`` on and the final norm."""

    first: int

    def trains(self, weight: Weight) -> bool:
        """Whether the parameter is in the last layers or norm (of the decoder, with an encoder)."""
        if weight.name.startswith("encoder."):
            return False
        layer = _layer(weight.name)
        if layer is None:
            return weight.kind not in {"embedding", "output"}
        return layer >= self.first

    def layer_key(self, name: str) -> object:
        """Whether the layer is among the last ones."""
        layer = _layer(name)
        return layer is not None and layer >= self.first and not name.startswith("encoder.")


@dataclass(frozen=True, slots=True)
class OnLinears(Frozen):
    """A method that adds parameters to the targeted linear layers; see `Selection`."""

    targets: Names = ALL_LINEAR
    exclude: Names = ()
    itemsize: int = _FLOAT
    layers: tuple[int, ...] = ()

    @property
    def selection(self) -> Selection:
        """The targeted layers."""
        return Selection(self.targets, self.exclude, self.layers)

    def is_target(self, weight: Weight) -> bool:
        """Whether this layer is adapted; all-linear excludes the output layer."""
        return self.selection.takes(weight.name)

    def layer_key(self, name: str) -> object:
        """The layer's name if targets can tell layers apart, otherwise one key for all."""
        return name if self.selection.tells_layers_apart else None


@dataclass(frozen=True, slots=True)
class Lora(OnLinears):
    """x·W + s·(x·A)·B (Hu et al. 2021, arXiv 2106.09685); rsLoRA differs only in s.

    Adapters are float32 on a 16-bit base, as in peft, so each adapted layer keeps a float32 copy of
    its input.
    """

    rank: int = 8
    dropout: float = 0.0

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """The output with an update of ``rank · (in + out)`` parameters."""
        if not self.is_target(weight):
            return out
        tape.added.append(Weight(f"{weight.name}.lora_A", (self.rank, x.width), "adapter"))
        tape.added.append(Weight(f"{weight.name}.lora_B", (out.width, self.rank), "adapter"))
        source = tape.cast(x, self.itemsize)
        if self.dropout:
            if x.grad:
                mask = self.itemsize if tape.step.on_cpu else 1
                tape.keep(Value(x.rows, x.width, mask, False))
            source = tape.new(source, source.width)
        low = tape.product(source, self.rank, trained=True)
        update = tape.product(low, out.width, trained=True)
        # Forward: the update is scaled and added to the output before rounding. Backward: their
        # gradients.
        tape.work(update, update, *([update] if source is not x else []), out)
        return tape.new(out, out.width, grad=True)

    def fold(self, tape: Tape, weight: Weight, parts: tuple[str, ...]) -> bool:
        """Whether experts are adapted: ``rank · (in + out)`` parameters per expert and part.

        Peft computes W + s·B·A for all experts in every pass, as large as W, from factors in the
        precision of W; its gradient has the same size.
        """
        container = weight.name.rpartition(".")[0]
        named = any(self.selection.takes(f"{container}.{part}") for part in parts)
        if not named or self.selection.excludes(container):
            return False
        experts, outputs, inputs = (1, *weight.shape)[-3:]
        rank = self.rank * len(parts) * experts
        factors = {"lora_A": (rank, inputs), "lora_B": (outputs, rank)}
        for name, shape in factors.items():
            tape.added.append(Weight(f"{weight.name}.{name}", shape, "adapter"))
            if experts > 1 and tape.step.itemsize != self.itemsize:
                tape.keep(Value(*shape, tape.step.itemsize, False))
        merging = 2.0 * self.rank * len(parts) * weight.count
        tape.flops += merging
        tape.weight_gradient_flops += 2 * merging
        tape.work(Value(1, weight.count, tape.step.itemsize, True))
        return True


@dataclass(frozen=True, slots=True)
class Dora(Lora):
    """LoRA with separately trained column magnitudes (Liu et al. 2024, arXiv 2402.09353)."""

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """The LoRA output with a magnitude per output feature; keeps the outputs it scales."""
        if not self.is_target(weight):
            return out
        adapted = Lora.adapt(self, tape, weight, x, out)
        tape.added.append(Weight(f"{weight.name}.magnitude", (out.width,), "adapter"))
        tape.keep(tape.new(out, out.width, itemsize=self.itemsize))
        tape.keep(tape.new(out, out.width, itemsize=self.itemsize))
        rows, columns = weight.shape
        tape.work(
            Value(rows, columns, self.itemsize, True), Value(rows, columns, self.itemsize, True)
        )
        return adapted

    fold = OnLinears.fold  # peft's DoRA does not adapt stacked experts


@dataclass(frozen=True, slots=True)
class Adalora(Lora):
    """LoRA with a trained factor per direction (Zhang et al. 2023, arXiv 2303.10512)."""

    rank: int = 12

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """The LoRA output with a factor per direction; keeps the scaled directions."""
        if not self.is_target(weight):
            return out
        adapted = Lora.adapt(self, tape, weight, x, out)
        tape.added.append(Weight(f"{weight.name}.lora_E", (self.rank, 1), "adapter"))
        if x.grad:
            tape.keep(Value(self.rank, x.width, self.itemsize, True))
        if x.itemsize != self.itemsize:  # on a 16-bit base the update is kept before division
            tape.keep(tape.new(out, out.width, itemsize=self.itemsize))
        return adapted

    fold = OnLinears.fold  # peft's AdaLoRA does not adapt stacked experts


@dataclass(frozen=True, slots=True)
class Vera(OnLinears):
    """Shared random A and B, trained scales d and b (Kopiczko et al. 2023, arXiv 2310.11454)."""

    rank: int = 256

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """The output with an update of ``rank + out`` parameters."""
        if not self.is_target(weight):
            return out
        tape.added.append(Weight(f"{weight.name}.vera_d", (self.rank,), "adapter"))
        tape.added.append(Weight(f"{weight.name}.vera_b", (out.width,), "adapter"))
        low = tape.product(tape.cast(x, self.itemsize), self.rank, trained=False, grad=True)
        scaled = tape.new(low, self.rank, grad=True)
        tape.keep(low)
        high = tape.product(scaled, out.width, trained=False)
        tape.keep(high)
        return tape.new(out, out.width, grad=True)


@dataclass(frozen=True, slots=True)
class Ia3(OnLinears):
    """A trained scale on the outputs of the targets (Liu et al. 2022, arXiv 2205.05638).

    Attributes:
        inputs: layers whose inputs are scaled instead.
    """

    inputs: tuple[str, ...] = ()

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """The output with one parameter per output or input feature."""
        if not self.is_target(weight):
            return out
        scaled = x if ends_with(weight.name, self.inputs) else out
        tape.added.append(Weight(f"{weight.name}.ia3_l", (scaled.width,), "adapter"))
        tape.keep(scaled)
        return tape.new(out, out.width, grad=True)


@dataclass(frozen=True, slots=True)
class Adapters(OnLinears):
    """x + up(act(down(x))) after the targets (Houlsby et al. 2019, arXiv 1902.00751)."""

    bottleneck: int = 64

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """The output with ``2·out·bottleneck`` added weights, and biases."""
        if not self.is_target(weight):
            return out
        name, width, inner = weight.name, out.width, self.bottleneck
        for part, shape in {
            "down": (inner, width),
            "down.bias": (inner,),
            "up": (width, inner),
            "up.bias": (width,),
        }.items():
            tape.added.append(Weight(f"{name}.adapter_{part}", shape, "adapter"))
        low = tape.product(tape.cast(out, self.itemsize), inner, trained=True)
        tape.keep(low)
        tape.product(tape.new(low, inner), width, trained=True)
        return tape.new(out, width, grad=True)


@dataclass(frozen=True, slots=True)
class SoftPrompt(Frozen):
    """Trained vectors before the input (Lester et al. 2021, arXiv 2104.08691).

    Attributes:
        tokens: the number of virtual tokens.
        parameters: their number, from the model's width and its layers' key-value widths.
        lengthens: whether they are tokens of the sequence. A prefix (Li and Liang 2021, arXiv
            2101.00190) adds keys and values only.
    """

    tokens: int
    parameters: Callable[[int, int, tuple[int, ...]], int]
    lengthens: bool = True

    @property
    def virtual_tokens(self) -> int:
        """The number of tokens added to every sequence."""
        return self.tokens if self.lengthens else 0

    @property
    def prefix(self) -> int:
        """The number of prepended keys and values, if outside the sequence."""
        return 0 if self.lengthens else self.tokens

    @property
    def input_grad(self) -> bool:
        """True: the first rows of the input are trained."""
        return self.lengthens

    def prompt_weights(self, hidden: int, kv_widths: tuple[int, ...]) -> tuple[Weight, ...]:
        """The trained vectors, and the network that produces them."""
        size = self.parameters(self.tokens, hidden, kv_widths)
        return (Weight("soft_prompt", (size,), "adapter"),)


def prompt_tuning(tokens: int) -> SoftPrompt:
    """One vector of the model's width per virtual token."""
    return SoftPrompt(tokens, _vectors)


def prefix_tuning(tokens: int, *, after_encoder: bool = False) -> SoftPrompt:
    """A key and a value in each layer per virtual token, without the projection network.

    Args:
        tokens: the number of virtual tokens.
        after_encoder: whether the model has an encoder.
    """
    parameters = _odd_keys_and_values if after_encoder else _keys_and_values
    return SoftPrompt(tokens, parameters, lengthens=False)


def p_tuning(tokens: int) -> SoftPrompt:
    """Vectors produced by a three-layer network (Liu et al. 2021, arXiv 2103.10385).

    Three square projections with biases, as peft's MLP encoder.
    """
    return SoftPrompt(tokens, _encoded_vectors)


def bitfit() -> Selective:
    """Training of biases only."""
    return Selective(("bias", "norm bias"))


def layernorm() -> Selective:
    """Training of the scales and shifts of all norms."""
    return Selective(("norm", "norm bias"))


def _vectors(tokens: int, hidden: int, kv_widths: tuple[int, ...]) -> int:
    return tokens * hidden


def _keys_and_values(tokens: int, hidden: int, kv_widths: tuple[int, ...]) -> int:
    return 2 * tokens * sum(kv_widths)


def _odd_keys_and_values(tokens: int, hidden: int, kv_widths: tuple[int, ...]) -> int:
    """The parameters as peft distributes them over the layers of a decoder: an odd number."""
    spare = () if len(kv_widths) % 2 else kv_widths[:1]
    return _keys_and_values(tokens, hidden, (*kv_widths, *spare))


def _encoded_vectors(tokens: int, hidden: int, kv_widths: tuple[int, ...]) -> int:
    return tokens * hidden + 3 * (hidden + 1) * hidden


def _layer(name: str) -> int | None:
    """The layer number of a parameter: the first number in its name."""
    match = re.search(r"\.(\d+)(\.|$)", name)
    return int(match.group(1)) if match else None
