"""Trackers with run management: Trackio, Weights & Biases, MLflow.

Nothing leaves the machine unless the user has set the package's environment variable for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from luthier.training.trackers.base import Opening, Tracker

_PROJECT = "luthier"


class Trackio(Tracker):
    """Trackio on this machine, or at ``TRACKIO_SPACE_ID`` or ``TRACKIO_SERVER_URL``."""

    def __init__(self, opening: Opening) -> None:
        import trackio

        self._run = trackio.init(
            project=_PROJECT,
            name=f"{opening.title}-{opening.identity('trackio')}",
            config=dict(opening.settings),
            resume="allow",
            embed=False,
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log; after a resume some numbers may be logged twice."""
        self._run.log(dict(values), step=step)

    def close(self, failed: bool) -> None:
        """Wait until everything is stored."""
        import trackio

        trackio.finish()  # the run's own method would be called again at exit


class WandB(Tracker):
    """Weights & Biases: offline in the run directory, unless ``WANDB_MODE`` is set."""

    def __init__(self, opening: Opening) -> None:
        mode = os.environ.get("WANDB_MODE", "offline")
        if mode == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=opening.title,
            id=opening.identity("wandb"),
            dir=opening.run.path,
            config=dict(opening.settings),
            mode=mode,
            resume=None if mode == "offline" else "allow",
            settings=wandb.Settings(console="off", silent=True),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log; W&B ignores steps that it already has."""
        self._run.log(dict(values), step=step)

    def close(self, failed: bool) -> None:
        """Wait until everything is stored."""
        self._run.finish(exit_code=int(failed))


class MLflow(Tracker):
    """MLflow: a database in the run directory, or the server at ``MLFLOW_TRACKING_URI``."""

    def __init__(self, opening: Opening) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        artifacts = None
        if not uri:
            folder = (opening.run.path / "mlflow").resolve()
            folder.mkdir(exist_ok=True)
            uri, artifacts = f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri()
        self._client = MlflowClient(tracking_uri=uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = (
            found.experiment_id if found else self._client.create_experiment(name, artifacts)
        )
        tag = {"luthier.id": opening.identity("mlflow")}
        runs = self._client.search_runs(
            [experiment], filter_string=f"tags.`luthier.id` = '{tag['luthier.id']}'"
        )
        if runs:
            self._id = runs[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        self._id = self._client.create_run(experiment, tags=tag, run_name=opening.title).info.run_id
        for key, value in opening.settings.items():
            self._client.log_param(self._id, key, value)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log; after a resume some numbers may be logged twice."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for key, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self, failed: bool) -> None:
        """Record the final status."""
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")
