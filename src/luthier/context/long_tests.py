"""Test examples whose prompts leave no room for an answer in the context window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from luthier.context.answer_mode import answer_mode
from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.core.method_facts import MethodName
from luthier.core.seeds import fingerprint
from luthier.data.dataset import Dataset
from luthier.data.problems import Dropped
from luthier.prompts.batched import prompts_of
from luthier.prompts.render import PromptTooLongError
from luthier.prompts.renderer import Renderer
from luthier.prompts.shots import choose_shots, with_shots


@dataclass(frozen=True, slots=True)
class Asking:
    """The settings that decide whether a test prompt fits.

    Attributes:
        renderer: the renderer of prompts; its context window excludes a method's positions.
        shots: the number of few-shot examples in each prompt.
        answer_tokens: the maximum length of an answer, in tokens.
    """

    renderer: Renderer
    shots: int
    answer_tokens: int


def asking(context: RunContext, shots: int, method: MethodName | None = None) -> Asking:
    """The prompt settings of the test examples, beside a method's positions if one is given."""
    renderer = context.renderer_beside(method) if method else context.renderer
    mode = answer_mode(context, shots)
    return Asking(renderer, shots, mode.answer_tokens(renderer, context.dataset.test))


def long_tests(
    context: RunContext, *asked: Asking, console: Console | None = None
) -> list[Example]:
    """The test examples whose prompt is too long under at least one of these settings."""
    total = len(asked) * len(context.dataset.test)
    quiet = console or Console(quiet=True)
    with quiet.progress("fitting test prompts into the context window", total) as advance:
        return _find_long(context.dataset, asked, context.config.seed, advance)


def without_long_tests(context: RunContext, *asked: Asking, console: Console) -> RunContext:
    """The context without the test examples that do not fit, if ``evaluate.too_long`` is ``drop``.

    Raises:
        DataError: no test example is left.
    """
    if context.config.evaluate.too_long != "drop":
        return context
    dataset = _leave_out(context.dataset, long_tests(context, *asked, console=console), console)
    if not dataset.test:
        raise DataError(
            "no test example is left: every prompt is too long",
            fix="use fewer shots, or a model with a longer context window",
        )
    return replace(context, dataset=dataset)


def _find_long(
    dataset: Dataset,
    asked: Iterable[Asking],
    seed: int,
    advance: Callable[[], object] = lambda: None,
) -> list[Example]:
    """The test examples whose prompt is too long under at least one of the settings."""
    found: dict[str, Example] = {}
    for way in asked:
        shown = choose_shots(dataset.train, way.shots, seed)
        tests = [example for example in dataset.test if not example.is_plain_text]
        shot = (with_shots(example, shown) for example in tests)
        prompts = prompts_of(way.renderer, shot, answer_tokens=way.answer_tokens)
        for example, (_, prompt) in zip(tests, prompts, strict=True):
            advance()
            if isinstance(prompt, PromptTooLongError):
                found.setdefault(example.id, example)
            elif isinstance(prompt, DataError):
                raise prompt
    return list(found.values())


def _leave_out(dataset: Dataset, long: Sequence[Example], console: Console) -> Dataset:
    """The data set without these test examples, with a warning and a record of each."""
    if not long:
        return dataset
    reason = "the prompt leaves no room for an answer in the context window"
    console.warn(
        f"{len(long)} of {len(dataset.test)} test examples left out: {reason} "
        f"(such as {long[0].where})"
    )
    names = {example.id for example in long}
    kept = tuple(example for example in dataset.test if example.id not in names)
    return replace(
        dataset,
        test=kept,
        dropped=(*dataset.dropped, *(Dropped(example.where, reason) for example in long)),
        fingerprint=fingerprint(dataset.fingerprint, *(example.id for example in kept)),
    )


def warn_of_long_tests(dataset: Dataset, long: Sequence[Example], console: Console) -> None:
    """Warn, before a training, that the evaluation after it will fail."""
    if long:
        console.warn(
            f"{len(long)} of {len(dataset.test)} test prompts: no room is left for an answer in "
            f"the context window (such as {long[0].where}), so an evaluation will stop there; "
            "evaluate.too_long=drop leaves them out"
        )
