"""``luthier extend``."""

from __future__ import annotations

from pathlib import Path

from luthier.cli.flags import Json, WholeOrNone
from luthier.cli.options import read_settings
from luthier.cli.output import print_json, print_result
from luthier.cli.tune import going_on
from luthier.core.units import counted


def extend(
    run: Path,
    /,
    *settings: str,
    epochs: float | None = None,
    steps: WholeOrNone = None,
    learning_rate: float | None = None,
    max_time: str | None = None,
    json: Json = False,
) -> None:
    """Train a tune run, finished or not, for more epochs or steps, from its latest state.

    The learning rate schedule becomes that of a training over the new total, entered at the current
    step. If interrupted, continue with 'luthier resume'.

    Args:
        run: The run directory.
        settings: Settings that a stored run may not decide, such as model.trust_remote_code=true.
        epochs: Additional epochs.
        steps: Additional optimizer steps; train.max_steps replaces epochs from then on.
        learning_rate: The new peak learning rate.
        max_time: The training time of this session and of later ones, such as 2h.
    """
    from luthier.api.extend import extend as train_longer
    from luthier.api.results import STOPS

    result = train_longer(
        run,
        epochs,
        learning_rate,
        steps=steps,
        max_time=max_time,
        overrides=read_settings(settings),
    )
    training = result.training
    if json:
        document = {"run": str(result.run.path), "report": str(result.report)}
        print_json({**document, **training.model_dump(mode="json")})
        return
    print_result(
        f"Extended to {training.steps} of {counted(training.planned_steps, 'step')}"
        f"{STOPS[training.stopped]}, loss {training.first_loss:.3f} → {training.last_loss:.3f}, "
        f"best at step {training.best_step}.",
        f"  model     {result.run.model}",
        *going_on(result),
    )
