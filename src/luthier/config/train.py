"""Settings of the training loop, the same for every method."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from luthier.config.base import Config, Seconds
from luthier.config.permission import SENDS_NUMBERS
from luthier.core.choices import Checkpointing as Checkpointing
from luthier.core.choices import LossWeight as LossWeight
from luthier.core.choices import OptimizerName as OptimizerName
from luthier.core.choices import Parallelism

# Saving, stopping and parallelism decide how far and how fast a training gets, not where it goes;
# trackers only observe.
FINGERPRINT_EXCLUDED = frozenset(
    {
        "max_time",
        "checkpoint_every",
        "checkpoint_every_steps",
        "keep_checkpoints",
        "parallelism",
        "shard_group",
        "trackers",
    }
)


def _named(value: Any) -> Any:
    """The choice that true or false stands for."""
    return {True: "full", False: "none"}[value] if isinstance(value, bool) else value


class GuardsConfig(Config):
    """Responses to a training that goes wrong. A skipped step changes no weight."""

    non_finite: Literal["abort", "skip"] = "abort"
    """Loss or gradient not finite: stop, or skip the batch."""
    loss_spike: Literal["warn", "skip", "abort"] = "warn"
    """Loss far above the recent steps."""
    gradient_spike: Literal["warn", "skip", "abort"] = "warn"
    """Gradient norm far above the recent steps."""
    no_change: Literal["warn", "abort"] = "warn"
    """Updates that change no trained weight, as with a learning rate below their precision."""
    max_forgetting: float | None = Field(default=None, gt=0)
    """Stop when a validation finds that the loss on evaluate.general_text has risen by more than
    this, in nats per token, and keep the best earlier state; 0.05 is 5 % of perplexity. null: not
    measured."""
    max_skipped: int = Field(default=20, ge=0)
    """Stop after more skipped steps than this."""
    max_skipped_in_row: int = Field(default=3, ge=0)
    """Stop after more consecutive skipped steps than this."""


TrackerName = Literal["tensorboard", "trackio", "wandb", "mlflow"]


class TrainConfig(Config):
    """Settings of the training loop."""

    epochs: Annotated[float, Field(gt=0, le=1e9)] | Literal["auto"] = "auto"
    """Epochs over the training examples (elsewhere num_train_epochs). auto: one, or up to three
    where one has fewer than 100 optimizer steps."""
    max_steps: int | None = Field(default=None, ge=1, le=10**9)
    """Train for exactly this many optimizer steps, repeating the examples as needed; schedule and
    warm-up span them. It overrides epochs, including a method's own. null: the steps follow from
    the epochs."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Global batch size: examples per optimizer step, over all devices (elsewhere
    per_device_train_batch_size times gradient_accumulation_steps times the devices). auto: 16, or
    down to 2 where an epoch would have fewer than 100 steps. micro_batch_tokens sets how many a
    device computes at once."""
    micro_batch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = 2048
    """Tokens in one forward pass, padding included; auto: as many as fit, tried before the first
    step. It affects memory and speed, not the result except for dropout, and is halved when memory
    runs out."""
    max_padding: float = Field(default=0.1, ge=0, lt=1)
    """The share of padding above which a micro-batch is split in two."""
    packing: Literal["auto"] | bool = "auto"
    """Pack the examples of a micro-batch into one row with block-diagonal attention, instead of
    padding. auto: on a GPU, if full micro-batches would have more padding than max_padding and more
    than packing costs in attention. Rejected where a model cannot separate the examples."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """The decay of the learning rate after the warm-up (elsewhere lr_scheduler_type)."""
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    """The share of steps in which the learning rate rises (elsewhere warmup_ratio, or warmup_steps
    of the whole)."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this global norm."""
    optimizer: OptimizerName = "adamw"
    """adamw-8bit stores its moments in 8 bits; paged-adamw-8bit, on CUDA only, pages them to host
    memory when device memory runs out. adafactor stores sums of rows and columns, and takes the
    learning rate relative to a weight's scale; sgd stores nothing. Both need a far higher rate than
    adamw."""
    master_weights: bool = True
    """Update bfloat16 weights through float32 master copies; false: without them, with gradients
    and moments in bfloat16 and stochastic rounding (adamw only). This takes less than half the
    memory of weights and states, and adds a little noise."""
    num_validations: int = Field(default=4, ge=0)
    """Number of validations over the whole training; the best state is kept."""
    validate_every_steps: int | None = Field(default=None, ge=1)
    """Validate every this many optimizer steps, and after the last one, in place of num_validations
    (elsewhere eval_steps). null: num_validations decides."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many validations without improvement (elsewhere early_stopping_patience).
    null: never."""
    checkpoint_every: Seconds = 120.0
    """Save a checkpoint when this much time has passed since the last."""
    checkpoint_every_steps: int | None = Field(default=None, ge=1)
    """Also save a checkpoint every this many optimizer steps (elsewhere save_steps)."""
    keep_checkpoints: int | None = Field(default=2, ge=1)
    """Number of checkpoints to keep, newest first, with their best weights (elsewhere
    save_total_limit). With 1 there is no fallback if the newest is damaged. null: keep all."""
    max_time: Seconds | None = None
    """Save and exit cleanly after this much training time, such as 2h."""
    parallelism: Parallelism = "ddp"
    """How several processes share the model. ddp: a full copy each; zero2: whole weights while
    computing, but sharded gradients and optimizer states; fsdp: sharded weights too, gathered layer
    by layer in each pass."""
    shard_group: int | None = Field(default=None, ge=1)
    """With fsdp, the number of processes that share one copy; None: all."""
    activation_checkpointing: Annotated[Checkpointing, BeforeValidator(_named)] = "none"
    """Activation checkpointing (elsewhere gradient_checkpointing). full, or true: recompute whole
    layers, for the least memory and about a third more time; selective: recompute all except matrix
    products and attention; none, or false: recompute nothing."""
    compile: Literal["auto"] | bool = "auto"
    """Compile the layers before the first step. auto: if the plan predicts that this saves more
    time than it takes. It needs a C++ compiler, or Triton on a GPU. Losses change by rounding only,
    and a resumed run keeps its choice. Not available with dropout in an adapter."""
    guards: GuardsConfig = GuardsConfig()
    """Responses to a training that goes wrong."""
    trackers: Annotated[tuple[TrackerName, ...], SENDS_NUMBERS] = ("tensorboard",)
    """Trackers of each step besides metrics.jsonl: tensorboard, trackio, wandb, mlflow."""
    neftune_alpha: float | None = Field(default=None, gt=0)
    """Add noise to the embeddings of training examples, never in validations (NEFTune, Jain et al.
    2023, arXiv 2310.05914; elsewhere neftune_noise_alpha). It is uniform within ±alpha/√(L·D) for L
    tokens of D dimensions; the paper tries 5, 10 and 15. In an encoder-decoder model it is added to
    the encoder's embeddings. null: no noise."""
    completion_only_loss: bool = True
    """Train on completions only, not on prompts. Plain text is always trained on completely."""
    loss_weight: LossWeight = "token"
    """The thing of which each counts the same in the loss. token: each trained token, so long
    answers count for more; example: each example; source: each draw from a source of a mixture, on
    average, so that a source's share of the gradient is its share of the draws. The validation loss
    is weighted likewise."""

    def shards(self, processes: int) -> bool:
        """Whether weights and optimizer states are sharded over ``processes`` processes."""
        return self.parallelism != "ddp" and processes > 1

    @property
    def validates(self) -> bool:
        """Whether validations are enabled, given validation data."""
        return self.validate_every_steps is not None or self.num_validations > 0

    @model_validator(mode="after")
    def _groups_are_of_shards(self) -> Self:
        if self.shard_group and self.parallelism != "fsdp":
            raise ValueError(f"shard_group applies to fsdp, not to {self.parallelism}")
        return self

    @model_validator(mode="after")
    def _patience_looks_at_validations(self) -> Self:
        if self.patience and not self.validates:
            raise ValueError("patience counts validations, and train.num_validations is 0")
        return self
