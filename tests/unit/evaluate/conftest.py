"""A real tokenizer and the small pieces that evaluations are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import StringIO

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from luthier.core.console import Console
from luthier.core.records import (
    EvaluationRecord,
    MetricResult,
    ModelStamp,
    SampleRecord,
    TemplateStamp,
)
from luthier.evaluate.statistics import Resampling
from luthier.evaluate.task import Evaluation

MODEL = ModelStamp(id="none", parameters=0, dtype="float32", architecture="none")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: each byte a token, and one token to end a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: index for index, character in enumerate(alphabet)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")


@pytest.fixture
def resampling() -> Resampling:
    return Resampling(seed=0, resamples=500, confidence=0.95)


@pytest.fixture
def shown() -> StringIO:
    """What the console printed."""
    return StringIO()


@pytest.fixture
def console(shown: StringIO) -> Console:
    return Console(shown)


@pytest.fixture
def evaluation() -> Callable[..., Evaluation]:
    """Makes an evaluation of given answers, as if rouge1 had measured ``value``."""

    def make(
        predictions: Sequence[str],
        references: Sequence[str],
        *,
        value: float = 0.5,
        template_hash: str = "aa",
    ) -> Evaluation:
        n = len(predictions)
        metric = MetricResult(
            value=value, low=0, high=1, n=n, confidence=0.95, name="rouge1", signature="rouge1"
        )
        record = EvaluationRecord(
            task="task",
            split="test",
            model=MODEL,
            template=TemplateStamp(id="as-is", hash=template_hash),
            shots=0,
            chat_template=False,
            metrics=(metric,),
            seconds=1.0,
            generated_tokens=10,
            prompt_tokens=10,
            truncated_outputs=0,
            versions={},
        )
        samples = tuple(
            SampleRecord(
                id=f"id-{index}",
                prompt="?",
                prediction=prediction,
                references=(reference,),
                scores={"rouge1": value},
                finish="stop",
            )
            for index, (prediction, reference) in enumerate(
                zip(predictions, references, strict=True)
            )
        )
        return Evaluation(record, samples)

    return make
