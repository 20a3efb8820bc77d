"""Small random models of the architectures that transformers can build, and what is reused of them.

``python -m tests.families`` writes docs/architectures.md anew.
"""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from luthier.core.errors import LuthierError
from luthier.inference.local.decoder_only import DecoderOnlyGenerator
from luthier.inference.local.encoder_decoder import EncoderDecoderGenerator
from luthier.inference.local.generator import Generator
from luthier.models.load import LoadedModel
from luthier.records.evaluation import ModelStamp

PAGE = Path(__file__).parent.parent / "docs" / "architectures.md"

# What a setting is called in one configuration or another, and a small value for it.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "embed_dim", "lru_width"), 32),
    **dict.fromkeys(("embedding_size", "emb_dim", "n_embed", "dim", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), 2),
    "num_encoder_layers": 2,
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_encoder_attention_heads", "num_decoder_attention_heads"), 4),
    "num_key_value_heads": 2,
    **dict.fromkeys(("head_dim", "d_kv", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("intermediate_size", "n_inner", "d_ff", "ffn_dim", "ffn_hidden_size"), 48),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 48),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 128),
    **dict.fromkeys(("sliding_window", "attention_window_size", "attention_chunk_size"), 8),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_top_k", "moe_k", "moe_topk"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    "expert_ffn_hidden_size": 16,
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "mamba_n_groups"), 1),
    **dict.fromkeys(("kv_lora_rank", "state_size", "mamba_d_state"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "mamba_chunk_size"), 8),
    **dict.fromkeys(("linear_num_value_heads", "mamba_n_heads", "rotary_dim"), 4),
    **dict.fromkeys(("linear_num_key_heads", "mamba_expand"), 2),
    **dict.fromkeys(("q_lora_rank", "mamba_d_head"), 16),
    **{"chunk_size": 8, "mamba_d_ssm": 64, "mamba_dt_rank": 4, "query_pre_attn_scalar": 8},
    **{"vocab_size": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    **{"decoder_start_token_id": 0, "is_decoder": True, "use_mamba_kernels": False},
}


_BLOCKS = "layers_block_type"


def _layers(*kinds: str, name: str = "layer_types") -> dict[str, Any]:
    return {"num_hidden_layers": len(kinds), name: list(kinds)}


