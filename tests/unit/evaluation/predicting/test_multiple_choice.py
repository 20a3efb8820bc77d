"""Choices are scored as training writes them, in every rung and whatever the batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

import luthier
from luthier.config import PromptConfig
from luthier.core.console import Console
from luthier.core.example import Example, Message
from luthier.evaluation.predicting.base import ModelPredictor
from luthier.evaluation.predicting.multiple_choice import MultipleChoice, score_requests
from luthier.inference.local.engine import LocalEngine
from luthier.models.load import LoadedModel
from luthier.prompts.plain_text import PlainText
from luthier.prompts.render import PromptRenderer
from luthier.prompts.served import ServedRenderer
from luthier.prompts.shots import with_shots
from luthier.records.evaluation import SampleRecord

CHOICES = ("no", "not sure", "yes, of course")
TASK = {
    "prompt": "{{ q }}",
    "label": "{{ a }}",
    "choices": {"no": "no", "sure": "not sure", "yes": "yes, of course"},
    "metrics": ["accuracy"],
}


def example(question: str, answer: str = "no", choices: tuple[str, ...] = CHOICES) -> Example:
    return Example(question, (Message("user", question),), (answer,), choices=choices)


EXAMPLES = [example(f"Is {n} a round number?") for n in (3, 40, 500, 7)]
EXAMPLES.append(example("Which?", "b", ("b", "bb")))


def renderer_of(loaded: LoadedModel, **config: Any) -> PromptRenderer:
    return PromptRenderer.from_config(
        PromptConfig.model_validate(config),
        loaded.tokenizer,
        context_window=loaded.context_window,
        encoder_decoder=loaded.is_encoder_decoder,
    )


def answered(
    loaded: LoadedModel, examples: list[Example], batch_tokens: int = 4096, **more: Any
) -> tuple[SampleRecord, ...]:
    predictor = ModelPredictor(
        LocalEngine(loaded, batch_tokens), renderer_of(loaded), MultipleChoice(**more)
    )
    return predictor.predict(examples, Console(quiet=True), "rows").samples


def training_loss(loaded: LoadedModel, renderer: PromptRenderer, asked: Example) -> float:
    """The summed loss of a training example, computed with transformers' own model."""
    made = renderer.training(asked, completion_only_loss=True)
    ids = torch.tensor([made.input_ids])
    with torch.inference_mode():
        if made.decoder_ids:
            labels = torch.tensor([made.decoder_ids])
            logits = loaded.model(input_ids=ids, labels=labels).logits[0]
            targets = labels[0]
        else:
            places = [place for place, is_trained in enumerate(made.trained) if is_trained]
            logits = loaded.model(input_ids=ids).logits[0, [place - 1 for place in places]]
            targets = ids[0, places]
    return float(functional.cross_entropy(logits.double(), targets, reduction="sum"))


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_gpt2", "tiny_t5"])
def test_a_score_is_minus_the_loss_of_training_with_this_answer(
    request: pytest.FixtureRequest, load: Callable[..., LoadedModel], model: str
) -> None:
    loaded = load(request.getfixturevalue(model))
    renderer = renderer_of(loaded)
    for sample, asked in zip(answered(loaded, EXAMPLES), EXAMPLES, strict=True):
        losses = [
            training_loss(loaded, renderer, Example("x", asked.messages, (choice,)))
            for choice in asked.choices
        ]
        assert sample.likelihoods == pytest.approx([-loss for loss in losses], abs=1e-4)
        assert sample.prediction == asked.choices[losses.index(min(losses))]
        assert (sample.words, sample.choices) == (asked.choices, asked.choices)


def test_answers_do_not_depend_on_the_batch(
    load: Callable[..., LoadedModel], tiny_llama: Path
) -> None:
    loaded = load(tiny_llama)
    whole = answered(loaded, EXAMPLES)
    assert [s.prediction for s in answered(loaded, EXAMPLES, 64)] == [s.prediction for s in whole]
    for sample, asked in zip(whole, EXAMPLES, strict=True):
        (one,) = answered(loaded, [asked])
        assert one.likelihoods == pytest.approx(sample.likelihoods, abs=1e-4)


