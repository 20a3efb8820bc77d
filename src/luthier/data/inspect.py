"""The content of `luthier data show`: a data set as it would be trained on."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from luthier.core.console import Console, ProgressCallback
from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.data.caveats import TokenCaveats
from luthier.data.dataset import Dataset
from luthier.data.problems import Dropped, ReasonCount, collect_problems, count_reasons
from luthier.data.splits import SPLITS
from luthier.data.tokenised import Usable, render_all
from luthier.prompts.reasoning import inline
from luthier.prompts.render import PromptRenderer
from luthier.prompts.training_example import TrainingExample
from luthier.records.base import Record
from luthier.records.evaluation import TemplateStamp

_BINS = 10
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model's view of examples.

    Attributes:
        renderer: the renderer for the model's tokenizer.
        decode: from ids to text, including special tokens.
        max_length: maximum tokens per example.
        invalid: the treatment of examples that the chat template cannot render.
    """

    renderer: PromptRenderer
    decode: Callable[[Sequence[int]], str]
    max_length: int
    invalid: Literal["drop", "error"] = "error"


class SplitCount(Record):
    """The size of a split. Each example without a group counts as a group."""

    name: str
    examples: int
    groups: int


class NearDuplicateCount(Record):
    """Examples of all splits with a near-duplicate, the groups they form, and two of one group.

    ``leaked`` of them are for validation or test, with a near-duplicate in training.
    """

    examples: int
    groups: int
    leaked: int
    pair: tuple[str, ...]


class ShownText(Record):
    """A piece of the displayed example, and whether it counts in the loss."""

    text: str
    trained: bool


class Bin(Record):
    """Number of training examples with a length in [low, high)."""

    low: int
    high: int
    count: int


class Lengths(Record):
    """Lengths of the training examples, prompt and answer."""

    unit: str
    shortest: int
    median: int
    percentile_95: int
    longest: int
    bins: tuple[Bin, ...]


class Label(Record):
    """The number of training examples with this answer of a closed set."""

    answer: str
    count: int


class DataReport(Record):
    """A summary of a data set.

    ``shown`` is the first training example as the model sees it; without a model, as plain text.
    ``left_out`` lists unusable rows, duplicates and leaks. ``unusable`` lists training examples
    that this model cannot use, ``caveats`` warnings. ``near_duplicates`` is None without any.
    """

    task: str
    format: str
    template: TemplateStamp
    fingerprint: str
    splits: tuple[SplitCount, ...]
    references: int
    shown: tuple[ShownText, ...]
    shown_where: str
    lengths: Lengths
    trained_tokens: int | None
    labels: tuple[Label, ...]
    left_out: tuple[ReasonCount, ...]
    unusable: tuple[ReasonCount, ...]
    caveats: tuple[str, ...] = ()
    near_duplicates: NearDuplicateCount | None = None


