"""One forward and backward pass of a whole model: layer by layer, then the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby

from luthier.planning.architecture import Architecture, Stack
from luthier.planning.blocks import Block
from luthier.planning.method_cost import Tuning
from luthier.planning.tape import Pass, Tape, Value, Weight

_FLOAT = 4
_INDEX = 8


@dataclass(frozen=True, slots=True)
class Loss:
    """The computation of logits and loss.

    Attributes:
        everywhere: whether logits exist at every position and outlive the loss, as in a model's own
            forward pass.
        chunks: number of chunks in which the loss is computed.
        rows: rows of logits held at once in a fused loss; 0: not fused.
    """

    everywhere: bool = False
    chunks: int = 1
    rows: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class LayerCost:
    """Memory and FLOPs of one layer in a forward and backward pass.

    Attributes:
        weights: its parameters.
        trained: the trained ones of them.
        added: parameters added by the method.
        kept: bytes kept for the backward pass.
        products: bytes kept with selective checkpointing.
        output: bytes of its output.
        backward: peak bytes of kept tensors and gradients in its backward pass.
        flops: of weight products, forward.
        weight_gradient_flops: of the products for gradients of trained weights.
        input_gradient_flops: of the products that propagate the gradient.
        attention_flops: of attention, forward, without subtracting the causal half.
        grad: whether a gradient flows through its output.
    """

    weights: tuple[Weight, ...]
    trained: tuple[Weight, ...]
    added: tuple[Weight, ...]
    kept: int
    products: int
    output: int
    backward: int
    flops: float
    weight_gradient_flops: float
    input_gradient_flops: float
    attention_flops: float
    grad: bool


@dataclass(frozen=True, slots=True)
class StepCost:
    """Memory and FLOPs of one forward and backward pass.

    Attributes:
        layers: in order, the encoder's first, each with the number of identical layers in a row.
        embeddings: parameters outside the layers: embeddings, final norms, output layer.
        trained_embeddings: the trained ones of them.
        prompt: parameters of the method outside of layers.
        shared: bytes kept once for all layers: rotary tables, the embedded input.
        head: bytes kept between the last layer and the logits.
        logits: peak bytes of logits, loss and their gradients.
        all_logits: bytes of all logits in float32, even if they never exist together.
        loss_parts: number of parts in a fused loss.
        head_flops: of the output layer, forward.
        output: the output matrix.
        tied: whether it is tied to the token embedding.
        tokens: tokens in the pass, including padding and virtual tokens.
    """

    layers: tuple[tuple[LayerCost, int], ...]
    embeddings: tuple[Weight, ...]
    trained_embeddings: tuple[Weight, ...]
    prompt: tuple[Weight, ...]
    shared: int
    head: int
    logits: int
    all_logits: int
    loss_parts: int
    head_flops: float
    output: Weight
    tied: bool
    tokens: int

    @property
    def weights(self) -> tuple[tuple[Weight, int], ...]:
        """Every parameter of the base model, with the number of identical ones."""
        return (*_each(self.embeddings), *self._in_layers(lambda layer: layer.weights))

    @property
    def trained(self) -> tuple[tuple[Weight, int], ...]:
        """Every trained parameter, including those of the method."""
        inside = self._in_layers(lambda layer: (*layer.trained, *layer.added))
        return (*_each(self.trained_embeddings), *inside, *_each(self.prompt))

    @property
    def added(self) -> tuple[tuple[Weight, int], ...]:
        """Every parameter added by the method."""
        return (*self._in_layers(lambda layer: layer.added), *_each(self.prompt))

    @property
    def trained_count(self) -> int:
        """The number of trained parameters."""
        return sum(weight.count * times for weight, times in self.trained)

    @property
    def kept(self) -> int:
        """Bytes kept by all layers."""
        return sum(layer.kept * times for layer, times in self.layers)

    @property
    def forward_flops(self) -> float:
        """FLOPs of one forward pass, attention included."""
        return self.head_flops + self.layer_flops

    @property
    def layer_flops(self) -> float:
        """FLOPs of the layers only, forward."""
        return sum((x.flops + x.attention_flops) * times for x, times in self.layers)

    @property
    def backward_flops(self) -> float:
        """FLOPs of one backward pass, without weight gradients of frozen parameters."""
        inside = sum(
            times
            * (
                layer.weight_gradient_flops
                + layer.input_gradient_flops
                + 2 * layer.attention_flops * layer.grad
            )
            for layer, times in self.layers
        )
        output_trained = any(weight is self.output for weight in self.trained_embeddings)
        return inside + self.head_flops * (1 + output_trained)

    def _in_layers(
        self, pick: Callable[[LayerCost], tuple[Weight, ...]]
    ) -> tuple[tuple[Weight, int], ...]:
        return tuple((w, times) for layer, times in self.layers for w in pick(layer))


def _each(weights: tuple[Weight, ...]) -> tuple[tuple[Weight, int], ...]:
    return tuple((weight, 1) for weight in weights)


@lru_cache(maxsize=1024)  # a search requests few different passes, many times
def step_cost(
    architecture: Architecture,
    tuning: Tuning,
    size: Pass,
    *,
    predicted: int,
    loss: Loss | None = None,
) -> StepCost:
    """Trace one forward and backward pass.

    Args:
        architecture: the model.
        tuning: the method.
        size: batch, length and arithmetic, without virtual tokens.
        predicted: number of positions with logits.
        loss: the computation of the loss; default: in one piece.
    """
    loss = loss or Loss()
    virtual = tuning.virtual_tokens
    longer = replace(size, length=size.length + virtual, prefix=tuning.prefix)
    layers: list[LayerCost] = []
    states: list[Value] = []
    outsides: list[Tape] = []
    for stack in architecture.stacks:
        own = replace(longer, length=size.target_length) if states else longer
        memory = states[-1] if states else None
        outside, costs, state = _run_stack(architecture, stack, tuning, own, memory)
        outsides.append(outside)
        layers += costs
        states.append(state)
    rows = states[-1].rows if loss.everywhere else predicted
    head, logits, flops = _head(architecture, states[-1], rows, loss)
    beside = tuple(weight for outside in outsides for weight in outside.weights)
    head_weights = architecture.head_weights()
    tables = (*architecture.embeddings, *beside, *head_weights)
    output = architecture.embeddings[0] if architecture.tied else head_weights[0]
    widths = tuple(
        layer.attentions[0].kv_heads * layer.attentions[0].head_dim
        for layer in architecture.decoder.layers
    )
    added = tuple(weight for outside in outsides for weight in outside.added)
    ids = sum(state.rows for state in states) * _INDEX
    width = architecture.embedding_width or architecture.hidden
    return StepCost(
        layers=tuple((layer, len(list(run))) for layer, run in groupby(layers)),
        embeddings=tables,
        trained_embeddings=tuple(w for w in tables if tuning.trains(w)),
        prompt=(*added, *tuning.prompt_weights(width, widths)),
        shared=ids + sum(x.kept_bytes + sum(x.constants.values()) for x in outsides),
        head=head,
        logits=logits,
        all_logits=rows * architecture.vocabulary * _FLOAT,
        loss_parts=-(-rows // loss.rows) if loss.rows else 1,
        head_flops=flops + sum(outside.flops for outside in outsides),
        output=output,
        tied=architecture.tied,
        tokens=sum(state.rows for state in states),
    )


def _run_stack(
    architecture: Architecture, stack: Stack, tuning: Tuning, size: Pass, memory: Value | None
) -> tuple[Tape, list[LayerCost], Value]:
    """The tensors outside the layers, each layer's cost, and the last hidden state."""
    outer = Tape(size, tuning)
    rows = size.batch * size.length
    # A soft prompt precedes the encoder; a decoder's input is trained only with its embedding.
    grad = tuning.input_grad if memory is None else tuning.trains(architecture.embeddings[0])
    width = architecture.embedding_width or architecture.hidden
    x = Value(rows, width, size.itemsize, grad)
    if architecture.projections:
        x = outer.linear(architecture.projections[0], x, architecture.hidden)
    x = architecture.embedding_dropout(outer, x)
    costs: list[LayerCost] = []
    known: dict[object, tuple[LayerCost, Value]] = {}
    for index, block in enumerate(stack.layers):
        name = f"{stack.name}.{index}"
        key = (id(block), x.grad, tuning.layer_key(name))
        if key not in known:
            known[key] = _run_layer(block, name, tuning, size, x, memory, outer.constants)
        cost, x = known[key]
        costs.append(cost)
    x = stack.dropout(outer, stack.norm(outer, stack.norm_name, x))
    if architecture.projections:
        x = outer.linear(architecture.projections[1], x, width)
    return outer, costs, x


