"""Warnings about texts as a model's tokenizer reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress

from luthier.core.example import Example
from luthier.data.tokenised import Rendered
from luthier.prompts.render import PromptRenderer
from luthier.prompts.renderer import Renderer
from luthier.prompts.tokens import Tokenizer
from luthier.prompts.training_example import TrainingExample

_NAMED = 8


def text_caveats(
    examples: Sequence[Example],
    renderer: Renderer,
    advance: Callable[[], object] = lambda: None,
) -> Iterator[str]:
    """Warnings about special tokens spelled out in rows.

    Args:
        examples: all examples that will be read.
        renderer: the renderer for the model's tokenizer.
        advance: called for each example.
    """
    found: Counter[str] = Counter()
    places: list[str] = []
    for example in examples:
        advance()
        if spelled := renderer.spelled_tokens(example):
            found.update(spelled)
            places.append(example.where)
    if found:
        names = _listed(found)
        where = f"in {len(places)} of {len(examples)} examples (such as {places[0]}): {names}"
        if renderer.keep_special:
            yield f"{found.total():,} special tokens in rows are read as such, {where}"
        else:
            yield (
                f"{found.total():,} special tokens in rows are read as plain text, {where}; "
                "prompt.special_tokens=keep reads them as special tokens"
            )


def added_system(examples: Iterable[Example], renderer: Renderer) -> str:
    """A sentence on the system message that the chat template writes where a row has none."""
    default = renderer.default_system
    if not default or not any(_lacks_system(example, renderer) for example in examples):
        return ""
    return (
        "the chat template adds its own system message where there is none: "
        f"{_shortened(default)!r}"
    )


def token_caveats(rendered: Rendered, renderer: PromptRenderer) -> Iterator[str]:
    """Warnings about the trained answers.

    Args:
        rendered: the training examples as tokens.
        renderer: the renderer that produced them.
    """
    caveats = TokenCaveats(renderer.tokenizer)
    for example, tokens in rendered.pairs:
        caveats.see(example, tokens)
    yield from caveats.sentences()


class TokenCaveats:
    """Warnings about the trained answers, collected from a stream.

    Args:
        tokenizer: the model's tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._unknown = getattr(tokenizer, "unk_token_id", None)
        self._trained, self._lost = 0, 0
        self._letters: Counter[str] = Counter()
        self._answered: list[Example] = []
        self._joined, self._first_joined = 0, ""
        self._last: Example | None = None
        self._parts = 0
        self._unrolled, self._made = 0, 0

    def see(self, example: Example, tokens: TrainingExample) -> None:
        """Add a training example; those of one example must be consecutive."""
        ids = [*compress(tokens.input_ids, tokens.trained), *tokens.decoder_ids]
        self._trained += len(ids)
        self._lost += ids.count(self._unknown) if self._unknown is not None else 0
        if tokens.is_joined:
            self._first_joined = self._first_joined or example.where
            self._joined += 1
        if example is self._last:
            self._parts += 1
            self._unrolled += self._parts == 2
            self._made += 2 if self._parts == 2 else 1
            return
        self._last, self._parts = example, 1
        if example.references:
            self._answered.append(example)
            self._letters.update(example.trained_answer.content)

    def sentences(self) -> Iterator[str]:
        """The warnings."""
        yield from self._unwritable()
        if self._joined:
            yield (
                f"{self._joined} answers begin in the middle of a token of the whole text (such as "
                f"{self._first_joined}); prompts and answers are tokenised separately, as in "
                "inference"
            )
        if self._unrolled:
            yield (
                f"the chat template renders earlier turns differently in longer conversations, so "
                f"{self._unrolled} conversations are trained as {self._made} examples, one for "
                "each answer"
            )

    def _unwritable(self) -> Iterator[str]:
        """Characters of answers that the tokenizer cannot encode, or drops."""
        letters = _unwritten(self._letters, self._tokenizer)
        if not letters:
            return
        named = _listed({repr(letter)[1:-1]: count for letter, count in letters.items()})
        answers = (example.trained_answer.content for example in self._answered)
        holding = sum(not letters.keys().isdisjoint(answer) for answer in answers)
        share = f"{holding:,} of {len(self._answered):,} answers have them"
        if self._lost:
            token = getattr(self._tokenizer, "unk_token", None)
            part = f"{self._lost:,} of {self._trained:,} trained tokens"
            share += f", and {part} ({self._lost / self._trained:.0%}) are {token}"
        yield f"the tokenizer cannot encode these characters: {named}; {share}"


def _unwritten(letters: Counter[str], tokenizer: Tokenizer) -> dict[str, int]:
    """The characters that are lost in a round trip through tokens, with their counts."""
    return {
        letter: count
        for letter, count in letters.most_common()
        if letter not in _back(f"a{letter}b", tokenizer)
        and letter not in _back(f"a {letter} b", tokenizer)
    }


def _back(text: str, tokenizer: Tokenizer) -> str:
    ids: Sequence[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    # Bytes are special tokens in some tokenizers, so special tokens must not be skipped.
    text = tokenizer.decode(list(ids), skip_special_tokens=False)
    return text.replace(getattr(tokenizer, "unk_token", None) or "\0", "")


def _lacks_system(example: Example, renderer: Renderer) -> bool:
    return (
        renderer.system is None and bool(example.messages) and example.messages[0].role != "system"
    )


def _listed(counts: Counter[str] | dict[str, int]) -> str:
    """Names with counts, the most frequent first."""
    ordered: Iterable[tuple[str, int]] = sorted(counts.items(), key=lambda item: -item[1])
    named = [f"{name} ({count:,})" for name, count in ordered]
    more = [f"and {len(named) - _NAMED} more"] if len(named) > _NAMED else []
    return ", ".join([*named[:_NAMED], *more])


def _shortened(text: str, length: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
