"""The tuning methods and their settings."""

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
        raise ValueError(f"is no regular expression: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_check_pattern)]
"""A regular expression of bounded length; who looks for it bounds the time."""
Targets = Annotated[tuple[str, ...], Field(min_length=1)] | Pattern
"""Ends of modules' names; a regular expression for whole names; or ``all-linear``. As in peft."""
Exclusion = tuple[str, ...] | Pattern
"""Ends of modules' names, or a regular expression for whole names."""
Token = Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=0)]
"""A token as the tokenizer writes it, or its id."""


class MethodConfig(Config):
    """What every method sets for itself, because good values differ by orders of magnitude."""

    learning_rate: float = Field(gt=0)
    """The peak learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay, on matrices only."""
    epochs: float | None = Field(default=None, gt=0, le=1e9)
    """Passes over the training examples; None: train.epochs."""

    @property
    def positions(self) -> int:
        """Positions of the context window that it takes."""
        return 0

    @property
    def drops(self) -> bool:
        """Whether it leaves out a part of its input at random."""
        return False

    @property
    def base_quantisation(self) -> Quantisation | None:
        """How it wants the base quantised; None: as the model's settings have it."""
        return None

    @property
    def layers_above_cache(self) -> int | None:
        """Layers trained above frozen ones whose outputs are kept; None: nothing is kept."""
        return None

    def without_text(self) -> Self:
        """The same settings without words, for which a tokenizer would be needed."""
        return self


class FullConfig(MethodConfig):
    """Every parameter is trained."""

    learning_rate: float = Field(default=2e-5, gt=0)
    """The peak learning rate."""


class BitfitConfig(MethodConfig):
    """Biases alone are trained (Ben Zaken et al. 2022, arXiv 2106.10199)."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """The peak learning rate."""


class LayernormConfig(MethodConfig):
    """The scales and shifts of all norms are trained (Zhao et al. 2023, arXiv 2312.11420)."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """The peak learning rate."""


class LastLayersConfig(MethodConfig):
    """The last layers and the norm after them are trained."""

    learning_rate: float = Field(default=5e-5, gt=0)
    """The peak learning rate."""
    layers: int = Field(default=2, ge=1)
    """How many layers, counted from the end; of an encoder-decoder model, of the decoder."""
    cache: bool = True
    """Compute the layers below once for each example when epochs repeat: up to 2 GiB of memory."""

    @property
    def layers_above_cache(self) -> int | None:
        """See `MethodConfig.layers_above_cache`."""
        return self.layers if self.cache else None


class SelectiveConfig(MethodConfig):
    """The parameters that you name are trained."""

    learning_rate: float = Field(default=5e-5, gt=0)
    """The peak learning rate."""
    parameters: tuple[Pattern, ...] = ()
    """Regular expressions of at most 200 characters, such as [mlp, norm]; a parameter is trained
    where one of them is found in its name."""


class ModulesConfig(MethodConfig):
    """A method that adds something to modules of the model."""

    targets: Targets = "all-linear"
    """The modules to adapt: a list of names or ends of names, [q_proj, v_proj]; a regular
    expression that matches whole names, '.*layers\\.[01]\\..*_proj'; or all linear layers but the
    output layer."""
    exclude_modules: Exclusion = ()
    """Modules that are left as they are although they are targets: names or a regular expression,
    as with targets."""
    layers_to_transform: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Numbers of the layers whose targets are adapted, [0, 1]; none: all layers."""
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
    """Tokens whose embeddings are trained besides, and the rows of the output layer that give
    them: as the tokenizer writes them, [<|depot|>], or ids. Peft: trainable_token_indices."""

    @property
    def drops(self) -> bool:
        """See `MethodConfig.drops`."""
        return self.dropout > 0


class RsloraConfig(LoraConfig):
    """LoRA whose update does not shrink with its rank (Kalajdzievski 2023, arXiv 2312.03732)."""

    alpha: float = Field(default=16, gt=0)
    """The update is scaled by alpha / √rank."""


class DoraConfig(LoraConfig):
    """LoRA of the direction, and a trained length for each column (Liu et al. 2024, 2402.09353)."""


