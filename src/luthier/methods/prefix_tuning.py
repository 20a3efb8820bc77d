"""Prefix tuning: trained keys and values in each layer (Li and Liang 2021, arXiv 2101.00190)."""

from __future__ import annotations

from typing import Any, ClassVar

from luthier.config.methods import PrefixTuningConfig
from luthier.core.errors import UsageError
from luthier.methods.base import Method
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

        Raises:
            UsageError: the model is an encoder-decoder.
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
        return attach(loaded, settings)
