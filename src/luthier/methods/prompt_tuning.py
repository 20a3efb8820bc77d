"""Prompt tuning: trained vectors before the input (Lester et al. 2021, arXiv 2104.08691)."""

from __future__ import annotations

from typing import Any, ClassVar

from luthier.config import PromptTuningConfig
from luthier.core.errors import UsageError
from luthier.methods.base import Method
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

        The vectors start from embeddings of real tokens, which Lester et al. (figure 3b) found
        better than random numbers, most of all for small models.

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
        ids = self._initial_ids(loaded, prompt.num_embeddings)
        with torch.no_grad():
            embeddings = loaded.model.get_input_embeddings().weight
            prompt.weight.copy_(embeddings[ids.to(embeddings.device)].to(prompt.weight.dtype))
        return model

    def _initial_ids(self, loaded: LoadedModel, count: int) -> Any:
        import torch

        if self.config.initial_text is None:
            return torch.randint(loaded.model.get_input_embeddings().num_embeddings, (count,))
        ids = loaded.tokenizer(self.config.initial_text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise UsageError(
                "the initial text of the soft prompt has no tokens",
                where="methods.prompt-tuning.initial_text",
                fix="write some words, or leave it out",
            )
        repeats = -(-count // len(ids))
        return torch.tensor((ids * repeats)[:count], dtype=torch.long)
