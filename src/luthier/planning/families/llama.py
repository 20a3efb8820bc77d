"""Llama and its relatives: pre-norm attention, gated MLP, rotary positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from luthier.core.units import counted
from luthier.planning.architecture import Architecture, Stack
from luthier.planning.attention import Attention
from luthier.planning.blocks import Block, SequentialBlock, SubLayer
from luthier.planning.families.settings import Settings
from luthier.planning.modules import (
    Activation,
    Dropout,
    Experts,
    GatedMlp,
    LayerNorm,
    Mlp,
    NoNorm,
    Norm,
    PlainMlp,
    RmsNorm,
)
from luthier.planning.tape import Weight


@dataclass(frozen=True, slots=True)
class Position:
    """Properties in which the attention of layers differs.

    Attributes:
        window: size of the sliding window; 0: unlimited.
        rotated: whether queries and keys are rotated.
    """

    window: int = 0
    rotated: bool = True


def llama(family: str, s: Settings) -> Architecture:
    """Llama; Mistral, Granite, SmolLM3, Qwen 2 and 3 differ in biases and head norms."""
    norm, mlp = RmsNorm(), gated_mlp(s)
    attention = _llama_attention(family, s)
    return stacked(family, s, lambda own: pre_norm(own, mlp, norm), attention, norm)


def phi3(family: str, s: Settings) -> Architecture:
    """Phi-3 and 4: fused query-key-value and gate-up projections, and dropout."""
    norm, dropout = RmsNorm(), Dropout(s.rate("resid_pdrop"))
    attention = replace(
        attention_of(s),
        names=("qkv_proj", "o_proj"),
        rotary=s.rotated("partial_rotary_factor"),
        concatenated=True,
    )
    mlp = replace(gated_mlp(s), gate="gate_up_proj", up="")
    return stacked(family, s, lambda own: pre_norm(own, mlp, norm, dropout), attention, norm)


def olmo2(family: str, s: Settings) -> Architecture:
    """OLMo 2: norms after attention and MLP, and over all queries and all keys."""
    norm = RmsNorm(scaled_in_float=True)
    attention = replace(attention_of(s), head_norm=norm, whole_norm=True, float_rotary=True)
    mlp = gated_mlp(s)

    def block(own: Attention) -> Block:
        return SequentialBlock(
            (
                SubLayer("", NoNorm(), "self_attn", own, "post_attention_layernorm", norm),
                SubLayer("", NoNorm(), "mlp", mlp, "post_feedforward_layernorm", norm),
            )
        )

    return stacked(family, s, block, attention, norm)


def starcoder2(family: str, s: Settings) -> Architecture:
    """StarCoder 2: Llama's attention between layer norms, a plain MLP, biases, dropout."""
    norm, bias = LayerNorm(), s.flag("use_bias", True)
    dropout = Dropout(s.rate("residual_dropout"))
    activation = Activation(s.text("hidden_act", default="gelu_pytorch_tanh"))
    hidden, inner = s.number("hidden_size"), s.number("intermediate_size")
    mlp = PlainMlp(hidden, inner, activation, up="c_fc", down="c_proj", bias=bias)
    attention = replace(attention_of(s), bias=(bias, bias))
    made = stacked(
        family, s, lambda own: pre_norm(own, mlp, norm, dropout), attention, norm, tied=True
    )
    return replace(made, embedding_dropout=Dropout(s.rate("embedding_dropout")))


def mixture(family: str, s: Settings) -> Architecture:
    """Mixtral, Qwen 2 MoE and Qwen 3 MoE: experts in place of the MLP, in all layers or some."""
    plain, norm = llama(family, s), RmsNorm()
    experts = _experts(family, s, plain.hidden)
    attention = _llama_attention(family, s)
    routed = stacked(family, s, lambda own: pre_norm(own, experts, norm), attention, norm)
    step = s.number("decoder_sparse_step", default=1)
    dense = s.items("mlp_only_layers")
    pairs = zip(plain.decoder.layers, routed.decoder.layers, strict=True)
    layers = tuple(
        without if (index + 1) % step or index in dense else with_experts
        for index, (without, with_experts) in enumerate(pairs)
    )
    return replace(plain, decoder=replace(plain.decoder, layers=layers))


