"""Measure one configuration in a process of its own, whose memory nothing else has touched.

    python benchmarks/measure_step.py CASE FOLDER GROWTH

CASE is a `matrix.Case` in JSON, FOLDER holds the model, and GROWTH is what is planned beside its
weights, in bytes. The last line of the output is a `Measurement` in JSON.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import peft  # noqa: F401  (before the baseline is taken: methods import it when they are used)
import psutil
import torch

from luthier.config import MethodsConfig, ModelConfig, RunConfig, TrainConfig
from luthier.core.console import Console
from luthier.data.general import general_texts
from luthier.methods import method_for
from luthier.models.allocator import bound_kept_memory
from luthier.models.device import PeakMemory, default_device
from luthier.models.load import LoadedModel, ModelHandle, load_model, open_model
from luthier.models.quiet_transformers import quiet_transformers
from luthier.prompts.training_example import TrainingExample
from luthier.records.base import Record
from luthier.records.run_directory import RunDirectory
from luthier.training import TrainingJob
from luthier.training.activation_checkpointing import checkpoint_activations
from luthier.training.objectives.supervised import Supervised
from luthier.training.optimizer import make_optimizer, optimizer_tensors
from luthier.training.step import optimizer_step
from luthier.training.weights import TrainedWeights
from matrix import Case

_STEPS = 3
_SECONDS = 8.0


class Measurement(Record):
    """What one configuration took. Bytes are resident memory on a CPU, else the device's.

    Attributes:
        device: ``cpu`` or ``cuda``.
        baseline_bytes: with everything imported and the tokenizer loaded, but no model.
        load_peak_bytes: the highest while the model was loaded.
        loaded_bytes: with the model loaded.
        peak_bytes: the highest over all steps, as a run's record has it.
        reserved_bytes: what torch's allocator took at most; None on a CPU.
        device_bytes: in use on the whole device after the steps; None on a CPU.
        mapped_bytes: resident pages after the steps that belong to files, such as libraries and
            weights that are mapped, not read; 0 on other systems than Linux.
        weights_bytes: tensors of the model's parameters.
        masters_bytes: tensors of float32 copies of them.
        gradients_bytes: tensors of gradients when all are there.
        optimizer_bytes: tensors of the optimizer's state.
        trained_parameters: numbers that are trained.
        warmup_seconds: of the first step.
        seconds: of the steps after it; fewer where a step is long.
        load_average: of the machine over the last minute, before.
    """

    device: str
    baseline_bytes: int
    load_peak_bytes: int
    loaded_bytes: int
    peak_bytes: int
    reserved_bytes: int | None
    device_bytes: int | None
    mapped_bytes: int
    weights_bytes: int
    masters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    trained_parameters: int
    warmup_seconds: float
    seconds: tuple[float, ...]
    load_average: float


def measure(case: Case, folder: Path, growth: int) -> Measurement:
    """Load, prepare, and take some steps as the training loop takes them."""
    load_average = os.getloadavg()[0]
    device, console = default_device(), Console(quiet=True)
    config = RunConfig(model=ModelConfig(id=str(folder), dtype=case.dtype))
    handle = open_model(config.base_of(case.method), console)
    examples = tuple(_examples(case, handle, console))
    loading = PeakMemory(device)
    baseline = _in_use(device)
    loaded = load_model(handle)
    load_peak, loaded_bytes = loading.read(), _in_use(device)

    bound_kept_memory(growth)
    job = _job(case, loaded, examples, folder)
    weights = TrainedWeights(job.loaded.model)
    optimizer = make_optimizer(weights, job)
    training = PeakMemory(device)
    checkpoint_activations(job.loaded.model, job.train.activation_checkpointing)
    warmup, *seconds = _steps(job, weights, optimizer)
    cuda = device.type == "cuda"
    free, everything = torch.cuda.mem_get_info(device) if cuda else (0, 0)
    masters = weights.masters.values()
    return Measurement(
        device=device.type,
        baseline_bytes=baseline,
        load_peak_bytes=load_peak,
        loaded_bytes=loaded_bytes,
        peak_bytes=training.read(),
        reserved_bytes=torch.cuda.max_memory_reserved(device) if cuda else None,
        device_bytes=everything - free if cuda else None,
        mapped_bytes=getattr(psutil.Process().memory_info(), "shared", 0),
        weights_bytes=_tensor_bytes(job.loaded.model.parameters()),
        masters_bytes=_tensor_bytes(
            m for m in masters if m not in set(weights.parameters.values())
        ),
        gradients_bytes=_tensor_bytes(masters),
        optimizer_bytes=_tensor_bytes(optimizer_tensors(optimizer, weights).values()),
        trained_parameters=weights.count,
        warmup_seconds=warmup,
        seconds=tuple(seconds),
        load_average=load_average,
    )


def _examples(case: Case, handle: ModelHandle, console: Console) -> Iterator[TrainingExample]:
    """Running text, cut to the lengths of the case; answers are what follows in the text."""
    text = "\n\n".join(text for text, _ in general_texts("python-topics", console))
    with quiet_transformers():
        stream = iter(handle.tokenizer(text, add_special_tokens=False)["input_ids"])
    for number, length in enumerate(case.lengths):
        ids = tuple(next(stream) for _ in range(length))
        trained = case.num_trained(length)
        answer = tuple(next(stream) for _ in range(trained)) if handle.is_encoder_decoder else ()
        first = length if answer else max(1, length - trained)
        yield TrainingExample(
            id=str(number),
            input_ids=ids,
            trained=tuple(index >= first for index in range(length)),
            prompt_length=first,
            decoder_ids=answer,
        )


def _job(
    case: Case, loaded: LoadedModel, examples: tuple[TrainingExample, ...], folder: Path
) -> TrainingJob:
    methods = MethodsConfig()
    torch.manual_seed(0)
    model = method_for(case.method, methods).prepare(loaded)
    train = TrainConfig(
        batch_size=len(examples),
        micro_batch_tokens=case.tokens,
        activation_checkpointing=case.checkpointing,
    )
    return TrainingJob(
        loaded=LoadedModel(model, loaded.tokenizer, loaded.stamp, loaded.device),
        method_name=case.method,
        method=methods.of(case.method),
        train=train,
        objective=Supervised(),
        examples=examples,
        validation=(),
        seed=0,
        run=RunDirectory(folder),  # nothing is written: no checkpoint is due
        fingerprint="",
    )


def _steps(job: TrainingJob, weights: TrainedWeights, optimizer: Any) -> list[float]:
    """Seconds of a first step and of up to three more, as many as fit into the time."""
    taken: list[float] = []
    for step in count():
        job.loaded.model.train()
        started = time.perf_counter()
        optimizer_step(job, weights, optimizer, job.examples, step)
        if job.loaded.device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
        if step and (step == _STEPS or sum(taken) + taken[-1] > _SECONDS):
            break
    return taken


def _in_use(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def _tensor_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of the tensors' storages, shared ones once."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


if __name__ == "__main__":
    _case, _folder, _growth = sys.argv[1:]
    print(measure(Case.model_validate_json(_case), Path(_folder), int(_growth)).model_dump_json())
