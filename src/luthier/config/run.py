"""The complete configuration of a run."""

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
    """All settings of a run. Running a resolved configuration again repeats the run."""

    name: Annotated[str | None, REPLACED] = None
    """The name of the run directory; None: derived from the task and the model."""
    output: Annotated[Path, REPLACED] = Path("runs")
    """The folder that holds run directories."""
    seed: int = Field(default=0, ge=0)
    """The seed of all random draws."""
    model: ModelConfig = ModelConfig()
    """The base model."""
    data: DataConfig = DataConfig()
    """The data."""
    prompt: PromptConfig = PromptConfig()
    """Prompt settings."""
    method: MethodName = "lora"
    """The method of luthier tune."""
    methods: MethodsConfig = MethodsConfig()
    """The settings of each method."""
    train: TrainConfig = TrainConfig()
    """The training loop."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Evaluation settings."""
    adapt: AdaptConfig = AdaptConfig()
    """The ladder."""

    def base_of(self, method: MethodName) -> ModelConfig:
        """The base model with the loading options that ``method`` requires."""
        quantisation = self.methods.of(method).base_quantisation
        if quantisation is None:
            return self.model
        return self.model.model_copy(update={"quantisation": quantisation})

    @property
    def method_config(self) -> MethodConfig:
        """The settings of the selected method."""
        return self.methods.of(self.method)

    @property
    def strategy(self) -> Strategy:
        """The decoding strategy of evaluations, seeded with the run's seed."""
        strategy = self.evaluate.decoding
        if not isinstance(strategy, Sampling):
            return strategy
        seed = derive(self.seed, "sampling", strategy.seed)
        return strategy.model_copy(update={"seed": seed})

    def run_name(self, kind: str, task: str, model: str) -> str:
        """The configured name of the run, or a derived one.

        A derived name ends in a fingerprint of the settings that differ from the defaults, so the
        same command continues the same run and a changed configuration gets a new one. A new
        setting at its default changes no name. The ladder's settings are excluded, so rungs can be
        added to a finished run. Settings that decide how far a training gets, not where it goes,
        are excluded as well, so it can be given more time.
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
    """The settings that distinguish runs, by dotted key."""
    left_out: dict[str, Any] = {"output": True, "adapt": True, "train": set(FINGERPRINT_EXCLUDED)}
    return _by_dotted_key(config.model_dump(mode="json", exclude=left_out))


def _by_dotted_key(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, dict)
        found |= _by_dotted_key(value, f"{above}{key}.") if inner else {f"{above}{key}": value}
    return found
