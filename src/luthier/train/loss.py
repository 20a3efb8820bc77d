"""Cross-entropy at the trained positions, and logits nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from luthier.data.batches import micro_batches
from luthier.models.forward import logits_at
from luthier.prompts.render import TrainingExample


def padded_length(example: TrainingExample) -> int:
    """Tokens the example takes in a forward pass: those of its longer side."""
    return max(len(example.input_ids), len(example.decoder_ids))


def trained_tokens(example: TrainingExample) -> int:
    """Tokens that are predicted and counted in the loss."""
    return len(example.decoder_ids) or sum(example.trained[1:])


def summed_loss(model: Any, examples: Sequence[TrainingExample], device: torch.device) -> Tensor:
    """Nats summed over the trained tokens of ``examples``, in one forward pass; a scalar.

    The logits are cast to float32 before the softmax, as transformers does.
    """
    start = model.config.decoder_start_token_id if model.config.is_encoder_decoder else None
    if start is None:
        inputs, keep_BT, targets_K = _causal_batch(examples, device)
    else:
        inputs, keep_BT, targets_K = _encoder_decoder_batch(examples, device, start)
    logits_KV = logits_at(model, inputs, keep_BT).float()
    return torch.nn.functional.cross_entropy(logits_KV, targets_K, reduction="sum")


@torch.inference_mode()
def mean_loss(
    model: Any, examples: Sequence[TrainingExample], device: torch.device, batch_tokens: int
) -> float:
    """Nats per trained token over ``examples``; the model is left in evaluation mode."""
    model.eval()
    lengths = [padded_length(example) for example in examples]
    total = 0.0
    for indices in micro_batches(lengths, tokens=batch_tokens, max_padding=0.2):
        total += float(summed_loss(model, [examples[i] for i in indices], device))
    return total / sum(trained_tokens(example) for example in examples)


def _causal_batch(
    examples: Sequence[TrainingExample], device: torch.device
) -> tuple[dict[str, Any], Tensor, Tensor]:
    ids_BT, real_BT = _rectangle([example.input_ids for example in examples])
    trained_BT, _ = _rectangle([example.trained for example in examples])
    predicted_BT = trained_BT.bool()
    predicted_BT[:, 0] = False  # nothing precedes the first token
    keep_BT = torch.zeros_like(predicted_BT)
    keep_BT[:, :-1] = predicted_BT[:, 1:]
    inputs: dict[str, Any] = {"input_ids": ids_BT.to(device), "use_cache": False}
    if not bool(real_BT.all()):  # without padding, attention takes its faster causal path
        inputs["attention_mask"] = real_BT.long().to(device)
    return inputs, keep_BT.to(device), ids_BT[predicted_BT].to(device)


def _encoder_decoder_batch(
    examples: Sequence[TrainingExample], device: torch.device, start: int
) -> tuple[dict[str, Any], Tensor, Tensor]:
    ids_BT, real_BT = _rectangle([example.input_ids for example in examples])
    labels_BT, answer_BT = _rectangle([example.decoder_ids for example in examples])
    start_B1 = torch.full((len(examples), 1), start, dtype=torch.long)
    inputs = {
        "input_ids": ids_BT.to(device),
        "attention_mask": real_BT.long().to(device),
        "decoder_input_ids": torch.cat([start_B1, labels_BT[:, :-1]], dim=1).to(device),
        "use_cache": False,
    }
    return inputs, answer_BT.to(device), labels_BT[answer_BT].to(device)


def _rectangle(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows padded with zeros on the right (int64), and which entries are real (bool)."""
    width = max(map(len, rows))
    values = torch.zeros(len(rows), width, dtype=torch.long)
    real = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        values[index, : len(row)] = torch.tensor(list(row), dtype=torch.long)
        real[index, : len(row)] = True
    return values, real
