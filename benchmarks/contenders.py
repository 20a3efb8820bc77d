"""Libraries that tune a model, each given the same weights, adapter, examples and order.

Each function tunes as its library's users do and reports losses, times and the peak of resident
memory. Examples come tokenised: id lists and which ids are trained. Step n takes the n-th
``batch`` of them. The adapter is drawn after ``torch.manual_seed(0)`` in every library, so the
losses of the first steps are comparable to the last digit that the arithmetic leaves.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from tuning_case import Case, Example, Measurement, load_examples, measurement

_OPERATIONS = {
    "matrix products": {"aten::mm", "aten::addmm", "aten::bmm", "aten::addmm_"},
    "elementwise": {
        *(f"aten::{name}" for name in ("mul", "mul_", "add", "add_", "neg", "pow", "rsqrt", "cat")),
        *(f"aten::{name}" for name in ("silu", "silu_backward", "copy_", "fill_", "sum", "mean")),
        *(f"aten::{name}" for name in ("div", "div_", "where", "sub", "exp", "zero_")),
    },
    "optimizer": {"aten::_fused_adamw_"},
}


def luthier(case: Case) -> Measurement:
    """Luthier's training loop, as ``luthier tune`` runs it."""
    start = time.perf_counter()
    import torch

    from luthier.core.console import Console
    from luthier.models.allocator import bound_kept_memory
    from luthier.training.compiling import compiled_layers
    from luthier.training.guards import Guards
    from luthier.training.optimizer import make_optimizer
    from luthier.training.state import Progress, TrainingState
    from luthier.training.step import optimizer_step
    from luthier.training.weights import TrainedWeights

    torch.set_num_threads(case.threads)
    rows = load_examples(case)
    job = _job(case, rows)
    model = job.loaded.model
    bound_kept_memory(_planned_growth(case, rows))
    weights = TrainedWeights(model)
    optimizer = make_optimizer(weights, job)
    guards = Guards(job.train.guards, job.parallelism.processes)
    progress = Progress(compiled=case.compiled)
    state = TrainingState(job, weights, optimizer, guards, progress=progress)
    losses, where = [], {}
    with compiled_layers(state, Console(quiet=True), resumed=False):
        times = [start, time.perf_counter()]
        for step in range(case.steps):
            model.train()
            batch = job.examples[step * case.batch : (step + 1) * case.batch]
            with _profile(case.profiled and step == case.steps - 1, where):
                losses.append(optimizer_step(job, weights, optimizer, batch, step).loss)
            times.append(time.perf_counter())
    return measurement(case, rows, losses, times).model_copy(update={"where": where})


def _job(case: Case, rows: Sequence[Example]) -> Any:
    import torch

    from luthier.config import RunConfig
    from luthier.core.console import Console
    from luthier.methods import method_for
    from luthier.models.load import load_model, open_model
    from luthier.prompts.training_example import TrainingExample
    from luthier.records.run_directory import RunDirectory
    from luthier.training import TrainingJob
    from luthier.training.objectives.supervised import Supervised

    config = RunConfig.model_validate(
        {
            "model": {"id": case.model, "dtype": case.dtype},
            "train": {"micro_batch_tokens": case.micro_batch, "batch_size": case.batch},
            "methods": {case.kind: {"learning_rate": case.learning_rate}},
        }
    )
    base = load_model(open_model(config.base_of(case.kind), Console(quiet=True)))
    torch.manual_seed(0)
    model = method_for(case.kind, config.methods).prepare(base)
    examples = tuple(
        TrainingExample(str(number), tuple(ids), tuple(trained), trained.index(True))
        for number, (ids, trained) in enumerate(rows)
    )
    return TrainingJob(
        loaded=dataclasses.replace(base, model=model),
        method_name=case.kind,
        method=config.methods.of(case.kind),
        train=config.train,
        objective=Supervised(),
        examples=examples,
        validation=(),
        seed=0,
        run=RunDirectory(Path(case.model)),  # nothing is written: no checkpoint is due
        fingerprint="",
    )


