"""GPT-2 and other decoders with layer norms, biases and plain MLPs."""

from __future__ import annotations

from dataclasses import replace

from luthier.planning.architecture import Architecture, Stack
from luthier.planning.attention import Attention
from luthier.planning.blocks import Block, ParallelBlock, SequentialBlock, SubLayer
from luthier.planning.families.llama import stacked
from luthier.planning.families.settings import Settings
from luthier.planning.modules import Activation, Dropout, LayerNorm, NoNorm, PlainMlp
from luthier.planning.tape import Weight


def gpt2(family: str, s: Settings) -> Architecture:
    """GPT-2: learned positions, layer norms, dropout in four places."""
    hidden, heads = s.number("n_embd", "hidden_size"), s.number("n_head", "num_attention_heads")
    attention = Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=s.head_dim(hidden, heads, "n_head"),
        names=("c_attn", "c_proj"),
        bias=(True, True),
        rotary=0.0,
        dropout=Dropout(s.rate("attn_pdrop", 0.1)),
        float_softmax=False,
    )
    mlp = PlainMlp(
        hidden,
        s.number("n_inner", default=4 * hidden),
        Activation(s.text("activation_function", default="gelu_new")),
        up="c_fc",
        down="c_proj",
    )
    dropout, norm = Dropout(s.rate("resid_pdrop", 0.1)), LayerNorm()
    block = SequentialBlock(
        (
            SubLayer("ln_1", norm, "attn", attention, dropout=dropout),
            SubLayer("ln_2", norm, "mlp", mlp, dropout=dropout),
        )
    )
    layers = (block,) * s.layers("n_layer", "num_hidden_layers")
    positions = s.number("n_positions", "max_position_embeddings", default=1024)
    vocabulary = s.number("vocab_size")
    return Architecture(
        family=family,
        hidden=hidden,
        vocabulary=vocabulary,
        context=positions,
        embeddings=(
            Weight("transformer.wte", (vocabulary, hidden), "embedding"),
            Weight("transformer.wpe", (positions, hidden), "embedding"),
        ),
        decoder=Stack("transformer.h", layers, "transformer.ln_f", norm),
        tied=s.flag("tie_word_embeddings", True),
        embedding_dropout=Dropout(s.rate("embd_pdrop", 0.1)),
    )


def gpt_neox(family: str, s: Settings) -> Architecture:
    """GPT-NeoX and Pythia: a fused query-key-value projection; a parallel residual."""
    hidden, heads = s.number("hidden_size"), s.number("num_attention_heads")
    bias = s.flag("attention_bias", True)
    attention = Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=s.head_dim(hidden, heads, "num_attention_heads"),
        names=("query_key_value", "dense"),
        bias=(bias, bias),
        rotary=s.rotated("rotary_pct", 0.25),
        concatenated=True,
        dropout=Dropout(s.rate("attention_dropout")),
    )
    mlp = PlainMlp(
        hidden,
        s.number("intermediate_size"),
        Activation(s.text("hidden_act", default="gelu")),
        up="dense_h_to_4h",
        down="dense_4h_to_h",
    )
    dropout, norm = Dropout(s.rate("hidden_dropout")), LayerNorm()
    names = ("input_layernorm", "post_attention_layernorm")
    block: Block = ParallelBlock(norm, names, "attention", attention, mlp, dropout)
    if not s.flag("use_parallel_residual", True):
        block = SequentialBlock(
            (
                SubLayer(names[0], norm, "attention", attention, dropout=dropout),
                SubLayer(names[1], norm, "mlp", mlp, dropout=dropout),
            )
        )
    vocabulary = s.number("vocab_size")
    layers = (block,) * s.layers("num_hidden_layers")
    return Architecture(
        family=family,
        hidden=hidden,
        vocabulary=vocabulary,
        context=s.number("max_position_embeddings", default=2048),
        embeddings=(Weight("gpt_neox.embed_in", (vocabulary, hidden), "embedding"),),
        decoder=Stack("gpt_neox.layers", layers, "gpt_neox.final_layer_norm", norm),
        tied=s.flag("tie_word_embeddings"),
        embedding_dropout=dropout,
    )


