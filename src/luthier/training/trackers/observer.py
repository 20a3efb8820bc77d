"""The configured trackers as observers of a training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from luthier.config import RunConfig
from luthier.config.train import TrackerName
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.method_facts import MethodName
from luthier.core.secrets import Secrets
from luthier.core.terminal import printable_values
from luthier.records.run_directory import RunDirectory
from luthier.training.observers import StepMetrics
from luthier.training.trackers.base import Opening, Tracker
from luthier.training.trackers.services import MLflow, Trackio, WandB
from luthier.training.trackers.tensorboard import TensorBoard

_GIB = 2**30
_TRACKERS: Mapping[TrackerName, Callable[[Opening], Tracker]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": WandB,
    "mlflow": MLflow,
}
_PACKAGES: Mapping[TrackerName, str] = {"tensorboard": "tensorboardX"}


def require_trackers(names: Sequence[TrackerName]) -> None:
    """Check that the trackers' packages are installed, without importing them.

    Raises:
        UsageError: one is not installed.
    """
    for name in names:
        package = _PACKAGES.get(name, name)
        try:
            version(package)
        except PackageNotFoundError:
            wanted = package if name == "tensorboard" else f"'luthier[{name}]'"
            raise UsageError(
                f"the tracker {name} needs the package {package}, which is not installed",
                where="train.trackers",
                fix=f"pip install {wanted}, or choose train.trackers without it",
            ) from None


class TrackerObserver:
    """Passes metrics to a tracker until it fails."""

    def __init__(
        self, name: TrackerName, run: RunDirectory, settings: Mapping[str, Any], console: Console
    ) -> None:
        self._name = name
        self._run = run
        self._settings = settings
        self._console = console
        self._tracker: Tracker | None = None

    def on_step(self, metrics: StepMetrics) -> None:
        """Log the step's metrics."""
        values = {
            "train/loss": metrics.loss,
            "train/learning_rate": metrics.learning_rate,
            "train/gradient_norm": metrics.gradient_norm,
            "train/tokens_per_second": metrics.tokens_per_second,
            "train/memory_gib": metrics.memory_bytes / _GIB,
        }
        if metrics.plausible_mfu is not None:
            values["train/mfu"] = metrics.plausible_mfu
        self._log(values, metrics.step)

    def on_event(self, event: str, **values: Any) -> None:
        """Open the tracker at the start of the training; log a validation."""
        if event in ("start", "resume"):
            settings = printable_values(self._settings)
            opening = Opening(self._run, settings, values["step"], event == "resume")
            with self._may_fail():
                self._tracker = _TRACKERS[self._name](opening)
        elif event == "validation":
            of_sources = {
                f"validation/loss/{source}": loss
                for source, loss in values.get("sources", {}).items()
            }
            self._log({"validation/loss": values["loss"], **of_sources}, values["step"])
        elif event == "forgetting":
            self._log({"validation/forgetting": values["rise"]}, values["step"])

    def close(self, failed: bool) -> None:
        """Close the tracker if it was opened."""
        if self._tracker:
            with self._may_fail():
                self._tracker.close(failed)
        self._tracker = None

    def _log(self, values: Mapping[str, float], step: int) -> None:
        if self._tracker:
            with self._may_fail():
                self._tracker.log(values, step)

    @contextmanager
    def _may_fail(self) -> Iterator[None]:
        try:
            with redirect_stdout(sys.stderr):  # standard output is reserved for results
                yield
        except Exception as error:  # noqa: BLE001 - trackers must not stop a training
            self._tracker = None
            said = Secrets.of_environment().scrub(str(error)).strip()
            reason = (said.splitlines() or [type(error).__name__])[0]
            self._console.warn(f"{self._name} failed and is disabled from now on: {reason}")


@contextmanager
def tracking(
    config: RunConfig, method: MethodName, run: RunDirectory, console: Console
) -> Iterator[list[TrackerObserver]]:
    """Observers for the configured trackers, closed at the end; unused ones write nothing.

    Args:
        config: the settings with the names of the trackers.
        method: the tuning method.
        run: the run directory for local files.
        console: receives warnings of failed trackers.
    """
    settings = {
        "model": config.model.id,
        "data": config.data.source,
        "seed": config.seed,
        "method": method,
        **config.train.model_dump(mode="json", exclude={"trackers", "guards"}),
        **config.methods.of(method).model_dump(mode="json", exclude_none=True),
    }
    names = dict.fromkeys(config.train.trackers)
    observers = [TrackerObserver(name, run, settings, console) for name in names]
    failed = True
    try:
        yield observers
        failed = False
    finally:
        for observer in observers:
            observer.close(failed)