def _planned_growth(case: Case, rows: Sequence[Example]) -> int:
    """Bytes beside the weights that the plan of ``luthier tune`` allows."""
    from luthier.config import MethodsConfig
    from luthier.core.files import read_json
    from luthier.planning import TrainingSetup, plan_training, read_architecture
    from luthier.planning.from_config import tuning_of
    from luthier.planning.overhead import POOLED_CPU
    from luthier.planning.training_setup import precision_in_memory

    architecture = read_architecture(read_json(Path(case.model) / "config.json"), case.model)
    length = max(len(ids) for ids, _ in rows)
    batch = max(1, case.micro_batch // length)
    setup = TrainingSetup(
        tuning=tuning_of(case.kind, MethodsConfig(), architecture),
        precision=precision_in_memory("nf4" if case.kind == "qlora" else None, dtype="float32"),
        batch=batch,
        length=length,
        predicted=batch * max(sum(trained) for _, trained in rows),
        accumulation=case.batch // batch,
        padded=batch > 1,
        on_cpu=True,
        fused_loss=True,
    )
    plan = plan_training(architecture, setup, POOLED_CPU)
    return plan.allocated - plan.weights


@contextmanager
def _profile(wanted: bool, where: dict[str, float]) -> Iterator[None]:
    """Put the shares of the operations' own time into ``where``."""
    if not wanted:
        yield
        return
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        yield
    taken: dict[str, float] = {}
    for event in profiler.key_averages():
        kind = next((k for k, names in _OPERATIONS.items() if event.key in names), "")
        if not kind:
            kind = "attention" if "attention" in event.key else "everything else"
        taken[kind] = taken.get(kind, 0.0) + event.self_cpu_time_total
    where.update({kind: value / sum(taken.values()) for kind, value in taken.items()})


def _peft_model(case: Case) -> Any:
    """The base with an adapter as Luthier's defaults make it, drawn from the same seed."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    from luthier.models.quantised import quantisation_options

    torch.set_num_threads(case.threads)
    dtype = getattr(torch, case.dtype)
    options = quantisation_options("nf4" if case.kind == "qlora" else None, dtype)
    model = AutoModelForCausalLM.from_pretrained(case.model, dtype=dtype, **options)
    if case.kind == "full":
        return model
    settings = peft.LoraConfig(
        task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear"
    )
    torch.manual_seed(0)
    return peft.get_peft_model(model, settings)


def _arguments(case: Case, folder: str) -> dict[str, Any]:
    return {
        "output_dir": folder,
        "per_device_train_batch_size": case.micro_batch,
        "gradient_accumulation_steps": case.batch // case.micro_batch,
        "max_steps": case.steps,
        "learning_rate": case.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "optim": "adamw_torch_fused",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "torch_compile": case.compiled,
    }


def _watch(start: float) -> tuple[Any, list[float]]:
    """A callback that keeps the time before the first step and after each."""
    from transformers import TrainerCallback

    times = [start]

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
            times.append(time.perf_counter())

        def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
            times.append(time.perf_counter())

    return Watch(), times


def _in_order(trainer: type) -> type:
    """The trainer, but without shuffling."""
    from torch.utils.data import SequentialSampler

    class InOrder(trainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return SequentialSampler(train_dataset or self.train_dataset)

    return InOrder


def transformers_trainer(case: Case) -> Measurement:
    """The Trainer of transformers, with peft for LoRA and bitsandbytes for QLoRA."""
    start = time.perf_counter()
    from tempfile import TemporaryDirectory

    from datasets import Dataset
    from transformers import AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments

    rows = load_examples(case)
    model = _peft_model(case)
    tokenizer = AutoTokenizer.from_pretrained(case.model)
    watch, times = _watch(start)
    with TemporaryDirectory() as folder:
        trainer = _in_order(Trainer)(
            model=model,
            args=TrainingArguments(**_arguments(case, folder)),
            train_dataset=Dataset.from_list([_row(*row) for row in rows]),
            data_collator=DataCollatorForSeq2Seq(tokenizer),
            callbacks=[watch],
        )
        trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return measurement(case, rows, losses, times)


def trl(case: Case) -> Measurement:
    """TRL's SFTTrainer."""
    start = time.perf_counter()
    from tempfile import TemporaryDirectory

    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = load_examples(case)
    model = _peft_model(case)
    watch, times = _watch(start)
    with TemporaryDirectory() as folder:
        more = {"max_length": 2048, "packing": case.packed, "shuffle_dataset": False}
        trainer = _in_order(SFTTrainer)(
            model=model,
            args=SFTConfig(**_arguments(case, folder), **more),
            train_dataset=Dataset.from_list([_row(*row) for row in rows]),
            processing_class=AutoTokenizer.from_pretrained(case.model),
            callbacks=[watch],
        )
        trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    result = measurement(case, rows, [line["loss"] for line in lines], times)
    if case.packed:  # a row holds as many examples as fit
        counts = [0.0, *(line["num_tokens"] for line in lines)]
        tokens = tuple(round(b - a) for a, b in pairwise(counts))
        result = result.model_copy(update={"tokens": tokens})
    return result


def _row(ids: list[int], trained: list[bool]) -> dict[str, list[int]]:
    labels = [i if t else -100 for i, t in zip(ids, trained, strict=True)]
    return {"input_ids": ids, "labels": labels}
