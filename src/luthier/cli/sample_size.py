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
    """Compute how many test examples a difference between two systems needs to be significant.

    The spread of the scores is that of an evaluated run, or of answers that are right or wrong with
    --base-rate.

    Args:
        difference: The difference of the metric that is to be shown, such as 0.02.
        run: An evaluated run; an adapt run stands for the rung that it recommends.
        base_rate: Where there is no run yet: the share of right answers to expect, such as 0.7.
    """
    import luthier

    plan = luthier.required_sample_size(difference, run, base_rate=base_rate)
    if json:
        print_json(plan.model_dump(mode="json"))
        return
    from luthier.reports.changes import sample_size_table

    print_result(sample_size_table(plan))
