"""Forgetting of a tuned run: general text and evaluations, compared with those before tuning."""

from __future__ import annotations

from luthier.config import RunConfig
from luthier.config.stored import stored_config
from luthier.context.prepare import prepare
from luthier.context.run_context import RunContext
from luthier.context.run_or_model import Target
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.files import write_lines
from luthier.evaluation import load_evaluation, measure_forgetting, with_holm
from luthier.evaluation.comparison.before_after import task_change
from luthier.evaluation.forgetting import topic_changes
from luthier.evaluation.store import evaluated_tasks
from luthier.inference import TextLoss
from luthier.methods import load, load_adapted
from luthier.models.load import LoadedModel, open_model, tokenizer_fingerprint
from luthier.records.forgetting import (
    Forgetting,
    ForgettingReport,
    GroupChange,
    ItemChange,
    TaskChange,
)
from luthier.records.results import require_tuned_model
from luthier.records.run_directory import RunDirectory
from luthier.records.run_lock import writing
from luthier.workflows.measure import general_losses, resampling_of


def compare_with_before(
    run: RunDirectory,
    config: RunConfig,
    before: Target,
    console: Console,
) -> ForgettingReport:
    """Compare a tuned run with its base or another model, and store the result in the run.

    Args:
        run: the tuned run.
        config: its configuration, as far as it is trusted.
        before: an evaluated or tuned run, or a model; empty: the base model of ``run``.
        console: shows progress.

    Raises:
        UsageError: the two models have different tokenizers.
        DataError: the run has no model, or there is nothing to compare.
    """
    require_tuned_model(run)
    context = prepare(config, console)
    earlier = before.run
    name = earlier.name if earlier else before.model or context.config.model.id
    general, topics, items = _general(context, run, before, console)
    tasks = _tasks(context, run, earlier, items) if earlier else ()
    if general is None and not tasks:
        raise DataError(
            "there is nothing to compare: no general text, and no evaluation in common",
            where=str(run.path),
            fix="set evaluate.general_text, or evaluate both runs on the same task",
        )
    with writing(run, console):
        write_lines(run.forgetting_items, (item.model_dump(mode="json") for item in items))
        if general and before == Target():  # the run's own record compares it with its base model
            general.write(run.forgetting)
    return ForgettingReport(
        before=name, after=run.name, general=general, topics=topics, tasks=tasks
    )


def _general(
    context: RunContext,
    run: RunDirectory,
    before: Target,
    console: Console,
) -> tuple[Forgetting | None, tuple[GroupChange, ...], list[ItemChange]]:
    """The increase of the loss on general text, in total, by topic and per text."""
    text = context.config.evaluate.general_text
    if text is None:
        return None, (), []
    topics = [group for _, group in context.general_texts]
    with console.progress("measuring the loss on general text", 2) as advance:
        losses_before = _losses_before(context, run, before, console)
        advance()
        config = context.config
        tuned = load_adapted(run.model, config.base_of(config.method), console)
        losses_after = general_losses(context, run, tuned)
        advance()
    resampling = resampling_of(context)
    pairs = zip(topics, losses_before, losses_after, strict=True)
    items = [
        ItemChange(
            task="", id=str(number), group=topic, before=a.nats / a.tokens, after=b.nats / b.tokens
        )
        for number, (topic, a, b) in enumerate(pairs, start=1)
    ]
    forgetting = measure_forgetting(losses_before, losses_after, text, resampling)
    return forgetting, topic_changes(losses_before, losses_after, topics, resampling), items


def _losses_before(
    context: RunContext, run: RunDirectory, before: Target, console: Console
) -> list[TextLoss]:
    loaded = _load_before(context, before, console)
    if tokenizer_fingerprint(loaded.tokenizer) != tokenizer_fingerprint(
        context.weights().tokenizer
    ):
        raise UsageError(
            "the two models have different tokenizers, so losses per token are not comparable",
            where="--before",
            fix="compare with the base model of the run",
        )
    return general_losses(context, run, loaded)


def _load_before(context: RunContext, before: Target, console: Console) -> LoadedModel:
    if before.run is None:
        if not before.model:
            return load(context.weights())
        named = context.config.model.model_copy(update={"id": before.model, "revision": None})
        return load(open_model(named, console))
    config = stored_config(before.run, alike=context.config, parts=("model",))
    if before.tuned:
        return load_adapted(before.tuned, config.base_of(config.method), console)
    return load(open_model(config.model, console))


def _tasks(
    context: RunContext, run: RunDirectory, earlier: RunDirectory, items: list[ItemChange]
) -> tuple[TaskChange, ...]:
    """Every evaluation that both runs have, with Holm's correction over all of them."""
    resampling = resampling_of(context)
    changes: list[TaskChange] = []
    for task in evaluated_tasks(run):
        if task not in evaluated_tasks(earlier):
            continue
        before, after = load_evaluation(earlier, task), load_evaluation(run, task)
        metric = after.record.metrics[0].name
        change, changed = task_change(metric, before, after, earlier.name, resampling)
        changes.append(change)
        items += changed
    corrected = with_holm(change.comparison for change in changes)
    return tuple(
        change.model_copy(update={"comparison": comparison})
        for change, comparison in zip(changes, corrected, strict=True)
    )
