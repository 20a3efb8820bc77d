"""``luthier plan estimate``, which is also ``luthier plan``."""

from __future__ import annotations

from pathlib import Path

from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result
from luthier.cli.plan.documents import exit_code, plan_document
from luthier.cli.plan.options import (
    BatchOptions,
    HardwareOptions,
    MethodOptions,
    Model,
    Price,
    TrainingOptions,
    plan_request,
)
from luthier.cli.plan.tables import plan_lines
from luthier.core.files import write_atomically
from luthier.core.shell import Command
from luthier.planning.planner import advice
from luthier.planning.planner import plan as make_plan
from luthier.planning.training_plan import Plan, sentence


def estimate(
    model: Model = "smollm2-135m-instruct",
    *,
    hardware: HardwareOptions | None = None,
    price: Price = None,
    method: MethodOptions | None = None,
    batch: BatchOptions | None = None,
    training: TrainingOptions | None = None,
    svg: Path | None = None,
    json: Json = False,
) -> int:
    """Estimate memory, time and cost of a training, and suggest a change if it does not fit.

    It needs neither the weights nor the network. Settings that 'luthier tune' does not support yet
    are marked.

    Exit code 4: it does not fit.

    Your own data and the following settings are not supported here; plan them with 'luthier tune
    --dry-run': modules_to_save, trainable_tokens, layers_to_transform, placement,
    feedforward_modules, dropout, packing.

    Args:
        model: A Hub id, a folder, or a well-known name.
        svg: Write a bar chart of the memory to this file.
    """
    request = plan_request(model, hardware, method, batch, training)
    found = make_plan(request, price)
    if svg:
        _write_chart(svg, model, found)
    if json:
        print_json({"model": model, **plan_document(found)})
        return exit_code(found.verdict)
    print_result(*plan_lines(model, found))
    if found.verdict != "fits":
        suggested = advice(request, price)
        print_result("", suggested.sentence, Command(suggested.command))
    return exit_code(found.verdict)


def _write_chart(path: Path, model: str, plan: Plan) -> None:
    from luthier.planning.memory_chart import svg_bar

    write_atomically(path, svg_bar(model, sentence(plan), plan.memory_parts(), plan.limit))
