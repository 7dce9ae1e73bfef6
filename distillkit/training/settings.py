"""How long, how large and how often: the settings of the training loop."""

from dataclasses import dataclass
from typing import Literal

from distillkit.errors import ConfigError
from distillkit.setting_types import Attention, NonNegative, Positive, PositiveInt


@dataclass(frozen=True)
class TrainSettings:
    """One of `steps` (optimizer steps) and `epochs` sets the length.

    `micro_batch_size` cuts a batch into pieces that fit the memory and changes no result but
    rounding. `keep: best` keeps the weights of the best validation score, looked at every
    `eval_every` steps; `checkpoint_seconds` is the most work that a kill can cost. With `patience`
    training ends after so many looks at the validation score in turn that found nothing better,
    and with `patience_below` only if the loss has also come below that share of what it began with:
    a model that has not learnt its labels yet stands still without being done.

    How the student runs while it is trained: `attn_implementation` is the kernel of its attention,
    null what transformers chooses; with `gradient_checkpointing` layers are computed again for the
    backward pass, which takes less memory and more time; with `compile` the body runs as
    torch.compile makes it. Each changes weights as rounding does.
    """

    steps: PositiveInt | None = None
    epochs: Positive | None = None
    batch_size: PositiveInt = 32
    micro_batch_size: PositiveInt | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    max_grad_norm: Positive | None = 1.0
    keep: Literal["best", "last"] = "best"
    eval_every: PositiveInt | None = None
    patience: PositiveInt | None = None
    patience_below: Positive | None = None
    log_every: PositiveInt = 50
    checkpoint_seconds: NonNegative = 30.0
    gradient_checkpointing: bool = False
    compile: bool = False
    attn_implementation: Attention | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError(
                f"trainer.steps = {self.steps}, trainer.epochs = {self.epochs}: set exactly one "
                "of them"
            )

    def length(self, steps_per_epoch: int) -> int:
        """The run's length in optimizer steps."""
        return self.steps or max(1, round((self.epochs or 0) * steps_per_epoch))
