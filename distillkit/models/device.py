"""The processes of a run as Accelerate sees them: their group, before there is a training loop."""

import os
from datetime import timedelta
from typing import Any

from accelerate import PartialState
from torch.distributed import is_initialized


def join_process_group(
    *, cpu: bool, timeout: timedelta, store: Any, rank: int, world_size: int
) -> Any:
    """Join the others at the store they have met at; the state holds rank, world size and device.

    Raises `RuntimeError` or `ValueError` as torch does where they cannot be joined. A model is read
    or made by every process: transformers would leave it empty on all but the first, for a wrapper
    to fill, before its head is checked.
    """
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    return PartialState(cpu=cpu, timeout=timeout, store=store, rank=rank, world_size=world_size)


def leave_process_group() -> None:
    """End what `join_process_group` began, if it did; collective calls no longer work."""
    if is_initialized():
        PartialState().destroy_process_group()
