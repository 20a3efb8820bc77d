"""The scope of each setting of ``evaluate``; a setting without effect is refused, not ignored."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from luthier.config import EvaluateConfig, RunConfig
from luthier.config.decoding import Greedy
from luthier.core.errors import UsageError
from luthier.core.names import listed
from luthier.evaluation.asking.checked import CHECKS
from luthier.tasks.task import Task

Use = Literal[
    "data", "choices", "ladder", "tasks", "submission", "judge", "server", "tuned", "vllm"
]
"""A kind of evaluation, or the model that answers.

- data: an evaluation on a run's own data.
- choices: answers to a run's own data that are chosen by likelihood.
- ladder: the rungs of an adapt run, on its data.
- tasks: benchmark tasks.
- submission: predictions for a leaderboard's unlabelled split.
- judge: pairs of answers that a judge compares.
- server: a model on a server answers.
- tuned: a tuned model answers.
- vllm: vLLM runs the model.
"""
Refusals = dict[Use, tuple[str, str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Reach:
    """The scope of a setting.

    Attributes:
        task_field: the field of a task that the setting replaces; empty if it replaces none.
        refused: the uses on which the setting has no effect, each with the reason and the fix.
    """

    task_field: str = ""
    refused: Refusals = dataclasses.field(default_factory=dict)


def _of_tasks(reason: str, instead: str) -> Refusals:
    """The refusals of a setting that applies only to benchmark tasks."""
    uses: tuple[Use, ...] = ("data", "ladder", "judge")
    return dict.fromkeys(uses, (reason, instead))


def _of_data(reason: str) -> Refusals:
    """The refusals of a setting that applies only to a run's own data."""
    uses: tuple[Use, ...] = ("tasks", "submission", "judge")
    return dict.fromkeys(uses, (reason, "leave it out"))


_OF_JUDGE = "leave it out, or give --template"
_CHOSEN = (
    "the answer is the likeliest of the choices",
    "set evaluate.choices=generation, or leave it out",
)
_WHOLE = ("a leaderboard wants the whole split predicted", "leave it out")
_FORGETTING = "forgetting is measured on general text by adapt and tune"

SETTINGS: Mapping[str, Reach] = {
    "metrics": Reach("metrics", {"judge": ("a judge gives a win rate", "leave it out")}),
    "max_new_tokens": Reach(
        "max_new_tokens",
        {
            "choices": _CHOSEN,
            "judge": ("the judge's template says how long a verdict is", _OF_JUDGE),
        },
    ),
    "stop": Reach(
        "until",
        {"choices": _CHOSEN, "judge": ("a verdict ends as its template says", _OF_JUDGE)},
    ),
    "decoding": Reach(
        "decoding", {"choices": _CHOSEN, "judge": ("a judge answers greedily", "leave it out")}
    ),
    "choices": Reach(refused=_of_data("the kind of a task says how it is answered")),
    "calibrate": Reach(refused=_of_data("the kind of a task says how it is answered")),
    "too_long": Reach(
        refused=_of_data("a prompt that does not fit is treated as the task's too_long says")
        | {"judge": ("a question to a judge that does not fit is an error", "leave it out")}
    ),
    "samples": Reach(
        "samples",
        {
            "choices": _CHOSEN,
            "judge": ("a judge is asked once in each order", "leave it out"),
            "submission": ("a leaderboard wants one answer", "leave it out"),
        },
    ),
    "engine": Reach(
        refused={
            "ladder": ("the rungs are measured in this process", "set evaluate.engine=local"),
            "tuned": ("a tuned run is measured in this process", "set evaluate.engine=local"),
            "server": ("a server runs the model", "set evaluate.engine=local"),
        }
    ),
    "batch_tokens": Reach(
        refused={
            "server": ("a server makes its own batches", "set model.endpoint.concurrency"),
            "vllm": ("vLLM makes its own batches", "leave it out"),
        }
    ),
    "confidence": Reach(),
    "resamples": Reach(),
    "tasks": Reach(
        refused=_of_tasks(
            "this measures a run's own data", "leave it out; 'luthier evaluate' measures tasks"
        )
    ),
    "task_shots": Reach(
        refused=_of_tasks("it is about benchmark tasks", "set prompt.shots for the data")
    ),
    "task_chat_template": Reach(
        refused=_of_tasks("it is about benchmark tasks", "set prompt.chat_template for the data")
    ),
    "limit": Reach(
        refused=_of_tasks("it is about benchmark tasks", "set data.num_test for the data")
        | {"submission": _WHOLE}
    ),
    "limit_draw": Reach(
        refused=_of_tasks("it is about benchmark tasks", "leave it out") | {"submission": _WHOLE}
    ),
    "abstain": Reach(
        refused={
            "judge": ("a judge gives a win rate", "leave it out"),
            "submission": ("a leaderboard wants every question answered", "leave it out"),
        }
    ),
    "contamination_ngram": Reach(
        refused=_of_data("a run's own test examples are looked for in its training data")
    ),
    "general_text": Reach(refused=_of_data(_FORGETTING)),
    "general_tokens": Reach(refused=_of_data(_FORGETTING)),
}
"""The scope of every setting of ``evaluate``; a test compares this table with `EvaluateConfig`."""

