"""Prompt tuning: trained vectors before the input (Lester et al. 2021, arXiv 2104.08691)."""

from __future__ import annotations

from luthier.config import PromptTuningConfig
from luthier.core.errors import UsageError
from luthier.methods.base import Adapted, Method
from luthier.methods.gradient_reach import Reach
from luthier.methods.initial_words import initial_ids
from luthier.methods.peft_support import attach, task_type
from luthier.models.load import LoadedModel


class PromptTuningMethod(Method):
    """Trains ``virtual_tokens`` vectors; the model itself is frozen."""

    name = "prompt-tuning"

    def __init__(self, config: PromptTuningConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        The vectors are initialised with embeddings of real tokens.

        Raises:
            UsageError: the initial text has no tokens, or embeddings and layers differ in width.
        """
        import peft
        import torch

        text = loaded.model.config.get_text_config()
        settings = peft.PromptTuningConfig(
            task_type=task_type(loaded),
            num_virtual_tokens=self.config.virtual_tokens,
            # Vectors for the encoder only: peft would create an unused second set for the decoder.
            num_transformer_submodules=1,
            # Peft does not find it in every model's configuration, and some models have none. The
            # vectors do not depend on it.
            num_attention_heads=getattr(text, "num_attention_heads", 1),
        )
        model = attach(loaded, settings, "methods.prompt-tuning")
        prompt = model.prompt_encoder[model.active_adapter].embedding
        ids = initial_ids(loaded, self.config.initial_text, prompt.num_embeddings, self.name)
        table = loaded.model.get_input_embeddings().weight
        if table.shape[1] != prompt.embedding_dim:
            raise UsageError(
                f"the embeddings of {loaded.stamp.architecture} have width {table.shape[1]}, but "
                f"peft's prompts have that of its layers, {prompt.embedding_dim}",
                where="methods.prompt-tuning",
                fix="choose lora",
            )
        prompt.to(table.device)  # peft searches embeddings by names that not all models have
        with torch.no_grad():
            prompt.weight.copy_(table[ids])
        return Adapted(model)
