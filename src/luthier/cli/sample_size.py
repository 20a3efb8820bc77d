"""``luthier sample-size``."""

from __future__ import annotations

from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result


def sample_size(
    difference: float,
    run: str | None = None,
    /,
    *,
    base_rate: float | None = None,
    json: Json = False,
) -> None:
    """Compute the number of test examples needed to detect a difference between two systems.

    The spread of the scores comes from an evaluated run, or from right and wrong answers with
    --base-rate.

    Args:
        difference: The difference of the metric to detect, such as 0.02.
        run: An evaluated run; an adapt run stands for its recommended rung.
        base_rate: The expected share of right answers if there is no run yet, such as 0.7.
    """
    import luthier

    plan = luthier.required_sample_size(difference, run, base_rate=base_rate)
    if json:
        print_json(plan.model_dump(mode="json"))
        return
    from luthier.reports.changes import sample_size_table

    print_result(sample_size_table(plan))
