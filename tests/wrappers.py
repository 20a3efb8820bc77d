"""Vision-language models of many kinds, tiny and random, to be used with text alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

VOCABULARY = 2048
_TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
_CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_ROTARY = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
# Of Qwen's and GLM's, which see in layers of their own.
_SEEING = {
    "depth": 1,
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 32,
    "out_hidden_size": 32,
}
_QWEN_TOKENS = {
    "image_token_id": 5,
    "video_token_id": 6,
    "vision_start_token_id": 7,
    "vision_end_token_id": 8,
}


def _clip() -> Any:
    from transformers import CLIPVisionConfig

    return CLIPVisionConfig(**_CLIP)


def _siglip() -> Any:
    from transformers import SiglipVisionConfig

    return SiglipVisionConfig(**_CLIP)


def _pixtral() -> Any:
    from transformers import PixtralVisionConfig

    return PixtralVisionConfig(**_CLIP, head_dim=8)


def _llama(**more: Any) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(**_TEXT, **more)


def _mistral() -> Any:
    from transformers import MistralConfig

    return MistralConfig(**_TEXT, head_dim=8, sliding_window=None)


def _qwen2() -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(**_TEXT)


def llava() -> Any:
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(text_config=_llama(), vision_config=_clip(), image_token_index=5)
    return LlavaForConditionalGeneration(config)


def pixtral() -> Any:
    """Published as LLaVA of Mistral with Pixtral's eyes."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(
        text_config=_mistral(),
        vision_config=_pixtral(),
        image_token_index=5,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return LlavaForConditionalGeneration(config)


def llava_next() -> Any:
    from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

    config = LlavaNextConfig(
        text_config=_mistral(),
        vision_config=_clip(),
        image_token_index=5,
        image_grid_pinpoints=[[28, 28]],
    )
    return LlavaNextForConditionalGeneration(config)


def llava_onevision() -> Any:
    from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

    config = LlavaOnevisionConfig(
        text_config=_qwen2(), vision_config=_siglip(), image_token_index=5, video_token_index=6
    )
    return LlavaOnevisionForConditionalGeneration(config)


def vipllava() -> Any:
    from transformers import VipLlavaConfig, VipLlavaForConditionalGeneration

    config = VipLlavaConfig(
        text_config=_llama(),
        vision_config=_clip(),
        image_token_index=5,
        vision_feature_layers=[-1, -2],
    )
    return VipLlavaForConditionalGeneration(config)


def mistral3() -> Any:
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    config = Mistral3Config(
        text_config=_mistral(), vision_config=_pixtral(), image_token_index=5, spatial_merge_size=1
    )
    return Mistral3ForConditionalGeneration(config)


def gemma3() -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    config = Gemma3Config(
        text_config={**_TEXT, "head_dim": 8, "sliding_window": 16},
        vision_config=_CLIP,
        mm_tokens_per_image=4,
        image_token_index=5,
        boi_token_index=6,
        eoi_token_index=7,
    )
    return Gemma3ForConditionalGeneration(config)


def paligemma() -> Any:
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

    config = PaliGemmaConfig(
        text_config={**_TEXT, "model_type": "gemma", "head_dim": 8},
        vision_config={**_CLIP, "model_type": "siglip_vision_model", "projection_dim": 32},
        image_token_index=5,
        projection_dim=32,
    )
    return PaliGemmaForConditionalGeneration(config)


def qwen2_vl() -> Any:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    vision = {"depth": 1, "embed_dim": 16, "num_heads": 2, "hidden_size": 32, "mlp_ratio": 2}
    text = {**_TEXT, "rope_parameters": _ROTARY}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, **_QWEN_TOKENS)
    return Qwen2VLForConditionalGeneration(config)


def qwen2_5_vl() -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {**_SEEING, "fullatt_block_indexes": [0]}
    text = {**_TEXT, "rope_parameters": _ROTARY}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_QWEN_TOKENS)
    return Qwen2_5_VLForConditionalGeneration(config)


