"""Our loss is transformers' loss, and its gradient does not depend on how a batch is cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED

from luthier.config import MethodsConfig, TrainConfig
from luthier.data.loss_weights import with_loss_weights
from luthier.methods import method_for
from luthier.models.forward import logits_at
from luthier.records.run_directory import RunDirectory
from luthier.training.job import TrainingJob
from luthier.training.step import optimizer_step
from luthier.training.weights import TrainedWeights

MODELS = ("tiny_llama", "tiny_t5")
METHODS = ("lora", "full", "prompt-tuning")


def rectangle(rows: list[Any], fill: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in rows], batch_first=True, padding_value=fill
    )


def transformers_loss(model: Any, examples: tuple[Any, ...]) -> float:
    """The loss that the model itself computes from labels, -100 where nothing is trained."""
    labels = [
        list(e.decoder_ids)
        or [i if t else -100 for i, t in zip(e.input_ids, e.trained, strict=True)]
        for e in examples
    ]
    with torch.no_grad():
        output = model(
            input_ids=rectangle([e.input_ids for e in examples], 0),
            attention_mask=rectangle([[1] * len(e.input_ids) for e in examples], 0),
            labels=rectangle(labels, -100),
        )
    return float(output.loss)


def float64_loss(model: Any, examples: tuple[Any, ...]) -> float:
    """The same from the logits of each example by itself, with the softmax in float64."""
    nats = 0.0
    for example in examples:
        ids_1T = torch.tensor([example.input_ids])
        with torch.no_grad():
            logits_TV = model(input_ids=ids_1T).logits[0].double()
        chosen = torch.tensor(example.trained[1:])
        nats += float(
            torch.nn.functional.cross_entropy(
                logits_TV[:-1][chosen], ids_1T[0, 1:][chosen], reduction="sum"
            )
        )
    return nats / sum(map(SUPERVISED.trained_tokens, examples))


def our_loss(loaded: Any, examples: tuple[Any, ...]) -> float:
    with torch.no_grad():
        nats = SUPERVISED.summed_loss(loaded.model, examples, loaded.device)
    return float(nats) / sum(map(SUPERVISED.trained_tokens, examples))


def adapted(load: Any, folder: Any, method: str) -> Any:
    """A loaded model that the method has prepared, moved away from where it starts."""
    loaded = load(folder)
    torch.manual_seed(1)
    model = method_for(method, MethodsConfig()).prepare(loaded)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    return loaded, model.eval()


@pytest.mark.parametrize("name", [*MODELS, "bundled"])
def test_the_loss_is_transformers_own(
    name: str, load: Any, make_examples: Any, request: pytest.FixtureRequest
) -> None:
    if name == "bundled":
        loaded, count = request.getfixturevalue("bundled_float32"), 3
    else:
        loaded, count = load(request.getfixturevalue(name)), 8
    examples = make_examples(loaded, count)
    expected = transformers_loss(loaded.model, examples)
    if name == "bundled":  # torch's float32 softmax over its vocabulary is off by 1.4e-5
        exact = float64_loss(loaded.model, examples)
        assert expected == pytest.approx(exact, abs=2e-5)
        expected = exact
    assert our_loss(loaded, examples) == pytest.approx(expected, abs=1e-5)
    cut = SUPERVISED.mean_loss(loaded.model, examples, loaded.device, batch_tokens=64)
    assert cut == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_the_loss_of_an_adapted_model_is_pefts_own(
    name: str, method: str, load: Any, make_examples: Any, request: pytest.FixtureRequest
) -> None:
    loaded, model = adapted(load, request.getfixturevalue(name), method)
    examples = make_examples(loaded, 6)
    with torch.no_grad():
        ours = float(SUPERVISED.summed_loss(model, examples, loaded.device))
    ours /= sum(map(SUPERVISED.trained_tokens, examples))
    assert ours == pytest.approx(transformers_loss(model, examples), abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_weighted_losses_are_means_over_tokens_examples_and_sources(
    name: str, load: Any, make_examples: Any, request: pytest.FixtureRequest
) -> None:
    """In double precision from the nats of each example by itself, whatever the micro-batches."""
    loaded = load(request.getfixturevalue(name))
    sources = ("a", "b", "b", "a", "c", "b", "a", "a")
    examples = tuple(
        replace(example, source=source)
        for example, source in zip(make_examples(loaded, 8), sources, strict=True)
    )
    nats = [our_loss(loaded, (one,)) * SUPERVISED.trained_tokens(one) for one in examples]
    tokens = [SUPERVISED.trained_tokens(one) for one in examples]
    assert len(set(tokens)) > 1
    own = {
        source: [place for place, one in enumerate(sources) if one == source] for source in "abc"
    }
    by_source = {
        source: sum(nats[place] for place in places) / sum(tokens[place] for place in places)
        for source, places in own.items()
    }
    expected = {
        "token": sum(nats) / sum(tokens),
        "example": sum(n / t for n, t in zip(nats, tokens, strict=True)) / 8,
        "source": sum(by_source[source] * len(own[source]) for source in "abc") / 8,
    }
    # The losses of the sources, each with its tokens, sum to that of all.
    shares = {s: sum(tokens[place] for place in own[s]) / sum(tokens) for s in "abc"}
    summed = sum(shares[source] * by_source[source] for source in "abc")
    assert our_loss(loaded, examples) == pytest.approx(summed, rel=1e-6)
    for by, loss in expected.items():
        weighted = with_loss_weights(examples, by)  # type: ignore[arg-type]
        for batch_tokens in (64, 4096):
            found = SUPERVISED.mean_loss(
                loaded.model, weighted, loaded.device, batch_tokens=batch_tokens
            )
            assert found == pytest.approx(loss, rel=2e-6), by


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_does_not_depend_on_the_cut(
    name: str,
    method: str,
    load_lively: Any,
    make_examples: Any,
    request: pytest.FixtureRequest,
    in_tmp_path: Any,
) -> None:
    def after_one_step(micro_batch_tokens: int) -> tuple[Any, dict[str, torch.Tensor]]:
        loaded, model = adapted(load_lively, request.getfixturevalue(name), method)
        before = {k: p.detach().clone() for k, p in model.named_parameters() if p.requires_grad}
        job = TrainingJob(
            loaded=type(loaded)(model, loaded.tokenizer, loaded.stamp, loaded.device),
            method_name=method,
            method=MethodsConfig().of(method),
            train=TrainConfig(micro_batch_tokens=micro_batch_tokens, max_padding=0.9),
            objective=SUPERVISED,
            examples=examples,
            validation=(),
            seed=0,
            run=RunDirectory.create(in_tmp_path, "run"),
            fingerprint="",
        )
        weights = TrainedWeights(model)
        # Plain descent with rate one moves each weight by its (clipped) gradient.
        optimizer = torch.optim.SGD(weights.masters.values(), lr=1.0)
        result = optimizer_step(job, weights, optimizer, examples, 0)
        after = {k: p.detach() - before[k] for k, p in weights.parameters.items()}
        return result, after

    examples = make_examples(load_lively(request.getfixturevalue(name)), 6)
    total = 6 * max(map(SUPERVISED.length, examples))
    whole, moved = after_one_step(total)
    assert max(float(delta.abs().max()) for delta in moved.values()) > 1e-3
    for micro_batch_tokens in (1, total // 3):
        cut, moved_when_cut = after_one_step(micro_batch_tokens)
        assert cut.loss == pytest.approx(whole.loss, rel=1e-6)
        assert cut.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-5)
        assert (cut.trained_tokens, cut.processed_tokens) == (
            whole.trained_tokens,
            whole.processed_tokens,
        )
        for key, delta in moved.items():
            torch.testing.assert_close(moved_when_cut[key], delta, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_selected_logits_are_rows_of_all_logits(
    name: str, method: str, load: Any, request: pytest.FixtureRequest
) -> None:
    loaded, model = adapted(load, request.getfixturevalue(name), method)
    torch.manual_seed(2)
    ids_BT = torch.randint(3, 900, (3, 11))
    keep_BT = torch.rand(3, 11) < 0.4
    inputs = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}
    if loaded.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.randint(3, 900, (3, 11))
    with torch.no_grad():
        full_BTV = model(**inputs).logits[:, -11:]  # virtual tokens stand in front
        selected_KV = logits_at(model, inputs, keep_BT)
    torch.testing.assert_close(selected_KV, full_BTV[keep_BT], atol=1e-6, rtol=1e-5)


def test_the_selection_ends_with_the_call(load: Any, tiny_llama: Any) -> None:
    model = load(tiny_llama).model
    ids_BT = torch.arange(3, 9)[None]
    with torch.no_grad():
        logits_at(model, {"input_ids": ids_BT}, torch.zeros_like(ids_BT, dtype=torch.bool))
        assert model(input_ids=ids_BT).logits.shape[:2] == ids_BT.shape
