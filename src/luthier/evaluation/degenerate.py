"""Detection of degenerate answers: repetition loops and empty answers."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.records.evaluation import SampleRecord

_MOST = 0.5
"""The maximum share of degenerate answers of a system that can be recommended."""
_LONGEST_PERIOD = 80
_TIMES = 3
_CHARACTERS = 16


def unusable_answers(samples: Sequence[SampleRecord]) -> str:
    """The reason why a system's answers are unusable; empty if they are usable.

    Overlap metrics reward every word that the reference contains too. A model that repeats itself
    up to the limit may therefore score above one that answers.

    Args:
        samples: the answered examples. Answers with scored choices are never degenerate.
    """
    answers = [sample for sample in samples if not sample.likelihoods]
    empty, looping = sum(map(_is_empty, answers)), sum(map(_is_cut_in_a_loop, answers))
    if empty + looping <= _MOST * len(samples):  # no answer is both
        return ""
    loops = "repeat themselves until they are cut at the limit"
    reason = " or ".join([*(["are empty"] if empty else []), *([loops] if looping else [])])
    return f"{empty + looping:,} of its {len(samples):,} answers {reason}"


def repeats_itself(text: str) -> bool:
    """True if a text ends in at least three repetitions of the same string in a row.

    The last repetition may be incomplete.
    """
    for period in range(1, min(_LONGEST_PERIOD, len(text) // _TIMES) + 1):
        length = max(_TIMES * period, _CHARACTERS)
        if length <= len(text) and text[-length + period :] == text[-length:-period]:
            return True
    return False


def _is_cut_in_a_loop(sample: SampleRecord) -> bool:
    return sample.finish == "length" and repeats_itself(sample.prediction)


def _is_empty(sample: SampleRecord) -> bool:
    return not sample.prediction.strip() and "" not in sample.references
