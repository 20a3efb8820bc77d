"""A real tokenizer and the small pieces that evaluations are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import StringIO

import pytest
from tests.records import evaluation_record, metric_result
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from luthier.core.console import Console
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import Evaluation
from luthier.records.evaluation import SampleRecord, TemplateStamp


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
        metric = metric_result("rouge1", value, below=value, above=1 - value, n=n)
        template = TemplateStamp(id="as-is", hash=template_hash)
        record = evaluation_record("task", metric, template=template)
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
