"""Guards that stop a training or skip a step before it does harm."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from luthier.config import GuardsConfig
from luthier.core.errors import DivergedError
from luthier.core.units import counted
from luthier.distributed.process_group import SINGLE_PROCESS, ProcessGroup

Action = Literal["warn", "skip", "abort"]

_WINDOW = 32  # number of recent steps in the running statistics
_ENOUGH = 12  # number of recorded steps before comparisons start
_LOSS_DEVIATIONS = 10.0
_LEAST_DEVIATION = 0.05  # of the median: tolerated variation of a nearly constant loss
_GRADIENT_FACTOR = 100.0
_IDLE_STEPS = 8
_SAMPLED = 4096
_FIX = "change the learning rate, or look at these examples with 'luthier data show'"
# Before the first update the learning rate cannot be the cause.
_FIX_AT_FIRST = (
    "check with 'luthier prompt' whether the base model gives finite numbers: its weights may "
    "have diverged in an earlier training, or need model.dtype=float32"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A guard's finding in a step, and the action taken."""

    kind: str
    action: Action
    message: str


@dataclass(slots=True)
class GuardState:
    """The guards' memory between steps, saved with every checkpoint."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    skipped: int = 0
    skipped_in_row: int = 0
    idle_steps: int = 0
    has_changed: bool = False


class Guards:
    """Checks of every step between its backward pass and its update.

    A loss is a spike if it exceeds the median of the last 32 steps by more than 10 robust standard
    deviations (1.4826 × the median absolute deviation, at least 5 % of the median); a gradient norm
    if it exceeds 100 times the median.
    """

    def __init__(self, config: GuardsConfig, processes: ProcessGroup = SINGLE_PROCESS) -> None:
        self.config = config
        self.state = GuardState()
        self._ranks = processes
        self._findings: list[Finding] = []

    def take_findings(self) -> list[Finding]:
        """The findings since the last call."""
        found, self._findings = self._findings, []
        return found

    def admit(
        self, step: int, loss: float, norm: float, trained_tokens: int, batch_ids: Sequence[str]
    ) -> bool:
        """Whether the weights may be updated with this gradient.

        Args:
            step: counted from 0.
            loss: nats per trained token; meaningless without trained tokens.
            norm: the global norm of the gradient before clipping.
            trained_tokens: number of trained tokens in the step.
            batch_ids: ids of the step's examples.

        Raises:
            DivergedError: the policy is to abort, or too many steps were skipped.
        """
        finding = self._judge(step, loss, norm, trained_tokens)
        if finding is None:
            self._remember(loss, norm)
            return True
        self._findings.append(finding)
        if finding.action == "abort":
            raise _diverged(finding.message, batch_ids, _FIX if step else _FIX_AT_FIRST)
        if finding.action == "skip":
            self._count_skipped(step, batch_ids)
            return False
        self._remember(loss, norm)
        return True

    def sample(self, weights: Iterable[Tensor]) -> list[Tensor]:
        """Some numbers of each weight before an update; empty once an update has changed any."""
        return [] if self.state.has_changed else [_sampled(weight) for weight in weights]

    def compare(self, before: Sequence[Tensor], weights: Iterable[Tensor], step: int) -> None:
        """Check that an update changed some weight.

        Raises:
            DivergedError: the policy is to abort, and eight updates changed nothing.
        """
        state = self.state
        if not before:
            return
        after = [_sampled(weight) for weight in weights]
        changed = any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
        (state.has_changed,) = self._ranks.any(changed)
        state.idle_steps = 0 if state.has_changed else state.idle_steps + 1
        if state.idle_steps == _IDLE_STEPS:
            message = (
                f"{_IDLE_STEPS} updates up to step {step + 1} changed no trained weight: the "
                "learning rate is below the weights' precision, or the gradient is zero"
            )
            self._findings.append(Finding("no-change", self.config.no_change, message))
            if self.config.no_change == "abort":
                raise _diverged(message, [])

    def _judge(self, step: int, loss: float, norm: float, trained_tokens: int) -> Finding | None:
        config, name = self.config, f"step {step + 1}"
        if not trained_tokens:
            return Finding("no-trained-token", "skip", f"no token of {name} is trained on")
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = "gradient" if math.isfinite(loss) else "loss"
            message = (
                f"the {what} is not finite in {name} (loss {loss}, gradient norm {norm}); "
                "the weights are unchanged since the step before"
            )
            return Finding("non-finite", config.non_finite, message)
        if _is_spike(loss, self.state.losses):
            usual = statistics.median(self.state.losses)
            message = f"the loss jumps to {loss:.4g} in {name}; it was about {usual:.4g}"
            return Finding("loss-spike", config.loss_spike, message)
        usual = statistics.median(self.state.norms) if self.state.norms else 0.0
        if len(self.state.norms) >= _ENOUGH and norm > _GRADIENT_FACTOR * usual > 0:
            message = f"the gradient norm jumps to {norm:.4g} in {name}; it was about {usual:.4g}"
            return Finding("gradient-spike", config.gradient_spike, message)
        return None

    def _remember(self, loss: float, norm: float) -> None:
        self.state.losses = [*self.state.losses, loss][-_WINDOW:]
        self.state.norms = [*self.state.norms, norm][-_WINDOW:]
        self.state.skipped_in_row = 0

    def _count_skipped(self, step: int, batch_ids: Sequence[str]) -> None:
        state, config = self.state, self.config
        state.skipped += 1
        state.skipped_in_row += 1
        if state.skipped > config.max_skipped or state.skipped_in_row > config.max_skipped_in_row:
            raise _diverged(
                f"skipped {counted(state.skipped, 'step')} up to step {step + 1}, "
                f"{state.skipped_in_row} of them in a row",
                batch_ids,
            )


def spoilt_weights(step: int) -> DivergedError:
    """The error for weights that an update made non-finite."""
    return _diverged(
        f"the update of step {step} left weights that are not finite; they are not saved, and the "
        "last checkpoint is intact",
        [],
    )


def _is_spike(loss: float, losses: Sequence[float]) -> bool:
    if len(losses) < _ENOUGH:
        return False
    median = statistics.median(losses)
    deviation = 1.4826 * statistics.median(abs(value - median) for value in losses)
    return loss - median > _LOSS_DEVIATIONS * max(deviation, _LEAST_DEVIATION * median)


def _sampled(weight: Tensor) -> Tensor:
    """Up to 4,096 evenly spread numbers of a weight."""
    flat = weight.detach().reshape(-1)
    return flat[:: max(1, -(-flat.numel() // _SAMPLED))].clone()


def _diverged(message: str, batch_ids: Sequence[str], fix: str = _FIX) -> DivergedError:
    shown = ", ".join(batch_ids[:8]) + (", …" if len(batch_ids) > 8 else "")
    return DivergedError(
        message,
        where=f"examples {shown}" if shown else "",
        fix=fix,
    )
