"""The processes of a run as Accelerate sees them: their group, before there is a training loop."""

from datetime import timedelta
from typing import Any

from accelerate import PartialState


def join_process_group(*, cpu: bool, timeout: timedelta) -> Any:
    """Meet the other processes of a launcher; the state holds rank, world size and device.

    Raises `RuntimeError` or `ValueError` as torch does where they do not meet.
    """
    return PartialState(cpu=cpu, timeout=timeout)


def leave_process_group() -> None:
    """End what `join_process_group` began; collective calls no longer work."""
    PartialState().destroy_process_group()
