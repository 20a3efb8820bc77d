"""JSON documents and exit codes of plans."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from luthier.core.errors import ResourceError
from luthier.core.verdict import Verdict
from luthier.planning.training_plan import Plan, sentence

if TYPE_CHECKING:
    from luthier.records.dry_run import PlanCheck


def exit_code(verdict: Verdict) -> int:
    """4 (resources) if it does not fit, otherwise 0."""
    return ResourceError.exit_code if verdict == "does not fit" else 0


def plan_document(plan: Plan) -> dict[str, Any]:
    """A plan and its derived values, for JSON."""
    derived = {
        "sentence": sentence(plan),
        "fits": plan.fits,
        "verdict": plan.verdict,
        "tune_can_run": plan.tune.can,
        "allocated_bytes": plan.memory.allocated,
        "reserved_bytes": plan.memory.reserved,
        "device_bytes": plan.memory.total,
        "tokens_per_second": plan.step.tokens_per_second,
        "mfu": plan.step.mfu,
        "hfu": plan.step.hfu,
        "binding": plan.binding,
    }
    return derived | asdict(plan)


def check_document(check: PlanCheck) -> dict[str, Any]:
    """A plan, its measurement or trace, and the errors, for JSON."""
    errors = {"error": check.error, "seconds_error": check.seconds_error}
    return check.model_dump(mode="json") | errors
