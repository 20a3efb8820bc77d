"""Settings of the tuning methods."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from luthier.config.base import Config
from luthier.core.choices import IA3_INPUTS, IA3_OUTPUTS
from luthier.core.method_facts import FACTS, MethodName

Placement = Literal["houlsby", "pfeiffer"]
Quantisation = Literal["nf4", "int8"]
_PATTERN_CHARACTERS = 200


def _check_pattern(text: str) -> str:
    if len(text) > _PATTERN_CHARACTERS:
        raise ValueError(f"is longer than {_PATTERN_CHARACTERS} characters")
    try:
        re.compile(text)
    except (re.error, OverflowError) as error:
        raise ValueError(f"is not a valid regular expression: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_check_pattern)]
"""A regular expression of bounded length; code that matches it bounds the time."""
Targets = Annotated[tuple[str, ...], Field(min_length=1)] | Pattern
"""Suffixes of module names; a regular expression for whole names; or ``all-linear``. As in peft."""
Exclusion = tuple[str, ...] | Pattern
"""Suffixes of module names, or a regular expression for whole names."""
Token = Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=0)]
"""A token in the tokenizer's spelling, or its id."""


class MethodConfig(Config):
    """Settings that every method has, because good values differ by orders of magnitude."""

    learning_rate: float = Field(gt=0)
    """The peak learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay, for matrices only."""
    epochs: float | None = Field(default=None, gt=0, le=1e9)
    """Epochs over the training examples; None: train.epochs."""

    @property
    def positions(self) -> int:
        """Positions of the context window that the method occupies."""
        return 0

    @property
    def drops(self) -> bool:
        """Whether the method uses dropout on its input."""
        return False

    @property
    def base_quantisation(self) -> Quantisation | None:
        """The quantisation of the base that it requires; None: as in the model's settings."""
        return None

    @property
    def layers_above_cache(self) -> int | None:
        """Number of trained layers above cached outputs of frozen layers; None: no cache."""
        return None

    def without_text(self) -> Self:
        """The same settings without text that would need a tokenizer."""
        return self


class FullConfig(MethodConfig):
    """Train every parameter."""

    learning_rate: float = Field(default=2e-5, gt=0)
    """The peak learning rate."""


class BitfitConfig(MethodConfig):
    """Train biases only (Ben Zaken et al. 2022, arXiv 2106.10199)."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """The peak learning rate."""


class LayernormConfig(MethodConfig):
    """Train the scales and shifts of all norms (Zhao et al. 2023, arXiv 2312.11420)."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """The peak learning rate."""


class LastLayersConfig(MethodConfig):
    """Train the last layers and the norm after them."""

    learning_rate: float = Field(default=5e-5, gt=0)
    """The peak learning rate."""
    layers: int = Field(default=2, ge=1)
    """Number of layers, counted from the end; in an encoder-decoder model, of the decoder."""
    cache: bool = True
    """Cache the outputs of the layers below when epochs repeat: up to 2 GiB of memory."""

    @property
    def layers_above_cache(self) -> int | None:
        """See `MethodConfig.layers_above_cache`."""
        return self.layers if self.cache else None


class SelectiveConfig(MethodConfig):
    """Train the named parameters."""

    learning_rate: float = Field(default=5e-5, gt=0)
    """The peak learning rate."""
    parameters: tuple[Pattern, ...] = ()
    """Regular expressions of at most 200 characters, such as [mlp, norm]; a parameter is trained if
    its name matches one of them."""


class ModulesConfig(MethodConfig):
    """A method that adds parameters to modules of the model."""

    targets: Targets = "all-linear"
    """The modules to adapt: a list of names or suffixes, [q_proj, v_proj]; a regular expression for
    whole names, '.*layers\\.[01]\\..*_proj'; or all linear layers except the output layer."""
    exclude_modules: Exclusion = ()
    """Modules to exclude from the targets: names or a regular expression, as in targets."""
    layers_to_transform: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Numbers of the layers to adapt, [0, 1]; none: all layers."""
    modules_to_save: tuple[str, ...] = ()
    """Modules that are trained whole and saved with the adapter, such as [embed_tokens, lm_head].
    """


