"""Prefix tuning: trained keys and values in each layer (Li and Liang 2021, arXiv 2101.00190)."""

from __future__ import annotations

from typing import Any, ClassVar

from luthier.config.methods import PrefixTuningConfig
from luthier.core.errors import UsageError
from luthier.methods.base import Method
from luthier.methods.initial_words import initial_ids
from luthier.methods.peft_support import attach, task_type
from luthier.models.load import LoadedModel


class PrefixTuningMethod(Method):
    """Trains what ``virtual_tokens`` tokens would have left in the key/value cache.

    The keys and values themselves are trained, without the network of the paper's section 4.3.
    """

    name = "prefix-tuning"
    recomputable: ClassVar[bool] = False
    packable: ClassVar[bool] = False

    def __init__(self, config: PrefixTuningConfig) -> None:
        self.config = config

    def prepare(self, loaded: LoadedModel) -> Any:
        """See `Method.prepare`.

        The prefix starts as what real tokens leave in the cache. Numbers drawn at random, peft's
        default, make the model useless at first and a short training does not mend that.

        Raises:
            UsageError: the model is an encoder-decoder; the initial text has no tokens.
        """
        import peft

        if loaded.is_encoder_decoder:
            raise UsageError(
                f"{loaded.stamp.architecture} has an encoder, which peft's prefixes do not reach",
                fix="choose prompt-tuning",
            )
        model = loaded.model.config
        heads = model.num_attention_heads
        width = getattr(model, "head_dim", None) or model.hidden_size // heads
        cached = getattr(model, "num_key_value_heads", None) or heads
        settings = peft.PrefixTuningConfig(
            task_type=task_type(loaded),
            num_virtual_tokens=self.config.virtual_tokens,
            num_layers=model.num_hidden_layers,
            num_attention_heads=cached,
            token_dim=cached * width,
        )
        ids = initial_ids(loaded, self.config.initial_text, self.config.virtual_tokens, self.name)
        start = _cached(loaded.model, ids)
        prepared = attach(loaded, settings)
        prepared.prompt_encoder[prepared.active_adapter].load_prompt_embeddings(start)
        return prepared


def _cached(model: Any, ids: Any) -> Any:
    """What tokens leave in the key/value cache, as peft lays a prefix out.

    Args:
        model: a causal model of transformers'.
        ids: (tokens,).

    Returns:
        (tokens, layers × 2 × heads × head dimension): keys, then values, layer by layer.
    """
    import torch

    was_training = model.training
    model.eval()
    with torch.no_grad():
        cache = model(input_ids=ids[None], use_cache=True).past_key_values
    model.train(was_training)
    parts = [part for layer in cache.layers for part in (layer.keys, layer.values)]
    return torch.stack(parts)[:, 0].permute(2, 0, 1, 3).flatten(1)
