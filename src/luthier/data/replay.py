"""General texts as training examples, mixed into a task to reduce forgetting (replay).

Rehearsal: Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal"; for language
models Scialom et al. 2022 (arXiv 2205.12393), who kept old tasks with a share of 1 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from luthier.core.errors import DataError
from luthier.data.general import GeneralText
from luthier.prompts.render import PromptRenderer
from luthier.prompts.training_example import TrainingExample


def replay_examples(
    texts: Sequence[GeneralText],
    renderer: PromptRenderer,
    measured: Sequence[Sequence[int]],
    max_length: int,
) -> tuple[TrainingExample, ...]:
    """Language modelling examples: every token of a text but the first is predicted.

    A text longer than ``max_length`` tokens is split into pieces of that length.

    Args:
        texts: the texts to choose from; empty: no replay.
        renderer: the renderer for the model's tokenizer.
        measured: the tokens on which forgetting is measured. Texts that start with one of these are
            left out, because trained texts cannot show forgetting.
        max_length: maximum tokens per example.

    Raises:
        DataError: all texts are left out, or the model is an encoder-decoder, which is not trained
            on plain text.
    """
    if texts and renderer.encoder_decoder:
        raise DataError(
            "an encoder-decoder model is not trained on plain text, so none can be mixed in",
            where="data.replay",
            fix="set it to 0; train.guards.max_forgetting still stops a training that forgets",
        )
    rendered = [_rendered(number, text, renderer) for number, text in enumerate(texts, start=1)]
    held_out = {tuple(ids) for ids in measured}
    lengths = {len(ids) for ids in held_out}
    kept = [
        piece
        for example in rendered
        if not any(example.input_ids[:length] in held_out for length in lengths)
        for piece in _pieces(example, max_length)
    ]
    if texts and not kept:
        raise DataError(
            "no general text is left for replay, because forgetting is measured on all of them",
            where="data.replay_text",
            fix="use another text, or lower evaluate.general_tokens",
        )
    return tuple(kept)


def general_example(name: str, ids: Sequence[int], question: int | None = None) -> TrainingExample:
    """A text as tokens to predict; for an encoder-decoder, as the answer to an empty question.

    Args:
        name: the example's id.
        ids: its token ids, at least two.
        question: the single token for the encoder; None: there is no encoder.
    """
    if question is not None:
        return TrainingExample(name, (question,), (False,), 1, tuple(ids))
    trained = tuple(position > 0 for position in range(len(ids)))
    return TrainingExample(name, tuple(ids), trained, prompt_length=0)


def _rendered(number: int, text: GeneralText, renderer: PromptRenderer) -> TrainingExample:
    return general_example(f"general-{number}", renderer.text_ids(text.text))


def _pieces(example: TrainingExample, max_length: int) -> Iterator[TrainingExample]:
    for start in range(0, len(example.input_ids), max_length):
        ids = example.input_ids[start : start + max_length]
        if len(ids) > 1:
            name = f"{example.id}-{start}" if start else example.id
            yield general_example(name, ids)
