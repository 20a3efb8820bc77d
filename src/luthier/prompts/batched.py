"""Batched rendering of examples, with the same results as one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial, singledispatch
from typing import ParamSpec, TypeVar

from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.prompts.batches import Request
from luthier.prompts.prompt import Prompt, TokenPrompt
from luthier.prompts.render import PromptRenderer
from luthier.prompts.renderer import Renderer
from luthier.prompts.template_requests import Draft
from luthier.prompts.training_example import TrainingExample
from luthier.prompts.written import Written

P = ParamSpec("P")
Made = TypeVar("Made")


def trainings_of(
    renderer: PromptRenderer, examples: Iterable[Example], *, completion_only_loss: bool
) -> Iterator[tuple[Example, tuple[TrainingExample, ...] | DataError]]:
    """Each example with its `PromptRenderer.trainings`, or with the error that it raises.

    Args:
        renderer: the renderer for the model's tokenizer.
        examples: the examples, possibly a stream.
        completion_only_loss: train only on the answers; if false, on every token but the first.
    """
    examples = renderer.layout.ahead(examples, partial(_drafts, renderer, ask=False))
    written = ((example, _tried(renderer.written, example)) for example in examples)
    requests = partial(_training_requests, renderer)
    for example, texts in renderer.encoder.ahead(written, requests):
        if isinstance(texts, DataError):
            yield example, texts
        else:
            yield example, _tried(renderer.made, example, texts, completion_only_loss)


@singledispatch
def prompts_of(
    renderer: Renderer, examples: Iterable[Example], *, answer_tokens: int = 0
) -> Iterator[tuple[Example, Prompt | DataError]]:
    """Each example with its `Renderer.prompt`, or with the error that it raises.

    Args:
        renderer: the renderer for the model.
        examples: the examples, possibly a stream.
        answer_tokens: the room to reserve for the answer.
    """
    for example in examples:
        yield example, _tried(renderer.prompt, example, answer_tokens=answer_tokens)


@prompts_of.register
def _(
    renderer: PromptRenderer, examples: Iterable[Example], *, answer_tokens: int = 0
) -> Iterator[tuple[Example, TokenPrompt | DataError]]:
    examples = renderer.layout.ahead(examples, partial(_drafts, renderer, ask=True))
    asked = ((example, _tried(renderer.question, example)) for example in examples)
    for example, text in renderer.encoder.ahead(asked, partial(_prompt_requests, renderer)):
        if isinstance(text, DataError):
            yield example, text
        else:
            yield example, _tried(renderer.fitting, example, text, answer_tokens)


def _drafts(renderer: PromptRenderer, example: Example, *, ask: bool) -> Iterator[Draft]:
    """The drafts that an example needs, or most of them."""
    if renderer.encoder_decoder or example.is_plain_text:
        return
    messages = renderer.asked(example)
    if not ask and example.references:
        messages = renderer.answered(example)
    yield from renderer.layout.drafts(messages, example.tools, ask=ask)


def _training_requests(
    renderer: PromptRenderer, item: tuple[Example, tuple[Written, ...] | DataError]
) -> Iterator[Request]:
    """The encodings that an example's tokens need, or most of them."""
    example, written = item
    if isinstance(written, DataError) or renderer.encoder_decoder:
        return
    if example.is_plain_text:
        text = example.references[0]
        for added in (False, True):
            yield renderer.encoder.request(text, literal=True, add_special_tokens=added)
    for each in written:
        yield from renderer.layout.requests(each.text, (span.asked for span in each.answers))


def _prompt_requests(
    renderer: PromptRenderer, item: tuple[Example, str | DataError]
) -> Iterator[Request]:
    _, text = item
    if not isinstance(text, DataError) and not renderer.encoder_decoder:
        yield from renderer.layout.requests(text, ())


def _tried(work: Callable[P, Made], *given: P.args, **named: P.kwargs) -> Made | DataError:
    """The result of ``work``, or the `DataError` that it raises."""
    try:
        return work(*given, **named)
    except DataError as error:
        return error
