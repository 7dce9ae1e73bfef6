"""How soft targets are captured."""

from dataclasses import dataclass
from typing import Literal

from distillkit.constraints import PositiveInt


@dataclass(frozen=True)
class StoredTargets:
    """Targets from a store that is made once and read by every student.

    `path` takes a store as it is, after checking that teacher, tokenizer and data are this run's.
    `batch_tokens` is a forward pass's size with padding; neither it nor `shard_examples` changes
    what the store means.
    """

    dtype: Literal["float32", "float16"] = "float32"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_tokens: PositiveInt = 4096
    shard_examples: PositiveInt = 8192
    path: str | None = None
