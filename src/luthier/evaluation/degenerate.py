"""Detection of answers that nobody could use: empty, repeated, constant or cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from luthier.records.evaluation import SampleRecord

_MOST = 0.5
"""The maximum share of degenerate answers of a system that can be recommended."""
_LONGEST_PERIOD = 80
_TIMES = 3
_CHARACTERS = 16
_LAST_WORDS = 300
_TOO_OFTEN = 1.5
_LEAST_SAMPLES = 5
"""With fewer examples, equal answers can be chance."""


def unusable_answers(samples: Sequence[SampleRecord]) -> str:
    """The reason why a model's answers are unusable; empty if they are usable.

    Overlap metrics reward every word that the reference contains too, and accuracy rewards a model
    that always names the most frequent class. Such a model may score above one that answers.

    - Most answers are empty, or repeat themselves.
    - All answers are the same, although the right ones differ.
    - Most answers are cut at the token limit.

    Args:
        samples: the answered examples.
    """
    total = len(samples)
    empty, repeated = sum(map(_is_empty, samples)), sum(map(_is_repetition, samples))
    if empty + repeated > _MOST * total:  # no answer is both
        parts = [*(["are empty"] if empty else []), *(["repeat themselves"] if repeated else [])]
        return f"{empty + repeated:,} of its {total:,} answers {' or '.join(parts)}"
    if _is_constant(samples):
        return f"all its {total:,} answers are {samples[0].prediction.strip()[:40]!r}"
    if (cut := sum(sample.finish == "length" for sample in samples)) > _MOST * total:
        return (
            f"{cut:,} of its {total:,} answers are cut at the token limit (evaluate.max_new_tokens)"
        )
    return ""


def one_sided_answers(samples: Sequence[SampleRecord]) -> str:
    """The answer that a model gives far too often, in words; empty if there is none.

    It is an answer to at least half of the examples, and to one and a half times as many as it is
    right for.

    Args:
        samples: the answered examples; only closed answers are looked at.
    """
    closed = [sample for sample in samples if sample.choices]
    if not closed or len(closed) < len(samples):
        return ""
    answer, count = Counter(sample.prediction for sample in closed).most_common(1)[0]
    right = sum(answer in sample.references for sample in closed)
    if count < _MOST * len(closed) or count < _TOO_OFTEN * right:
        return ""
    return f"{count:,} of its {len(closed):,} answers are {answer[:40]!r}, right for {right:,}"


def repeats_itself(text: str) -> bool:
    """True if a text ends in at least three repetitions of the same string in a row.

    The last repetition may be incomplete.
    """
    for period in range(1, min(_LONGEST_PERIOD, len(text) // _TIMES) + 1):
        length = max(_TIMES * period, _CHARACTERS)
        if length <= len(text) and text[-length + period :] == text[-length:-period]:
            return True
    return False


def is_mostly_repetition(text: str) -> bool:
    """True if at least half of a text is one group of words, at least three times in a row.

    The repetitions end the text; the last one may be incomplete.
    """
    words = text.split()[-_LAST_WORDS:]
    for period in range(1, len(words) // _TIMES + 1):
        later = zip(reversed(words), reversed(words[:-period]), strict=False)
        run = next((n for n, (a, b) in enumerate(later) if a != b), len(words) - period)
        if run >= (_TIMES - 1) * period and 2 * (run + period) >= len(words):
            return True
    return False


def _is_repetition(sample: SampleRecord) -> bool:
    text = sample.prediction
    if sample.likelihoods or text in sample.references:
        return False
    return is_mostly_repetition(text) or (sample.finish == "length" and repeats_itself(text))


def _is_empty(sample: SampleRecord) -> bool:
    return not sample.prediction.strip() and "" not in sample.references


def _is_constant(samples: Sequence[SampleRecord]) -> bool:
    """Whether all answers are the same, although no single answer is right for all examples."""
    if len(samples) < _LEAST_SAMPLES or len({s.prediction.strip() for s in samples}) > 1:
        return False
    shared = frozenset.intersection(*(frozenset(sample.references) for sample in samples))
    return not shared