def phi(family: str, s: Settings) -> Architecture:
    """Phi-1, 1.5 and 2: attention and MLP in parallel after one norm."""
    heads, kv_heads = s.heads("num_attention_heads")
    hidden = s.number("hidden_size")
    attention = Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=s.head_dim(hidden, heads, "num_attention_heads"),
        names=("q_proj", "k_proj", "v_proj", "dense"),
        bias=(True, True),
        rotary=s.rotated("partial_rotary_factor", 0.5),
        concatenated=True,
        dropout=Dropout(s.rate("attention_dropout")),
    )
    activation = Activation(s.text("hidden_act", default="gelu_new"))
    mlp = PlainMlp(hidden, s.number("intermediate_size"), activation, up="fc1", down="fc2")
    dropout, norm = Dropout(s.rate("resid_pdrop")), LayerNorm()

    def block(own: Attention) -> Block:
        return ParallelBlock(norm, ("input_layernorm",), "self_attn", own, mlp, dropout)

    made = stacked(family, s, block, attention, norm)
    stack = replace(made.decoder, norm_name="model.final_layernorm")
    embedding_dropout = Dropout(s.rate("embd_pdrop"))
    return replace(made, decoder=stack, head_bias=True, embedding_dropout=embedding_dropout)


def opt(family: str, s: Settings) -> Architecture:
    """OPT: learned positions (two more than the context), ReLU, biases everywhere."""
    hidden = s.number("hidden_size")
    vocabulary, context = s.number("vocab_size"), s.number("max_position_embeddings", default=2048)
    width = s.number("word_embed_proj_dim", default=hidden)
    before = s.flag("do_layer_norm_before", True)
    last = before and not s.flag("_remove_final_layer_norm")
    layers = (_opt_block(s, hidden, before),) * s.layers("num_hidden_layers")
    name = "model.decoder"
    projections = (f"{name}.project_in", f"{name}.project_out") if width != hidden else ()
    return Architecture(
        family=family,
        hidden=hidden,
        vocabulary=vocabulary,
        context=context,
        embeddings=(
            Weight(f"{name}.embed_tokens", (vocabulary, width), "embedding"),
            Weight(f"{name}.embed_positions", (context + 2, hidden), "embedding"),
        ),
        decoder=Stack(
            f"{name}.layers",
            layers,
            f"{name}.final_layer_norm",
            LayerNorm(s.flag("layer_norm_elementwise_affine", True)) if last else NoNorm(),
        ),
        tied=s.flag("tie_word_embeddings", True),
        embedding_width=width,
        projections=projections,
    )


def _opt_block(s: Settings, hidden: int, before: bool) -> Block:
    heads, bias = s.number("num_attention_heads"), s.flag("enable_bias", True)
    attention = Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=s.head_dim(hidden, heads, "num_attention_heads"),
        names=("q_proj", "k_proj", "v_proj", "out_proj"),
        bias=(bias, bias),
        rotary=0.0,
        dropout=Dropout(s.rate("attention_dropout")),
    )
    mlp = PlainMlp(
        hidden,
        s.number("ffn_dim"),
        Activation(s.text("activation_function", default="relu")),
        up="fc1",
        down="fc2",
        bias=bias,
    )
    dropout, norm = Dropout(s.rate("dropout", 0.1)), LayerNorm()
    first, second = "self_attn_layer_norm", "final_layer_norm"
    after = not before
    return SequentialBlock(
        (
            SubLayer(first, norm, "self_attn", attention, dropout=dropout, norm_last=after),
            SubLayer(second, norm, "", mlp, dropout=dropout, norm_last=after),
        )
    )
