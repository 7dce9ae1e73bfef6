"""Accelerate's objects: the one place where an `Accelerator` is made.

Accelerate keeps one state a process, so that every `Accelerator` has the same device and group of
processes, whoever makes it and how often.
"""

from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list

__all__ = ["Accelerator", "accelerator_for", "broadcast", "compute_device"]


def accelerator_for(*, has_unused_parameters: bool = False, cpu: bool = False) -> Accelerator:
    """The accelerator over the processes of this run; `cpu` keeps it from a GPU.

    DDP waits for the gradient of every parameter. Where `has_unused_parameters`, it looks for those
    that get none, at the cost of a walk over the graph each step, and of a warning where there are
    none.
    """
    ddp = DistributedDataParallelKwargs(find_unused_parameters=has_unused_parameters)
    return Accelerator(cpu=cpu, kwargs_handlers=[ddp])


def compute_device() -> torch.device:
    """The device that this process computes on."""
    device: torch.device = accelerator_for().device
    return device


def broadcast(value: Any) -> Any:
    """The first process's `value`, any object that pickles; every process must call it."""
    return broadcast_object_list([value])[0]
