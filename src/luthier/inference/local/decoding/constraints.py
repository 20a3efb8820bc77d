"""Constraints of a model's generation config on the next token.

A published model may come with a repetition penalty, a minimum length, or forced or suppressed
tokens. transformers' ``generate`` applies them with every decoding strategy. Luthier does so too,
with the same logits processors. The strategy itself (its temperature, its beams) is Luthier's
setting.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from luthier.core.errors import DataError
from luthier.inference.local.decoding.stopping import Stopping
from luthier.models.kinds import without_adapter

# Fields that need more than the next token's logits, and the value that switches each off.
_BEYOND_LOGITS = {"guidance_scale": 1, "token_healing": False}


class Constraints:
    """The logits processors of each prompt; most of them depend on the prompt's tokens.

    Args:
        model: the model, with its generation config.
        prompts: token ids.
        stopping: the tokens that end an answer, and the limit of its length.

    Raises:
        DataError: the generation config demands more than a change of logits.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], stopping: Stopping) -> None:
        self._config = model.generation_config
        for name, usual in _BEYOND_LOGITS.items():
            if (value := getattr(self._config, name, None)) not in (None, usual):
                raise DataError(
                    f"the model's generation config asks for {name} = {value}, which is not "
                    "supported",
                    where=f'generation_config.json, field "{name}"',
                    fix="remove the field, if answers without it will do",
                )
        self._model = without_adapter(model)
        self._prompts, self._stopping = prompts, stopping
        self._made: dict[int, Any] = {}
        self._are_there = bool(prompts) and len(self._processors(0)) > 0

    def apply(
        self, scores_BV: Tensor, prompts: Sequence[int], answers: Sequence[Sequence[int]]
    ) -> Tensor:
        """Change the scores of the next token.

        Args:
            scores_BV: logits, or log-probabilities in a beam search.
            prompts: the index of each row's prompt.
            answers: the tokens of each row's answer so far.

        Returns:
            ``[B, V]``, in float32 if there are any constraints.
        """
        if not self._are_there:
            return scores_BV
        rows = []
        for scores_V, prompt, answer in zip(scores_BV.float(), prompts, answers, strict=True):
            ids_1T = torch.tensor([[*self._given(prompt), *answer]], device=scores_BV.device)
            rows.append(self._processors(prompt)(ids_1T, scores_V[None]))
        return torch.cat(rows)

    def _given(self, prompt: int) -> Sequence[int]:
        """The decoder's tokens before the first token of an answer."""
        if self._model.config.is_encoder_decoder:
            return (self._model.config.decoder_start_token_id,)
        return self._prompts[prompt]

    def _processors(self, prompt: int) -> Any:
        if prompt not in self._made:
            device, ends = self._model.device, sorted(self._stopping.stop_ids)
            length = len(self._given(prompt))
            config = copy.deepcopy(self._config)
            config.do_sample, config.num_beams = False, 1
            config.max_length = length + self._stopping.max_new_tokens
            config._eos_token_tensor = torch.tensor(ends, device=device) if ends else None
            self._made[prompt] = self._model._get_logits_processor(
                config,
                input_ids_seq_length=length,
                encoder_input_ids=torch.tensor([list(self._prompts[prompt])], device=device),
                device=device,
            )
        return self._made[prompt]
