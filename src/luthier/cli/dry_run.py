"""Output of a dry run."""

from __future__ import annotations

from luthier.cli.output import print_json, print_result
from luthier.core.tables import Table
from luthier.core.units import format_bytes, format_count, format_duration
from luthier.planning.hardware import GUESSED
from luthier.records.dry_run import DryRun, MethodDryRun


def print_dry_run(forecast: DryRun, *, as_json: bool) -> None:
    """Print the findings of a dry run."""
    if as_json:
        print_json(forecast.model_dump(mode="json"))
        return
    sizes = ", ".join(f"{count} {split}" for split, count in forecast.examples.items())
    lines = [
        f"Everything that can be checked before training is in order for {forecast.run}.",
        f"  model     {forecast.model}",
        f"  task      {forecast.task}, template {forecast.template}",
        f"  examples  {sizes}",
        f"  prompts   {forecast.longest_prompt} tokens at most, of {forecast.context_window}",
        f"  metrics   {', '.join(forecast.metrics)}",
    ]
    if forecast.max_steps and forecast.methods:
        lines.append(f"  steps     {forecast.max_steps}, set by train.max_steps in place of epochs")
    lines += [f"  left out  {count}: {reason}" for reason, count in forecast.dropped.items()]
    lines += [f"  power     {note}" for note in forecast.power]
    print_result("\n".join(lines))
    if not (forecast.methods or forecast.prompting):
        return
    table = Table("rung", "trains", "steps", "training", "answering", "memory")
    table.prose("fits")
    for rung in forecast.prompting:
        table.add_row(rung.rung, "–", "–", "–", _duration(rung.evaluate_seconds), "–", "")
    for method in forecast.methods:
        table.add_row(method.method, *_needs(method))
    notes = [f"{method.method}: {note}" for method in forecast.methods for note in method.notes]
    print_result("", table, *notes)
    if forecast.seconds is not None:
        print_result(f"About {format_duration(forecast.seconds)} in all, as estimated.")
    if any(method.seconds_are_guessed for method in forecast.methods):
        print_result(f"Each time is {GUESSED}.")


def _duration(seconds: float | None) -> str:
    return "–" if seconds is None else format_duration(seconds)


def _needs(method: MethodDryRun) -> tuple[str, str, str, str, str, str]:
    """The row of a method: trained parameters, steps, times, memory, and whether it fits."""
    count = method.trained_parameters
    trained = "–" if count is None else format_count(count)
    answering = _duration(method.evaluate_seconds)
    if method.memory_bytes is None:
        return trained, "–", "–", answering, "–", "the planner does not know this architecture"
    return (
        trained,
        str(method.steps),
        _duration(method.seconds),
        answering,
        format_bytes(method.memory_bytes),
        _fits(method),
    )


def _fits(method: MethodDryRun) -> str:
    available = f"{format_bytes(method.usable_bytes)} available"
    if method.verdict == "may not fit" and method.memory_high_bytes:
        return f"maybe: up to {format_bytes(method.memory_high_bytes)}, {available}"
    return "yes" if method.fits else f"no: {available}"
