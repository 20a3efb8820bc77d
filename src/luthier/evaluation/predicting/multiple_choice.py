"""Multiple choice: the likeliest of the given answers, whatever a model would write freely."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

from luthier.core.console import Console
from luthier.core.errors import DataError, ProblemList
from luthier.core.example import Example
from luthier.evaluation.predicting.base import AnswerMode, Predictions
from luthier.evaluation.predicting.prompts import fitting_prompts
from luthier.inference import Engine, ScoreRequest
from luthier.prompts.batched import trainings_of
from luthier.prompts.plain_text import PlainText
from luthier.prompts.prompt import Prompt, known_tokens
from luthier.prompts.reasoning import answer_only
from luthier.prompts.render import PromptRenderer
from luthier.prompts.renderer import Renderer
from luthier.prompts.served import ServedRenderer
from luthier.records.evaluation import SampleRecord
from luthier.tasks.needs import Need


@dataclass(frozen=True, slots=True)
class MultipleChoice(AnswerMode):
    """Each answer is the example's choice with the highest log-probability after the prompt.

    A choice is scored as training writes it: with the end of the turn, so that a choice which is
    the beginning of another has no advantage. Its log-probability is then minus the loss of a
    training example with this answer.

    Attributes:
        empty: a question without content. With it, the log-probability of a choice after this
            question is subtracted, which removes a model's preference for frequent words: the
            domain-conditional mutual information of Holtzman et al. 2021 (arXiv 2104.08315,
            section 3), known as calibration from Zhao et al. 2021 (arXiv 2102.09690).
    """

    empty: Example | None = None

    @property
    def gives(self) -> frozenset[Need]:
        """See `AnswerMode.gives`."""
        return frozenset({"answers", "choices", "likelihoods"})

    def answer_tokens(self, renderer: Renderer, examples: Sequence[Example]) -> int:
        """See `AnswerMode.answer_tokens`: the length of the longest choice with its end."""
        by_choice = {choice: example for example in examples for choice in example.choices}
        answered = [(example, choice) for choice, example in by_choice.items()]
        requests = score_requests(renderer, answered)
        return max((known_tokens(each.continuation) for each in requests), default=0)

    @property
    def generated_tokens(self) -> int:
        """See `AnswerMode.generated_tokens`: none."""
        return 0

    def token_sequences(
        self, renderer: PromptRenderer, examples: Sequence[Example]
    ) -> list[tuple[int, ...]]:
        """See `AnswerMode.token_sequences`: each prompt with each of its choices."""
        pairs = [(example, choice) for example in examples for choice in example.choices]
        return [(*each.context, *each.continuation) for each in score_requests(renderer, pairs)]

    def answer(
        self,
        engine: Engine,
        renderer: Renderer,
        examples: Sequence[Example],
        console: Console,
        name: str,
    ) -> Predictions:
        """See `AnswerMode.answer`."""
        prompts = fitting_prompts(renderer, examples, self.answer_tokens(renderer, examples))
        pairs = [(example, choice) for example in examples for choice in example.choices]
        unseen = list(dict.fromkeys(choice for _, choice in pairs)) if self.empty else []
        asked = [*pairs, *((self.empty, choice) for choice in unseen if self.empty)]
        started, before = time.monotonic(), engine.usage
        requests = list(score_requests(renderer, asked))
        with console.progress(f"{name}: scoring choices", len(requests)) as advance:
            scores = [score.logprob for score in engine.score(requests, advance)]
        seconds, usage = time.monotonic() - started, engine.usage.since(before)
        priors = dict(zip(unseen, scores[len(pairs) :], strict=True))
        rest = iter(scores)
        samples = tuple(
            _sample(example, prompt, [next(rest) for _ in example.choices], priors)
            for example, prompt in zip(examples, prompts, strict=True)
        )
        return Predictions(
            samples,
            seconds=seconds + usage.seconds,
            prompt_tokens=sum(known_tokens(p.content) for p in prompts) + usage.prompt_tokens,
        )


@singledispatch
def score_requests(
    renderer: Renderer, answered: Sequence[tuple[Example, str]]
) -> Iterator[ScoreRequest[Any]]:
    """The scoring requests of examples, each with one answer to it.

    Raises:
        DataError: the renderer cannot write an answer; all problems are listed.
    """
    raise NotImplementedError(type(renderer).__name__)


@score_requests.register
def _(
    renderer: PromptRenderer, answered: Sequence[tuple[Example, str]]
) -> Iterator[ScoreRequest[tuple[int, ...]]]:
    """Token ids; each continuation ends with the end of the turn."""
    examples = [replace(example, references=(c,), answer=None) for example, c in answered]
    problems = ProblemList()
    requests = []
    for _, made in trainings_of(renderer, examples, completion_only_loss=True):
        if isinstance(made, DataError):
            problems.add(made)
            continue
        last = made[-1]
        if renderer.encoder_decoder:
            requests.append(ScoreRequest(last.input_ids, last.decoder_ids))
        else:
            ids, place = last.input_ids, last.prompt_length
            requests.append(ScoreRequest(ids[:place], ids[place:]))
    problems.raise_if_any()
    yield from requests


@score_requests.register
def _(
    renderer: ServedRenderer, answered: Sequence[tuple[Example, str]]
) -> Iterator[ScoreRequest[str]]:
    """Plain text without the end of the turn, which has no text."""
    plain = PlainText()
    for example, choice in answered:
        prompt = renderer.prompt(example)
        yield ScoreRequest(prompt.text, plain.lead + choice)


def _sample(
    example: Example, prompt: Prompt, logprobs: Sequence[float], priors: dict[str, float]
) -> SampleRecord:
    """The record of the likeliest choice; the first of equally likely ones."""
    empty = tuple(priors[choice] for choice in example.choices) if priors else ()
    scores = [a - b for a, b in zip(logprobs, empty or [0.0] * len(logprobs), strict=True)]
    return SampleRecord(
        id=example.id,
        group=example.group,
        prompt=prompt.text,
        prediction=example.choices[scores.index(max(scores))],
        references=tuple(map(answer_only, example.references)),
        choices=example.choices,
        words=example.choices,
        likelihoods=tuple(scores),
        unconditional=empty,
        scores={},
        finish="stop",
    )
