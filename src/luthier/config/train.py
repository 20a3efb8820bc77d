"""The training loop's settings, the same for every method."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from luthier.config.base import Config, Seconds
from luthier.config.permission import SENDS_NUMBERS
from luthier.core.choices import Checkpointing as Checkpointing
from luthier.core.choices import OptimizerName as OptimizerName
from luthier.core.choices import Parallelism

# How often to save, when to stop and who shares the work decide how far a training comes and how
# fast, not where it goes; trackers look on.
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
    """What true and false mean for a choice of three."""
    return {True: "full", False: "none"}[value] if isinstance(value, bool) else value


class GuardsConfig(Config):
    """What to do when a training goes wrong. What is skipped leaves every weight as it is."""

    non_finite: Literal["abort", "skip"] = "abort"
    """A loss or gradient that is not finite: stop, or leave the batch out."""
    loss_spike: Literal["warn", "skip", "abort"] = "warn"
    """A loss far above those of the last steps."""
    gradient_spike: Literal["warn", "skip", "abort"] = "warn"
    """A gradient norm far above those of the last steps."""
    no_change: Literal["warn", "abort"] = "warn"
    """Updates that change no trained weight, as a learning rate below its precision does."""
    max_forgetting: float | None = Field(default=None, gt=0)
    """Stop when a validation finds that the loss on evaluate.general_text has risen by more than
    this, in nats per token, and keep the best state before; 0.05 is 5 % of perplexity. null: it is
    not looked at."""
    max_skipped: int = Field(default=20, ge=0)
    """Stop when more steps than this were skipped."""
    max_skipped_in_row: int = Field(default=3, ge=0)
    """Stop when more steps than this were skipped one after the other."""


TrackerName = Literal["tensorboard", "trackio", "wandb", "mlflow"]


class TrainConfig(Config):
    """The one loop."""

    epochs: float = Field(default=1.0, gt=0, le=1e9)
    """Passes over the training examples (elsewhere num_train_epochs)."""
    max_steps: int | None = Field(default=None, ge=1, le=10**9)
    """Train for exactly so many optimizer steps, with as many passes over the examples as they
    need; schedule and warm-up span them. It decides wherever it is given: epochs, a method's own
    too, are not read then. null: as many steps as the epochs make."""
    batch_size: int = Field(default=16, ge=1)
    """Examples in an optimizer step, on all devices together: elsewhere
    per_device_train_batch_size times gradient_accumulation_steps times the devices. How many of
    them a device computes at once is micro_batch_tokens."""
    micro_batch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = 2048
    """Tokens in one forward pass, padding included; auto: as many as fit, tried before the first
    step. It changes memory and speed, not the result, but for what dropout leaves out, and is
    halved when memory runs out."""
    max_padding: float = Field(default=0.1, ge=0, lt=1)
    """The share of padding above which a micro-batch is cut in two."""
    packing: Literal["auto"] | bool = "auto"
    """Let the examples of a micro-batch share one row, in which none sees another, instead of
    padded rows. auto: on a GPU, where full micro-batches would have more padding than max_padding,
    and more than packing costs in attention. Refused where a model lets examples see each other."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up (elsewhere lr_scheduler_type)."""
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    """The share of steps over which the learning rate rises (elsewhere warmup_ratio, or
    warmup_steps of the whole)."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this global norm."""
    optimizer: OptimizerName = "adamw"
    """adamw-8bit keeps its moments in 8 bits; paged-adamw-8bit, on CUDA alone, in memory that moves
    to the host where the device's does not suffice. adafactor keeps sums of rows and columns, and
    takes the learning rate as a share of a weight's size; sgd keeps nothing. Both want a far higher
    rate than adamw."""
    master_weights: bool = True
    """Update bfloat16 weights through float32 copies; false: without them, with gradients and
    moments in bfloat16 too, rounded up or down at random (adamw alone). Less than half the memory
    of weights and states, a little more noise."""
    num_validations: int = Field(default=4, ge=0)
    """How often the validation loss is measured over the whole training; the best state is kept."""
    validate_every_steps: int | None = Field(default=None, ge=1)
    """Validate after every so many optimizer steps, and after the last one, in place of
    validations (elsewhere eval_steps). null: as often as num_validations says."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many validations without a better loss (elsewhere early_stopping_patience).
    null: never."""
    checkpoint_every: Seconds = 120.0
    """Save a checkpoint to resume from when this much time has passed since the last."""
    checkpoint_every_steps: int | None = Field(default=None, ge=1)
    """Save a checkpoint after every so many optimizer steps too (elsewhere save_steps)."""
    keep_checkpoints: int | None = Field(default=2, ge=1)
    """Keep so many of the newest checkpoints, and the best weights that go with them (elsewhere
    save_total_limit). With 1 there is none to fall back on where the newest is damaged. null: keep
    all."""
    max_time: Seconds | None = None
    """Save and exit cleanly after this much training time, such as 2h."""
    parallelism: Parallelism = "ddp"
    """How several processes share the model. ddp: a copy each; zero2: whole weights while they
    compute, but shards of gradients and optimizer states; fsdp: shards of weights too, gathered
    layer by layer, in each direction."""
    shard_group: int | None = Field(default=None, ge=1)
    """With fsdp, how many processes hold one copy together; None: all."""
    activation_checkpointing: Annotated[Checkpointing, BeforeValidator(_named)] = "none"
    """What the backward pass computes again. full, or true: whole layers, for the least memory and
    about a third more time; selective: all but matrix products and attention; none, or false:
    nothing (elsewhere gradient_checkpointing)."""
    compile: Literal["auto"] | bool = "auto"
    """Compile the layers before the first step. auto: where the plan says that this saves more time
    than it takes. It needs a C++ compiler, or Triton on a GPU. What it changes in the losses is
    rounding, and a resumed run keeps to what it began with. Not with dropout in an adapter."""
    guards: GuardsConfig = GuardsConfig()
    """What to do when a training goes wrong."""
    trackers: Annotated[tuple[TrackerName, ...], SENDS_NUMBERS] = ("tensorboard",)
    """Where each step's numbers go beside metrics.jsonl: tensorboard, trackio, wandb, mlflow."""
    neftune_alpha: float | None = Field(default=None, gt=0)
    """Add noise to the embeddings of the training examples, never in validations (NEFTune, Jain et
    al. 2023, arXiv 2310.05914; elsewhere neftune_noise_alpha). It is uniform within ±alpha/√(L·D)
    for L tokens of D numbers; the paper tries 5, 10 and 15. Of an encoder-decoder model the
    encoder's embeddings get it. null: no noise."""
    completion_only_loss: bool = True
    """Train on the answers, not on the prompts. Plain text is always trained on whole."""

    def shards(self, processes: int) -> bool:
        """Whether so many processes hold a part of each trained weight and its states alone."""
        return self.parallelism != "ddp" and processes > 1

    @property
    def validates(self) -> bool:
        """Whether there are validations, if there is something to validate on."""
        return self.validate_every_steps is not None or self.num_validations > 0

    @model_validator(mode="after")
    def _groups_are_of_shards(self) -> Self:
        if self.shard_group and self.parallelism != "fsdp":
            raise ValueError(
                f"shard_group says who holds a copy together under fsdp, not {self.parallelism}"
            )
        return self

    @model_validator(mode="after")
    def _patience_looks_at_validations(self) -> Self:
        if self.patience and not self.validates:
            raise ValueError("patience counts validations, and train.num_validations is 0")
        return self
