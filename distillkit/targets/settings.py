"""How soft targets are had: from a store, or from a teacher in the loop."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from distillkit.errors import ConfigError
from distillkit.setting_types import PositiveInt, Seed
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.dense import Dense
from distillkit.targets.codecs.registry import register


@dataclass(frozen=True)
class StoredTargets:
    """Targets from a store that is made once and read by every student.

    `codec` says what is kept of each position; `seed` belongs to codecs that draw. `path` takes a
    store as it is, after checking that teacher, tokenizer and data are this run's. `batch_tokens`
    is a forward pass's size with padding; neither it nor `shard_tokens` changes what the store
    means.
    """

    codec: Any = field(default_factory=Dense)
    seed: Seed = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_tokens: PositiveInt = 4096
    shard_tokens: PositiveInt = 65536
    path: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.codec, Codec):
            raise ConfigError(
                f"targets.codec = {self.codec}: no codec; choose one with targets=stored, sampled, "
                "top_k, top_p, sampled_logits or last_hidden"
            )
        register(self.codec)


@dataclass(frozen=True)
class AutoTargets:
    """Targets from a store whose codec follows from the task and the loss.

    `codec` holds settings of the one that is chosen; the rest is as of `StoredTargets`.
    """

    codec: dict[str, Any] = field(default_factory=dict)
    seed: Seed = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_tokens: PositiveInt = 4096
    shard_tokens: PositiveInt = 65536
    path: str | None = None

    def kept_by(self, codec: Any) -> StoredTargets:
        """The same with a codec."""
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "codec"}
        return StoredTargets(codec=codec, **rest)


@dataclass(frozen=True)
class OnlineTargets:
    """The teacher answers in the training loop, and nothing is kept.

    For what is too large to keep: hidden states, attention. `precision` is of its forward pass,
    which has at most `batch_tokens` tokens, padding included.
    """

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_tokens: PositiveInt = 4096
