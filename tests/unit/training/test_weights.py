"""Examples that count more or less than others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED
from tests.resuming import assert_equal_weights, assert_resumes_exactly

from luthier.config import MethodsConfig, TrainConfig
from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.core.files import read_lines
from luthier.data.tokenised import Rendered, select_usable
from luthier.models import cross_entropy
from luthier.prompts.training_example import TrainingExample
from luthier.records.run_directory import RunDirectory
from luthier.training.job import TrainingJob
from luthier.training.layout import Packed, Padded
from luthier.training.step import StepResult, optimizer_step
from luthier.training.weights import TrainedWeights

WEIGHTS = (0.5, 3.0, 1.0, 0.25, 2.0, 1.0)
MODELS = ("tiny_llama", "tiny_t5")


def weighted(
    examples: Sequence[TrainingExample], weights: Sequence[float]
) -> tuple[TrainingExample, ...]:
    pairs = zip(examples, weights, strict=True)
    return tuple(dataclasses.replace(one, weight=weight) for one, weight in pairs)


@pytest.fixture
def descend(load_lively: Any, tmp_path: Path) -> Any:
    """One step of plain descent: what it gave, and how far it moved each weight."""

    def step(
        model: Path, examples: Sequence[TrainingExample], tokens: int = 4096, packed: bool = False
    ) -> tuple[StepResult, dict[str, torch.Tensor]]:
        loaded = load_lively(model)
        loaded.model.requires_grad_(True)
        job = TrainingJob(
            loaded=loaded,
            method_name="full",
            method=MethodsConfig().of("full"),
            train=TrainConfig(micro_batch_tokens=tokens, max_padding=0.9),
            objective=SUPERVISED,
            examples=tuple(examples),
            validation=(),
            seed=0,
            run=RunDirectory.create(tmp_path, "run"),
            fingerprint="",
            packed=packed,
        )
        weights = TrainedWeights(loaded.model)
        before = {name: value.detach().clone() for name, value in weights.masters.items()}
        optimizer = torch.optim.SGD(weights.masters.values(), lr=1.0)
        result = optimizer_step(job, weights, optimizer, examples, 0)
        return result, {n: v.detach() - before[n] for n, v in weights.masters.items()}

    return step


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert max(float(moved.abs().max()) for moved in one.values()) > 1e-3
    for name, moved in one.items():
        torch.testing.assert_close(other[name], moved, atol=2e-6, rtol=0, msg=name)


@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize("layout", [Padded(0.9), Packed()])
@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_the_weighted_sum_of_those_of_the_examples(
    name: str,
    layout: Any,
    rows: int,
    load_lively: Any,
    make_examples: Any,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cross_entropy, "rows_at_once", lambda *_args, **_options: rows)
    loaded = load_lively(request.getfixturevalue(name))
    examples = make_examples(loaded, 6)
    with torch.no_grad():
        each = [
            float(SUPERVISED.summed_loss(loaded.model, [one], loaded.device)) for one in examples
        ]
        found = SUPERVISED.summed_loss(
            loaded.model, weighted(examples, WEIGHTS), loaded.device, layout
        )
    assert len({round(nats, 3) for nats in each}) == 6
    expected = sum(weight * nats for weight, nats in zip(WEIGHTS, each, strict=True))
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_weight_of_two_is_the_example_twice(
    name: str, descend: Any, load: Any, make_examples: Any, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(name)
    first, *others = make_examples(load(path), 4)
    twice, moved_twice = descend(path, [first, first, *others])
    once, moved = descend(path, [dataclasses.replace(first, weight=2.0), *others])
    assert once.loss == pytest.approx(twice.loss, rel=1e-5)
    assert once.gradient_norm == pytest.approx(twice.gradient_norm, rel=1e-5)
    assert once.trained_tokens == twice.trained_tokens - SUPERVISED.trained_tokens(first)
    assert_close(moved_twice, moved)


def test_where_the_output_layer_is_not_plain_too(
    load: Any, tiny_llama: Path, make_examples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models that cap their logits have a loss with all logits."""
    loaded = load(tiny_llama)
    examples = weighted(make_examples(loaded, 6), WEIGHTS)
    chunked = SUPERVISED.summed_loss(loaded.model, examples, loaded.device)
    chunked.backward()
    slopes = {n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.grad is not None}
    loaded.model.zero_grad()
    monkeypatch.setattr(cross_entropy, "_not_plain", {loaded.model.get_output_embeddings()})
    plain = SUPERVISED.summed_loss(loaded.model, examples, loaded.device)
    plain.backward()
    assert plain.item() == pytest.approx(chunked.item(), rel=1e-6)
    for name, parameter in loaded.model.named_parameters():
        if parameter.grad is not None:
            size = float(slopes[name].abs().max())
            assert float((parameter.grad - slopes[name]).abs().max()) <= 1e-5 * size + 1e-9