_WORDS: Mapping[Use, str] = {
    "data": "an evaluation of the data",
    "choices": "choices that are scored by likelihood",
    "ladder": "adapt",
    "tasks": "benchmark tasks",
    "submission": "predictions for a leaderboard",
    "judge": "a judge",
    "server": "a model on a server",
    "tuned": "a tuned run",
    "vllm": "evaluate.engine=vllm",
}


def require_reach(config: EvaluateConfig, *uses: Use) -> None:
    """Refuse settings that differ from their defaults but would have no effect.

    Args:
        config: the settings.
        uses: the kind of evaluation, and the model that answers.

    Raises:
        UsageError: a setting has no effect; the first one in the order of `EvaluateConfig`.
    """
    for name in _changed(config):
        for use in uses:
            if use in SETTINGS[name].refused:
                reason, instead = SETTINGS[name].refused[use]
                raise UsageError(
                    f"evaluate.{name} has no effect on {_WORDS[use]}: {reason}",
                    where=f"evaluate.{name}",
                    fix=f"{instead}; its default is {_default(name)}",
                )


def _default(name: str) -> str:
    """The default of a setting, as written on the command line."""
    value = EvaluateConfig.model_fields[name].default
    if isinstance(value, Greedy):
        return f"evaluate.{name}.strategy={value.strategy}"
    return f"evaluate.{name}={json.dumps(value)}"


def require_turns(tasks: Sequence[Task]) -> None:
    """Refuse tasks whose questions cannot be turns of a conversation (chat template).

    Raises:
        UsageError: a task cannot be asked through a chat template.
    """
    if refused := [task.name for task in tasks if not task.takes_turns]:
        raise UsageError(
            f"{listed(refused)}: what is scored is running text, and no answer to a question",
            where="evaluate.task_chat_template",
            fix="measure it without the chat template, apart from the others",
        )


def with_settings(task: Task, config: RunConfig) -> Task:
    """A copy of a task with the settings of ``evaluate`` that differ from their defaults.

    Raises:
        UsageError: the task does not support one of these settings.
    """
    chosen = {name: SETTINGS[name].task_field for name in _changed(config.evaluate)}
    replaced = {name: field for name, field in chosen.items() if field}
    for name, field in replaced.items():
        if field != "metrics" and "written answers" not in task.gives:
            raise _refused(task, (name,), "its answers are scored, not generated")
    if not replaced:
        return task
    # `config.strategy` adds the run's seed to the decoding strategy.
    values = {**dict(config.evaluate), "decoding": config.strategy}
    try:
        return task.overridden({field: values[name] for name, field in replaced.items()}, CHECKS)
    except ValidationError as error:
        problems = error.errors()
        # Validation drops a wrong entry from its list, which may then be reported as too short.
        causes = [problem for problem in problems if problem["type"] != "too_short"] or problems
        reasons = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in causes)
        raise _refused(task, tuple(replaced), reasons) from None


def _changed(config: EvaluateConfig) -> tuple[str, ...]:
    fields: Mapping[str, Any] = EvaluateConfig.model_fields
    return tuple(n for n in fields if getattr(config, n) != fields[n].default)


def _refused(task: Task, names: tuple[str, ...], reason: str) -> UsageError:
    settings = ", ".join(f"evaluate.{name}" for name in names)
    return UsageError(
        f"the task {task.name} does not take {settings}: {reason}",
        where=f"evaluate.{names[0]}",
        fix="leave it out, or measure the tasks that take it apart from the others",
    )
