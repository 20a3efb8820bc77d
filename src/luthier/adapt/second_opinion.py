"""A plan beside a trace of the loop's own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.config import load_config
from luthier.config.methods import METHOD_NAMES, MethodName
from luthier.core.errors import UsageError
from luthier.core.records import PlanCheck
from luthier.plan import TrainingSetup, plan_training
from luthier.plan.ask import Question
from luthier.plan.families import read_architecture
from luthier.plan.find import find_config
from luthier.plan.from_config import tuning_of
from luthier.plan.methods import METHODS
from luthier.plan.setup import PRECISIONS, PrecisionName
from luthier.train.trace import BatchShape, trace_step

# Peft copies each norm that it tunes, which tensors without data do not survive; nor does
# quantising them.
_NOT_WITHOUT_DATA = {"layernorm", "qlora"}
_DTYPES: Mapping[PrecisionName, str] = {"float32": "float32", "bf16-mixed": "bfloat16"}


def trace_question(question: Question) -> PlanCheck:
    """The allocated bytes that are planned and traced for a question, on one CPU.

    Raises:
        UsageError: a method or precision that the loop does not have.
        DataError: no configuration of this model is known.
    """
    method, precision = _in_the_loop(question)
    values, source = find_config(question.model, question.revision)
    architecture = read_architecture(values, source)
    work = question.workload(architecture)
    config = load_config(
        flags={
            "model.dtype": _DTYPES[precision],
            "train.activation_checkpointing": question.checkpointing == "full",
            "methods.lora.rank": question.rank,
            "methods.prompt-tuning.virtual_tokens": question.virtual_tokens,
            "methods.prefix-tuning.virtual_tokens": question.virtual_tokens,
        }
    )
    positions = (work.target_length or work.length - 1) * question.batch
    predicted = max(1, round(positions * work.trained_share))
    shape = BatchShape(
        rows=question.batch,
        length=work.length,
        predicted=predicted,
        target_length=work.target_length,
    )
    setup = TrainingSetup(
        tuning=tuning_of(config.methods.of(method), architecture),
        precision=PRECISIONS[precision],
        checkpointing="full" if question.checkpointing == "full" else "none",
        batch=question.batch,
        length=work.length,
        target_length=work.target_length,
        predicted=predicted,
        accumulation=2,
        on_cpu=True,
        fused_loss=True,
    )
    return PlanCheck(
        run=question.model,
        predicted_peak_bytes=plan_training(architecture, setup).allocated,
        measured_peak_bytes=trace_step(_settings(values), method, config, shape).peak.total,
    )


def _settings(values: Any) -> Any:
    """The transformers configuration with these values; no code of the model's own is run."""
    from transformers import AutoConfig

    settings = {key: value for key, value in values.items() if key != "model_type"}
    return AutoConfig.for_model(values["model_type"], **settings)


def _in_the_loop(question: Question) -> tuple[MethodName, PrecisionName]:
    """The method and the precision, if the loop has them."""
    precision = question.choice(question.cluster().device).precision
    known = [name for name in METHOD_NAMES if name in METHODS and name not in _NOT_WITHOUT_DATA]
    if question.method not in known or precision not in _DTYPES:
        raise UsageError(
            f"{question.method} in {precision} cannot be traced",
            fix=f"choose one of {', '.join(known)} in {' or '.join(_DTYPES)}",
        )
    if question.checkpointing == "selective" or question.devices > 1:
        raise UsageError(
            "a trace is of one device, and without selective checkpointing",
            fix="plan without --trace",
        )
    return question.method, precision