def qwen3_vl() -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    vision = {**_SEEING, "deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    text = {**_TEXT, "head_dim": 8, "rope_parameters": _ROTARY}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **_QWEN_TOKENS)
    return Qwen3VLForConditionalGeneration(config)


def idefics2() -> Any:
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration

    config = Idefics2Config(
        text_config=_mistral(),
        vision_config=_CLIP,
        perceiver_config={
            "hidden_size": 32,
            "resampler_n_latents": 2,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 8,
            "num_key_value_heads": 1,
        },
        image_token_id=5,
    )
    return Idefics2ForConditionalGeneration(config)


def idefics3() -> Any:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    config = Idefics3Config(
        text_config=_llama(), vision_config=_CLIP, scale_factor=2, image_token_id=5, pad_token_id=2
    )
    return Idefics3ForConditionalGeneration(config)


def smolvlm() -> Any:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    config = SmolVLMConfig(
        text_config=_llama(), vision_config=_CLIP, scale_factor=2, image_token_id=5, pad_token_id=2
    )
    return SmolVLMForConditionalGeneration(config)


def internvl() -> Any:
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    config = InternVLConfig(
        text_config=_qwen2(),
        vision_config={**_CLIP, "image_size": [28, 28], "patch_size": [14, 14]},
        image_token_id=5,
    )
    return InternVLForConditionalGeneration(config)


def llama4() -> Any:
    from transformers import Llama4Config, Llama4ForConditionalGeneration

    config = Llama4Config(
        text_config={
            **_TEXT,
            "intermediate_size_mlp": 64,
            "num_local_experts": 2,
            "head_dim": 8,
            "moe_layers": [1],
        },
        vision_config={**_CLIP, "vision_output_dim": 16, "projector_input_dim": 16},
        image_token_index=5,
    )
    return Llama4ForConditionalGeneration(config)


def mllama() -> Any:
    from transformers import MllamaConfig, MllamaForConditionalGeneration

    config = MllamaConfig(
        text_config={**_TEXT, "num_hidden_layers": 3, "cross_attention_layers": [1]},
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "intermediate_layers_indices": [0],
            "vision_output_dim": 32,
        },
        image_token_index=5,
    )
    return MllamaForConditionalGeneration(config)


def aya_vision() -> Any:
    from transformers import AyaVisionConfig, AyaVisionForConditionalGeneration, CohereConfig

    config = AyaVisionConfig(
        text_config=CohereConfig(**_TEXT), vision_config=_siglip(), image_token_index=5
    )
    return AyaVisionForConditionalGeneration(config)


def got_ocr2() -> Any:
    from transformers import GotOcr2Config, GotOcr2ForConditionalGeneration

    vision = {
        "hidden_size": 16,
        "output_channels": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
        "mlp_dim": 32,
        "global_attn_indexes": [0],
        "window_size": 2,
    }
    config = GotOcr2Config(text_config=_qwen2(), vision_config=vision, image_token_index=5)
    return GotOcr2ForConditionalGeneration(config)


def glm4v() -> Any:
    from transformers import Glm4vConfig, Glm4vForConditionalGeneration

    half = {**_ROTARY, "mrope_section": [1, 1, 0], "partial_rotary_factor": 0.5}
    config = Glm4vConfig(
        text_config={**_TEXT, "rope_parameters": half},
        vision_config={**_SEEING, "image_size": 28, "patch_size": 14},
        image_token_id=5,
        video_token_id=6,
    )
    return Glm4vForConditionalGeneration(config)


WRAPPERS: dict[str, Callable[[], Any]] = {
    made.__name__: made
    for made in (
        llava,
        pixtral,
        llava_next,
        llava_onevision,
        vipllava,
        mistral3,
        gemma3,
        qwen2_vl,
        qwen2_5_vl,
        qwen3_vl,
        idefics2,
        idefics3,
        smolvlm,
        internvl,
        llama4,
        mllama,
        aya_vision,
        got_ocr2,
        glm4v,
    )
}


def lively(make: Callable[[], Any]) -> Any:
    """A model whose weights are large enough that answers differ by prompt."""
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    return model
