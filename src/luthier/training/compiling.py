"""Layers that are compiled: what runs between products becomes a few kernels.

All that is compiled is compiled before the first step, from passes that follow from the data alone,
and in any other case a layer runs as always. So a training that is resumed runs the same code as
one that was not interrupted, although a compiler writes other code for other first shapes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.units import format_duration
from luthier.training.objectives import Objective, Trainable

if TYPE_CHECKING:
    from luthier.training.state import TrainingState

# Graphs of one layer's code: the first layer and others, each kind of pass.
_MOST_GRAPHS = 64
# Whatever was not compiled before the first step runs as it is written.
_KNOWN_CODE = "eager_on_recompile"
# As without compiling: the same random numbers, and no choice that depends on a clock.
_OPTIONS = {"fallback_random": True, "deterministic": True}


def has_compiler(device: torch.device) -> bool:
    """Whether generated code can be built: by a C++ compiler, or on a GPU by Triton."""
    if device.type != "cpu":
        return find_spec("triton") is not None
    named = os.environ.get("CXX")
    return any(shutil.which(name) for name in ([named] if named else ["g++", "clang++"]))


@contextmanager
def compiled_layers(state: TrainingState, console: Console, *, resumed: bool) -> Iterator[None]:
    """Within, the model's layers run compiled, if that was decided; after, they are as before.

    Where they cannot be compiled and nobody asked for it, a new training goes on without.

    Raises:
        UsageError: they cannot, and the settings or the steps before demand it.
    """
    job, progress = state.job, state.progress
    failure = _compile(state, console) if progress.compiled else ""
    if failure:
        _release(job.loaded.model)
        if resumed or job.train.compile is True:
            raise UsageError(
                f"the layers cannot be compiled: {failure}",
                where="train.compile",
                fix="compile where the run began, or begin a run with train.compile=false",
            )
        console.warn(f"the layers are not compiled: {failure}")
        progress.compiled = False
    try:
        # A stance holds from when it is made, not from when it is entered.
        with torch.compiler.set_stance(_KNOWN_CODE) if progress.compiled else nullcontext():
            yield
    finally:
        _release(job.loaded.model)


def _compile(state: TrainingState, console: Console) -> str:
    """Compile all that is compiled; the reason why it failed, or nothing."""
    from torch._dynamo.config import patch
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    job = state.job
    model, device = job.loaded.model, job.loaded.device
    if not has_compiler(device):
        return "there is no C++ compiler" if device.type == "cpu" else "triton is not installed"
    torch.compiler.reset()  # code of an earlier training was made for other first shapes
    for layer in _layers(model):
        layer.compile(dynamic=True, options=_OPTIONS)
    passes = first_passes(job.objective, job.examples, job.micro_batch_tokens)
    model.train()
    started = time.monotonic()
    try:
        with (
            patch(recompile_limit=_MOST_GRAPHS),
            console.progress("Compiling the layers", len(passes)) as advance,
        ):
            for examples in passes:
                loss: Any = job.objective.summed_loss(model, examples, device, job.layout)
                loss.backward()
                advance()
    except (TorchDynamoException, CppCompileError, InvalidCxxCompiler) as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    finally:
        state.optimizer.zero_grad(set_to_none=True)
    console.say(f"  layers compiled in {format_duration(time.monotonic() - started)}")
    return ""


def first_passes(
    objective: Objective[Any], examples: Sequence[Trainable], tokens: int
) -> list[list[Trainable]]:
    """The passes that are compiled: one example, two of the same length, and two of others.

    They follow from the data, not from how many tokens fit, and have no more tokens than the
    longest example if that can be.

    Args:
        objective: tells their lengths.
        examples: all that is trained on.
        tokens: of a micro-batch; where two examples never share one, there is no pass of two.
    """
    by_length = {objective.length(example): example for example in examples}
    lengths = sorted(by_length)
    short, longest = lengths[0], lengths[-1]
    halves = [length for length in lengths[1:] if 2 * length <= longest]
    long = halves[-1] if halves else lengths[min(1, len(lengths) - 1)]
    passes = [[longest], [long, long], [long, short]]
    fitting = passes[: 1 if 2 * long > tokens else 2 if long == short else 3]
    return [[by_length[length] for length in lengths] for lengths in fitting]


def _layers(model: Any) -> list[Any]:
    """The model's repeated layers, but those whose passes something else has replaced."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [
        module
        for module in model.modules()
        if isinstance(module, GradientCheckpointingLayer) and "forward" not in vars(module)
    ]


def _release(model: Any) -> None:
    """Have the layers run as they are written again."""
    for layer in _layers(model):
        layer._compiled_call_impl = None
