"""T5, version 1.1, mT5 and FLAN-T5: encoder-decoder models with relative positions."""

from __future__ import annotations

from dataclasses import replace

from luthier.planning.architecture import Architecture, Stack
from luthier.planning.attention import Attention
from luthier.planning.blocks import SequentialBlock, SubLayer
from luthier.planning.families.settings import Settings
from luthier.planning.modules import Activation, Dropout, GatedMlp, Mlp, PlainMlp, T5Norm
from luthier.planning.tape import Weight


def t5(family: str, s: Settings) -> Architecture:
    """T5 and its versions."""
    hidden, heads = s.number("d_model"), s.number("num_heads")
    vocabulary = s.number("vocab_size")
    buckets = s.number("relative_attention_num_buckets", default=32)
    encoder_table, decoder_table = (
        Weight(
            f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias",
            (buckets, heads),
            "embedding",
        )
        for stack in ("encoder", "decoder")
    )
    return Architecture(
        family=family,
        hidden=hidden,
        vocabulary=vocabulary,
        context=0,
        embeddings=(
            Weight("shared", (vocabulary, hidden), "embedding"),
            encoder_table,
            decoder_table,
        ),
        decoder=_stack(s, "decoder", decoder_table, decodes=True),
        encoder=_stack(s, "encoder", encoder_table, decodes=False),
        # Version 1.1 has a separate output layer. Transformers 5 still writes that it is tied, and
        # stores the version under another name.
        tied=s.flag("tie_word_embeddings", True) and s.flag("scale_decoder_outputs", True),
        embedding_dropout=Dropout(s.rate("dropout_rate", 0.1)),
    )


def _stack(s: Settings, name: str, table: Weight, *, decodes: bool) -> Stack:
    norm, dropout = T5Norm(), Dropout(s.rate("dropout_rate", 0.1))
    own = replace(_attention(s, dropout), bias_table=table, causal=decodes)
    parts = [SubLayer("layer.0.layer_norm", norm, "layer.0.SelfAttention", own, dropout=dropout)]
    if decodes:
        cross = _attention(s, dropout)
        parts.append(
            SubLayer(
                "layer.1.layer_norm",
                norm,
                "layer.1.EncDecAttention",
                cross,
                dropout=dropout,
                crosses=True,
            )
        )
    last = f"layer.{len(parts)}"
    mlp = _mlp(s, dropout)
    parts.append(
        SubLayer(f"{last}.layer_norm", norm, f"{last}.DenseReluDense", mlp, dropout=dropout)
    )
    layers = s.layers("num_layers")
    count = s.layers("num_decoder_layers", default=layers) if decodes else layers
    block = SequentialBlock(tuple(parts))
    return Stack(f"{name}.block", (block,) * count, f"{name}.final_layer_norm", norm, dropout)


def _attention(s: Settings, dropout: Dropout) -> Attention:
    heads = s.number("num_heads")
    return Attention(
        hidden=s.number("d_model"),
        heads=heads,
        kv_heads=heads,
        head_dim=s.number("d_kv", default=64),
        names=("q", "k", "v", "o"),
        rotary=0.0,
        dropout=dropout,
        biased=True,
        causal=False,
        float_softmax=False,
    )


def _mlp(s: Settings, dropout: Dropout) -> Mlp:
    kind = s.text("feed_forward_proj", default="relu")
    # The gated-gelu of version 1.1 is the unfused form.
    name = "gelu_new" if kind == "gated-gelu" else kind.removeprefix("gated-")
    hidden, width = s.number("d_model"), s.number("d_ff")
    if kind.startswith("gated-"):
        return GatedMlp(hidden, width, Activation(name), "wi_0", "wi_1", "wo", dropout)
    return PlainMlp(hidden, width, Activation(name), "wi", "wo", False, dropout)
