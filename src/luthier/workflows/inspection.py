"""Inspection of a method before or after training: trained parameters and soft prompts."""

from __future__ import annotations

import dataclasses

from luthier.context.base_model import BaseModel
from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.inference.local.soft_prompt import unwrap_soft_prompt
from luthier.methods import load_adapted
from luthier.methods.inspection import nearest_words, trained_groups
from luthier.models.load import LoadedModel
from luthier.models.quantised import parameter_count
from luthier.records.inspection import Inspection, Neighbour
from luthier.records.run_directory import RunDirectory
from luthier.training.job import initial_model
from luthier.workflows.tune import finished_training

_NEIGHBOURS = 5


def inspect_method(context: RunContext, run: RunDirectory, console: Console) -> Inspection:
    """The trained parameters of the method and, for a soft prompt, the tokens near its vectors.

    Args:
        context: model, method and settings.
        run: the method's run directory; its vectors are shown if it is tuned.
        console: warns if the run has other settings.

    Raises:
        UsageError: the model has no parameters for this method.
        DataError: the base model or the tuned one cannot be loaded.
    """
    start = _at_the_start(context)
    if not start.neighbours or not run.training.is_file():
        return start
    if finished_training(context, context.config.method, run) is None:
        console.warn(f"{run.path} was tuned with other settings, so its vectors are not shown")
        return start
    tuned = load_adapted(run.model, context.config.base_of(context.config.method), console)
    changes = {"neighbours": _neighbours(tuned), "tuned_run": str(run.path)}
    return start.model_copy(update=changes)


def _at_the_start(context: RunContext) -> Inspection:
    """The method before its first training step."""
    method = context.config.method
    base = BaseModel(context.weights()).take(context.config.base_of(method))
    _, model = initial_model(base, method, context.config)
    groups = trained_groups(model)
    return Inspection(
        method=method,
        model=base.stamp,
        groups=groups,
        trained_parameters=sum(group.parameters for group in groups),
        total_parameters=parameter_count(model),
        neighbours=_neighbours(dataclasses.replace(base, model=model)),
    )


def _neighbours(loaded: LoadedModel) -> tuple[tuple[Neighbour, ...], ...]:
    """The nearest tokens of each soft prompt vector; empty for a prefix of keys and values."""
    base, prompt = unwrap_soft_prompt(loaded.model)
    if prompt.vectors_VD is None:
        return ()
    table_VD = base.get_input_embeddings().weight
    return nearest_words(prompt.vectors_VD, table_VD, loaded.tokenizer, _NEIGHBOURS)
