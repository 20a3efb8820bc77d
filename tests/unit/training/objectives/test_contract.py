"""The loop trains with an objective that it does not know: pairs, with a loss of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED

from luthier.config import MethodsConfig, TrainConfig
from luthier.core.console import Console
from luthier.methods import method_for
from luthier.prompts.training_example import TrainingExample
from luthier.records.run_directory import RunDirectory
from luthier.training import TrainingJob, train
from luthier.training.layout import VALIDATION_LAYOUT, Layout
from luthier.training.objectives import Objective


@dataclass(frozen=True)
class Pair:
    id: str
    chosen: TrainingExample
    rejected: TrainingExample
    weight: float = 1.0
    source: str = ""


class Preference(Objective[Pair]):
    """-log σ(log p(chosen) - log p(rejected)), summed over pairs."""

    unit = "pair"

    def sequences(self, examples: Sequence[Pair]) -> Sequence[TrainingExample]:
        return [one for pair in examples for one in (pair.chosen, pair.rejected)]

    def length(self, example: Pair) -> int:
        return sum(map(SUPERVISED.length, self.sequences([example])))

    def trained_tokens(self, example: Pair) -> int:
        return sum(map(SUPERVISED.trained_tokens, self.sequences([example])))

    def loss_weight(self, example: Pair) -> float:
        return example.weight

    def summed_loss(
        self,
        model: Any,
        examples: Sequence[Pair],
        device: torch.device,
        layout: Layout = VALIDATION_LAYOUT,
        factor: float = 1.0,
    ) -> torch.Tensor:
        total = torch.zeros(())
        for pair in examples:
            chosen, rejected = (
                SUPERVISED.summed_loss(model, [one], device, layout)
                for one in (pair.chosen, pair.rejected)
            )
            total = total - factor * pair.weight * torch.nn.functional.logsigmoid(rejected - chosen)
        return total


@pytest.mark.parametrize("tokens", [1, 512])
def test_pairs_are_trained_on_by_the_same_loop(
    tokens: int, load: Any, make_examples: Any, tiny_llama: Path, tmp_path: Path
) -> None:
    base = load(tiny_llama)
    texts = make_examples(base, 8)
    pairs = tuple(
        Pair(str(number), chosen, rejected)
        for number, (chosen, rejected) in enumerate(zip(texts[::2], texts[1::2], strict=True))
    )
    torch.manual_seed(0)
    model = method_for("lora", MethodsConfig()).prepare(base)
    objective = Preference()
    before = objective.mean_loss(model, pairs, base.device, tokens)
    job = TrainingJob(
        loaded=dataclasses.replace(base, model=model),
        method_name="lora",
        method=MethodsConfig().of("lora"),
        train=TrainConfig(epochs=4, batch_size=2, micro_batch_tokens=tokens),
        objective=objective,
        examples=pairs,
        validation=pairs[:2],
        seed=0,
        run=RunDirectory.create(tmp_path, "run"),
        fingerprint="",
    )
    record = train(job, Console(quiet=True))
    assert record.steps == 8
    assert record.best_validation_loss is not None
    assert objective.mean_loss(model, pairs, base.device, tokens) < before - 0.1
