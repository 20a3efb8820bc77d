"""The rungs of the ladder."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.config import RunConfig
from luthier.config.adapt import RungName
from luthier.core.method_facts import METHOD_NAMES, MethodName


@dataclass(frozen=True, slots=True)
class Rung:
    """One way of adapting: shots in the prompt, or a tuning method.

    Attributes:
        name: its name in the configuration.
        shots: number of shots in the prompt.
        method: the tuning method; None for the untuned model.
    """

    name: RungName
    shots: int = 0
    method: MethodName | None = None


def rungs_of(config: RunConfig) -> tuple[Rung, ...]:
    """The configured rungs in order, without duplicates."""
    known = (
        Rung("zero-shot"),
        Rung("one-shot", shots=1),
        Rung("few-shot", shots=config.prompt.few_shots),
        *(Rung(method, method=method) for method in METHOD_NAMES),
    )
    table = {rung.name: rung for rung in known}
    return tuple(table[name] for name in dict.fromkeys(config.adapt.rungs))
