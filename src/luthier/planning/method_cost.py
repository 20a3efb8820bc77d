"""What each tuning method trains, and what it adds to a forward pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from luthier.core.targets import ALL_LINEAR, Names, Selection, ends_with
from luthier.planning.tape import Adaptation, Tape, Value, Weight

_FLOAT = 4


class Tuning(Adaptation, Protocol):
    """A tuning method. Equal ones have one hash, so that a pass is followed once for them."""

    def __hash__(self) -> int: ...

    @property
    def virtual_tokens(self) -> int:
        """Tokens put before every sequence."""

    @property
    def prefix(self) -> int:
        """Keys and values put before every sequence in every layer."""

    @property
    def input_grad(self) -> bool:
        """Whether a gradient flows into the embedded input."""

    def layer_key(self, name: str) -> object:
        """Layers with the same key are treated alike."""

    def prompt_weights(self, hidden: int, kv_widths: tuple[int, ...]) -> tuple[Weight, ...]:
        """Parameters that belong to no layer, such as a soft prompt."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """Nothing of the base model is trained: the ground that adapters stand on."""

    @property
    def virtual_tokens(self) -> int:
        """None."""
        return 0

    @property
    def prefix(self) -> int:
        """None."""
        return 0

    @property
    def input_grad(self) -> bool:
        """The input is not trained."""
        return False

    def trains(self, weight: Weight) -> bool:
        """No parameter is."""
        return False

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """Nothing is added."""
        return out

    def fold(self, tape: Tape, weight: Weight, parts: tuple[str, ...]) -> bool:
        """Nothing is added."""
        return False

    def layer_key(self, name: str) -> object:
        """All layers are alike."""
        return None

    def prompt_weights(self, hidden: int, kv_widths: tuple[int, ...]) -> tuple[Weight, ...]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class Full(Frozen):
    """Every parameter is trained."""

    @property
    def input_grad(self) -> bool:
        """The embedding is trained."""
        return True

    def trains(self, weight: Weight) -> bool:
        """Every parameter is."""
        return True


@dataclass(frozen=True, slots=True)
class Selective(Frozen):
    """Parameters picked by their kind (BitFit, Ben Zaken et al. 2022, arXiv 2106.10199; norms)."""

    kinds: tuple[str, ...]

    def trains(self, weight: Weight) -> bool:
        """Those of the picked kinds."""
        return weight.kind in self.kinds


@dataclass(frozen=True, slots=True)
class LastLayers(Frozen):
    """The layers from ``first`` on, and what follows them."""

    first: int

    def trains(self, weight: Weight) -> bool:
        """Those of the last layers and of the last norm; of two stacks, the decoder's."""
        if weight.name.startswith("encoder."):
            return False
        layer = _layer(weight.name)
        if layer is None:
            return weight.kind not in {"embedding", "output"}
        return layer >= self.first

    def layer_key(self, name: str) -> object:
        """Whether the layer is one of the last."""
        layer = _layer(name)
        return layer is not None and layer >= self.first and not name.startswith("encoder.")


@dataclass(frozen=True, slots=True)
class OnLinears(Frozen):
    """A method that adds something to the linear layers it targets; see `Selection`."""

    targets: Names = ALL_LINEAR
    exclude: Names = ()
    itemsize: int = _FLOAT
    layers: tuple[int, ...] = ()

    @property
    def selection(self) -> Selection:
        """The layers that it targets."""
        return Selection(self.targets, self.exclude, self.layers)

    def is_target(self, weight: Weight) -> bool:
        """Whether this layer is adapted; all-linear leaves out the output layer."""
        return self.selection.takes(weight.name)

    def layer_key(self, name: str) -> object:
        """The layer's own name, where targets may tell layers apart by it."""
        return name if self.selection.tells_layers_apart else None


