"""Prompt tuning: trained vectors before the input (Lester et al. 2021, arXiv 2104.08691)."""

from __future__ import annotations

from typing import Any, ClassVar

from luthier.config import PromptTuningConfig
from luthier.methods.base import Method
from luthier.methods.initial_words import initial_ids
from luthier.methods.peft_support import task_type
from luthier.models.load import LoadedModel
from luthier.models.quiet import quiet_transformers


class PromptTuningMethod(Method):
    """Trains ``virtual_tokens`` vectors; the model itself is left as it is."""

    name = "prompt-tuning"
    packable: ClassVar[bool] = False

    def __init__(self, config: PromptTuningConfig) -> None:
        self.config = config

    def prepare(self, loaded: LoadedModel) -> Any:
        """See `Method.prepare`.

        The vectors start from the embeddings of real tokens.

        Raises:
            UsageError: the initial text has no tokens.
        """
        import peft
        import torch

        settings = peft.PromptTuningConfig(
            task_type=task_type(loaded),
            num_virtual_tokens=self.config.virtual_tokens,
            # Vectors for the encoder only: peft would make a second set for the decoder, unused.
            num_transformer_submodules=1,
        )
        with quiet_transformers():
            model = peft.get_peft_model(loaded.model, settings)
        prompt = model.prompt_encoder[model.active_adapter].embedding
        ids = initial_ids(loaded, self.config.initial_text, prompt.num_embeddings, self.name)
        with torch.no_grad():
            prompt.weight.copy_(loaded.model.get_input_embeddings().weight[ids])
        return model
