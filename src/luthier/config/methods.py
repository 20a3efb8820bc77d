"""The tuning methods and their settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from luthier.config.base import Config

MethodName = Literal["full", "lora", "prompt-tuning"]


class MethodConfig(Config):
    """What every method sets for itself, because good values differ by orders of magnitude."""

    learning_rate: float = Field(gt=0)
    """The peak learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of AdamW, on matrices only."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training examples; None: train.epochs."""


class FullConfig(MethodConfig):
    """Every parameter is trained."""

    learning_rate: float = Field(default=2e-5, gt=0)
    """The peak learning rate."""


class LoraConfig(MethodConfig):
    """Low-rank updates of linear layers (Hu et al. 2021, arXiv 2106.09685)."""

    learning_rate: float = Field(default=5e-4, gt=0)
    """The peak learning rate."""
    rank: int = Field(default=8, ge=1)
    """The rank r of the update."""
    alpha: float = Field(default=16, gt=0)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the input of the update."""
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Names of the modules to adapt, or all linear layers but the output layer."""


class PromptTuningConfig(MethodConfig):
    """Trained virtual tokens before the input (Lester et al. 2021, arXiv 2104.08691)."""

    learning_rate: float = Field(default=3e-2, gt=0)
    """The peak learning rate."""
    virtual_tokens: int = Field(default=16, ge=1)
    """How many vectors are trained."""
    initial_text: str | None = None
    """Words whose embeddings the vectors start from; None: embeddings of tokens drawn at random."""


class MethodsConfig(Config):
    """The settings of each method; `method` and `adapt.rungs` say which ones are used."""

    full: FullConfig = FullConfig()
    """Full fine-tuning."""
    lora: LoraConfig = LoraConfig()
    """LoRA."""
    prompt_tuning: PromptTuningConfig = Field(default=PromptTuningConfig(), alias="prompt-tuning")
    """Prompt tuning."""

    def of(self, name: MethodName) -> MethodConfig:
        """The settings of the method called ``name``."""
        table: dict[MethodName, MethodConfig] = {
            "full": self.full,
            "lora": self.lora,
            "prompt-tuning": self.prompt_tuning,
        }
        return table[name]
