"""LitGPT's model, adapter and loss, each step as its finetune scripts take it, without its console.

Its scripts read data sets of their own formats; the rows here come tokenised, as for the others.
Its adapter covers the same layers with the same rank, but is drawn in another order, and its loss
is a mean over micro-batches instead of one over tokens: the losses are near the others', not equal.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tuning_case import Case, Example, Measurement, load_examples, measurement

_NAME = "SmolLM2-135M-Instruct"
_IGNORED = -100


def litgpt(case: Case) -> Measurement:
    """LitGPT's finetune_full and finetune_lora."""
    start = time.perf_counter()
    import torch
    from litgpt.utils import chunked_cross_entropy

    torch.set_num_threads(case.threads)
    rows = load_examples(case)
    model = _model(case)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=case.learning_rate, weight_decay=0.0, fused=True)
    parts = case.batch // case.micro_batch
    losses, times = [], [start, time.perf_counter()]
    for step in range(case.steps):
        total, count = 0.0, 0
        for part in range(parts):
            first = step * case.batch + part * case.micro_batch
            ids_BT, labels_BT = _padded(rows[first : first + case.micro_batch])
            logits = model(ids_BT, lm_head_chunk_size=128)
            logits[-1] = logits[-1][..., :-1, :]
            loss = chunked_cross_entropy(logits, labels_BT[:, 1:])
            (loss / parts).backward()
            number = int((labels_BT[:, 1:] != _IGNORED).sum())
            total, count = total + float(loss.detach()) * number, count + number
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total / count)
        times.append(time.perf_counter())
    return measurement(case, rows, losses, times)


def _model(case: Case) -> Any:
    import torch
    from litgpt import lora
    from litgpt import model as plain
    from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
    from safetensors.torch import load_file

    state: dict[str, Any] = {}
    config = plain.Config.from_name(_NAME)
    source = load_file(Path(case.model) / "model.safetensors")
    copy_weights_hf_llama(config, {}, state, source, dtype=getattr(torch, case.dtype))
    if case.kind == "full":
        model = plain.GPT(config)
        model.load_state_dict(state, assign=True)
        return model
    layers = ("query", "key", "value", "projection", "mlp")
    settings = {f"lora_{layer}": True for layer in layers}
    model = lora.GPT(lora.Config.from_name(_NAME, lora_r=8, lora_alpha=16, **settings))
    model.load_state_dict(state, strict=False, assign=True)
    lora.mark_only_lora_as_trainable(model)
    return model


def _padded(rows: list[Example]) -> tuple[Any, Any]:
    """Ids and labels, ``[B, T]``; what is not trained, and padding, is ignored by the loss."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    ids = [torch.tensor(row) for row, _ in rows]
    labels = [
        torch.where(torch.tensor(mask), row, _IGNORED)
        for row, (_, mask) in zip(ids, rows, strict=True)
    ]
    return (
        pad_sequence(ids, batch_first=True),
        pad_sequence(labels, batch_first=True, padding_value=_IGNORED),
    )
