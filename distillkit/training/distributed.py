"""Accelerate's objects: the one place where an `Accelerator` is made.

Accelerate keeps one state a process, so that every `Accelerator` has the same device and group of
processes, whoever makes it and how often.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.utils import (
    DistributedType,
    FullyShardedDataParallelPlugin,
    GradientAccumulationPlugin,
    broadcast_object_list,
    gather_object,
)
from accelerate.utils.fsdp_utils import fsdp2_prepare_model

from distillkit.console.wording import first_line
from distillkit.errors import ConfigError

__all__ = [
    "Accelerator",
    "accelerator_for",
    "broadcast",
    "compute_device",
    "gather",
    "new_trackers",
    "shard_frozen",
    "shards",
    "wrap",
]


def accelerator_for(*, has_unused_parameters: bool = False, cpu: bool = False) -> Accelerator:
    """The accelerator over the processes of this run; `cpu` keeps it from a GPU.

    DDP waits for the gradient of every parameter. Where `has_unused_parameters`, it looks for those
    that get none, at the cost of a walk over the graph each step, and of a warning where there are
    none. FSDP2 is as the user's Accelerate config has it, also on processors, where Accelerate by
    itself passes over that without a word. What decides weights is the run's own config: precision,
    compilation and gradient accumulation are no concern of Accelerate's.
    """
    ddp = DistributedDataParallelKwargs(find_unused_parameters=has_unused_parameters)
    accelerator = _accelerator(cpu=cpu, kwargs_handlers=[ddp])
    is_on_cpu = accelerator.distributed_type == DistributedType.MULTI_CPU
    if is_on_cpu and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        accelerator.state.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP  # as Accelerate does
    return accelerator


def _accelerator(**settings: Any) -> Accelerator:
    """One whose variables decide nothing of what the run's own config decides."""
    once = GradientAccumulationPlugin(num_steps=1)
    return Accelerator(
        mixed_precision="no", dynamo_backend="no", gradient_accumulation_plugin=once, **settings
    )


def shards(accelerator: Accelerator) -> bool:
    """Whether models are shared out among the processes."""
    return bool(accelerator.distributed_type == DistributedType.FSDP)


def wrap(
    accelerator: Accelerator,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    dtype: torch.dtype,
) -> tuple[Any, Any]:
    """A model and its optimizer as one of several processes trains them; see ModelWithObjective.

    FSDP2 gathers parameters in `dtype`, and sums gradients in float32.
    """
    if shards(accelerator):
        _plan_shards(accelerator, dtype)
        for parameter in model.parameters():  # FSDP2 takes no other
            parameter.data = parameter.data.contiguous()
    with _one_line():
        wrapped, prepared = accelerator.prepare(model, optimizer)
    return wrapped, prepared


def shard_frozen(accelerator: Accelerator, model: torch.nn.Module) -> torch.nn.Module:
    """A model without an optimizer, shared out among the processes."""
    _plan_shards(accelerator)
    with _one_line():
        return fsdp2_prepare_model(accelerator, model)


def _plan_shards(accelerator: Accelerator, dtype: torch.dtype = torch.float32) -> None:
    """Read the user's settings of FSDP2 anew: Accelerate's plan of one model is not the next one's.

    What is offloaded waits in pinned memory where there is any.
    """
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy

    plugin = FullyShardedDataParallelPlugin()
    if accelerator.device.type == "cpu" and isinstance(plugin.cpu_offload, CPUOffloadPolicy):
        plugin.cpu_offload = CPUOffloadPolicy(pin_memory=False)
    if dtype != torch.float32:
        plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=dtype, reduce_dtype=torch.float32
        )
    accelerator.state.fsdp_plugin = plugin


@contextmanager
def _one_line() -> Iterator[None]:
    """Raise `ConfigError` for layers that a model lacks, and weights that FSDP2 cannot share."""
    try:
        yield
    except ValueError as error:
        if "transformer layer class" in str(error):
            raise ConfigError(
                f"fsdp_transformer_layer_cls_to_wrap: {first_line(error)} Leave it out of the "
                "Accelerate config: each model names its own layers"
            ) from error
        if "scalar parameters" in str(error):
            raise ConfigError(
                f"ACCELERATE_USE_FSDP = true: {first_line(error)} Train this model by DDP"
            ) from error
        raise


# the command line as it was typed, the machine and the terminal are not written: facts are given
WANDB = {"console": "off", "disable_git": True, "disable_code": True, "x_disable_meta": True}


def new_trackers(name: str, run_name: str, folder: Path, facts: dict[str, str]) -> Accelerator:
    """An accelerator that logs to the tracker of this name, with its files in `folder`."""
    accelerator = _accelerator(log_with=name, project_dir=str(folder))
    options: dict[str, Any] = {
        # its variables are read once a process, and the jobs of a sweep may share one
        "wandb": {"name": run_name, "dir": os.environ.get("WANDB_DIR"), "settings": WANDB},
        "mlflow": {"run_name": run_name},
    }
    accelerator.init_trackers(run_name, config=None, init_kwargs={name: options.get(name, {})})
    if facts and name != "tensorboard":  # whose table of settings would be a run of its own
        accelerator.get_tracker(name).store_init_configuration(facts)
    return accelerator


def end_trackers(accelerator: Accelerator) -> None:
    """End each tracker, with all on disk; no group of processes ends with it."""
    for tracker in accelerator.trackers:
        if tracker.name == "trackio":  # Accelerate leaves its run open, which ends at exit again
            import_module("trackio").finish()
        else:
            tracker.finish()


def own_steps(accelerator: Accelerator, names: str, steps: str) -> None:
    """Have W&B draw the figures of these names over those named `steps`, not over its own count."""
    accelerator.get_tracker("wandb", unwrap=True).define_metric(names, step_metric=steps)


def compute_device() -> torch.device:
    """The device that this process computes on."""
    device: torch.device = accelerator_for().device
    # of several processes on processors each has a number, which safetensors takes for a GPU's
    return torch.device("cpu") if device.type == "cpu" else device


def broadcast(value: Any) -> Any:
    """The first process's `value`, any object that pickles; every process must call it."""
    return broadcast_object_list([value])[0]


def gather(value: Any) -> list[Any]:
    """Each process's `value`, any object that pickles, in their order; every process must call."""
    gathered: list[Any] = gather_object([value])
    return gathered
