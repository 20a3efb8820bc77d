"""What a dry run prints."""

from __future__ import annotations

from rich.table import Table

from luthier.cli.output import print_json, print_result
from luthier.core.forecasts import Forecast, MethodForecast
from luthier.core.units import format_bytes, format_count, format_duration


def print_forecast(forecast: Forecast, *, as_json: bool) -> None:
    """Print what a dry run found."""
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
    lines += [f"  dropped   {count}: {reason}" for reason, count in forecast.dropped.items()]
    print_result("\n".join(lines))
    if not forecast.methods:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("method", "trains", "steps", "time (estimate)", "memory (estimate)", "fits"):
        table.add_column(heading)
    for method in forecast.methods:
        table.add_row(method.method, *_needs(method))
    print_result("", table)


def _needs(method: MethodForecast) -> tuple[str, str, str, str, str]:
    """Trained parameters, steps, time, memory, and whether it fits."""
    count = method.trained_parameters
    trained = "–" if count is None else format_count(count)
    if method.memory_bytes is None:
        return trained, "–", "–", "–", "the planner does not know this architecture"
    return (
        trained,
        str(method.steps),
        "–" if method.seconds is None else format_duration(method.seconds),
        format_bytes(method.memory_bytes),
        "yes" if method.fits else f"no: {format_bytes(method.usable_bytes)} may be used",
    )
