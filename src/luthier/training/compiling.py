"""Compilation of layers, which fuses the operations between matrix products.

All compilation happens before the first step, on passes that depend only on the data; other shapes
run uncompiled. A resumed training therefore runs the same code as an uninterrupted one, although a
compiler generates different code for different first shapes.
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

# Graphs per layer code: the first layer and the others, for each kind of pass.
_MOST_GRAPHS = 64
# Anything not compiled before the first step runs eagerly.
_KNOWN_CODE = "eager_on_recompile"
# As in eager mode: the same random numbers, and no autotuning.
_OPTIONS = {"fallback_random": True, "deterministic": True}


def has_compiler(device: torch.device) -> bool:
    """Whether generated code can be built: by a C++ compiler, or on a GPU by Triton."""
    if device.type != "cpu":
        return find_spec("triton") is not None
    named = os.environ.get("CXX")
    return any(shutil.which(name) for name in ([named] if named else ["g++", "clang++"]))


@contextmanager
def compiled_layers(state: TrainingState, console: Console, *, resumed: bool) -> Iterator[None]:
    """Run the model's layers compiled within the block, if the training is configured so.

    If compilation fails and is not required, a new training continues without it.

    Raises:
        UsageError: compilation fails, but the settings or earlier steps require it.
    """
    job, progress = state.job, state.progress
    failure = _compile(state, console) if progress.compiled else ""
    if failure:
        _release(job.loaded.model)
        if resumed or job.train.compile is True:
            raise UsageError(
                f"compiling the layers failed: {failure}",
                where="train.compile",
                fix="resume on a machine that can compile, or start a run with train.compile=false",
            )
        console.warn(f"the layers are not compiled: {failure}")
        progress.compiled = False
    try:
        # A stance takes effect when created, not when entered.
        with torch.compiler.set_stance(_KNOWN_CODE) if progress.compiled else nullcontext():
            yield
    finally:
        _release(job.loaded.model)


def _compile(state: TrainingState, console: Console) -> str:
    """Compile the layers; the reason for a failure, otherwise empty."""
    from torch._dynamo.config import patch
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    job = state.job
    model, device = job.loaded.model, job.loaded.device
    if not has_compiler(device):
        return "there is no C++ compiler" if device.type == "cpu" else "triton is not installed"
    torch.compiler.reset()  # earlier code was compiled for other first shapes
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
    """The passes to compile: one example, two of equal length, and two of different lengths.

    They depend on the data, not on the micro-batch size, and if possible have no more tokens than
    the longest example.

    Args:
        objective: gives the lengths.
        examples: all training examples.
        tokens: tokens per micro-batch; if two examples never share one, there is no pass of two.
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
    """The model's repeated layers, except those whose forward is already replaced."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [
        module
        for module in model.modules()
        if isinstance(module, GradientCheckpointingLayer) and "forward" not in vars(module)
    ]


def _release(model: Any) -> None:
    """Run the layers eagerly again."""
    for layer in _layers(model):
        layer._compiled_call_impl = None
