"""Plans as return values of `luthier.plan` and `luthier.search_plans`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.core.html import Displayed
from luthier.core.tables import Table
from luthier.core.units import format_bytes, format_count, format_duration
from luthier.core.verdict import Verdict
from luthier.planning.plan_request import PlanRequest
from luthier.planning.planner import Advice
from luthier.planning.search import Search
from luthier.planning.training_plan import Plan, sentence

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, slots=True, repr=False)
class PlanResult(Displayed):
    """The result of `plan`.

    Attributes:
        request: the model, the hardware, and the training.
        plan: memory, time and cost.
        advice: a suggestion where the training may not fit; None: it fits.
    """

    request: PlanRequest
    plan: Plan
    advice: Advice | None

    @property
    def verdict(self) -> Verdict:
        """Whether it fits."""
        return self.plan.verdict

    @property
    def fits(self) -> bool:
        """Whether the expected memory fits."""
        return self.plan.fits

    @property
    def memory_bytes(self) -> int:
        """The expected peak of memory on each device."""
        return self.plan.memory.total

    @property
    def seconds(self) -> float:
        """The duration of the training, or of one step if its tokens are not known."""
        return self.plan.cost.seconds

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        plan, interval = self.plan, self.plan.memory.total_interval
        yield f"{self.request.model}, {plan.method_in_words}: {sentence(plan)}"
        table = Table("memory")
        table.figures("size")
        for part, size in plan.memory_parts().items():
            if size:
                table.add_row(part, format_bytes(size))
        low, high = format_bytes(interval.low), format_bytes(interval.high)
        table.add_row("total", f"{format_bytes(plan.memory.total)}\n{low} to {high}")
        yield table
        whole = f"for {format_count(plan.tokens)} tokens" if plan.tokens else "a step"
        time = f"{format_duration(self.seconds)} {whole}"
        yield (
            f"It trains {format_count(plan.trained_parameters)} parameters at "
            f"{format_count(plan.step.tokens_per_second)} tokens/s: {time}."
        )
        if self.advice:
            yield str(self.advice)

    def to_pandas(self) -> DataFrame:
        """One row with the columns of `SearchResult.to_pandas`, to be joined with other plans.

        Raises:
            UsageError: pandas is not installed.
        """
        from luthier.api.frames import plans_frame

        return plans_frame(self.request.model, [self.plan])


@dataclass(frozen=True, slots=True, repr=False)
class SearchResult(Displayed):
    """The result of `search_plans`.

    Attributes:
        request: the model, the hardware, and the training.
        search: the plans that fit, best first.
    """

    request: PlanRequest
    search: Search

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans that fit, best first."""
        return self.search.best

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        from luthier.api.tables import plans_table

        where = f"{self.request.devices} × {self.request.hardware}"
        if self.plans:
            yield f"{self.request.model} on {where}: the fastest of {self.search.tried:,} plans."
            yield plans_table(self.plans)
        else:
            yield f"{self.request.model} on {where}: none of {self.search.tried:,} plans fits."
            if self.search.closest:
                yield sentence(self.search.closest)

    def to_pandas(self) -> DataFrame:
        """A row for each plan that fits: choice, memory in bytes, speed, seconds, cost.

        Raises:
            UsageError: pandas is not installed.
        """
        from luthier.api.frames import plans_frame

        return plans_frame(self.request.model, self.plans)
