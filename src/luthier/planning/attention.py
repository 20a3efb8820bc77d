"""Attention on a `Tape`, by the kernel that computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from luthier.planning.modules import Dropout, Norm
from luthier.planning.tape import Pass, Tape, Value, Weight

_FLOAT, _INDEX = 4, 8


@dataclass(frozen=True, slots=True)
class Attention:
    """Multi-head attention with grouped keys and values (Ainslie et al. 2023, arXiv 2305.13245).

    Attributes:
        hidden: width of the input and output.
        heads: query heads.
        kv_heads: key and value heads.
        head_dim: width of a head.
        names: of the projections: query, key, value and output; or of one fused projection and the
            output.
        bias: whether query, key and value projections have a bias, and whether the output has one.
        rotary: the rotated share of each query and key (Su et al. 2021, arXiv 2104.09864).
        float_rotary: whether the rotary tables are always float32.
        rotary_table: the name of the tables; layers with the same share use the same ones.
        concatenated: whether the rotated and unrotated parts are concatenated. Heads then precede
            tokens in memory, and the result is copied into one row per token.
        head_norm: the norm of queries and keys, if any.
        whole_norm: whether that norm spans all heads.
        dropout: applied to the attention weights.
        biased: whether a position bias is added to the scores.
        bias_table: the table of the position bias, which may be trained.
        causal: whether a token attends only to earlier ones.
        window: size of the sliding window; 0: unlimited.
        capped: whether scores pass through tanh, which no fused kernel supports.
        float_softmax: whether an unfused softmax is computed in float32.
    """

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    names: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    bias: tuple[bool, bool] = (False, False)
    rotary: float = 1.0
    float_rotary: bool = False
    rotary_table: str = "rotary"
    concatenated: bool = False
    head_norm: Norm | None = None
    whole_norm: bool = False
    dropout: Dropout = Dropout()
    biased: bool = False
    bias_table: Weight | None = None
    causal: bool = True
    window: int = 0
    capped: bool = False
    float_softmax: bool = True

    def __call__(self, tape: Tape, name: str, x: Value, memory: Value | None = None) -> Value:
        """Attend to ``x``, or to ``memory`` (cross-attention)."""
        query, key, value = self._projections(tape, name, x, memory or x)
        if self.head_norm:
            query = self._normalise(tape, self.head_norm, f"{name}.q_norm", query)
            key = self._normalise(tape, self.head_norm, f"{name}.k_norm", key)
        if self.rotary:
            query, key = tape.new(query, query.width), tape.new(key, key.width)
            rotated = int(self.head_dim * self.rotary)
            itemsize = _FLOAT if self.float_rotary else x.itemsize
            tape.constants[self.rotary_table] = 2 * tape.step.length * rotated * itemsize
        if self._bias_trained(tape):
            self._keep_bias(tape)
        if self._has_prefix(tape.step):
            key, value = self._prefixed(tape, key), self._prefixed(tape, value)
        out = self._attention(tape)(tape, query, key, value)
        tape.attention_flops += 4.0 * query.rows * (key.rows // tape.step.batch) * out.width
        return tape.linear(f"{name}.{self.names[-1]}", out, self.hidden, bias=self.bias[1])

    def _attention(self, tape: Tape) -> Callable[[Tape, Value, Value, Value], Value]:
        """The function that computes scores, softmax and weighted sum."""
        if self.capped or not tape.step.fused_attention:
            return self._eager
        if tape.step.on_cpu and (self.dropout.rate or self._bias_trained(tape)):
            return self._decomposed
        return self._fused

    def _bias_trained(self, tape: Tape) -> bool:
        return self.bias_table is not None and tape.method.trains(self.bias_table)

    def _keep_bias(self, tape: Tape) -> None:
        """Keep the tensors that the gradient of the position bias needs: indices and mask."""
        step = tape.step
        tape.constants["buckets"] = _INDEX * step.length**2
        if not step.fused_attention:
            return
        if self.causal:  # created in each layer
            tape.keep(Value(step.length, step.length, 1, False))
        elif self._padded(step):
            tape.constants["padding"] = step.batch * step.length**2

    def _masked(self, step: Pass) -> bool:
        """Whether the fused kernel needs an explicit mask beyond causality."""
        return self._padded(step) or self.biased or self._windowed(step)

    def _padded(self, step: Pass) -> bool:
        """Whether padding is masked; not in T5's decoder, where padding comes last.

        With a prefix, each sequence needs a mask too.
        """
        padded = step.padded or self._has_prefix(step)
        return padded and not (self.biased and self.causal)

    def _has_prefix(self, step: Pass) -> bool:
        """Whether a prefix precedes the sequence; only in a decoder without an encoder."""
        return step.prefix > 0 and self.causal

    def _windowed(self, step: Pass) -> bool:
        return 0 < self.window <= step.length

    def _prefixed(self, tape: Tape, x: Value) -> Value:
        """Keys or values with the trained prefix prepended; the cache holds on to them."""
        rows = x.rows + tape.step.batch * tape.step.prefix
        longer = Value(rows, self.kv_heads * self.head_dim, x.itemsize, True)
        tape.keep(longer)
        return longer

    def _projections(
        self, tape: Tape, name: str, x: Value, source: Value
    ) -> tuple[Value, Value, Value]:
        wide, narrow = self.heads * self.head_dim, self.kv_heads * self.head_dim
        if len(self.names) == 2:
            joint = tape.linear(f"{name}.{self.names[0]}", x, wide + 2 * narrow, bias=self.bias[0])
            query, key = tape.new(joint, wide), tape.new(joint, narrow)
            # Rotated queries and keys are new tensors; the value stays a view of the projection.
            return query, key, joint if self.rotary else tape.new(joint, narrow)
        query_name, key_name, value_name, _ = self.names
        return (
            tape.linear(f"{name}.{query_name}", x, wide, bias=self.bias[0]),
            tape.linear(f"{name}.{key_name}", source, narrow, bias=self.bias[0]),
            tape.linear(f"{name}.{value_name}", source, narrow, bias=self.bias[0]),
        )

    def _normalise(self, tape: Tape, norm: Norm, name: str, x: Value) -> Value:
        """The norm of each head, the same numbers in shorter rows, or of all heads together."""
        if self.whole_norm:
            return norm(tape, name, x)
        heads = x.width // self.head_dim
        rows = Value(x.rows * heads, self.head_dim, x.itemsize, x.grad)
        return tape.new(x, x.width, grad=norm(tape, name, rows).grad)

    def _fused(self, tape: Tape, query: Value, key: Value, value: Value) -> Value:
        """A fused kernel, which keeps its inputs, its result and one number per row and head.

        Dao et al. 2022 (FlashAttention, arXiv 2205.14135). With a mask, grouped keys and values are
        repeated for every head.
        """
        masked = self._masked(tape.step)
        if masked:
            key, value = self._repeated(tape, key, value)
        out = tape.new(query, query.width, grad=query.grad or key.grad or value.grad)
        if not out.grad:
            return out
        sums = Value(query.rows, self.heads, _FLOAT, False)
        tape.keep(query, key, value, out, sums)
        if masked:
            self._keep_mask(tape, query, key)
        tape.products |= {id(out): out, id(sums): sums}
        tape.work(out, query, key, value)
        return tape.new(out, out.width) if self.concatenated and tape.step.on_cpu else out

    def _decomposed(self, tape: Tape, query: Value, key: Value, value: Value) -> Value:
        """Torch's composed attention, all in float32, for cases the CPU kernel does not support."""
        key, value = self._repeated(tape, key, value)
        out = self._weighted(tape, tape.cast(query, _FLOAT), tape.cast(key, _FLOAT), value, _FLOAT)
        return tape.new(out, out.width, itemsize=query.itemsize)

    def _eager(self, tape: Tape, query: Value, key: Value, value: Value) -> Value:
        """The model's own (eager) code, with the softmax in float32."""
        key, value = self._repeated(tape, key, value)
        return self._weighted(tape, query, key, value, query.itemsize)

    def _weighted(self, tape: Tape, query: Value, key: Value, value: Value, itemsize: int) -> Value:
        """dropout(softmax(query · key)) · value, with products in numbers of ``itemsize`` bytes."""
        # A value that is a view of a fused projection is copied.
        width = self.heads * self.head_dim
        value = tape.cast(value if value.width == width else tape.new(value, width), itemsize)
        reach = key.rows // tape.step.batch
        grad = query.grad or key.grad
        scores = Value(query.rows * self.heads, reach, itemsize, grad)
        weights = self.dropout(tape, scores)
        out = tape.new(query, query.width, grad=grad or value.grad)
        if key.grad:
            tape.keep(query)
        if query.grad:
            tape.keep(key)
        if grad:
            softmax = tape.cast(scores, _FLOAT) if self.float_softmax else scores
            tape.keep(softmax, value)
            tape.work(softmax, softmax, scores)
        if grad and self.capped:
            tape.keep(tape.new(scores, reach))
        if value.grad:
            tape.keep(weights)
        return out

    def _keep_mask(self, tape: Tape, query: Value, key: Value) -> None:
        """A mask value per query and key, shared by heads and sequences or separate.

        Each layer builds its own from the boolean mask or the position bias; the zero bias of
        cross-attention is passed through unchanged.
        """
        step, reach = tape.step, key.rows // tape.step.batch
        alike = not self._padded(step) and not self._windowed(step)
        rows = query.rows // step.batch if alike else query.rows
        heads = self.heads if self.biased else 1
        mask = Value(rows * heads, reach, query.itemsize, False)
        if self.biased and alike and not self.causal and self.bias_table is None:
            tape.constants["bias of cross-attention"] = mask.nbytes
        else:
            tape.keep(mask)

    def _repeated(self, tape: Tape, key: Value, value: Value) -> tuple[Value, Value]:
        """Keys and values repeated for every query head."""
        if self.kv_heads == self.heads:
            return key, value
        width = self.heads * self.head_dim
        return tape.new(key, width), tape.new(value, width)
