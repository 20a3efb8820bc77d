"""The configuration: frozen, typed values, one file per section."""

from luthier.config.adapt import AdaptConfig
from luthier.config.data import DataConfig
from luthier.config.decoding import Beam, Decoding, Greedy, Sampling, Strategy
from luthier.config.evaluate import EvaluateConfig
from luthier.config.load import load_config, resolve_config
from luthier.config.methods import (
    FullConfig,
    LoraConfig,
    MethodConfig,
    MethodsConfig,
    PromptTuningConfig,
)
from luthier.config.model import ModelConfig
from luthier.config.prompt import PromptConfig
from luthier.config.run import RunConfig
from luthier.config.train import GuardsConfig, TrainConfig

__all__ = [
    "AdaptConfig",
    "Beam",
    "DataConfig",
    "Decoding",
    "EvaluateConfig",
    "FullConfig",
    "Greedy",
    "GuardsConfig",
    "LoraConfig",
    "MethodConfig",
    "MethodsConfig",
    "ModelConfig",
    "PromptConfig",
    "PromptTuningConfig",
    "RunConfig",
    "Sampling",
    "Strategy",
    "TrainConfig",
    "load_config",
    "resolve_config",
]
