"""Noise on the embeddings, the same however a step is cut."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED
from tests.resuming import assert_equal_weights, assert_resumes_exactly
from transformers.integrations.neftune import neftune_post_forward_hook

from luthier.config import MethodsConfig, RunConfig, TrainConfig
from luthier.core.errors import UsageError
from luthier.core.files import read_lines
from luthier.methods import method_for
from luthier.prompts.training_example import TrainingExample
from luthier.records.run_directory import RunDirectory
from luthier.training.job import TrainingJob
from luthier.training.neftune import noisy_embeddings
from luthier.training.step import optimizer_step
from luthier.training.trace import BatchShape, trace_step
from luthier.training.weights import TrainedWeights

NOISE = {"neftune_alpha": 10.0}
MODELS = ("tiny_llama", "tiny_t5")


@pytest.fixture
def make_job(load_lively: Any, make_examples: Any, tmp_path: Path, request: Any) -> Any:
    """A job with noise: ``make_job("tiny_llama", "lora", packed=True, micro_batch_tokens=64)``."""

    def make(name: str, method: Any = "full", packed: bool = False, **loop: Any) -> TrainingJob:
        base = load_lively(request.getfixturevalue(name))
        examples = make_examples(base, 6)
        torch.manual_seed(0)
        model = method_for(method, MethodsConfig()).prepare(base)
        return TrainingJob(
            loaded=dataclasses.replace(base, model=model),
            method_name=method,
            method=MethodsConfig().of(method),
            train=TrainConfig.model_validate(NOISE | {"max_padding": 0.9} | loop),
            objective=SUPERVISED,
            examples=examples,
            validation=(),
            seed=0,
            run=RunDirectory.create(tmp_path, "run"),
            fingerprint="",
            packed=packed,
        )

    return make


def descend(job: TrainingJob, step: int = 0) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of a step, and how far plain descent has moved each weight."""
    weights = TrainedWeights(job.loaded.model)
    before = {name: value.detach().clone() for name, value in weights.masters.items()}
    optimizer = torch.optim.SGD(weights.masters.values(), lr=1.0)
    result = optimizer_step(job, weights, optimizer, job.examples, step)
    return result.loss, {n: v.detach() - before[n] for n, v in weights.masters.items()}


def noise_of(job: TrainingJob, examples: Sequence[TrainingExample], step: int) -> torch.Tensor:
    """``[B, T, D]``, by what a table of zeros gives."""
    table = job.loaded.model.get_input_embeddings()
    with torch.no_grad():
        table.weight.zero_()
    lengths = [len(example.input_ids) for example in examples]
    with noisy_embeddings(job, examples, step), torch.no_grad():
        noise: torch.Tensor = table(torch.zeros(job.layout.shape(lengths), dtype=torch.long))
    return noise


def example(length: int, name: str = "a") -> TrainingExample:
    return TrainingExample(name, (1,) * length, (True,) * length, 0)


def test_it_is_distributed_as_in_transformers(make_job: Any) -> None:
    """Without padding both mean the same by a length."""
    job = make_job("tiny_llama")
    width = job.loaded.model.config.hidden_size
    rows = [example(200, str(n)) for n in range(8)]
    found = noise_of(job, rows, 0).flatten()
    table = torch.nn.Embedding(4, width)
    table.neftune_noise_alpha = 10.0
    torch.nn.init.zeros_(table.weight)
    table.register_forward_hook(neftune_post_forward_hook)
    with torch.no_grad():
        theirs = table(torch.zeros(8, 200, dtype=torch.long)).flatten()
    most = 10 / math.sqrt(200 * width)
    for noise in (found, theirs):
        assert 0.999 * most < float(noise.abs().max()) <= most * (1 + 1e-6)
        assert float(noise.std()) == pytest.approx(most / math.sqrt(3), rel=0.01)
        assert abs(float(noise.mean())) < 5 * most / math.sqrt(3 * len(noise))
    # The largest difference of the two distributions (Kolmogorov-Smirnov, far beyond p = 0.001).
    both = torch.cat([found, theirs]).sort().values
    shares = [torch.searchsorted(part.sort().values, both) / len(part) for part in (found, theirs)]
    assert float((shares[0] - shares[1]).abs().max()) < 2.5 * math.sqrt(2 / len(found))


def test_padding_gets_none_and_does_not_count(make_job: Any) -> None:
    job = make_job("tiny_llama")
    width = job.loaded.model.config.hidden_size
    noise_BTD = noise_of(job, [example(50, "long"), example(8, "short")], 0)
    assert float(noise_BTD[1, 8:].abs().max()) == 0
    assert float(noise_BTD[1, :8].abs().max()) == pytest.approx(10 / math.sqrt(8 * width), rel=0.02)