_RECURRENT_AND_FULL = _layers("linear_attention", "full_attention")
_CONVOLUTION_AND_FULL = _layers("conv", "full_attention")
_WINDOW_AND_FULL = _layers("sliding_attention", "full_attention")
_LATENT = {"num_key_value_heads": 4}
# What an architecture needs beside; None: the configuration's own value.
_OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "deepseek_v2", "deepseek_v3", "deepseek_v32", "youtu"), _LATENT),
    **dict.fromkeys(("glm4_moe_lite", "glm_moe_dsa", "longcat_flash", "minicpm3"), _LATENT),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"), _RECURRENT_AND_FULL),
    "minimax": _layers("full_attention", "linear_attention"),
    **dict.fromkeys(("lfm2", "lfm3"), _CONVOLUTION_AND_FULL),
    "lfm2_moe": {**_CONVOLUTION_AND_FULL, "num_dense_layers": 1},
    "granitemoehybrid": _layers("mamba", "attention"),
    "bamba": {"attn_layer_indices": [1]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "mamba2": {"num_heads": 8, "n_groups": 1},
    "zamba": {
        **_layers("linear_attention", "hybrid", "linear_attention", "hybrid"),
        "attention_head_dim": 16,
        "attention_hidden_size": 64,
    },
    "zamba2": {
        **_layers("linear_attention", "hybrid", "linear_attention", "hybrid", name=_BLOCKS),
        "mamba_headdim": 8,
        "n_mamba_heads": 8,
    },
    "nemotron_h": {
        **_layers("mamba", "attention", "mlp", name=_BLOCKS),
        **{"num_hidden_layers": None, "mamba_num_heads": 4, "mamba_head_dim": 16},
        **{"ssm_state_size": 8, "n_groups": 1},
    },
    "led": {"attention_window": 8},
    "pegasus_x": {"block_size": 8},
    "xlstm": {"head_dim": None, "chunk_size": 16},
    "zaya": {"num_experts_per_tok": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "roc_bert": {"pronunciation_vocab_size": 40, "shape_vocab_size": 40},
    "gemma4_text": {
        **_WINDOW_AND_FULL,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 128,
        "num_kv_shared_layers": 0,
        "global_head_dim": 8,
    },
    **dict.fromkeys(("gemma2", "gemma3_text", "cohere2", "olmo3", "gpt_oss"), _WINDOW_AND_FULL),
    **dict.fromkeys(("ministral", "exaone4", "smollm3"), _WINDOW_AND_FULL),
    "qwen2": {"use_sliding_window": True, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": True, "max_window_layers": 1},
    "phi3": {"original_max_position_embeddings": 128},
}


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Those whose tests run always: every kind of attention, position and state.
COMMON = _names(
    """
    llama mistral mixtral qwen2 qwen3 qwen3_next gemma gemma2 gemma3_text gemma4_text phi phi3
    gpt2 gpt_neo gpt_neox gpt_oss bloom mpt falcon opt olmo3 olmoe cohere cohere2 starcoder2 glm4
    deepseek_v3 llama4_text mamba mamba2 falcon_mamba falcon_h1 rwkv recurrent_gemma jamba bamba
    zamba2 nemotron_h minimax lfm2 xlstm roberta bart xlnet
    """
)
OTHER = _names(
    """
    afmoe apertus arcee aria_text axk1 bert bert-generation big_bird bigbird_pegasus biogpt bitnet
    blenderbot blenderbot-small camembert codegen cohere2_moe cpmant cwm data2vec-text deepseek_v2
    deepseek_v32 deepseek_v4 diffllama doge dots1 electra ernie ernie4_5 ernie4_5_moe exaone4
    exaone_moe flex_olmo flint glm glm4_moe glm4_moe_lite glm_moe_dsa gpt-sw3 gpt_bigcode
    gpt_neox_japanese gptj granite granite_swa granitemoe granitemoe_swa granitemoehybrid
    granitemoeshared helium hrm_text hunyuan_v1_dense hunyuan_v1_moe hy_v3 hy_v4 hyperclovax
    internlm3 iquestcoder jais2 jetmoe kolibri1 laguna lfm2_moe lfm3 longcat_flash marian mbart
    megatron-bert mellum mimo_v2_flash minicpm3 minimax_m2 ministral ministral3 modernbert-decoder
    moshi mvp nanochat nemotron olmo olmo2 olmo_hybrid openai-gpt pegasus persimmon phimoe plbart
    prophetnet qwen2_moe qwen3_5_moe_text qwen3_5_text qwen3_moe rembert roberta-prelayernorm
    roc_bert roformer seed_oss smollm3 solar_open stablelm trocr vaultgemma xglm xlm xlm-roberta
    xlm-roberta-xl youtu zamba zaya
    """
)
ENCODER_DECODERS = _names(
    """
    t5 mt5 umt5 bart pegasus marian m2m_100 prophetnet
    """
)


OTHER_ENCODER_DECODERS = _names(
    """
    bigbird_pegasus blenderbot blenderbot-small led longt5 mbart pegasus_x switch_transformers
    """
)


class WordTokenizer:
    """Enough of a tokenizer to write answers down."""

    bos_token_id = 1
    eos_token_id = None
    all_special_ids = ()

    def decode(self, ids: Any, **_: Any) -> str:
        return " ".join(map(str, ids))


def _settings(kind: str, changed: dict[str, Any]) -> Any:
    """A small configuration; a setting that an architecture does not have is left out."""
    cls: Any = CONFIG_MAPPING[kind]
    known = set(inspect.signature(cls.__init__).parameters)
    for base in cls.__mro__:
        known |= set(getattr(base, "__annotations__", {}))
    aliases = getattr(cls, "attribute_map", {}) or {}
    usual = {
        name: value
        for name, value in _SIZES.items()
        if (name in known or name in aliases) and aliases.get(name) not in _SIZES
    }
    chosen = usual | _OWN.get(kind, {}) | changed
    return cls(**{name: value for name, value in chosen.items() if value is not None})


@cache
def family(kind: str, *, encoder_decoder: bool = False, **changed: Any) -> LoadedModel:
    """A small random model whose answers differ by prompt."""
    torch.manual_seed(0)
    settings = _settings(kind, changed)
    settings.decoder_start_token_id = 0
    builder = AutoModelForSeq2SeqLM if encoder_decoder else AutoModelForCausalLM
    model = builder.from_config(settings, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    # What a generation config demands has tests of its own (BART's asks for an end at the limit).
    model.generation_config.forced_eos_token_id = None
    stamp = ModelStamp(id=kind, parameters=0, dtype="float32", architecture=type(model).__name__)
    return LoadedModel(model, WordTokenizer(), stamp, torch.device("cpu"))


def reused(loaded: LoadedModel) -> str:
    """What is reused when this model answers, or why it is refused."""
    kind: type[Generator]
    kind = EncoderDecoderGenerator if loaded.is_encoder_decoder else DecoderOnlyGenerator
    try:
        with torch.inference_mode():
            return str(kind(loaded, 4096).way.description)  # type: ignore[attr-defined]
    except LuthierError as error:
        return f"refused: {error.problem.partition(': ')[2] or error.problem}"


def row(loaded: LoadedModel) -> str:
    """The line of the page."""
    return f"| `{loaded.stamp.id}` | {loaded.stamp.architecture} | {reused(loaded)} |"


def page() -> str:
    """The whole page."""
    head = "| model type | class | reused |\n|---|---|---|\n"
    causal = sorted(row(family(kind)) for kind in (*COMMON, *OTHER))
    both = (*ENCODER_DECODERS, *OTHER_ENCODER_DECODERS)
    others = sorted(row(family(kind, encoder_decoder=True)) for kind in both)
    return (
        f"{_BEFORE}\n## Causal models\n\n{head}"
        + "\n".join(causal)
        + f"\n\n## Encoder-decoder models\n\n{head}"
        + "\n".join(others)
        + "\n"
    )


_BEFORE = """# Models that can be used

Greedy answers and scores are those that transformers gives for each text by itself, uncached.
A model's generation config is obeyed as `generate` obeys it: a repetition penalty, a least length,
forced, suppressed or bad words. `guidance_scale` and `token_healing` are refused. How tokens are
chosen (greedy, sampling, beams) is Luthier's setting only.

Luthier reuses earlier computations: prefix caches, KV caches and recurrent states. Before the first
answer it tries each way on the model at hand. The first that gives the same numbers is used:

1. **shared beginnings, one cache for prompts of any length**: a common beginning of prompts is
   computed once, and answers are generated in one batch. This is the fastest.
2. **shared beginnings, one cache for prompts of one length**: the same without any padding.
3. **shared beginnings, the model's own cache or state, prompts of one length together**: recurrent
   and hybrid models, whose state is copied where prompts fork. Some of them continue a state by one
   token only (Mamba, Falcon Mamba, Jamba, Zamba), so that only long beginnings are worth it.
4. **shared beginnings, the model's own cache or state, prompts one by one**.
5. **nothing: every token is made from the whole text**: right for any model, and slow.

RoBERTa and its kind are computed by the fifth way: they count positions without the padding token,
which may stand in any text.

A model that takes no plain text, or whose predictions depend on later tokens, is refused before
anything is measured. Models with dynamic or long RoPE are computed by the fifth way where a
prompt and its answer are longer than the window of the pre-training.

The tables were made with small random models and the installed transformers. `python -m
tests.families` writes them, and the tests compare every line. An architecture that is not listed is
tried in the same way when it is used.
"""

if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
