"""P-tuning: virtual tokens produced by a small network (Liu et al. 2021, arXiv 2103.10385)."""

from __future__ import annotations

from luthier.config.methods import PTuningConfig
from luthier.methods.base import Adapted, Method
from luthier.methods.gradient_reach import Reach
from luthier.methods.peft_support import attach, task_type
from luthier.models.load import LoadedModel


class PTuningMethod(Method):
    """Trains vectors and a three-layer network that transforms them.

    The network's output is saved.
    """

    name = "p-tuning"

    def __init__(self, config: PTuningConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`."""
        import peft

        text = loaded.model.config.get_text_config()
        settings = peft.PromptEncoderConfig(
            task_type=task_type(loaded),
            num_virtual_tokens=self.config.virtual_tokens,
            encoder_hidden_size=text.hidden_size,
            num_transformer_submodules=1,
            # Peft does not find it in every model's configuration, and some models have none. The
            # vectors do not depend on it.
            num_attention_heads=getattr(text, "num_attention_heads", 1),
        )
        return Adapted(attach(loaded, settings, "methods.p-tuning"))