def test_it_follows_from_seed_step_and_example(make_job: Any) -> None:
    job = make_job("tiny_llama")
    one, other = example(9, "one"), example(5, "other")
    together = noise_of(job, [one, other], 3)
    assert torch.equal(noise_of(job, [one], 3)[0], together[0])
    assert torch.equal(noise_of(job, [other], 3)[0], together[1, :5])
    packed = dataclasses.replace(job, packed=True)
    row = noise_of(packed, [one, other], 3)
    assert torch.equal(row[0, :9], together[0])
    assert torch.equal(row[0, 9:], together[1, :5])
    for changed, step in ((job, 4), (dataclasses.replace(job, seed=1), 3)):
        assert not torch.equal(noise_of(changed, [one], step)[0], together[0])
    assert not torch.equal(noise_of(job, [example(9, "another")], 3)[0], together[0])


@pytest.mark.parametrize("method", ["full", "lora", "prompt-tuning"])
@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_does_not_depend_on_the_cut(name: str, method: str, make_job: Any) -> None:
    loss, moved = descend(make_job(name, method))
    quiet, _ = descend(make_job(name, method, neftune_alpha=None))
    assert loss != pytest.approx(quiet, rel=1e-4)
    cuts = [(64, False), (1, False)]
    if (name, method) in {("tiny_llama", "full"), ("tiny_llama", "lora")}:
        cuts.append((256, True))
    for tokens, packed in cuts:
        cut, moved_when_cut = descend(make_job(name, method, packed, micro_batch_tokens=tokens))
        assert cut == pytest.approx(loss, rel=1e-6)
        for key, delta in moved.items():
            torch.testing.assert_close(moved_when_cut[key], delta, atol=2e-6, rtol=0, msg=key)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("model", "method", "loop"),
    [
        ("tiny_llama", "full", {}),
        ("tiny_llama", "lora", {"packing": True}),
        ("tiny_t5", "lora", {}),
        ("tiny_llama", "last-layers", {}),
    ],
)
def test_a_resumed_training_equals_an_uninterrupted_one(
    model: str, method: str, loop: dict[str, Any], small_tune: Any
) -> None:
    settings = {"layers": 1} if method == "last-layers" else {}
    assert_resumes_exactly(small_tune, model, method, NOISE | loop, settings=settings)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_so_it_does_in_short_types(dtype: str, small_tune: Any) -> None:
    assert_resumes_exactly(small_tune, "tiny_llama", "lora", NOISE, dtype=dtype)


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "method", ["lora", "ia3", "adapters", "prompt-tuning", "prefix-tuning", "p-tuning", "vera"]
)
def test_every_method_sees_it_in_training_and_not_in_validation(
    name: str, method: str, small_tune: Any
) -> None:
    """With a rate of almost nothing the weights stay, and so does the loss of the validation."""
    rate = {"settings": {"learning_rate": 1e-30}, "train": {"max_steps": 2}}
    rate["train"]["guards"] = {"no_change": "warn"}
    runs = []
    for run, alpha in (("quiet", {}), ("noisy", NOISE)):
        chosen = {**rate, "train": rate["train"] | alpha}
        runs.append(small_tune(name, method, run=run, **chosen))
    (_, quiet, _), (_, noisy, _) = runs
    assert noisy.first_loss != quiet.first_loss
    assert noisy.best_validation_loss == quiet.best_validation_loss


def test_kept_layers_do_not_keep_the_noise(small_tune: Any) -> None:
    """What frozen layers give differs from epoch to epoch, so nothing is kept."""
    trained = []
    for cache in (True, False):
        settings = {"layers": 1, "cache": cache}
        loaded, _, run = small_tune(
            method="last-layers", run=f"cache-{cache}", settings=settings, train=NOISE
        )
        trained.append((loaded, [line["loss"] for line in read_lines(run.metrics)]))
    assert trained[0][1] == trained[1][1]
    assert_equal_weights(trained[0][0], trained[1][0])


def test_a_model_without_a_table_is_refused(make_job: Any) -> None:
    job = make_job("tiny_llama")
    with (
        pytest.raises(UsageError, match="embeddings that NEFTune does not support"),
        noisy_embeddings(job, job.examples, 0),
    ):
        pass


def test_a_step_without_data_has_it_too(tiny_llama: Path) -> None:
    """The planner's second opinion runs the same code on tensors that hold nothing."""
    from transformers import AutoConfig

    settings, shape = AutoConfig.from_pretrained(tiny_llama), BatchShape(2, 16, predicted=8)
    peaks = [
        trace_step(
            settings, "lora", RunConfig.model_validate({"train": train}), shape, SUPERVISED
        ).peak.total
        for train in ({}, NOISE)
    ]
    assert peaks[0] <= peaks[1] < 1.5 * peaks[0]
