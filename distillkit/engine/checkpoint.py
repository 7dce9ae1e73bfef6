"""Checkpoints of a training run: safetensors and JSON, each complete or not there."""

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from distillkit.artifacts import atomic, commit, read_json, write_json
from distillkit.errors import TrainingError


@dataclass(slots=True)
class Progress:
    """Where a run stands: everything but the tensors."""

    step: int = 0
    seconds: float = 0.0
    best_step: int = 0
    best_score: float | None = None
    window: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


class Checkpoints:
    """The checkpoints in a folder; the newest counts, older ones are removed.

    A checkpoint is of a whole learner, a model with its objective; the best weights are the model's
    alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self) -> Path | None:
        """The newest complete checkpoint."""
        found = sorted(self.folder.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
        return found[-1] if found else None

    def save(self, progress: Progress, learner: torch.nn.Module, optimizer: Any) -> None:
        """Commit a checkpoint, then remove what it replaces."""
        partial = self.folder / "new-checkpoint"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_state(learner), partial / "learner.safetensors")
        tensors, plain = _flatten(optimizer.state_dict()["state"])
        save_file(tensors, partial / "optimizer.safetensors")
        write_json(partial / "progress.json", asdict(progress) | {"optimizer": plain})
        final = self.folder / f"checkpoint-{progress.step:08d}"
        commit(partial, final)
        for old in self.folder.glob("checkpoint-*"):
            if old != final:
                shutil.rmtree(old)
        for old in self.folder.glob("best-*.safetensors"):
            if old != self.best(progress):
                old.unlink()

    def load(self, learner: torch.nn.Module, optimizer: Any) -> Progress:
        """Put the newest checkpoint's tensors in place; a fresh `Progress` if there is none.

        Raises `TrainingError` for a checkpoint that an earlier version of distillkit left.
        """
        path = self.newest()
        if path is None:
            return Progress()
        device = str(next(learner.parameters()).device)
        if not (path / "learner.safetensors").is_file():
            raise TrainingError(
                f"{path}: a checkpoint of an earlier version; remove it to train from the start"
            )
        learner.load_state_dict(
            load_file(path / "learner.safetensors", device=device), strict=False
        )
        record = read_json(path / "progress.json")
        plain = record.pop("optimizer")
        state = optimizer.state_dict()
        tensors = load_file(path / "optimizer.safetensors", device=device)
        optimizer.load_state_dict(state | {"state": _unflatten(tensors, plain)})
        return Progress(**record)

    def best(self, progress: Progress) -> Path:
        """The file of the best weights so far."""
        return self.folder / f"best-{progress.best_step:08d}.safetensors"

    def save_best(self, progress: Progress, model: torch.nn.Module) -> None:
        """Keep the weights of `progress.best_step`."""
        with atomic(self.best(progress)) as temporary:
            save_file(_state(model), temporary)

    def load_best(self, progress: Progress, model: torch.nn.Module) -> None:
        """Put the best weights in place."""
        device = str(next(model.parameters()).device)
        model.load_state_dict(load_file(self.best(progress), device=device), strict=False)

    def remove(self) -> None:
        """Remove all checkpoints: the run is over."""
        for path in self.folder.glob("*checkpoint*"):
            shutil.rmtree(path)
        for path in self.folder.glob("best-*.safetensors"):
            path.unlink()


def _state(model: torch.nn.Module) -> dict[str, Tensor]:
    """The state dict with each storage once: tied weights share one, which safetensors refuses."""
    seen: set[int] = set()
    kept = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen or not tensor.numel():
            seen.add(tensor.data_ptr())
            kept[name] = tensor.detach().contiguous()
    return kept


def _flatten(state: dict[int, dict[str, Any]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    flat = {
        f"{index}.{name}": value for index, part in state.items() for name, value in part.items()
    }
    tensors = {name: v.contiguous() for name, v in flat.items() if isinstance(v, Tensor)}
    return tensors, {name: v for name, v in flat.items() if not isinstance(v, Tensor)}


def _unflatten(tensors: dict[str, Tensor], plain: dict[str, Any]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **plain}.items():
        index, field_name = name.split(".", 1)
        state.setdefault(int(index), {})[field_name] = value
    return state