class LoraConfig(ModulesConfig):
    """Low-rank updates of linear layers (Hu et al. 2021, arXiv 2106.09685)."""

    learning_rate: float = Field(default=5e-4, gt=0)
    """The peak learning rate."""
    rank: int = Field(default=8, ge=1)
    """The rank r of the update."""
    alpha: float = Field(default=16, gt=0)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the input of the update."""
    trainable_tokens: tuple[Token, ...] = ()
    """Tokens whose embeddings are trained too, with their rows of the output layer: in the
    tokenizer's spelling, [<|depot|>], or ids. Peft: trainable_token_indices."""

    @property
    def drops(self) -> bool:
        """See `MethodConfig.drops`."""
        return self.dropout > 0


class RsloraConfig(LoraConfig):
    """LoRA with rank-stabilised scaling (Kalajdzievski 2023, arXiv 2312.03732)."""

    alpha: float = Field(default=16, gt=0)
    """The update is scaled by alpha / √rank."""


class DoraConfig(LoraConfig):
    """LoRA of the direction, with a trained magnitude per column (Liu et al. 2024, 2402.09353)."""


class AdaloraConfig(LoraConfig):
    """LoRA that allocates its rank by importance (Zhang et al. 2023, arXiv 2303.10512)."""

    learning_rate: float = Field(default=1e-2, gt=0)
    """The peak learning rate. An update is a product of three factors, two of which start small, so
    it needs a rate about twenty times LoRA's."""
    rank: int = Field(default=12, ge=2)
    """The initial rank of each update."""
    final_rank: int = Field(default=8, ge=1)
    """The mean final rank; less important directions are pruned, in whichever layer they are."""
    start: float = Field(default=0.1, ge=0, lt=1)
    """The share of the steps before pruning starts."""
    tfinal_fraction: float = Field(default=0.3, gt=0, lt=1)
    """The share of the steps after pruning ends."""
    prune_every: int = Field(default=10, ge=1)
    """Steps between two prunings."""
    orth_reg_weight: float = Field(default=0.5, ge=0)
    """The weight of the penalty that keeps directions orthogonal."""

    @model_validator(mode="after")
    def _prunes(self) -> Self:
        if self.final_rank >= self.rank:
            raise ValueError(f"final_rank {self.final_rank} must be below rank {self.rank}")
        if self.start + self.tfinal_fraction >= 1:
            raise ValueError("start and tfinal_fraction must leave steps for pruning")
        return self


class QloraConfig(LoraConfig):
    """LoRA on a base with quantised linear layers (Dettmers et al. 2023, 2305.14314)."""

    quantisation: Quantisation = "nf4"
    """nf4: 4 bits, with double quantisation; int8: LLM.int8 (Dettmers et al. 2022, 2208.07339)."""

    @property
    def base_quantisation(self) -> Quantisation | None:
        """See `MethodConfig.base_quantisation`."""
        return self.quantisation


class VeraConfig(ModulesConfig):
    """Trained scales of shared random matrices (Kopiczko et al. 2023, arXiv 2310.11454)."""

    learning_rate: float = Field(default=1e-2, gt=0)
    """The peak learning rate."""
    rank: int = Field(default=256, ge=1)
    """The rank of the random matrices."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the input of the update."""

    @property
    def drops(self) -> bool:
        """See `MethodConfig.drops`."""
        return self.dropout > 0


class Ia3Config(ModulesConfig):
    """Trained scales of keys, values and inner activations (Liu et al. 2022, arXiv 2205.05638)."""

    learning_rate: float = Field(default=1e-2, gt=0)
    """The peak learning rate."""
    targets: Targets = IA3_OUTPUTS + IA3_INPUTS
    """The modules to adapt, as with lora. The default has the usual names of keys, values and the
    MLP's last projection; names that a model lacks are skipped."""
    feedforward_modules: tuple[str, ...] = IA3_INPUTS
    """Suffixes of the targets whose inputs are scaled instead of their outputs."""


