"""Inspection of a prepared model: trained parameters, and tokens near a vector."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import normalize

from luthier.core.parameter_names import without_numbers
from luthier.records.inspection import Neighbour, TrainedGroup

_ROWS = 8192
_UNDECODABLE = "\ufffd"


def trained_groups(model: Any) -> tuple[TrainedGroup, ...]:
    """Tensors that require a gradient, in the model's order, grouped across layers."""
    groups: dict[tuple[str, tuple[int, ...], torch.dtype], list[Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (_pattern(name), tuple(parameter.shape), parameter.dtype)
            groups[key].append(parameter)
    total = sum(parameter.numel() for some in groups.values() for parameter in some)
    return tuple(
        TrainedGroup(
            pattern=pattern,
            tensors=len(some),
            shape=shape,
            dtype=str(dtype).removeprefix("torch."),
            parameters=sum(parameter.numel() for parameter in some),
            share=sum(parameter.numel() for parameter in some) / total,
        )
        for (pattern, shape, dtype), some in groups.items()
    )


@torch.no_grad()
def nearest_words(
    vectors_ND: Tensor, embeddings_VD: Tensor, tokenizer: Any, count: int
) -> tuple[tuple[Neighbour, ...], ...]:
    """For each vector, the ``count`` tokens whose embeddings have the largest cosine with it.

    Lester et al. 2021 (arXiv 2104.08691), section 7.2, interpret soft prompts this way. Rows of the
    embedding without a token are ignored.
    """
    embeddings_VD = embeddings_VD[: len(tokenizer)]
    vectors_ND = normalize(vectors_ND.to(embeddings_VD.device, torch.float32), dim=1)
    # In parts, to avoid a second embedding in float32.
    starts = range(0, len(embeddings_VD), _ROWS)
    tables = (normalize(embeddings_VD[start : start + _ROWS].float(), dim=1) for start in starts)
    parts = [vectors_ND @ table_RD.T for table_RD in tables]
    found = torch.cat(parts, dim=1).topk(min(count, len(embeddings_VD)), dim=1)
    pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return tuple(
        tuple(
            Neighbour(id=id_, text=_text(tokenizer, id_), similarity=similarity)
            for id_, similarity in zip(ids, similarities, strict=True)
        )
        for ids, similarities in pairs
    )


def _pattern(name: str) -> str:
    """The name without prefixes of the wrapper and the adapter, which are always the same."""
    own = name.removeprefix("base_model.model.")
    return without_numbers(own.replace(".default.weight", "").replace(".default", ""))


def _text(tokenizer: Any, token: int) -> str:
    """The text of a token; its raw piece if it is part of a character."""
    text = str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
    return str(tokenizer.convert_ids_to_tokens(token)) if _UNDECODABLE in text else text