@pytest.mark.parametrize("packed", [False, True])
def test_a_weighted_step_does_not_depend_on_its_cut(
    packed: bool, descend: Any, load: Any, tiny_llama: Path, make_examples: Any
) -> None:
    examples = weighted(make_examples(load(tiny_llama), 6), WEIGHTS)
    whole, moved = descend(tiny_llama, examples)
    cut, moved_when_cut = descend(tiny_llama, examples, tokens=64, packed=packed)
    assert cut.loss == pytest.approx(whole.loss, rel=1e-6)
    assert_close(moved, moved_when_cut)


def test_only_the_relation_of_weights_counts(
    descend: Any, load: Any, tiny_llama: Path, make_examples: Any
) -> None:
    examples = make_examples(load(tiny_llama), 6)
    _, expected = descend(tiny_llama, weighted(examples, WEIGHTS))
    for scale in (0.001, 1000.0):
        _, found = descend(tiny_llama, weighted(examples, [w * scale for w in WEIGHTS]))
        assert_close(expected, found)


def test_a_validation_is_weighted_as_the_training_is(
    load: Any, tiny_llama: Path, make_examples: Any
) -> None:
    loaded = load(tiny_llama)
    examples = make_examples(loaded, 6)
    each = [SUPERVISED.mean_loss(loaded.model, [one], loaded.device, 64) for one in examples]
    sizes = [w * SUPERVISED.trained_tokens(one) for w, one in zip(WEIGHTS, examples, strict=True)]
    expected = sum(s * nats for s, nats in zip(sizes, each, strict=True)) / sum(sizes)
    found = SUPERVISED.mean_loss(loaded.model, weighted(examples, WEIGHTS), loaded.device, 64)
    assert found == pytest.approx(expected, rel=1e-6)


def test_weights_of_one_change_no_bit(small_tune: Any) -> None:
    """A mean of a weighted batch is another, and that of a batch of ones the same."""
    plain, first, _ = small_tune(run="plain")
    ones, second, _ = small_tune(run="ones", weights=[1.0] * 13)
    assert second.last_loss == first.last_loss
    assert_equal_weights(plain, ones)
    _, third, _ = small_tune(run="others", weights=[1.0, 5.0] * 6)
    assert third.last_loss != first.last_loss


@pytest.mark.parametrize("model", MODELS)
def test_a_weighted_training_resumes_exactly(model: str, small_tune: Any) -> None:
    weights = [0.5, 2.0, 1.0] * 4
    assert_resumes_exactly(small_tune, model, "lora", weights=weights)


def test_what_weighs_more_is_learned_first(small_tune: Any, make_examples: Any) -> None:
    losses = []
    for heavy in (0, 1):
        weights = [20.0 if index % 2 == heavy else 0.05 for index in range(10)]
        loaded, _, run = small_tune(
            method="full", run=f"heavy-{heavy}", weights=weights, train={"epochs": 4}
        )
        assert len(list(read_lines(run.metrics))) == 20
        examples = make_examples(loaded, 10)
        losses.append(
            [
                SUPERVISED.mean_loss(loaded.model, examples[half::2], loaded.device, 128)
                for half in (0, 1)
            ]
        )
    assert losses[0][0] < losses[1][0]
    assert losses[1][1] < losses[0][1]


def test_what_weighs_nothing_is_left_out_and_counted() -> None:
    examples = [
        Example(str(n), (Message("user", "a"),), ("b",), where=f"line {n}") for n in range(3)
    ]
    tokens = [
        TrainingExample(one.id, (1, 2), (False, True), 1, weight=weight)
        for one, weight in zip(examples, (1.0, 0.0, 0.5), strict=True)
    ]
    kept = select_usable(
        Rendered(tuple(zip(examples, tokens, strict=True))), max_length=9, too_long="drop"
    )
    assert [one.id for one in kept.examples] == ["0", "2"]
    (left,) = kept.dropped
    assert (left.where, left.reason) == ("line 1", "its weight is 0")


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_what_is_no_weight_is_refused(weight: float) -> None:
    example = Example("a", (Message("user", "a"),), ("b",), where="line 7")
    tokens = TrainingExample("a", (1, 2), (False, True), 1, weight=weight)
    with pytest.raises(DataError, match="the weight of an example") as caught:
        select_usable(Rendered(((example, tokens),)), max_length=9, too_long="drop")
    assert caught.value.where == "line 7"


@pytest.mark.sample(3)
@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**1000, 1e-300, 1e300])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_weights_beyond_the_range_of_float32_keep_their_relation(
    dtype: str, scale: float, small_tune: Any
) -> None:
    weights = [0.5, 2.0, 1.0, 4.0] * 3 + [2.0]
    _, expected, _ = small_tune(run="plain", weights=weights, dtype=dtype)
    _, found, _ = small_tune(run="scaled", weights=[w * scale for w in weights], dtype=dtype)
    exact = scale in (2.0**-1000, 2.0**1000)
    close = {"rel": 0.0, "abs": 0.0} if exact else {"rel": 1e-3}
    assert found.last_loss == pytest.approx(expected.last_loss, **close)
    assert found.best_validation_loss == pytest.approx(expected.best_validation_loss, **close)


def test_weights_of_very_different_sizes_are_finite(small_tune: Any) -> None:
    _, record, _ = small_tune(weights=[1e30, 1.0, 1e-30] * 4)
    assert record.overflows == 0
    assert 0 < record.last_loss < 20
