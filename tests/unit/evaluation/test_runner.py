from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO

import pytest
from transformers import PreTrainedTokenizerFast

from luthier.config import Decoding
from luthier.config.prompt import PromptConfig
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.evaluation.predicting.base import ModelPredictor
from luthier.evaluation.predicting.generation import Generating
from luthier.evaluation.runner import evaluate_task
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import Evaluation, EvaluationTask
from luthier.inference import Engine, Generation, Score, ScoreRequest, TextLoss
from luthier.inference.engine import ProgressCallback, ignore_progress
from luthier.prompts.render import PromptRenderer
from luthier.records.evaluation import ModelStamp, TemplateStamp

MODEL = ModelStamp(id="copy", parameters=0, dtype="none", architecture="copy")


class CopyEngine(Engine):
    """A model that repeats the last line of its prompt, token by token."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        advance: ProgressCallback = ignore_progress,
    ) -> list[Generation]:
        answers = [self._answer(list(prompt), decoding.max_new_tokens) for prompt in prompts]
        advance(len(answers))
        return answers

    def score(
        self, requests: Sequence[ScoreRequest], advance: ProgressCallback = ignore_progress
    ) -> list[Score]:
        raise NotImplementedError("copying assigns no probabilities")

    def losses(
        self, sequences: Sequence[Sequence[int]], advance: ProgressCallback = ignore_progress
    ) -> list[TextLoss]:
        raise NotImplementedError("copying assigns no probabilities")

    def _answer(self, prompt: list[int], max_new_tokens: int) -> Generation:
        line = self.tokenizer.decode(prompt).strip().splitlines()[-1]
        ids = self.tokenizer(line, add_special_tokens=False)["input_ids"]
        kept = tuple(ids[:max_new_tokens])
        finish = "length" if len(ids) > max_new_tokens else "stop"
        return Generation(kept, self.tokenizer.decode(list(kept)), finish)


def example(identity: str, question: str, *references: str) -> Example:
    return Example(
        identity,
        (Message("user", question),),
        references,
        choices=("yes", "no"),
        where=f"data.jsonl:{identity}",
    )


TASK = EvaluationTask(
    name="copying",
    split="test",
    examples=(
        example("1", "Repeat:\nyes", "yes"),
        example("2", "Repeat:\nNo!", "no", "never"),
        example("3", "Repeat:\nthe cat sat on the mat", "the cat sat"),
    ),
    template=TemplateStamp(id="as-is", hash="00"),
    shots=0,
    chat_template=False,
    metrics=("accuracy", "rouge1", "bleu"),
    mode=Generating(Decoding(max_new_tokens=11)),
)


def run(
    tokenizer: PreTrainedTokenizerFast, resampling: Resampling, console: Console, window: int
) -> Evaluation:
    renderer = PromptRenderer.from_config(PromptConfig(), tokenizer, context_window=window)
    return evaluate_task(
        ModelPredictor(CopyEngine(tokenizer), renderer, TASK.mode), TASK, MODEL, resampling, console
    )


@pytest.fixture
def outcome(
    tokenizer: PreTrainedTokenizerFast, resampling: Resampling, console: Console
) -> Evaluation:
    return run(tokenizer, resampling, console, 512)


def test_samples_hold_what_was_asked_answered_and_scored(outcome: Evaluation) -> None:
    first, second, third = outcome.samples
    assert first.prompt.rstrip().endswith("Repeat:\nyes")
    assert [sample.prediction for sample in outcome.samples] == ["yes", "No!", "the cat sat"]
    assert (first.scores["accuracy"], second.scores["accuracy"]) == (1.0, 1.0)
    assert second.references == ("no", "never")
    assert third.scores["accuracy"] == 0.0
    assert third.scores["rouge1"] == 1.0
    assert (first.finish, third.finish) == ("stop", "length")


def test_the_record_holds_figures_intervals_and_counts(
    outcome: Evaluation, tokenizer: PreTrainedTokenizerFast
) -> None:
    record = outcome.record
    accuracy = record.metric("accuracy")
    assert accuracy.value == pytest.approx(2 / 3)
    assert 0 < accuracy.low < accuracy.value < accuracy.high < 1
    assert (accuracy.n, accuracy.confidence) == (3, 0.95)
    assert record.metric("bleu").signature.startswith("nrefs:var|")
    assert record.generated_tokens == len("yes") + len("No!") + 11
    prompts = [tokenizer(sample.prompt)["input_ids"] for sample in outcome.samples]
    assert record.prompt_tokens == sum(map(len, prompts))
    assert record.truncated_outputs == 1
    assert {"luthier", "python", "sacrebleu"} <= record.versions.keys()


def test_one_group_is_mentioned(
    tokenizer: PreTrainedTokenizerFast, resampling: Resampling, console: Console, shown: StringIO
) -> None:
    renderer = PromptRenderer.from_config(PromptConfig(), tokenizer, context_window=512)
    for groups, is_said in (("aaa", True), ("aab", False), (["", "", ""], False)):
        examples = tuple(
            replace(each, group=group) for each, group in zip(TASK.examples, groups, strict=True)
        )
        shown.truncate(0)
        task = replace(TASK, examples=examples)
        predictor = ModelPredictor(CopyEngine(tokenizer), renderer, task.mode)
        evaluate_task(predictor, task, MODEL, resampling, console)
        said = " ".join(shown.getvalue().split())
        assert ("all 3 examples belong to one group, 'a'" in said) is is_said


def test_answers_that_were_cut_are_mentioned(outcome: Evaluation, shown: StringIO) -> None:
    assert outcome.record.truncated_outputs == 1
    assert "1 of 3 answers were cut at 11 tokens" in shown.getvalue()


def test_prompts_that_leave_no_room_are_named_before_anything_is_asked(
    tokenizer: PreTrainedTokenizerFast, resampling: Resampling, console: Console
) -> None:
    with pytest.raises(DataError) as caught:
        run(tokenizer, resampling, console, 24)
    assert "data.jsonl:3" in str(caught.value)
