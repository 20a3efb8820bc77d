"""The rungs: what each way of adapting is made of."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.config import RunConfig
from luthier.config.adapt import RungName
from luthier.core.method_facts import METHOD_NAMES, MethodName


@dataclass(frozen=True, slots=True)
class Rung:
    """One way of adapting: shots in the prompt, or a tuning method.

    Attributes:
        name: as in the configuration.
        shots: worked examples in the prompt.
        method: the tuning method, or None where the model stays as it is.
    """

    name: RungName
    shots: int = 0
    method: MethodName | None = None


def rungs_of(config: RunConfig) -> tuple[Rung, ...]:
    """The configured rungs, in the configured order and each once."""
    known = (
        Rung("zero-shot"),
        Rung("one-shot", shots=1),
        Rung("few-shot", shots=config.prompt.few_shots),
        *(Rung(method, method=method) for method in METHOD_NAMES),
    )
    table = {rung.name: rung for rung in known}
    return tuple(table[name] for name in dict.fromkeys(config.adapt.rungs))
