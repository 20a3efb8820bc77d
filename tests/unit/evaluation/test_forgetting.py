from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from luthier.core.errors import DataError
from luthier.evaluation.forgetting import measure_forgetting, measure_general
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.inference import TextLoss
from luthier.inference.local.engine import LocalEngine
from luthier.models.load import LoadedModel
from luthier.records.evaluation import ModelStamp

TEXTS = [
    "An object is a thing with an identity, a type and a value.",
    "Names refer to objects.",
    "Blocks are executed as units; a module, a function body and a class are blocks.",
    "Sequences are compared item by item.",
]


@pytest.fixture(scope="module")
def loaded(tokenizer: PreTrainedTokenizerFast) -> LoadedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
    )
    stamp = ModelStamp(id="tiny", parameters=0, dtype="float32", architecture="llama")
    return LoadedModel(LlamaForCausalLM(config), tokenizer, stamp, torch.device("cpu"))


def losses_by_transformers(model: LlamaForCausalLM, texts_ids: list[list[int]]) -> float:
    """Nats per token over all texts, one forward pass each."""
    nats = tokens = 0.0
    for ids in texts_ids:
        batch = torch.tensor([ids])
        with torch.no_grad():
            nats += float(model(input_ids=batch, labels=batch).loss) * (len(ids) - 1)
        tokens += len(ids) - 1
    return nats / tokens


def test_a_damaged_model_has_forgotten(
    loaded: LoadedModel, tokenizer: PreTrainedTokenizerFast, resampling: Resampling
) -> None:
    texts_ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    engine = LocalEngine(loaded, batch_tokens=512)
    before = measure_general(engine, texts_ids)
    expected_before = losses_by_transformers(loaded.model, texts_ids)
    torch.manual_seed(1)
    with torch.no_grad():
        loaded.model.lm_head.weight.add_(torch.randn_like(loaded.model.lm_head.weight))
    forgotten = measure_forgetting(before, measure_general(engine, texts_ids), "docs", resampling)
    assert forgotten.before == pytest.approx(expected_before, rel=1e-5)
    assert forgotten.after == pytest.approx(
        losses_by_transformers(loaded.model, texts_ids), rel=1e-5
    )
    assert forgotten.value == pytest.approx(forgotten.after - forgotten.before)
    assert 0 < forgotten.low < forgotten.value < forgotten.high
    assert (forgotten.n, forgotten.text) == (4, "docs")
    assert forgotten.tokens == sum(len(ids) - 1 for ids in texts_ids)


def test_long_texts_weigh_more(resampling: Resampling) -> None:
    before = [TextLoss(nats=300.0, tokens=100), TextLoss(nats=30.0, tokens=10)]
    after = [TextLoss(nats=310.0, tokens=100), TextLoss(nats=20.0, tokens=10)]
    forgotten = measure_forgetting(before, after, "two", resampling)
    # Ten nats up and ten down: nothing, though the mean of the two texts' changes is -0.45.
    assert forgotten.value == pytest.approx(0.0, abs=1e-12)
    assert (forgotten.before, forgotten.tokens) == (3.0, 110)


def test_the_interval_covers_the_true_change() -> None:
    generator = np.random.default_rng(4)
    hits = 0
    for repeat in range(300):
        tokens = generator.integers(20, 200, 30)
        rises = generator.normal(0.1, 0.1, 30)
        before = [TextLoss(3.0 * count, int(count)) for count in tokens]
        after = [
            TextLoss((3.0 + rise) * count, int(count))
            for rise, count in zip(rises, tokens, strict=True)
        ]
        forgotten = measure_forgetting(before, after, "", Resampling(repeat, 400, 0.95))
        hits += forgotten.low <= 0.1 <= forgotten.high
    assert 0.91 <= hits / 300 <= 0.985


def test_other_tokens_are_refused(resampling: Resampling) -> None:
    before = [TextLoss(3.0, 2), TextLoss(3.0, 3)]
    for after in (before[:1], [before[0], replace(before[1], tokens=4)], before[::-1]):
        with pytest.raises(DataError, match="same tokens"):
            measure_forgetting(before, after, "", resampling)
    with pytest.raises(DataError, match="same tokens"):
        measure_forgetting([], [], "", resampling)


def test_texts_without_a_token_to_predict_are_refused(loaded: LoadedModel) -> None:
    engine = LocalEngine(loaded, batch_tokens=512)
    with pytest.raises(DataError, match="1 of 2"):
        measure_general(engine, [[1, 2, 3], [1]])
    with pytest.raises(DataError, match="0 of 0"):
        measure_general(engine, [])
