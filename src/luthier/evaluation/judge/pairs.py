"""Pairs of answers, judged in both orders."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.config import Decoding
from luthier.core.console import Console
from luthier.core.errors import DataError, ProblemList
from luthier.evaluation.comparison.paired import align_samples
from luthier.evaluation.judge.template import JudgeTemplate
from luthier.evaluation.judge.verdicts import TIE, outcome_of
from luthier.evaluation.task import Evaluation
from luthier.inference import Engine
from luthier.prompts.prompt import Prompt
from luthier.prompts.renderer import Renderer
from luthier.records.evaluation import SampleRecord

# The judge's output in each order, by the candidate's place.
AS_SECOND, AS_FIRST = "as_second", "as_first"


def paired_answers(baseline: Evaluation | None, candidate: Evaluation) -> tuple[SampleRecord, ...]:
    """Two answers to each example: the candidate's in ``prediction``, the other in ``words``.

    Args:
        baseline: the system to beat; None: the first references.
        candidate: the other system.

    Returns:
        The pairs; ``references`` are the references shown to the judge. The question is the shorter
        of the two prompts, because a longer one has additional shots.

    Raises:
        DataError: the systems answered different examples, or there is no reference to beat.
    """
    if baseline is None:
        return tuple(_against_reference(sample) for sample in candidate.samples)
    ours, theirs = align_samples(candidate.samples, baseline.samples)
    return tuple(
        mine.model_copy(
            update={
                "prompt": min(mine.prompt, other.prompt, key=len),
                "words": (other.prediction,),
                "scores": {},
            }
        )
        for mine, other in zip(ours, theirs, strict=True)
    )


def judged_pairs(
    engine: Engine,
    renderer: Renderer,
    template: JudgeTemplate,
    pairs: Sequence[SampleRecord],
    console: Console,
) -> tuple[SampleRecord, ...]:
    """The pairs with a judge's verdicts, each asked in both orders.

    Equal answers are a tie and are not asked.

    Args:
        engine: the judge.
        renderer: renders its prompts.
        template: the judge's prompt template and verdict extractor.
        pairs: the output of `paired_answers`.
        console: shows progress.

    Returns:
        The pairs; ``extracted`` has the outcome, whether the verdicts agree, and the raw output.

    Raises:
        DataError: prompts leave no room for the verdict; lists all of them.
    """
    asked = [pair for pair in pairs if pair.prediction.strip() != pair.words[0].strip()]
    prompts = _prompts(renderer, template, asked)
    decoding = Decoding(max_new_tokens=template.max_new_tokens)
    with console.progress("judging", len(prompts)) as advance:
        answers = engine.generate([prompt.content for prompt in prompts], decoding, advance)
    said = [
        renderer.reader.answer(answer.text, answer.ids, prompt.text)
        for answer, prompt in zip(answers, prompts, strict=True)
    ]
    found = {
        pair.id: _verdict(template, *orders)
        for pair, orders in zip(asked, zip(said[::2], said[1::2], strict=True), strict=True)
    }
    same = {"outcome": TIE, "agree": "equal"}
    return tuple(p.model_copy(update={"extracted": found.get(p.id, same)}) for p in pairs)


def _prompts(
    renderer: Renderer, template: JudgeTemplate, pairs: Sequence[SampleRecord]
) -> list[Prompt]:
    """Two prompts per pair: with the candidate second, then first."""
    prompts: list[Prompt] = []
    problems = ProblemList()
    for pair in pairs:
        shown = {"question": pair.prompt, "reference": "\n".join(pair.references)}
        ours, theirs = pair.prediction, pair.words[0]
        for first, second in ((theirs, ours), (ours, theirs)):
            values = {**shown, "first": first, "second": second}
            try:
                example = template.example(pair.id, values)
                prompts.append(renderer.prompt(example, answer_tokens=template.max_new_tokens))
            except DataError as error:
                where = f"the pair {pair.id!r}"
                problems.add(DataError(error.problem, where=where, fix=error.fix))
    problems.raise_if_any()
    return prompts


def _verdict(template: JudgeTemplate, second: str, first: str) -> dict[str, str]:
    outcome = outcome_of(template.read(second), template.read(first))
    return {**outcome, AS_SECOND: second, AS_FIRST: first}


def _against_reference(sample: SampleRecord) -> SampleRecord:
    if not sample.references:
        raise DataError(
            "there is no reference to compare with",
            where=f"sample {sample.id!r}",
            fix="name two runs",
        )
    other = sample.references[0]
    return sample.model_copy(update={"words": (other,), "references": (), "scores": {}})
