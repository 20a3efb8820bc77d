"""Options of text metrics, which follow the name, separated by ``+``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from luthier.core.errors import UsageError
from luthier.evaluation.metrics.base import UNICODE_FORMS, VISIBLE, TextMetric

MakeTextMetric = Callable[[str, frozenset[str]], TextMetric]


def text_metric(
    name: str, make: MakeTextMetric, options: Sequence[str] = ()
) -> Callable[..., TextMetric]:
    """A factory of a metric with options, such as ``rouge1:stem+nfc``.

    Args:
        name: the metric's name.
        make: creates it from its full name and its own options.
        options: its own options; ``nfc``, ``nfkc`` and ``visible`` apply to every text metric.
    """

    def made(argument: str = "") -> TextMetric:
        given = frozenset(argument.split("+")) if argument else frozenset()
        forms = given & UNICODE_FORMS.keys()
        if unknown := sorted(given - {*options, *UNICODE_FORMS, VISIBLE}):
            raise UsageError(
                f"{name} has no option {unknown[0]!r}",
                fix=f"available options: {', '.join((*options, *UNICODE_FORMS, VISIBLE))}",
            )
        if len(forms) > 1:
            raise UsageError(f"{name} has two forms of Unicode", fix="choose nfc or nfkc")
        metric = make(f"{name}:{argument}" if argument else name, given - forms - {VISIBLE})
        metric.unicode = UNICODE_FORMS[next(iter(forms))] if forms else None
        metric.only_visible = VISIBLE in given
        return metric

    return made