class AdaloraConfig(LoraConfig):
    """LoRA that spends its rank where it matters (Zhang et al. 2023, arXiv 2303.10512)."""

    learning_rate: float = Field(default=1e-2, gt=0)
    """The peak learning rate. An update is a product of three factors, two of which begin small, so
    it wants steps twenty times as long as LoRA's."""
    rank: int = Field(default=12, ge=2)
    """The rank of each update at the start."""
    final_rank: int = Field(default=8, ge=1)
    """The mean rank at the end; less important directions are pruned, whichever layer has them."""
    start: float = Field(default=0.1, ge=0, lt=1)
    """The share of the steps before pruning begins."""
    tfinal_fraction: float = Field(default=0.3, gt=0, lt=1)
    """The share of the steps after pruning has ended."""
    prune_every: int = Field(default=10, ge=1)
    """Steps from one pruning to the next."""
    orth_reg_weight: float = Field(default=0.5, ge=0)
    """The weight of the penalty that keeps directions apart."""

    @model_validator(mode="after")
    def _prunes(self) -> Self:
        if self.final_rank >= self.rank:
            raise ValueError(f"final_rank {self.final_rank} must be below rank {self.rank}")
        if self.start + self.tfinal_fraction >= 1:
            raise ValueError("start and tfinal_fraction together must leave steps to prune in")
        return self


class QloraConfig(LoraConfig):
    """LoRA beside a base whose linear layers are quantised (Dettmers et al. 2023, 2305.14314)."""

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
    """The modules to adapt, as with lora. By default those with the names that keys, values and the
    MLP's last product have in most models; names that a model lacks are passed over."""
    feedforward_modules: tuple[str, ...] = IA3_INPUTS
    """Ends of the names of those targets whose inputs are scaled instead of their outputs."""


class AdaptersConfig(MethodConfig):
    """Small networks after the sub-layers of each layer (Houlsby et al. 2019, arXiv 1902.00751)."""

    learning_rate: float = Field(default=5e-4, gt=0)
    """The peak learning rate."""
    bottleneck: int = Field(default=64, ge=1)
    """The width inside an adapter."""
    placement: Placement = "houlsby"
    """houlsby: after attention and after the MLP; pfeiffer: after the MLP alone (2005.00247)."""


class SoftPromptConfig(MethodConfig):
    """What stands before the input and is trained."""

    virtual_tokens: int = Field(default=16, ge=1)
    """How many vectors, or keys and values of each layer, are trained."""

    @property
    def positions(self) -> int:
        """See `MethodConfig.positions`."""
        return self.virtual_tokens


class PromptTuningConfig(SoftPromptConfig):
    """Trained virtual tokens before the input (Lester et al. 2021, arXiv 2104.08691)."""

    learning_rate: float = Field(default=3e-2, gt=0)
    """The peak learning rate."""
    initial_text: str | None = None
    """Words whose embeddings the vectors start from; None: embeddings of tokens drawn at random."""

    def without_text(self) -> Self:
        """See `MethodConfig.without_text`."""
        return self.model_copy(update={"initial_text": None})


class PrefixTuningConfig(SoftPromptConfig):
    """Trained keys and values in each layer of the decoder (Li and Liang 2021, 2101.00190)."""

    learning_rate: float = Field(default=1e-2, gt=0)
    """The peak learning rate."""
    initial_text: str | None = None
    """Words whose keys and values they start from; None: those of tokens drawn at random."""

    def without_text(self) -> Self:
        """See `MethodConfig.without_text`."""
        return self.model_copy(update={"initial_text": None})


class PTuningConfig(SoftPromptConfig):
    """Virtual tokens that a small trained network makes (Liu et al. 2021, arXiv 2103.10385)."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """The peak learning rate."""


ConfigT = TypeVar("ConfigT", bound=MethodConfig)


def _settings_of(name: MethodName, default: ConfigT) -> ConfigT:
    """The field of a method's settings; its help is the method's title."""
    alias = name if "-" in name else None
    field: ConfigT = Field(default=default, alias=alias, description=f"{FACTS[name].title}.")
    return field


class MethodsConfig(Config):
    """The settings of each method; `method` and `adapt.rungs` say which ones are used."""

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
        """The same with other settings of some methods."""
        return self.model_copy(
            update={name.replace("-", "_"): settings for name, settings in changed.items()}
        )