def gemma(family: str, s: Settings) -> Architecture:
    """Gemma: wide heads, norms of 1 + weight; from Gemma 2 on, norms after each sub-layer too."""
    heads, kv_heads = s.heads("num_attention_heads")
    hidden, bias = s.number("hidden_size"), s.flag("attention_bias")
    first, norm = family == "gemma", RmsNorm(shifted=True)
    attention = Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=s.number("head_dim", default=256),
        bias=(bias, bias),
        head_norm=norm if family.startswith("gemma3") else None,
        dropout=Dropout(s.rate("attention_dropout")),
        capped=bool(s.values.get("attn_logit_softcapping", family == "gemma2")),
    )
    # The first Gemma's configurations say gelu but use its tanh approximation.
    tanh = "gelu_pytorch_tanh"
    name = tanh if first else s.text("hidden_activation", "hidden_act", default=tanh)
    mlp = GatedMlp(hidden, s.number("intermediate_size"), Activation(name))
    make = pre_norm if first else _sandwiched

    def block(own: Attention) -> Block:
        # From Gemma 3 on, layers with a sliding window use another rotary base.
        local = own.window and family.startswith("gemma3")
        table = "local rotary" if local else own.rotary_table
        return make(replace(own, rotary_table=table), mlp, norm)

    made = stacked(family, s, block, attention, norm, tied=True)
    capped = bool(s.values.get("final_logit_softcapping", family == "gemma2"))
    return replace(made, capped=capped and not first)


def attention_of(s: Settings) -> Attention:
    """Llama's attention."""
    heads, kv_heads = s.heads("num_attention_heads")
    hidden, bias = s.number("hidden_size"), s.flag("attention_bias")
    if s.values.get("head_dim") is None:
        head_dim = s.head_dim(hidden, heads, "num_attention_heads")
    else:
        head_dim = s.number("head_dim")
    return Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        bias=(bias, bias),
        dropout=Dropout(s.rate("attention_dropout")),
    )


def gated_mlp(s: Settings) -> GatedMlp:
    """Llama's MLP."""
    return GatedMlp(
        hidden=s.number("hidden_size"),
        intermediate=s.number("intermediate_size"),
        activation=Activation(s.text("hidden_act", default="silu")),
        bias=s.flag("mlp_bias"),
    )


def pre_norm(
    attention: Attention, mlp: Mlp, norm: Norm, dropout: Dropout = Dropout()
) -> SequentialBlock:
    """Add attention(norm(x)) to x, then mlp(norm(x))."""
    return SequentialBlock(
        (
            SubLayer("input_layernorm", norm, "self_attn", attention, dropout=dropout),
            SubLayer("post_attention_layernorm", norm, "mlp", mlp, dropout=dropout),
        )
    )


def stacked(
    family: str,
    s: Settings,
    block: Callable[[Attention], Block],
    attention: Attention,
    norm: Norm,
    *,
    tied: bool = False,
) -> Architecture:
    """The frame of Llama and its relatives, with a block for each kind of attention."""
    hidden, vocabulary = s.number("hidden_size"), s.number("vocab_size")
    positions = _positions(family, s)
    blocks = {
        position: block(
            replace(
                attention,
                window=position.window,
                rotary=attention.rotary if position.rotated else 0.0,
            )
        )
        for position in set(positions)
    }
    layers = tuple(blocks[position] for position in positions)
    return Architecture(
        family=family,
        hidden=hidden,
        vocabulary=vocabulary,
        context=s.number("max_position_embeddings", default=2048),
        embeddings=(Weight("model.embed_tokens", (vocabulary, hidden), "embedding"),),
        decoder=Stack("model.layers", layers, "model.norm", norm),
        tied=s.flag("tie_word_embeddings", tied),
    )


def _sandwiched(attention: Attention, mlp: Mlp, norm: Norm) -> SequentialBlock:
    """Add norm(attention(norm(x))) to x, then norm(mlp(norm(x)))."""
    names = ("input", "post_attention", "pre_feedforward", "post_feedforward")
    before, after, before_mlp, after_mlp = (f"{name}_layernorm" for name in names)
    return SequentialBlock(
        (
            SubLayer(before, norm, "self_attn", attention, after, norm),
            SubLayer(before_mlp, norm, "mlp", mlp, after_mlp, norm),
        )
    )


