"""Comparison of a memory plan with a trace of the loop's own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from luthier.config import load_config
from luthier.config.train import OptimizerName
from luthier.core.errors import UsageError
from luthier.core.method_facts import FACTS, METHOD_NAMES, MethodName
from luthier.models.foreign_config import cleaned
from luthier.planning import TrainingSetup, plan_training
from luthier.planning.families import read_architecture
from luthier.planning.from_config import tuning_of
from luthier.planning.model_config import find_config
from luthier.planning.plan_request import PlanRequest
from luthier.planning.training_plan import Choice
from luthier.planning.training_setup import OPTIMIZERS, PRECISIONS, PrecisionName
from luthier.records.dry_run import PlanCheck
from luthier.training.objectives.supervised import Supervised
from luthier.training.trace import BatchShape, trace_step

_DTYPES: Mapping[PrecisionName, str] = {
    "float32": "float32",
    "bf16-mixed": "bfloat16",
    "fp16-mixed": "float16",
    "bf16-pure": "bfloat16",
}


def trace_question(question: PlanRequest) -> PlanCheck:
    """The planned and the traced bytes for a request, on one CPU.

    Bitsandbytes' kernels are one operator each; their internal copies are not traced.

    Raises:
        UsageError: the loop does not support the method, precision or optimizer on a CPU.
        DataError: the model has no known configuration.
    """
    method, choice = _in_the_loop(question)
    values, source = find_config(question.model, question.revision)
    architecture = read_architecture(values, source)
    work = question.workload(architecture)
    config = load_config(
        flags={
            "model.dtype": _DTYPES[choice.precision],
            "train.master_weights": choice.precision != "bf16-pure",
            "train.optimizer": choice.optimizer,
            "train.activation_checkpointing": choice.checkpointing,
            **question.size_settings,
        }
    )
    positions = (work.target_length or work.seq_len - 1) * question.batch
    predicted = max(1, round(positions * work.loss_token_fraction))
    shape = BatchShape(
        rows=question.batch,
        length=work.seq_len,
        predicted=predicted,
        target_length=work.target_length,
    )
    setup = TrainingSetup(
        tuning=tuning_of(method, config.methods, architecture),
        precision=PRECISIONS[choice.precision],
        optimizer=OPTIMIZERS[choice.optimizer],
        checkpointing=choice.checkpointing,
        batch=question.batch,
        length=work.seq_len,
        target_length=work.target_length,
        predicted=predicted,
        accumulation=2,
        on_cpu=True,
        fused_loss=True,
    )
    trace = trace_step(_settings(values, source), method, config, shape, Supervised())
    return PlanCheck(
        run=question.model,
        predicted_peak_bytes=plan_training(architecture, setup).allocated,
        measured_peak_bytes=trace.peak.total,
    )


def _settings(values: Any, source: str) -> Any:
    """The transformers configuration with these values; the model's own code is not run."""
    from transformers import AutoConfig

    values, _ = cleaned(values, source)
    settings = {key: value for key, value in values.items() if key != "model_type"}
    return AutoConfig.for_model(values["model_type"], **settings)


def _in_the_loop(question: PlanRequest) -> tuple[MethodName, Choice]:
    """The method and the other choices, if the loop supports them."""
    choice = question.choice(question.cluster().device)
    known = [name for name in METHOD_NAMES if FACTS[name].traceable]
    if question.method not in known or choice.precision not in _DTYPES:
        raise UsageError(
            f"{question.method} in {choice.precision} cannot be traced",
            fix=f"choose one of {', '.join(known)} in {' or '.join(_DTYPES)}",
        )
    if choice.optimizer not in get_args(OptimizerName):
        raise UsageError(
            f"tune does not support the optimizer {choice.optimizer}",
            fix=f"choose one of {', '.join(get_args(OptimizerName))}",
        )
    if question.devices > 1:
        raise UsageError("a trace covers only one device", fix="use one device")
    return question.method, choice
