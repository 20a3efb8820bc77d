"""Models whose answers end now and then, and what transformers' ``generate`` says to prompts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import Any

import torch

from luthier.config import Decoding, Strategy
from luthier.inference import Generation
from luthier.inference.local.engine import LocalEngine

NEW_TOKENS = 10


def that_ends(loaded: Any) -> Any:
    """The model with an output layer to which the end and a few words are likely."""
    old = loaded.model.lm_head
    torch.manual_seed(1)
    with torch.no_grad():
        head = torch.nn.Linear(old.in_features, old.out_features)
        # T5 makes what comes before it small.
        head.weight.normal_(std=0.5 if loaded.is_encoder_decoder else old.in_features**-0.5)
        head.bias.zero_()[40:] = -20.0
        head.bias[loaded.tokenizer.eos_token_id] = 1.0
    loaded.model.lm_head = head
    return loaded


def prompts_of(loaded: Any) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    lengths = (7, 1, 30, 12, 13, 3, 30, 2)
    prompts = [torch.randint(5, 900, (n,), generator=generator).tolist() for n in lengths]
    shared = torch.randint(5, 900, (40,), generator=generator).tolist()
    ending = [loaded.tokenizer.eos_token_id] if loaded.is_encoder_decoder else []
    return [[*ids, *ending] for ids in (*prompts, *([*shared, *ids] for ids in prompts[:4]))]


def transformers_answers(
    loaded: Any,
    prompts: Sequence[Sequence[int]],
    ends: Collection[int] | None = None,
    **settings: Any,
) -> list[tuple[int, ...]]:
    """What transformers' ``generate`` adds to each prompt, without the end.

    Args:
        ends: tokens that end an answer; None: the tokenizer's.
    """
    ends = {loaded.tokenizer.eos_token_id} if ends is None else ends
    answers = []
    for prompt in prompts:
        ids_1T = torch.tensor([prompt])
        with torch.inference_mode():
            output = loaded.model.generate(
                input_ids=ids_1T,
                attention_mask=torch.ones_like(ids_1T),
                max_new_tokens=NEW_TOKENS,
                pad_token_id=0,
                do_sample=False,
                **settings,
            )[0].tolist()
        new = output[1:] if loaded.is_encoder_decoder else output[len(prompt) :]
        answers.append(tuple(takewhile(lambda token: token not in ends, new)))
    return answers


def our_answers(
    loaded: Any, prompts: Sequence[Sequence[int]], strategy: Strategy, batch_tokens: int = 4096
) -> list[Generation]:
    decoding = Decoding(max_new_tokens=NEW_TOKENS, strategy=strategy)
    return LocalEngine(loaded, batch_tokens).generate(prompts, decoding)
