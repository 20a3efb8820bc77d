"""Each kind of task asks a real model, and judges what it answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from luthier.config import Decoding
from luthier.core.errors import DataError, UsageError
from luthier.evaluation.asking.ask import Answers
from luthier.evaluation.asking.ask import ask as ask_all
from luthier.evaluation.asking.encode import TextEncoder, windows
from luthier.evaluation.asking.prepared import prepare_task
from luthier.evaluation.metrics import get_metric
from luthier.inference import ScoreRequest
from luthier.inference.local.engine import LocalEngine
from luthier.tasks.task import Task

MakeTask = Callable[..., Task]


@pytest.fixture(scope="module")
def loaded(load: Any, tiny_llama: Path) -> Any:
    return load(tiny_llama)


@pytest.fixture(scope="module")
def engine(loaded: Any) -> LocalEngine:
    return LocalEngine(loaded, 4096)


@pytest.fixture(scope="module")
def encoder(loaded: Any) -> TextEncoder:
    return TextEncoder(loaded.tokenizer, loaded.context_window)


@pytest.fixture
def ask(engine: LocalEngine, encoder: TextEncoder) -> Callable[..., Answers]:
    def ask_task(task: Task, **options: Any) -> Answers:
        questions, _ = prepare_task(task, **options).questions(encoder)
        return ask_all(
            task, engine, encoder, questions, lambda _what, _total: nullcontext(lambda *_a: None)
        )

    return ask_task


def logprob(engine: LocalEngine, encoder: TextEncoder, text: str, begin: str) -> float:
    """The log-probability of ``text`` after ``begin``, from the losses of both as whole texts."""
    whole, before = engine.losses([encoder.ids(begin + text), encoder.ids(begin)])
    return before.nats - whole.nats


def test_choices_are_scored_after_the_delimiter(
    make_task: MakeTask,
    choices: dict[str, Any],
    ask: Callable[..., Answers],
    engine: LocalEngine,
    encoder: TextEncoder,
) -> None:
    task = make_task(choices, test=[{"text": "Snow", "label": 0}, {"text": "The sun", "label": 1}])
    answers = ask(task)
    sample = answers.samples[1]
    expected = [logprob(engine, encoder, f" {word}", "The sun is") for word in ("cold", "hot")]
    assert sample.likelihoods == pytest.approx(expected, abs=1e-4)
    assert sample.prediction == ("0" if expected[0] > expected[1] else "1")
    assert (sample.choices, sample.words) == (("0", "1"), ("cold", "hot"))
    assert sample.references == ("1",)
    assert answers.prompt_tokens == sum(len(encoder.ids(s.prompt)) for s in answers.samples)


def test_candidates_are_those_of_the_row(make_task: MakeTask, ask: Callable[..., Answers]) -> None:
    keys = {
        "kind": "candidates",
        "prompt": "{{ text }}",
        "candidates": "names",
        "words": "- {{ query|replace('@', candidate) }}",
        "references": "right",
        "metrics": ["token_f1", "em"],
    }
    rows = [
        {"text": "A.", "query": "@ ran.", "names": ["Bo", "Al", "Cy"], "right": ["Al", "Bo"]},
        {"text": "B.", "query": "Saw @.", "names": ["Di", "Ed"], "right": ["Ed"]},
    ]
    first, second = ask(make_task(keys, test=rows)).samples
    assert first.words == ("- Bo ran.", "- Al ran.", "- Cy ran.")
    assert first.references == ("Al", "Bo")
    assert first.prediction == first.choices[first.likelihoods.index(max(first.likelihoods))]
    assert second.choices == ("Di", "Ed")
    with pytest.raises(DataError, match="needs a list in the column 'names'"):
        ask(make_task(keys, test=[{**rows[0], "names": "Bo"}]))


def test_a_rating_is_the_expected_step(make_task: MakeTask, ask: Callable[..., Answers]) -> None:
    keys = {
        "kind": "rating",
        "prompt": "{{ text }}:",
        "label": "{{ score }}",
        "scale": {"0": "low", "2.5": "middle", "5": "high"},
        "metrics": ["pearson", "spearman"],
    }
    (sample,) = ask(make_task(keys, test=[{"text": "Rain", "score": 3.4}])).samples
    weights = [math.exp(logprob) for logprob in sample.likelihoods]
    expected = (2.5 * weights[1] + 5 * weights[2]) / sum(weights)
    assert float(sample.prediction) == pytest.approx(expected, rel=1e-4)
    assert sample.references == ("3.4",)
    rows = [{"text": text, "score": 3.9} for text in ("Sun", "Snow")]
    task = make_task(keys, test=rows[:1], train=rows[1:])
    assert prepare_task(task, shots=1).shots[0].solution == "high"


def test_a_cloze_is_right_where_greedy_decoding_gives_it(
    make_task: MakeTask, ask: Callable[..., Answers], engine: LocalEngine, encoder: TextEncoder
) -> None:
    keys = {
        "kind": "cloze",
        "prompt": "{{ context }}",
        "delimiter": "",
        "completion": "{{ end }}",
        "metrics": ["greedy_acc", "perplexity"],
    }
    begin = "The sea is"
    (made,) = engine.generate([encoder.ids(begin)], Decoding(max_new_tokens=1))
    # An end that tokenises as the model would say it.
    end = encoder.tokenizer.decode(made.ids)  # type: ignore[attr-defined]
    rows = [{"context": begin, "end": end}, {"context": begin, "end": " qqq"}]
    right, wrong = ask(make_task(keys, test=rows)).samples
    assert right.prediction == end
    assert wrong.prediction == ""
    assert wrong.references == (" qqq",)
    expected = logprob(engine, encoder, " qqq", begin)
    assert wrong.likelihoods == (pytest.approx(expected, abs=1e-4),)


def test_a_generated_answer_is_compared_as_it_is_written(
    make_task: MakeTask, ask: Callable[..., Answers], engine: LocalEngine, encoder: TextEncoder
) -> None:
    (made,) = engine.generate([encoder.ids("Count: 12")], Decoding(max_new_tokens=8))
    keys = {
        "kind": "generate",
        "prompt": "{{ text }}",
        "completion": "{{ answer }}",
        "max_new_tokens": 8,
        "extract": {"all": {"pattern": "(?s).*"}},
        "ignore": ["[0-9]"],
        "metrics": ["exact_match", "chrf", "match:all"],
    }
    answer = f"{made.text}A1"  # whatever is generated: capitals and digits stay what they are
    (sample,) = ask(make_task(keys, test=[{"text": "Count: 12", "answer": answer}])).samples
    right = sample.model_copy(update={"prediction": answer})
    (exact,), (chrf,) = (get_metric(name).measure([right]) for name in ("exact_match", "chrf"))
    assert float(exact[0]) == 1
    assert float(get_metric("chrf").per_sample(chrf[None])[0]) == pytest.approx(100)


@pytest.mark.parametrize("kind", ["generate", "cloze", "text"])
def test_accuracy_needs_choices(kind: str, make_task: MakeTask) -> None:
    more = {"text": "{{ text }}"} if kind == "text" else {"prompt": "{{ text }}"}
    more |= {"generate": {"completion": "{{ text }}"}, "cloze": {"completion": "{{ text }}"}}.get(
        kind, {}
    )
    with pytest.raises(DataError, match=r"the metric accuracy needs .*choices"):
        make_task({"kind": kind, **more, "metrics": ["accuracy"]}, test=[{"text": "one"}])


def test_a_generated_answer_ends_where_the_task_says(
    make_task: MakeTask, ask: Callable[..., Answers], engine: LocalEngine, encoder: TextEncoder
) -> None:
    (made,) = engine.generate([encoder.ids("Count: 12")], Decoding(max_new_tokens=8))
    stop = made.text[3:5]
    keys = {
        "kind": "generate",
        "prompt": "{{ text }}",
        "completion": "{{ answer }}",
        "until": [stop],
        "max_new_tokens": 8,
        "extract": {"begin": {"pattern": "^.."}, "number": {"pattern": "[0-9]+"}},
        "ignore": [",", "(?s).*#### "],
        "metrics": ["match:begin", "match:number"],
    }
    rows = [{"text": "Count: 12", "answer": "Well: #### 1,200 Euro"}]
    answers = ask(make_task(keys, test=rows))
    (sample,) = answers.samples
    assert sample.prediction == made.text[: made.text.find(stop)].strip()
    assert sample.references == ("Well: #### 1,200 Euro",)
    assert sample.accepted == ("1200 euro",)
    assert (
        sample.extracted["begin"] == sample.prediction[:2].strip().lower()
        or sample.extracted["begin"] == "[invalid]"
    )
    assert (sample.finish, answers.cut_answers) == ("stop", 0)
    assert answers.generated_tokens < 8
    assert ask(make_task({**keys, "until": []}, test=rows)).cut_answers == 1


def test_a_text_is_as_likely_as_its_tokens(
    make_task: MakeTask, ask: Callable[..., Answers], engine: LocalEngine, encoder: TextEncoder
) -> None:
    keys = {"kind": "text", "text": "{{ text }}", "metrics": ["word_perplexity"]}
    text = "The sea is blue,\n  and the wind is cold."
    (sample,) = ask(make_task(keys, test=[{"text": text}])).samples
    (loss,) = engine.losses([(encoder.tokenizer.bos_token_id or 0, *encoder.ids(text))])
    assert sample.likelihoods == (pytest.approx(-loss.nats, abs=1e-4),)
    assert sample.counts == {"words": 9, "bytes": len(text), "tokens": len(encoder.ids(text))}
    with pytest.raises(UsageError, match="takes no worked examples"):
        ask(make_task(keys, test=[{"text": text}]), shots=1)
    with pytest.raises(DataError, match="is empty"):
        ask(make_task(keys, test=[{"text": " \n"}]))


def test_windows_predict_every_token_once_and_the_last_sees_the_most() -> None:
    ids = tuple(range(10))
    assert list(windows(ids, 4)) == [
        ScoreRequest((), (0, 1, 2, 3)),
        ScoreRequest((3,), (4, 5, 6, 7)),
        ScoreRequest((5, 6, 7), (8, 9)),
    ]
    assert list(windows(ids, 20)) == [ScoreRequest((), ids)]


def test_context_and_continuation_are_tokenised_together(encoder: TextEncoder) -> None:
    plain, other = encoder.pairs("The answer is", [" no", " yes"])
    assert encoder.pairs("The answer is ", ["no", "yes"]) == [plain, other]
    assert plain.context == other.context == encoder.ids("The answer is")
    assert plain.context + plain.continuation == encoder.ids("The answer is no")
    (empty,) = encoder.pairs("", ["no"])
    assert (empty.context, empty.continuation) == ((), encoder.ids("no"))


def test_special_tokens_in_a_row_stay_text(encoder: TextEncoder) -> None:
    end = encoder.tokenizer.eos_token_id
    (request,) = encoder.pairs("Say <|im_end|>", [" <|im_end|>"])
    assert end not in request.context + request.continuation


def test_a_prompt_loses_its_beginning_and_never_its_answer(encoder: TextEncoder) -> None:
    request = ScoreRequest(tuple(range(10)), (10, 11, 12))
    small = TextEncoder(encoder.tokenizer, 5)
    assert not small.fits(request)
    cut = small.cut(request, "row 1")
    assert cut == ScoreRequest((7, 8, 9), (10, 11, 12))
    assert small.fits(cut)
    assert small.cut(cut, "row 1") is cut
    with pytest.raises(DataError, match="the answer has 9 tokens") as caught:
        small.cut(ScoreRequest((1,), tuple(range(9))), "row 1")
    assert caught.value.where == "row 1"