def inspect_dataset(
    dataset: Dataset,
    model: ModelView | None,
    *,
    completion_only_loss: bool = True,
    console: Console | None = None,
) -> DataReport:
    """A summary of a data set and, with a model, of its training tokens.

    Args:
        dataset: the data, with a training split that is not empty.
        model: the model's view of examples; without one, lengths are in characters.
        completion_only_loss: train on answers, not on prompts.
        console: shows progress; None: no progress.

    Raises:
        DataError: the chat template cannot render an example, and that is an error.
    """
    if model is None:
        view = _bare(dataset.train)
    else:
        quiet = console or Console(quiet=True)
        with quiet.progress("tokenising", len(dataset.train)) as advance:
            view = _with_model(dataset.train, model, completion_only_loss, advance)
    return DataReport(
        task=dataset.task,
        format=dataset.format,
        template=dataset.template.stamp,
        fingerprint=dataset.fingerprint,
        splits=tuple(_split_count(name, dataset.split(name)) for name in SPLITS),
        references=max((len(example.references) for example in dataset.test), default=0),
        shown=view.shown,
        shown_where=view.where,
        lengths=view.lengths,
        trained_tokens=view.trained_tokens,
        labels=_labels(dataset.train),
        left_out=count_reasons(dataset.dropped),
        unusable=count_reasons(view.unusable),
        caveats=view.caveats,
        near_duplicates=_near_duplicates(dataset),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """The parts of the report that depend on a model."""

    shown: tuple[ShownText, ...]
    where: str
    lengths: Lengths
    trained_tokens: int | None
    unusable: tuple[Dropped, ...]
    caveats: tuple[str, ...] = ()


def _with_model(
    examples: Sequence[Example],
    model: ModelView,
    completion_only_loss: bool,
    advance: ProgressCallback,
) -> _View:
    """The training tokens of the model, streamed because they may not fit in memory."""
    refused = collect_problems(model.invalid)
    usable = Usable(max_length=model.max_length, too_long="drop")
    caveats = TokenCaveats(model.renderer.tokenizer)
    first: tuple[Example, TrainingExample] | None = None
    lengths = array("q")
    trained = 0
    for example, tokens in render_all(
        examples,
        model.renderer,
        refused,
        completion_only_loss=completion_only_loss,
        advance=advance,
    ):
        first = first or (example, tokens)
        lengths.append(tokens.length)
        caveats.see(example, tokens)
        if usable.takes(example, tokens):
            trained += tokens.num_trained
    dropped = refused.finish()
    if first is None:
        raise DataError(
            f"no training example can be rendered: {dropped[0].reason}",
            where=dropped[0].where,
            fix="set prompt.chat_template to never, or to a file of your own",
        )
    return _View(
        shown=_shown_tokens(first[1], model.decode),
        where=first[0].where,
        lengths=_lengths(lengths, "tokens"),
        trained_tokens=trained,
        unusable=(*dropped, *usable.finish()),
        caveats=tuple(caveats.sentences()),
    )


def _bare(examples: Sequence[Example]) -> _View:
    return _View(
        shown=_shown_text(examples[0]),
        where=examples[0].where,
        lengths=_lengths([example.characters for example in examples], "characters"),
        trained_tokens=None,
        unusable=(),
    )


def _near_duplicates(dataset: Dataset) -> NearDuplicateCount | None:
    near = dataset.near
    if not near.examples:
        return None
    return NearDuplicateCount(
        examples=near.examples, groups=near.groups, leaked=near.leaked, pair=near.pair
    )


def _split_count(name: str, examples: Sequence[Example]) -> SplitCount:
    groups = {example.group or f"\x1f{example.id}" for example in examples}
    return SplitCount(name=name, examples=len(examples), groups=len(groups))


def _shown_tokens(
    rendered: TrainingExample, decode: Callable[[Sequence[int]], str]
) -> tuple[ShownText, ...]:
    """Neighbouring tokens with the same trained state, as text with special tokens."""
    ids = (*rendered.input_ids, *rendered.decoder_ids)
    mask = (*rendered.trained, *(True for _ in rendered.decoder_ids))
    cuts = [0, *(i for i in range(1, len(ids)) if mask[i] != mask[i - 1]), len(ids)]
    return tuple(
        ShownText(text=decode(ids[begin:end]), trained=mask[begin]) for begin, end in pairwise(cuts)
    )


def _shown_text(example: Example) -> tuple[ShownText, ...]:
    turns = [
        ShownText(text=f"{inline(turn)}\n", trained=turn.role == "assistant" and turn.is_trained)
        for turn in example.messages
    ]
    answer = example.trained_answer
    return (*turns, ShownText(text=inline(answer), trained=answer.is_trained))


def _lengths(values: Sequence[int], unit: str) -> Lengths:
    ordered = sorted(values)
    return Lengths(
        unit=unit,
        shortest=ordered[0],
        median=_quantile(ordered, 0.5),
        percentile_95=_quantile(ordered, 0.95),
        longest=ordered[-1],
        bins=_bins(ordered),
    )


def _quantile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that at least ``share`` of the values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _bins(ordered: Sequence[int]) -> tuple[Bin, ...]:
    """At most ten bins of a round width, from 0 to the longest."""
    width = _round_width(ordered[-1] / _BINS)
    counts = Counter(value // width for value in ordered)
    return tuple(
        Bin(low=index * width, high=(index + 1) * width, count=counts[index])
        for index in range(ordered[-1] // width + 1)
    )


def _round_width(width: float) -> int:
    """The next number above ``width`` of the form 1, 2 or 5 times a power of ten."""
    power = int(10 ** max(0, math.floor(math.log10(max(width, 1)))))
    return next(step * power for step in _STEPS if step * power > width)


def _labels(examples: Sequence[Example]) -> tuple[Label, ...]:
    """The distribution of answers, if all examples have the same choices."""
    closed = {example.choices for example in examples}
    if len(closed) != 1:
        return ()
    counts = Counter(example.references[0] for example in examples)
    return tuple(Label(answer=answer, count=counts[answer]) for answer in closed.pop())
