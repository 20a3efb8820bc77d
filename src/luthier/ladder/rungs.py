"""The rungs of the ladder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from luthier.config import RunConfig
from luthier.config.adapt import RungName
from luthier.config.load import override
from luthier.core.choices import BaselineName
from luthier.core.errors import UsageError
from luthier.core.method_facts import METHOD_NAMES, MethodName
from luthier.data.dataset import Dataset
from luthier.evaluation.baselines import suitable_baselines, unsuited


@dataclass(frozen=True, slots=True)
class Rung:
    """One way of adapting.

    Attributes:
        name: its name in the configuration.
    """

    name: RungName


@dataclass(frozen=True, slots=True)
class BaselineRung(Rung):
    """A baseline, without a language model."""

    baseline: BaselineName


@dataclass(frozen=True, slots=True)
class PromptRung(Rung):
    """The untuned model, with shots in the prompt.

    Attributes:
        shots: their number.
    """

    shots: int = 0


@dataclass(frozen=True, slots=True)
class TuningRung(Rung):
    """A model tuned with a method."""

    method: MethodName


def rungs_of(config: RunConfig) -> tuple[Rung, ...]:
    """The configured rungs in order, without duplicates; baselines that are not named stand first.

    Baselines that are to be chosen by the task are left out; see `with_baselines`.
    """
    known: tuple[Rung, ...] = (
        *(BaselineRung(name, baseline=name) for name in get_args(BaselineName)),
        PromptRung("zero-shot"),
        PromptRung("one-shot", shots=1),
        PromptRung("few-shot", shots=config.prompt.few_shots),
        *(TuningRung(method, method=method) for method in METHOD_NAMES),
    )
    table = {rung.name: rung for rung in known}
    named = dict.fromkeys(config.adapt.rungs)
    first = [name for name in config.adapt.baselines or () if name not in named]
    return tuple(table[name] for name in dict.fromkeys((*first, *named)))


def with_baselines(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The configuration with the baselines that suit the task, unless it names some.

    Raises:
        UsageError: a named baseline cannot answer the examples.
    """
    if config.adapt.baselines is None:
        suited = suitable_baselines(dataset.train, dataset.template.cluster)
        config = override(config, {"adapt.baselines": suited})
    for rung in rungs_of(config):
        reason = unsuited(rung.baseline, dataset.train) if isinstance(rung, BaselineRung) else ""
        if reason:
            raise UsageError(
                f"the baseline {rung.name} does not suit this task: {reason}",
                where="adapt.baselines, adapt.rungs",
                fix="leave it out",
            )
    return config
