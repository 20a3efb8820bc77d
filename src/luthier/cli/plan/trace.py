"""``luthier plan trace``."""

from __future__ import annotations

from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result
from luthier.cli.plan.documents import check_document
from luthier.cli.plan.options import BatchOptions, MethodOptions, Model, plan_request
from luthier.cli.plan.tables import trace_line


def trace(
    model: Model = "smollm2-135m-instruct",
    *,
    method: MethodOptions | None = None,
    batch: BatchOptions | None = None,
    json: Json = False,
) -> None:
    """Check a memory plan against a step of the real code, traced with fake tensors.

    The traced step is one of training on a single CPU, and only tensors are counted. It takes up to
    a minute and needs neither the model's weights nor its memory.

    Args:
        model: A Hub id, a folder, or a well-known name.
    """
    import luthier

    found = luthier.trace_plan(plan_request(model, method, batch))
    if json:
        print_json(check_document(found))
    else:
        print_result(trace_line(found))
