"""How a model runs while it is trained: its attention's kernel, recomputed layers, compilation."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

import torch

from distillkit.errors import ConfigError, ModelError
from distillkit.models.loading import one_line
from distillkit.setting_types import Attention

# transformers fetches kernels from the hub, which are code, where the package is not installed
PACKAGES = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}


class Execution(Protocol):
    """The settings of how a model runs; see `training.settings.TrainSettings`."""

    @property
    def attn_implementation(self) -> Attention | None:
        """None: what transformers chooses."""

    @property
    def gradient_checkpointing(self) -> bool:
        """Keep the inputs of each layer, and compute the rest again for the backward pass."""

    @property
    def compile(self) -> bool:
        """Run the body as torch.compile makes it."""


def check_machine(settings: Execution, device: torch.device) -> None:
    """Raise `ConfigError` for what this machine has not what it takes."""
    name, is_on_gpu = settings.attn_implementation, device.type != "cpu"
    package = PACKAGES.get(name or "")
    if package and not (is_on_gpu and find_spec(package)):
        lack = f"the package {package}, which is not installed" if is_on_gpu else "a GPU"
        raise ConfigError(
            f"trainer.attn_implementation = {name}: needs {lack}; set it to sdpa, or null"
        )
    if name == "flex_attention" and not is_on_gpu:
        raise ConfigError(
            f"trainer.attn_implementation = {name}: has no gradient without a GPU; set it to sdpa, "
            "or null"
        )
    compiler = "triton" if is_on_gpu else os.environ.get("CXX", "g++")
    if settings.compile and not (find_spec("triton") if is_on_gpu else shutil.which(compiler)):
        raise ConfigError(
            f"trainer.compile = true: needs {compiler}, which is not installed; set it to false"
        )


@contextmanager
def executing(model: Any, settings: Execution) -> Iterator[None]:
    """Within, a model runs by its settings. Raises `ModelError` for those it cannot follow."""
    with _attention(model, settings.attn_implementation):
        if settings.gradient_checkpointing:
            _recompute(model)
        body = model.base_model if settings.compile else None
        if body is not None:
            body.forward = torch.compile(body.forward, dynamic=True)
        try:
            yield
        finally:
            if body is not None:
                del body.forward
            if settings.gradient_checkpointing:
                _renamed(model, "checkpointing_disable")()


@contextmanager
def _attention(model: Any, name: Attention | None) -> Iterator[None]:
    if name is None:
        yield
        return
    before = model.config._attn_implementation
    with one_line("trainer.attn_implementation", name, type(model).__name__, "cannot use it"):
        model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _recompute(model: Any) -> None:
    if not model.supports_gradient_checkpointing:
        raise ModelError(
            f"trainer.gradient_checkpointing = true: {type(model).__name__} cannot compute its "
            "layers again; set it to false"
        )
    # the reentrant way loses the gradients of inputs that need none
    _renamed(model, "checkpointing_enable")({"use_reentrant": False})


def _renamed(model: Any, name: str) -> Any:
    """A method that transformers calls activation_…, and called gradient_… before."""
    return getattr(model, f"activation_{name}", None) or getattr(model, f"gradient_{name}")
