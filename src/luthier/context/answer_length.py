"""The maximum length of generated answers, from the lengths of the references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from luthier.tasks.bare import AS_IS

if TYPE_CHECKING:
    from luthier.context.run_context import RunContext

_EXAMPLES = 2000
"""Training examples looked at; a split is in random order."""
_TOKENISED = 20
"""The longest references, by characters, that are tokenised."""
_MARGIN = 1.5
_LEAST = 16
_OUTLIER = 4
"""References may be this many times as long as the 95th percentile before they are outliers."""
_CHARACTERS_PER_TOKEN = 3.0
"""For a model on a server, whose tokens are not known; a low figure, so that nothing is cut."""


def longest_answer(context: RunContext) -> int:
    """The maximum length of an answer, in tokens.

    It is the value that the user or the task states. Otherwise it is one and a half times the
    longest reference of the training examples, without outliers, and at most half the context
    window.
    """
    stated = context.config.evaluate.max_new_tokens
    if stated is not None:
        return stated
    template = context.dataset.template
    references = [one.references[0] for one in context.dataset.train[:_EXAMPLES] if one.references]
    if not references or (template != AS_IS and "max_new_tokens" in template.model_fields_set):
        return template.max_new_tokens
    ordered = sorted(references, key=len)
    typical = _tokens(context, [ordered[math.ceil(0.95 * len(ordered)) - 1]])
    longest = min(_tokens(context, ordered[-_TOKENISED:]), _OUTLIER * typical)
    wanted = max(_LEAST, math.ceil(_MARGIN * longest))
    window = context.model.context_window
    return wanted if window is None else min(wanted, window // 2)


def _tokens(context: RunContext, texts: Sequence[str]) -> int:
    """The tokens of the longest text."""
    if context.model.context_window is None:
        return math.ceil(max(map(len, texts)) / _CHARACTERS_PER_TOKEN)
    renderer = context.renderer.tokenised()
    return max(len(renderer.answer_ids(text)) for text in texts)