class AdaptersConfig(MethodConfig):
    """Small networks after the sub-layers of each layer (Houlsby et al. 2019, arXiv 1902.00751)."""

    learning_rate: float = Field(default=5e-4, gt=0)
    """The peak learning rate."""
    bottleneck: int = Field(default=64, ge=1)
    """The bottleneck width of an adapter."""
    placement: Placement = "houlsby"
    """houlsby: after attention and after the MLP; pfeiffer: after the MLP only (2005.00247)."""


class SoftPromptConfig(MethodConfig):
    """A trained prefix before the input."""

    virtual_tokens: int = Field(default=16, ge=1)
    """Number of trained vectors, or of keys and values in each layer."""

    @property
    def positions(self) -> int:
        """See `MethodConfig.positions`."""
        return self.virtual_tokens


class PromptTuningConfig(SoftPromptConfig):
    """Trained virtual tokens before the input (Lester et al. 2021, arXiv 2104.08691)."""

    learning_rate: float = Field(default=3e-2, gt=0)
    """The peak learning rate."""
    initial_text: str | None = None
    """Initial text of the vectors; None: embeddings of random tokens."""

    def without_text(self) -> Self:
        """See `MethodConfig.without_text`."""
        return self.model_copy(update={"initial_text": None})


class PrefixTuningConfig(SoftPromptConfig):
    """Trained keys and values in each layer of the decoder (Li and Liang 2021, 2101.00190)."""

    learning_rate: float = Field(default=1e-2, gt=0)
    """The peak learning rate."""
    initial_text: str | None = None
    """Initial text of the keys and values; None: those of random tokens."""

    def without_text(self) -> Self:
        """See `MethodConfig.without_text`."""
        return self.model_copy(update={"initial_text": None})


class PTuningConfig(SoftPromptConfig):
    """Virtual tokens produced by a small trained network (Liu et al. 2021, arXiv 2103.10385)."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """The peak learning rate."""


ConfigT = TypeVar("ConfigT", bound=MethodConfig)


def _settings_of(name: MethodName, default: ConfigT) -> ConfigT:
    """The field of a method's settings, with the method's title as help."""
    alias = name if "-" in name else None
    field: ConfigT = Field(default=default, alias=alias, description=f"{FACTS[name].title}.")
    return field


class MethodsConfig(Config):
    """The settings of each method; `method` and `adapt.rungs` choose which are used."""

    full: FullConfig = _settings_of("full", FullConfig())
    bitfit: BitfitConfig = _settings_of("bitfit", BitfitConfig())
    layernorm: LayernormConfig = _settings_of("layernorm", LayernormConfig())
    last_layers: LastLayersConfig = _settings_of("last-layers", LastLayersConfig())
    selective: SelectiveConfig = _settings_of("selective", SelectiveConfig())
    lora: LoraConfig = _settings_of("lora", LoraConfig())
    rslora: RsloraConfig = _settings_of("rslora", RsloraConfig())
    dora: DoraConfig = _settings_of("dora", DoraConfig())
    adalora: AdaloraConfig = _settings_of("adalora", AdaloraConfig())
    qlora: QloraConfig = _settings_of("qlora", QloraConfig())
    vera: VeraConfig = _settings_of("vera", VeraConfig())
    ia3: Ia3Config = _settings_of("ia3", Ia3Config())
    adapters: AdaptersConfig = _settings_of("adapters", AdaptersConfig())
    prompt_tuning: PromptTuningConfig = _settings_of("prompt-tuning", PromptTuningConfig())
    prefix_tuning: PrefixTuningConfig = _settings_of("prefix-tuning", PrefixTuningConfig())
    p_tuning: PTuningConfig = _settings_of("p-tuning", PTuningConfig())

    def of(self, name: MethodName) -> MethodConfig:
        """The settings of the method called ``name``."""
        settings: MethodConfig = getattr(self, name.replace("-", "_"))
        return settings

    def having(self, changed: Mapping[MethodName, MethodConfig]) -> MethodsConfig:
        """A copy with changed settings for some methods."""
        return self.model_copy(
            update={name.replace("-", "_"): settings for name, settings in changed.items()}
        )
