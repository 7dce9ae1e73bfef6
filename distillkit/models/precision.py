"""The number format of a forward pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch

from distillkit.fast_paths import FastPath
from distillkit.losses.heads import has_bfloat16

Precision = Literal["auto", "float32", "bfloat16"]


def resolve(precision: Precision, device: torch.device) -> torch.dtype:
    """The format in use: `auto` is bfloat16 where the processor multiplies it in hardware."""
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[None]:
    """Run matrix products in `dtype`; weights and optimizer stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


@contextmanager
def cached_casts() -> Iterator[None]:
    """Within, autocast converts a weight once, not anew each time that it is entered.

    For weights that do not change meanwhile: what was converted is taken again as it is. PyTorch
    keeps it outside of inference mode only.
    """
    if not FastPath.CACHED_CASTS.is_enabled:
        yield
        return
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
