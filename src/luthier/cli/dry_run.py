"""Output of a dry run."""

from __future__ import annotations

from luthier.api.tables import dry_run_table
from luthier.cli.output import print_json, print_result
from luthier.core.units import format_duration
from luthier.planning.hardware import GUESSED
from luthier.records.dry_run import DryRun


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
    notes = [f"{method.method}: {note}" for method in forecast.methods for note in method.notes]
    print_result("", dry_run_table(forecast), *notes)
    if forecast.seconds is not None:
        print_result(f"About {format_duration(forecast.seconds)} in all, as estimated.")
    if any(method.seconds_are_guessed for method in forecast.methods):
        print_result(f"Each time is {GUESSED}.")