def _llama_attention(family: str, s: Settings) -> Attention:
    attention = attention_of(s)
    if family in {"qwen2", "qwen2_moe"}:
        return replace(attention, bias=(s.flag("qkv_bias", True), False))
    if family in {"qwen3", "qwen3_moe"}:
        return replace(attention, head_norm=RmsNorm())
    return attention


def _experts(family: str, s: Settings, hidden: int) -> Experts:
    activation = Activation(s.text("hidden_act", default="silu"))
    shared = None
    if family == "qwen2_moe":
        width = s.number("shared_expert_intermediate_size")
        shared = GatedMlp(hidden=hidden, intermediate=width, activation=activation)
    mixtral = family == "mixtral"
    number = s.number("num_local_experts", "num_experts")
    chosen = s.number("num_experts_per_tok", default=2)
    if chosen > number:
        raise s.wrong(
            "num_experts_per_tok", f"is {chosen}", f"the model has {counted(number, 'expert')}"
        )
    return Experts(
        hidden=hidden,
        intermediate=s.number("moe_intermediate_size", "intermediate_size"),
        number=number,
        chosen=chosen,
        activation=activation,
        parts=_PARTS.get(family, ()),
        normalised=mixtral or s.flag("norm_topk_prob"),
        float_scores=mixtral,
        shared=shared,
    )


_PARTS: Mapping[str, tuple[str, ...]] = {
    "mixtral": ("w1", "w3", "w2"),
    "qwen3_moe": ("gate_proj", "up_proj", "down_proj"),
}


def _everywhere(s: Settings, index: int) -> bool:
    return True


def _nowhere(s: Settings, index: int) -> bool:
    return False


def _if_asked(s: Settings, index: int) -> bool:
    return s.flag("use_sliding_window") and index >= s.number("max_window_layers", default=28)


def _every_second(s: Settings, index: int) -> bool:
    return index % 2 == 0


def _all_but_every_sixth(s: Settings, index: int) -> bool:
    return (index + 1) % s.number("sliding_window_pattern", default=6) != 0


_WINDOWED: Mapping[str, Callable[[Settings, int], bool]] = {
    "mistral": _everywhere,
    "mixtral": _everywhere,
    "phi3": _everywhere,
    "starcoder2": _everywhere,
    "qwen2": _if_asked,
    "qwen3": _if_asked,
    "qwen2_moe": _if_asked,
    "qwen3_moe": lambda s, index: s.flag("use_sliding_window"),
    "gemma2": _every_second,
    "gemma3": _all_but_every_sixth,
    "gemma3_text": _all_but_every_sixth,
}
_DEFAULT_WINDOW = {"mistral": 4096, "gemma2": 4096, "gemma3": 4096, "gemma3_text": 4096}


def _positions(family: str, s: Settings) -> list[Position]:
    """The attention properties of each layer."""
    count = s.layers("num_hidden_layers")
    kinds = s.items("layer_types")
    if kinds and len(kinds) != count:
        raise s.wrong(
            "layer_types", f"has {len(kinds)} entries", f"the model has {counted(count, 'layer')}"
        )
    windowed = _WINDOWED.get(family, _nowhere)
    window = s.number("sliding_window", default=0, least=0)
    if "sliding_window" not in s.values:
        window = _DEFAULT_WINDOW.get(family, 0)
    windows = [kind == "sliding_attention" for kind in kinds] or [
        windowed(s, index) for index in range(count)
    ]
    return [
        Position(window if inside else 0, rotated)
        for inside, rotated in zip(windows, _rotated(family, s, count), strict=True)
    ]


def _rotated(family: str, s: Settings, count: int) -> list[bool]:
    """Whether each layer has rotary positions: SmolLM3 omits them in every fourth."""
    if family != "smollm3":
        return [True] * count
    listed = [bool(item) for item in s.items("no_rope_layers")]
    if listed and len(listed) != count:
        raise s.wrong(
            "no_rope_layers",
            f"has {len(listed)} entries",
            f"the model has {counted(count, 'layer')}",
        )
    interval = s.number("no_rope_layer_interval", default=4)
    return listed or [(index + 1) % interval != 0 for index in range(count)]
