"""Reasoning is no part of an answer, whoever asks: the data, a benchmark task, with any tags."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

import pytest
from tests.unit.prompts.chat_styles import tokenizer as styled_tokenizer

from luthier.config import Decoding
from luthier.config.prompt import PromptConfig
from luthier.core.console import Console
from luthier.core.example import Example, Message
from luthier.evaluation.asking.encode import TextEncoder
from luthier.evaluation.asking.prepared import prepare_task
from luthier.evaluation.benchmark import evaluate_benchmark
from luthier.evaluation.predicting.base import ModelPredictor
from luthier.evaluation.predicting.generation import Generating, replies
from luthier.evaluation.runner import evaluate_task
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import EvaluationTask
from luthier.inference import Engine, Generation
from luthier.inference.engine import ProgressCallback, ignore_progress
from luthier.inference.local.decoding.stopping import Stopping
from luthier.prompts.prompt import TokenPrompt
from luthier.prompts.reasoning import KNOWN_TAGS, ThinkTags
from luthier.prompts.render import PromptRenderer
from luthier.records.evaluation import ModelStamp, TemplateStamp
from luthier.tasks.task import Task

MODEL = ModelStamp(id="scripted", parameters=0, dtype="none", architecture="scripted")
REASONING = "2 and 2.\n\nQuestion: is it 5? #### 5\n"
STOPS = ("\n\n", "Question:")
BY_NAME = [f"{tags.open} {tags.close}" for tags in KNOWN_TAGS]


class Scripted(Engine):
    """Says one text, and stops as an engine stops."""

    def __init__(self, tokenizer: Any, says: str) -> None:
        self.tokenizer, self.says = tokenizer, says
        self.asked: list[tuple[int, tuple[str, ...]]] = []

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        advance: ProgressCallback = ignore_progress,
    ) -> list[Generation]:
        self.asked.append((len(prompts), decoding.stop))
        end = self.tokenizer.eos_token_id
        said = [*self.tokenizer(self.says, add_special_tokens=False)["input_ids"], end]
        stopping, ids = Stopping(self.tokenizer, frozenset([end]), decoding), []
        for token in said:
            ids.append(token)
            if stopping.is_over(ids):
                break
        advance(len(prompts))
        return [stopping.generation(ids) for _ in prompts]

    def score(self, *_args: Any, **_more: Any) -> Any:
        raise NotImplementedError

    losses = score


def make_tokenizer(tags: ThinkTags | None = None) -> Any:
    """A tokenizer; with ``tags`` one whose special tokens they are."""
    made = copy.deepcopy(styled_tokenizer("byte-level", "</s>"))
    if tags:
        made.add_special_tokens({"additional_special_tokens": [*tags]})
    return made


Ask = Callable[[Engine, Any, StringIO], Any]


@pytest.fixture(params=["data", "task"])
def ask(request: Any, make_task: Any, resampling: Resampling) -> Ask:
    """Asks 2+2 as a row of data or of a task, and gives the record and the sample."""

    def as_data(engine: Engine, tokenizer: Any, console: Console) -> Any:
        task = EvaluationTask(
            name="sum",
            split="test",
            examples=(Example("1", (Message("user", "2+2?"),), ("4",)),),
            template=TemplateStamp(id="as-is", hash="00"),
            shots=0,
            chat_template=False,
            metrics=("exact_match",),
            mode=Generating(Decoding(max_new_tokens=400, stop=STOPS)),
        )
        renderer = PromptRenderer.from_config(PromptConfig(), tokenizer, context_window=1000)
        predictor = ModelPredictor(engine, renderer, task.mode)
        return evaluate_task(predictor, task, MODEL, resampling, console)

    def as_task(engine: Engine, tokenizer: Any, console: Console) -> Any:
        keys = {
            "kind": "generate",
            "prompt": "{{ q }}",
            "completion": "{{ a }}",
            "max_new_tokens": 400,
            "until": list(STOPS),
            "metrics": ["exact_match", "numeric:first", "match:any"],
            "extract": {"any": {"pattern": r"\d+"}},
        }
        task: Task = make_task(keys, test=[{"q": "2+2?", "a": "4"}])
        encoder = TextEncoder(tokenizer, 1000)
        prepared = prepare_task(task)
        return evaluate_benchmark(engine, encoder, prepared, MODEL, resampling, console)

    asks = {"data": as_data, "task": as_task}[request.param]
    return lambda engine, tokenizer, shown: asks(engine, tokenizer, Console(shown))


@pytest.mark.parametrize("are_special", [False, True], ids=["text", "special"])
@pytest.mark.parametrize("tags", KNOWN_TAGS, ids=BY_NAME)
def test_every_known_style_of_reasoning_is_removed(
    ask: Ask, tags: ThinkTags, are_special: bool
) -> None:
    """Stop texts within the reasoning do not end the answer; those behind it do."""
    tokenizer = make_tokenizer(tags if are_special else None)
    says = f"{tags.open}{REASONING}{tags.close}\n4\n\nQuestion: 3+3?"
    engine = Scripted(tokenizer, says)
    record, (sample,) = ask(engine, tokenizer, StringIO())
    assert sample.prediction == "4"
    assert all(score == 1 for score in sample.scores.values())
    assert "is it 5?" in sample.generated
    assert sample.finish == "stop"
    assert engine.asked == [(1, STOPS), (1, ())]
    assert record.generated_tokens > 20


@pytest.mark.parametrize("tags", KNOWN_TAGS, ids=BY_NAME)
def test_reasoning_that_nothing_opened(ask: Ask, tags: ThinkTags) -> None:
    tokenizer = make_tokenizer()
    for between in ("\n\n", "\n", " "):
        engine = Scripted(tokenizer, f"2 and 2.\n{tags.close}{between}4")
        _, (sample,) = ask(engine, tokenizer, StringIO())
        assert sample.prediction == "4"


@pytest.mark.parametrize("tags", KNOWN_TAGS, ids=BY_NAME)
def test_a_prompt_that_opens_reasoning(tags: ThinkTags) -> None:
    tokenizer = make_tokenizer()
    reader = TextEncoder(tokenizer, 1000).reader
    prompt = TokenPrompt((1,), f"2+2?\n{tags.open}\n")
    decoding = Decoding(max_new_tokens=400, stop=STOPS)
    for says, answer in (
        (f"{REASONING}{tags.close}\n4\n\nQuestion: 3+3?", "4"),
        (REASONING, ""),
        (f"{REASONING}{tags.close}", ""),
    ):
        (reply,) = replies(Scripted(tokenizer, says), [prompt], decoding, reader)
        assert reply.answer == answer
        assert reply.generated


def test_reasoning_that_does_not_end_is_said(ask: Ask) -> None:
    tokenizer, shown = make_tokenizer(), StringIO()
    record, (sample,) = ask(Scripted(tokenizer, "<think>" + "so " * 500), tokenizer, shown)
    assert (sample.prediction, sample.finish) == ("", "length")
    assert record.metric("exact_match").value == 0
    text = " ".join(shown.getvalue().split())
    assert "1 of 1 answers end before their reasoning does; raise evaluate.max_new_tokens" in text


@pytest.mark.parametrize(
    ("says", "answer"),
    [
        ("4", "4"),
        ("4 <think>", "4 <think>"),
        ("The tag <think>x</think> opens.", "The tag <think>x</think> opens."),
        ("<think></think>4", "4"),
        ("<think>a</think>\n<think>b</think>\n4", "4"),
        ("  <think>a</think>4", "4"),
        ("<think>a</think>", ""),
        ("<b>4</b>", "<b>4</b>"),
    ],
)
def test_what_is_reasoning_and_what_is_not(ask: Ask, says: str, answer: str) -> None:
    tokenizer = make_tokenizer()
    engine = Scripted(tokenizer, says)
    _, (sample,) = ask(engine, tokenizer, StringIO())
    assert sample.prediction == answer


def test_models_that_do_not_reason_are_asked_once(ask: Ask) -> None:
    tokenizer = make_tokenizer()
    engine = Scripted(tokenizer, "4\n\nQuestion: 3+3?")
    _, (sample,) = ask(engine, tokenizer, StringIO())
    assert (sample.prediction, sample.generated) == ("4", "")
    assert engine.asked == [(1, STOPS)]


def test_a_special_stop_text_goes_on_ending_replies() -> None:
    tokenizer = make_tokenizer(ThinkTags("<|end|>", "<|other|>"))
    engine = Scripted(tokenizer, "<think>a\n\nb</think>4<|end|>\n\nmore")
    decoding = Decoding(max_new_tokens=400, stop=("\n\n", "<|end|>"))
    (reply,) = replies(engine, [TokenPrompt((1,), "")], decoding, TextEncoder(tokenizer, 99).reader)
    assert (reply.answer, reply.finish) == ("4", "stop")
    assert engine.asked[1] == (1, ("<|end|>",))


def test_accepted_answers_are_compared_without_their_reasoning(make_task: Any) -> None:
    keys = {"kind": "generate", "prompt": "{{ q }}", "completion": "{{ a }}", "metrics": ["em"]}
    rows = [{"q": "2+2?", "a": "<think>\n2 and 2.\n</think>\n\n4"}]
    prepared = prepare_task(make_task(keys, test=rows, train=rows))
    (document,) = prepared.documents
    assert document.references == ("4",)
    assert document.solution == rows[0]["a"]  # a worked example shows all of it
