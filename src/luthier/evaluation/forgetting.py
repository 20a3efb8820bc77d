"""Forgetting: the rise of a model's loss on general text through tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from luthier.core.errors import DataError
from luthier.evaluation.metrics.base import Floats
from luthier.evaluation.statistics.bootstrap import (
    Resampling,
    Units,
    figure_interval,
    jackknife_error,
)
from luthier.evaluation.statistics.intervals import Interval
from luthier.inference import Engine, TextLoss
from luthier.records.forgetting import Forgetting, GroupChange


def measure_general(engine: Engine, texts_ids: Sequence[Sequence[int]]) -> list[TextLoss]:
    """The loss of a model on each general text.

    Args:
        engine: the engine that runs the model.
        texts_ids: the token ids of each text.

    Raises:
        DataError: there is no text, or a text has fewer than two tokens.
    """
    short = sum(len(ids) < 2 for ids in texts_ids)
    if short or not texts_ids:
        raise DataError(
            f"forgetting needs texts of at least two tokens, but {short} of {len(texts_ids)} "
            "are shorter",
            fix="choose another evaluate.general_text",
        )
    return engine.losses(texts_ids)


def measure_forgetting(
    before: Sequence[TextLoss], after: Sequence[TextLoss], text: str, resampling: Resampling
) -> Forgetting:
    """The rise of loss in nats per token, with a bootstrap interval over texts.

    The rise is total nats after tuning minus total nats before, divided by total tokens. The
    bootstrap computes this ratio in each resample, because texts differ in length. A positive rise
    means forgetting.

    Args:
        before: losses of the base model on each text.
        after: losses of the tuned model on the same texts.
        text: the name of the texts, for the record.
        resampling: the number of resamples, the seed and the confidence level.

    Raises:
        DataError: the texts or their tokens are not the same.
    """
    rise = _rise(before, after, resampling)
    return Forgetting(
        value=rise.value,
        low=rise.interval.low,
        high=rise.interval.high,
        n=len(before),
        confidence=resampling.confidence,
        standard_error=rise.error,
        no_interval=rise.interval.missing,
        before=rise.before,
        after=rise.after,
        tokens=rise.tokens,
        text=text,
    )


def topic_changes(
    before: Sequence[TextLoss],
    after: Sequence[TextLoss],
    topics: Sequence[str],
    resampling: Resampling,
) -> tuple[GroupChange, ...]:
    """The rise of loss in nats per token on the texts of each topic, largest rise first.

    Args:
        before: losses of the base model on each text.
        after: losses of the tuned model on the same texts.
        topics: the topic of each text.
        resampling: the number of resamples, the seed and the confidence level.

    Raises:
        DataError: the texts or their tokens are not the same.
    """
    changes = []
    for topic in dict.fromkeys(topics):
        chosen = [number for number, name in enumerate(topics) if name == topic]
        rise = _rise([before[i] for i in chosen], [after[i] for i in chosen], resampling)
        changes.append(
            GroupChange(
                group=topic,
                n=len(chosen),
                before=rise.before,
                after=rise.after,
                low=rise.interval.low,
                high=rise.interval.high,
                no_interval=rise.interval.missing,
            )
        )
    return tuple(sorted(changes, key=lambda change: -change.change))


class _Rise(NamedTuple):
    """Loss before and after in nats per token, the rise with its interval, and total tokens."""

    before: float
    after: float
    value: float
    interval: Interval
    error: float
    tokens: int


def _rise(before: Sequence[TextLoss], after: Sequence[TextLoss], resampling: Resampling) -> _Rise:
    units = _units(before, after)
    nats_before, nats_after, tokens = units.sums.sum(axis=0).tolist()
    interval = figure_interval(units, _rise_per_token, resampling)
    return _Rise(
        before=nats_before / tokens,
        after=nats_after / tokens,
        value=units.figure(_rise_per_token),
        interval=interval,
        error=jackknife_error(units, _rise_per_token),
        tokens=int(tokens),
    )


def _units(before: Sequence[TextLoss], after: Sequence[TextLoss]) -> Units:
    """The texts as units of the bootstrap: nats before, nats after, and tokens of each."""
    if not before or [loss.tokens for loss in before] != [loss.tokens for loss in after]:
        raise DataError(
            f"the losses before and after were not measured on the same tokens "
            f"({len(before)} and {len(after)} texts)",
            fix="measure both with the same tokenizer and evaluate.general_text",
        )
    rows = [[a.nats, b.nats, a.tokens] for a, b in zip(before, after, strict=True)]
    return Units.of(np.array(rows, dtype=np.float64))


def _rise_per_token(summed: Floats, count: Floats) -> Floats:
    """The rise in nats per token ``[...]`` of sums ``[..., (nats before, nats after, tokens)]``."""
    del count
    rise: Floats = (summed[..., 1] - summed[..., 0]) / summed[..., 2]
    return rise
