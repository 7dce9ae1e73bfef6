"""Accelerate's objects: the one place where an `Accelerator` is made.

Accelerate keeps one state a process, so that every `Accelerator` has the same device and group of
processes, whoever makes it and how often.
"""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list

__all__ = ["Accelerator", "accelerator_for", "broadcast", "compute_device", "new_trackers"]


def accelerator_for(*, has_unused_parameters: bool = False, cpu: bool = False) -> Accelerator:
    """The accelerator over the processes of this run; `cpu` keeps it from a GPU.

    DDP waits for the gradient of every parameter. Where `has_unused_parameters`, it looks for those
    that get none, at the cost of a walk over the graph each step, and of a warning where there are
    none.
    """
    ddp = DistributedDataParallelKwargs(find_unused_parameters=has_unused_parameters)
    return Accelerator(cpu=cpu, kwargs_handlers=[ddp])


def new_trackers(name: str, run_name: str, folder: Path, facts: dict[str, str]) -> Accelerator:
    """An accelerator that logs to the tracker of this name, with its files in `folder`."""
    accelerator = Accelerator(log_with=name, project_dir=str(folder))
    options = {"tensorboard": {}, "wandb": {"name": run_name}, "mlflow": {"run_name": run_name}}
    accelerator.init_trackers(run_name, config=None, init_kwargs={name: options.get(name, {})})
    if facts and name != "tensorboard":  # whose table of settings would be a run of its own
        accelerator.get_tracker(name).store_init_configuration(facts)
    return accelerator


def compute_device() -> torch.device:
    """The device that this process computes on."""
    device: torch.device = accelerator_for().device
    # of several processes on processors each has a number, which safetensors takes for a GPU's
    return torch.device("cpu") if device.type == "cpu" else device


def broadcast(value: Any) -> Any:
    """The first process's `value`, any object that pickles; every process must call it."""
    return broadcast_object_list([value])[0]