@dataclass(frozen=True, slots=True)
class Lora(OnLinears):
    """x·W + s·(x·A)·B (Hu et al. 2021, arXiv 2106.09685); rsLoRA differs in s alone.

    Adapters are float32 beside a 16-bit base, as peft makes them: each adapted layer then keeps a
    float32 copy of its input.
    """

    rank: int = 8
    dropout: float = 0.0

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """Adds ``rank · (in + out)`` parameters."""
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
        # Forward the update, scaled, and added to the output before that is rounded; backward the
        # gradients of them.
        tape.work(update, update, *([update] if source is not x else []), out)
        return tape.new(out, out.width, grad=True)

    def fold(self, tape: Tape, weight: Weight, parts: tuple[str, ...]) -> bool:
        """Adds ``rank · (in + out)`` parameters for each expert and part.

        Peft makes W + s·B·A for all experts in every pass, as large as W itself, from factors in
        the precision of W; its gradient is as large again.
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
    """LoRA with the norm of each column trained apart (Liu et al. 2024, arXiv 2402.09353)."""

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """Adds a magnitude for each output, and keeps the outputs it scales."""
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

    fold = OnLinears.fold  # peft's DoRA leaves stacks as they are


@dataclass(frozen=True, slots=True)
class Adalora(Lora):
    """LoRA with a trained factor for each direction (Zhang et al. 2023, arXiv 2303.10512)."""

    rank: int = 12

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """Adds a factor for each direction, and keeps the scaled directions."""
        if not self.is_target(weight):
            return out
        adapted = Lora.adapt(self, tape, weight, x, out)
        tape.added.append(Weight(f"{weight.name}.lora_E", (self.rank, 1), "adapter"))
        if x.grad:
            tape.keep(Value(self.rank, x.width, self.itemsize, True))
        if x.itemsize != self.itemsize:  # beside a 16-bit base the update is kept before division
            tape.keep(tape.new(out, out.width, itemsize=self.itemsize))
        return adapted

    fold = OnLinears.fold  # peft's AdaLoRA leaves stacks as they are


@dataclass(frozen=True, slots=True)
class Vera(OnLinears):
    """Shared random A and B, trained scales d and b (Kopiczko et al. 2023, arXiv 2310.11454)."""

    rank: int = 256

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """Adds ``rank + out`` parameters."""
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
    """A trained scale on what the targets give (Liu et al. 2022, arXiv 2205.05638).

    Attributes:
        inputs: the layers whose inputs are scaled instead.
    """

    inputs: tuple[str, ...] = ()

    def adapt(self, tape: Tape, weight: Weight, x: Value, out: Value) -> Value:
        """Adds one parameter for each output, or each input."""
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
        """Adds ``2·out·bottleneck`` weights and the biases."""
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
        tokens: how many.
        parameters: from the model's width and its layers' key/value widths to what is trained.
        lengthens: whether they are tokens of the sequence. A prefix (Li and Liang 2021,
            arXiv 2101.00190) gives keys and values only.
    """

    tokens: int
    parameters: Callable[[int, int, tuple[int, ...]], int]
    lengthens: bool = True

    @property
    def virtual_tokens(self) -> int:
        """How far every sequence is lengthened."""
        return self.tokens if self.lengthens else 0

    @property
    def prefix(self) -> int:
        """What is not in the sequence stands before it."""
        return 0 if self.lengthens else self.tokens

    @property
    def input_grad(self) -> bool:
        """The first rows of the input are trained."""
        return self.lengthens

    def prompt_weights(self, hidden: int, kv_widths: tuple[int, ...]) -> tuple[Weight, ...]:
        """The trained vectors, and the network that makes them."""
        size = self.parameters(self.tokens, hidden, kv_widths)
        return (Weight("soft_prompt", (size,), "adapter"),)


def prompt_tuning(tokens: int) -> SoftPrompt:
    """One vector of the model's width for each virtual token."""
    return SoftPrompt(tokens, _vectors)


def prefix_tuning(tokens: int, *, after_encoder: bool = False) -> SoftPrompt:
    """A key and a value in each layer for each virtual token, without the projection network.

    Args:
        tokens: how many.
        after_encoder: whether the decoder has an encoder before it.
    """
    parameters = _odd_keys_and_values if after_encoder else _keys_and_values
    return SoftPrompt(tokens, parameters, lengthens=False)


def p_tuning(tokens: int) -> SoftPrompt:
    """Vectors through a network of three layers (Liu et al. 2021, arXiv 2103.10385).

    As peft's MLP encoder, three square products with biases.
    """
    return SoftPrompt(tokens, _encoded_vectors)


def bitfit() -> Selective:
    """Biases alone."""
    return Selective(("bias", "norm bias"))


def layernorm() -> Selective:
    """The scales and shifts of all norms."""
    return Selective(("norm", "norm bias"))


def _vectors(tokens: int, hidden: int, kv_widths: tuple[int, ...]) -> int:
    return tokens * hidden


def _keys_and_values(tokens: int, hidden: int, kv_widths: tuple[int, ...]) -> int:
    return 2 * tokens * sum(kv_widths)


def _odd_keys_and_values(tokens: int, hidden: int, kv_widths: tuple[int, ...]) -> int:
    """As peft distributes them over the layers of a decoder: among an odd number."""
    spare = () if len(kv_widths) % 2 else kv_widths[:1]
    return _keys_and_values(tokens, hidden, (*kv_widths, *spare))


def _encoded_vectors(tokens: int, hidden: int, kv_widths: tuple[int, ...]) -> int:
    return tokens * hidden + 3 * (hidden + 1) * hidden


def _layer(name: str) -> int | None:
    """The number of the layer that a parameter belongs to: the first number in its name."""
    match = re.search(r"\.(\d+)(\.|$)", name)
    return int(match.group(1)) if match else None