def _run_layer(
    block: Block,
    name: str,
    tuning: Tuning,
    size: Pass,
    x: Value,
    memory: Value | None,
    constants: dict[str, int],
) -> tuple[LayerCost, Value]:
    tape = Tape(size, tuning)
    # The input has the same size but is a separate tensor: layers with one key share a tape.
    out = block(tape, name, replace(x), memory)
    constants |= tape.constants
    if memory is not None and id(memory) in tape.kept:
        del tape.kept[id(memory)]
        constants["encoder's output"] = memory.nbytes
    trained = tuple(weight for weight in tape.weights if tuning.trains(weight))
    cost = LayerCost(
        weights=tuple(tape.weights),
        trained=trained,
        added=tuple(tape.added),
        kept=tape.kept_bytes,
        products=tape.product_bytes,
        output=out.nbytes,
        backward=max(tape.backward, tape.kept_bytes),
        flops=tape.flops,
        weight_gradient_flops=tape.weight_gradient_flops,
        input_gradient_flops=tape.input_gradient_flops,
        attention_flops=tape.attention_flops,
        grad=out.grad,
    )
    return cost, out


def _head(
    architecture: Architecture, state: Value, rows: int, loss: Loss
) -> tuple[int, int, float]:
    """Bytes before the logits, peak bytes of logits and loss, and FLOPs.

    Logits are cast to float32, log-softmax keeps its result, and the backward pass creates two
    gradients of the same size: 12 bytes per logit at the peak. A caller that holds on to the logits
    (as a model's output object does) adds their own bytes. In chunks, only one chunk needs this at
    a time. A fused loss turns its rows into their gradient in place, beside the gradient of the
    hidden states; logits capped after the output layer are not fused.
    """
    width = architecture.embedding_width or architecture.hidden
    logits = rows * architecture.vocabulary
    flops = 2.0 * logits * width
    before = 0 if loss.everywhere else rows * (width * state.itemsize + 8)
    if loss.rows and not architecture.capped:
        shown = min(rows, loss.rows) * architecture.vocabulary
        short = state.itemsize if state.itemsize != _FLOAT else 0
        return before + rows * width * state.itemsize, shown * (_FLOAT + short), flops
    held = logits * state.itemsize if loss.everywhere else 0
    capped = logits * state.itemsize if architecture.capped else 0
    return before, -(-logits // loss.chunks) * 3 * _FLOAT + held + capped, flops
