"""What to beware of in texts as a model's tokenizer reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from luthier.core.example import Example
from luthier.data.tokenised import Rendered
from luthier.prompts.render import PromptRenderer
from luthier.prompts.tokens import Tokenizer

_NAMED = 8


def text_caveats(examples: Sequence[Example], renderer: PromptRenderer) -> Iterator[str]:
    """Special tokens that rows spell out.

    Args:
        examples: all that will be read.
        renderer: for the model's tokenizer.
    """
    found: Counter[str] = Counter()
    places: list[str] = []
    for example in examples:
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


def added_system(examples: Iterable[Example], renderer: PromptRenderer) -> str:
    """A sentence on the system message that the chat template writes where a row has none."""
    default = renderer.default_system
    if not default or not any(_lacks_system(example, renderer) for example in examples):
        return ""
    return (
        "the chat template writes a system message of its own where there is none: "
        f"{_shortened(default)!r}"
    )


def token_caveats(rendered: Rendered, renderer: PromptRenderer) -> Iterator[str]:
    """What becomes of the answers that are trained.

    Args:
        rendered: the training examples as tokens.
        renderer: what made them.
    """
    yield from _unwritable(rendered, renderer.tokenizer)
    joined = [example for example, tokens in rendered.pairs if tokens.is_joined]
    if joined:
        yield (
            f"{len(joined)} answers begin in the middle of a token of the whole text (such as "
            f"{joined[0].where}); their prompts and answers are tokenised apart, as inference does"
        )
    counts = Counter(id(example) for example, _ in rendered.pairs)
    unrolled = sum(count > 1 for count in counts.values())
    if unrolled:
        made = sum(count for count in counts.values() if count > 1)
        yield (
            f"the chat template writes earlier turns otherwise when a conversation goes on, so "
            f"{unrolled} conversations are trained as {made} examples, one for each answer"
        )


def _unwritable(rendered: Rendered, tokenizer: Tokenizer) -> Iterator[str]:
    """Characters of answers that the tokenizer has no token for, or drops."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    trained, lost = 0, 0
    for _, tokens in rendered.pairs:
        ids = [*(i for i, t in zip(tokens.input_ids, tokens.trained, strict=True) if t)]
        ids += tokens.decoder_ids
        trained += len(ids)
        lost += sum(token == unknown for token in ids) if unknown is not None else 0
    answers = {id(e): e.trained_answer.content for e, _ in rendered.pairs if e.references}
    letters = _unwritten(Counter("".join(answers.values())), tokenizer)
    if not letters:
        return
    named = _listed({repr(letter)[1:-1]: count for letter, count in letters.items()})
    holding = sum(not letters.keys().isdisjoint(answer) for answer in answers.values())
    share = f"{holding:,} of {len(answers):,} answers have them"
    if lost:
        token = getattr(tokenizer, "unk_token", None)
        share += f", and {lost:,} of {trained:,} trained tokens ({lost / trained:.0%}) are {token}"
    yield f"the tokenizer cannot write these characters: {named}; {share}"


def _unwritten(letters: Counter[str], tokenizer: Tokenizer) -> dict[str, int]:
    """The characters that do not come back from their tokens, with their counts."""
    return {
        letter: count
        for letter, count in letters.most_common()
        if letter not in _back(f"a{letter}b", tokenizer)
        and letter not in _back(f"a {letter} b", tokenizer)
    }


def _back(text: str, tokenizer: Tokenizer) -> str:
    ids: Sequence[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    # Bytes are special tokens here and there, and are not to be skipped.
    text = tokenizer.decode(list(ids), skip_special_tokens=False)
    return text.replace(getattr(tokenizer, "unk_token", None) or "\0", "")


def _lacks_system(example: Example, renderer: PromptRenderer) -> bool:
    return (
        renderer.system is None and bool(example.messages) and example.messages[0].role != "system"
    )


def _listed(counts: Counter[str] | dict[str, int]) -> str:
    """Names with their counts, the most frequent first."""
    ordered: Iterable[tuple[str, int]] = sorted(counts.items(), key=lambda item: -item[1])
    named = [f"{name} ({count:,})" for name, count in ordered]
    more = [f"and {len(named) - _NAMED} more"] if len(named) > _NAMED else []
    return ", ".join([*named[:_NAMED], *more])


def _shortened(text: str, length: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
