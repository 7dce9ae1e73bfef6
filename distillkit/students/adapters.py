"""What of a student is trained: all of it, or low-rank matrices beside its frozen weights."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from distillkit.errors import ConfigError
from distillkit.setting_types import Fraction, Positive, PositiveInt


@dataclass(frozen=True)
class Lora:
    """LoRA, Hu et al. 2021, https://arxiv.org/abs/2106.09685: W + (alpha / r) B A, W frozen.

    `r` is the rank of B A, `dropout` that of what A reads. `targets` are the linear layers that get
    one, by their names or the ends of these; null: all of the body. A classifier's head is trained
    whole. `save: both` writes the adapter, too, as PEFT opens it, beside the merged student.
    """

    r: PositiveInt = 8
    alpha: Positive = 16.0
    dropout: Fraction = 0.0
    targets: list[str] | None = None
    save: Literal["merged", "both"] = "merged"


class Adapted:
    """What a student that starts from weights, and may leave them as they are, has of settings."""

    adapter: Literal["lora"] | None
    lora: Lora

    def check_adapter(self) -> None:
        """Raise `ConfigError` for settings of an adapter that there is none of."""
        changed = [f.name for f in fields(Lora) if getattr(self.lora, f.name) != f.default]
        if changed and self.adapter is None:
            value = getattr(self.lora, changed[0])
            raise ConfigError(
                f"student.lora.{changed[0]} = {value}: without an adapter it does nothing; add "
                "student.adapter=lora"
            )

    def adapter_fields(self) -> dict[str, Any]:
        """What of the adapter decides a student's weights; empty without one."""
        if self.adapter is None:
            return {}
        names = ("r", "alpha", "dropout", "targets")
        return {"adapter": {"kind": self.adapter} | {n: getattr(self.lora, n) for n in names}}

    def adapter_label(self) -> str:
        """ "; LoRA of rank 8", or nothing."""
        return f"; LoRA of rank {self.lora.r}, the rest frozen" if self.adapter else ""
