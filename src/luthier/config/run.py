"""The whole configuration of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from luthier.config.adapt import AdaptConfig
from luthier.config.base import Config
from luthier.config.data import DataConfig
from luthier.config.decoding import Sampling, Strategy
from luthier.config.evaluate import EvaluateConfig
from luthier.config.methods import MethodConfig, MethodsConfig
from luthier.config.model import ModelConfig
from luthier.config.permission import REPLACED
from luthier.config.prompt import PromptConfig
from luthier.config.train import FINGERPRINT_EXCLUDED, TrainConfig
from luthier.core.method_facts import MethodName
from luthier.core.seeds import derive, fingerprint

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


class RunConfig(Config):
    """Everything that decides what a run does. Running a resolved one again repeats the run."""

    name: Annotated[str | None, REPLACED] = None
    """The name of the run directory; None: made from the task and the model."""
    output: Annotated[Path, REPLACED] = Path("runs")
    """The folder that holds run directories."""
    seed: int = Field(default=0, ge=0)
    """The one seed from which all random draws follow."""
    model: ModelConfig = ModelConfig()
    """The base model."""
    data: DataConfig = DataConfig()
    """The data."""
    prompt: PromptConfig = PromptConfig()
    """How examples become prompts."""
    method: MethodName = "lora"
    """The method of luthier tune."""
    methods: MethodsConfig = MethodsConfig()
    """The settings of each method."""
    train: TrainConfig = TrainConfig()
    """The training loop."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How models are measured."""
    adapt: AdaptConfig = AdaptConfig()
    """The ladder."""

    def base_of(self, method: MethodName) -> ModelConfig:
        """The base model as the method called ``method`` wants it loaded."""
        quantisation = self.methods.of(method).base_quantisation
        if quantisation is None:
            return self.model
        return self.model.model_copy(update={"quantisation": quantisation})

    @property
    def method_config(self) -> MethodConfig:
        """The settings of the method that is used."""
        return self.methods.of(self.method)

    @property
    def strategy(self) -> Strategy:
        """How tokens are chosen in evaluations; draws follow from the run's seed."""
        strategy = self.evaluate.decoding
        if not isinstance(strategy, Sampling):
            return strategy
        seed = derive(self.seed, "sampling", strategy.seed)
        return strategy.model_copy(update={"seed": seed})

    def run_name(self, kind: str, task: str, model: str) -> str:
        """The run's own name, or one made from what it does.

        A made name ends in a fingerprint of the settings that differ from the defaults, so the same
        command goes on with the same run and another configuration gets a run of its own. A new
        setting changes no name as long as it is left at its default. The ladder's own settings do
        not count: rungs can be added to a finished run. Nor does what decides how far a training
        comes and not where it goes: it can be given more time.
        """
        if self.name:
            return self.name
        defaults = _identifying(RunConfig())
        chosen = {
            key: value
            for key, value in _identifying(self).items()
            if key not in defaults or defaults[key] != value
        }
        called = (_NOT_IN_NAMES.sub("-", text) for text in (task, Path(model).name))
        parts = (*(text.strip("._-") or "unnamed" for text in called), kind)
        return "-".join((*parts, fingerprint(json.dumps(chosen, sort_keys=True))[:6]))


def _identifying(config: RunConfig) -> dict[str, Any]:
    """The settings that tell one run from another, by dotted key."""
    left_out: dict[str, Any] = {"output": True, "adapt": True, "train": set(FINGERPRINT_EXCLUDED)}
    return _by_dotted_key(config.model_dump(mode="json", exclude=left_out))


def _by_dotted_key(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, dict)
        found |= _by_dotted_key(value, f"{above}{key}.") if inner else {f"{above}{key}": value}
    return found
