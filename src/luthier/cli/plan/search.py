"""``luthier plan search``."""

from __future__ import annotations

from luthier.api.tables import plans_table
from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result
from luthier.cli.plan.documents import plan_document
from luthier.cli.plan.options import (
    ANY,
    BatchOptions,
    HardwareOptions,
    MethodOptions,
    Model,
    Price,
    TrainingOptions,
    search_request,
)
from luthier.cli.plan.tables import plan_lines
from luthier.core.errors import ResourceError, UsageError
from luthier.planning.planner import best_plans, largest_plans, smallest_plans
from luthier.planning.search import Search
from luthier.planning.training_plan import Plan, sentence

_SHOWN = 10
"""Maximum number of plans in a table."""


def search(
    model: Model = "smollm2-135m-instruct",
    *,
    hardware: HardwareOptions | None = None,
    price: Price = None,
    method: MethodOptions | None = None,
    batch: BatchOptions | None = None,
    training: TrainingOptions | None = None,
    json: Json = False,
) -> int:
    """Search for the fastest settings that fit, the smallest hardware, or the largest model.

    A model and a device: the fastest settings. Precision, checkpointing and parallelism are
    searched if not given. Micro-batches are always searched and divide --global-batch-size. Methods
    are searched with --method any.

    A model and --hardware any: the fewest devices of each kind that fit.

    The model any and a device: the largest well-known model that fits.

    Exit code 4: nothing fits.

    Args:
        model: A Hub id, a folder, or a well-known name; any: the largest that fits.
    """
    request = search_request(model, hardware, method, batch, training)
    if request.model == request.hardware == ANY:
        raise UsageError(
            "model and device cannot both be 'any'", fix="name the model or the device"
        )
    if request.hardware == ANY:
        return _print_plans(smallest_plans(request, price), as_json=json)
    if request.model == ANY:
        return _print_plans(largest_plans(request, price), as_json=json)
    return _print_search(model, best_plans(request, price), as_json=json)


def _print_search(model: str, found: Search, *, as_json: bool) -> int:
    """Print the fastest plans, or the closest one."""
    code = 0 if found.best else ResourceError.exit_code
    if as_json:
        print_json(
            {
                "tried": found.tried,
                "best": [plan_document(plan) for plan in found.best],
                "closest": plan_document(found.closest) if found.closest else None,
            }
        )
    elif found.best:
        print_result(*plan_lines(model, found.best[0]))
        print_result("", f"The fastest of {found.tried} plans:", plans_table(found.best))
    elif found.closest:
        print_result(
            f"None of {found.tried} plans fits. The closest:", *plan_lines("", found.closest)
        )
    else:
        raise UsageError(
            "no configuration divides this step over the devices",
            fix="give another --global-batch-size or --devices",
        )
    return code


def _print_plans(plans: tuple[tuple[str, Plan], ...], *, as_json: bool) -> int:
    """Print plans of models on devices, best first."""
    if as_json:
        print_json([{"model": name, **plan_document(plan)} for name, plan in plans])
    elif plans:
        name, first = plans[0]
        shown = plans_table([plan for _, plan in plans[:_SHOWN]])
        print_result(f"{name}: {sentence(first)}", "", shown)
    else:
        print_result(
            "Nothing in the catalogue fits. Try --method qlora, --checkpointing full or --batch 1."
        )
    return 0 if plans else ResourceError.exit_code