def test_shots_and_references_of_the_question_are_told_apart(
    load: Callable[..., LoadedModel], tiny_llama: Path
) -> None:
    """Few-shot examples change scores; the right answer of a question never does."""
    loaded = load(tiny_llama)
    shots = [example("Is 10 round?", "yes, of course"), example("Is 9 round?", "no")]
    bare, other = example("Is 8 round?", "no"), example("Is 8 round?", "not sure")
    one, two = answered(loaded, [bare]), answered(loaded, [other])
    assert one[0].likelihoods == two[0].likelihoods
    assert answered(loaded, [with_shots(bare, shots)])[0].likelihoods != one[0].likelihoods


def test_calibration_subtracts_what_is_likely_after_no_question(
    load: Callable[..., LoadedModel], tiny_llama: Path
) -> None:
    loaded = load(tiny_llama)
    empty = Example("empty", (Message("user", ""),), ())
    raw, calibrated = answered(loaded, EXAMPLES), answered(loaded, EXAMPLES, empty=empty)
    for one, other in zip(raw, calibrated, strict=True):
        sums = [a + b for a, b in zip(other.likelihoods, other.unconditional, strict=True)]
        assert sums == pytest.approx(one.likelihoods, abs=1e-4)
        best = max(other.likelihoods)
        assert other.prediction == other.choices[other.likelihoods.index(best)]
    (prior,) = answered(loaded, [Example("empty", empty.messages, ("no",), choices=CHOICES)])
    assert calibrated[0].unconditional == pytest.approx(prior.likelihoods, abs=1e-4)
    assert not raw[0].unconditional


def test_room_is_kept_for_the_longest_choice_and_its_end(
    load: Callable[..., LoadedModel], tiny_llama: Path
) -> None:
    renderer = renderer_of(load(tiny_llama))
    (longest,) = score_requests(renderer, [(EXAMPLES[0], CHOICES[-1])])
    assert MultipleChoice().answer_tokens(renderer, EXAMPLES) == len(longest.continuation)
    assert longest.continuation[-1] == renderer.tokenizer.eos_token_id


def test_a_server_scores_plain_text_as_it_stands() -> None:
    renderer = ServedRenderer.from_config(PromptConfig(chat_template="never"), continues=True)
    (request,) = score_requests(renderer, [(EXAMPLES[0], "yes, of course")])
    asked = Example("x", EXAMPLES[0].messages, ("yes, of course",))
    whole = PlainText().conversation((*asked.messages, asked.trained_answer), "", "").text
    assert request.context + request.continuation == whole


def rows(path: Path, count: int = 60) -> Path:
    answers = ("no", "sure", "yes")
    lines = [json.dumps({"q": f"Is {n} even?", "a": answers[n % 3]}) for n in range(count)]
    path.write_text("\n".join(lines), encoding="utf-8")
    path.with_suffix(".yaml").write_text(json.dumps(TASK), encoding="utf-8")
    return path


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    path = rows(tmp_path / "rows.jsonl")
    return {
        "data.source": str(path),
        "prompt.template": str(path.with_suffix(".yaml")),
        "output": str(tmp_path / "runs"),
        "model.dtype": "float32",
        "evaluate.resamples": 100,
    }


def test_every_answer_is_one_of_the_choices(settings: dict[str, Any], tiny_gpt2: Path) -> None:
    result = luthier.evaluate(str(tiny_gpt2), None, settings, Console(quiet=True))
    assert {sample.prediction for sample in result.samples} <= set(CHOICES)
    assert all(len(sample.likelihoods) == 3 for sample in result.samples)
    assert result.evaluation.generated_tokens == 0
    free = luthier.evaluate(
        str(tiny_gpt2), None, {**settings, "evaluate.choices": "generation"}, Console(quiet=True)
    )
    assert not any(sample.likelihoods for sample in free.samples)
    assert free.evaluation.generated_tokens > 0


def test_calibration_reaches_a_run(settings: dict[str, Any], tiny_gpt2: Path) -> None:
    calibrated = {**settings, "evaluate.calibrate": True}
    result = luthier.evaluate(str(tiny_gpt2), None, calibrated, Console(quiet=True))
    assert all(len(sample.unconditional) == 3 for sample in result.samples)
    assert len({sample.unconditional for sample in result.samples}) == 1
