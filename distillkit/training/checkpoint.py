"""Checkpoints of a training run: safetensors and JSON, each complete or not there."""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from distillkit.artifacts import permissions
from distillkit.artifacts.digests import (
    Verifier,
    are_files,
    file_sha256,
    is_sealed,
    place_of,
    recorded,
    sealed,
)
from distillkit.artifacts.workspace import SHARED_SOON, atomic, commit, read_json, write_json
from distillkit.console.progress import rank, say
from distillkit.console.wording import brief
from distillkit.errors import TrainingError
from distillkit.training.batch_source import BatchSource
from distillkit.training.distributed import broadcast, gather
from distillkit.training.sharding import is_sharded, on_first, tensors_of
from distillkit.training.shards import SHARDS, optimizer_tensors, read_shards, write_shards

LEARNER, OPTIMIZER, PROGRESS = "learner.safetensors", "optimizer.safetensors", "progress.json"
SOURCE = "source.safetensors"  # of a batch source that has a state
FILES = {LEARNER, OPTIMIZER, PROGRESS}
RECORD = "files.json"
SCRATCH = ("checkpoint-*", "new-checkpoint", "best-*.safetensors")  # of a run that is over
NOTHING: Mapping[str, Tensor] = {}
SHARE = "set workspace=FOLDER to one that all machines share"
_NAME = re.compile(r"checkpoint-\d+")


@dataclass(slots=True)
class Progress:
    """Where a run stands: everything but the tensors."""

    step: int = 0
    seconds: float = 0.0
    best_step: int = 0
    best_score: float | None = None
    window: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


_PROGRESS = TypeAdapter(Progress)


class Checkpoints:
    """The checkpoints in a folder; the newest counts, older ones are removed.

    A checkpoint is of a whole learner, a model with its objective; the best weights are the model's
    alone. Each holds the artifact's name, and the size and sha256 of its files and of the best
    weights that belong to it; one of which anything is missing or altered is passed over, and so is
    another artifact's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._best: dict[str, dict[str, Any]] = {}  # the record of the best weights' file

    def newest(self) -> Path | None:
        """The newest checkpoint that is whole, of which the best weights are whole, too."""
        return next((path for path, damage in self._all_parts() if not damage), None)

    def _all_parts(self) -> Iterator[tuple[Path, str]]:
        """Every checkpoint, the newest first, and what is wrong with it."""
        paths = [path for path in self.folder.glob("checkpoint-*") if _NAME.fullmatch(path.name)]
        for path in sorted(paths, key=lambda path: int(path.name.split("-")[1]), reverse=True):
            yield path, self._damage(path)

    def _damage(self, path: Path) -> str:
        """What is wrong with a checkpoint; empty if it is whole."""
        try:
            record = read_json(path / RECORD)
        except FileNotFoundError:
            return f"has no {RECORD}: an earlier version made it, or it is half removed"
        except (OSError, ValueError, RecursionError) as error:
            return f"{RECORD}: {type(error).__name__}: {brief(error)}"
        if not isinstance(record, dict) or not is_sealed(record):
            return f"{RECORD}: altered (its digest is not that of its content)"
        if record.get("place", place_of(self.folder)) != place_of(self.folder):
            return f"{RECORD}: is that of {brief(record['place'])}"
        files, best = record.get("files"), record.get("best")
        if not are_files(files) or not are_files(best) or not _are_enough(files):
            return f"{RECORD}: lists no files of a checkpoint"
        verifier = Verifier("always")
        lines = verifier.damage(path, files) + verifier.damage(self.folder, best)
        if lines:
            return lines[0]
        return _fault(read_json(path / PROGRESS))

    def save(
        self,
        progress: Progress,
        learner: torch.nn.Module,
        optimizer: Any,
        source: Mapping[str, Tensor] = NOTHING,
    ) -> None:
        """Commit a checkpoint, then remove what it replaces; `source` is a batch source's state.

        Of a learner that is shared out every process must call it, and writes its own part; of
        another the first one.
        """
        partial = self.folder / "new-checkpoint"
        weights, (tensors, plain) = tensors_of(learner), _flatten(optimizer.state_dict()["state"])
        if not rank():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        if is_sharded(learner):
            gather(None)  # the folder is there
            write_shards(partial, weights | tensors)
            if rank():
                return
        else:
            save_file(weights, partial / LEARNER)
            save_file(tensors, partial / OPTIMIZER)
        if source:
            on_cpu = {name: tensor.detach().cpu().clone() for name, tensor in source.items()}
            save_file(on_cpu, partial / SOURCE)
        write_json(partial / PROGRESS, asdict(progress) | {"optimizer": plain})
        best = self.best(progress)
        of_best = {best.name: self._best[best.name]} if best.name in self._best else {}
        record = {"files": recorded(partial), "best": of_best, "place": place_of(self.folder)}
        write_json(partial / RECORD, sealed(record))
        final = self.folder / f"checkpoint-{progress.step:08d}"
        if os.path.lexists(final):  # one that was passed over
            permissions.delete(final)
        commit(partial, final)
        for old in self.folder.glob("checkpoint-*"):
            if old != final:
                permissions.delete(old)
        for old in self.folder.glob("best-*.safetensors"):
            if old != best:
                old.unlink()

    def load(
        self, learner: torch.nn.Module, optimizer: Any, source: BatchSource | None = None
    ) -> Progress:
        """Put the newest whole checkpoint's tensors in place; a fresh `Progress` if there is none.

        Those that are damaged, or hold the state of another batch source, are named and passed
        over.
        """
        expected = set(source.state_dict()) if source else set()
        path = self._agreed(expected) if is_sharded(learner) else self._usable(expected)
        if path is None:
            return Progress()
        if source:
            source.load_state_dict(_source_state(path))
        return self._load(path, learner, optimizer)

    def _usable(self, expected: set[str]) -> Path | None:
        """The newest checkpoint that is whole and holds these names of a batch source's state."""
        for path, damage in self._all_parts():
            if damage:
                say(f"{path}: damaged: {damage}; it is passed over")
            elif set(_source_state(path)) != expected:
                say(f"{path}: its batches come from another source; it is passed over")
            else:
                return path
        return None

    def _agreed(self, expected: set[str]) -> Path | None:
        """The first process's checkpoint, on all: they read it together.

        Raises `TrainingError` where another machine never comes to see it.
        """
        path: Path | None = broadcast(None if rank() else self._usable(expected))
        deadline = time.monotonic() + SHARED_SOON
        while path and not (path / RECORD).exists():
            if time.monotonic() > deadline:
                raise TrainingError(f"process {rank()} has no {path}; {SHARE}")
            time.sleep(0.5)
        return path

    def _load(self, path: Path, learner: torch.nn.Module, optimizer: Any) -> Progress:
        record, state = read_json(path / PROGRESS), optimizer.state_dict()
        plain = record.pop("optimizer")
        if is_sharded(learner) or not (path / LEARNER).exists():
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            weights, tensors = tensors_of(learner), optimizer_tensors(path, parameters)
            read_shards(path, weights | tensors, alone=not is_sharded(learner))
        else:
            device = str(next(learner.parameters()).device)
            weights = load_file(path / LEARNER, device=device)
            tensors = load_file(path / OPTIMIZER, device=device)
        learner.load_state_dict(weights, strict=False)
        optimizer.load_state_dict(state | {"state": _unflatten(tensors, plain)})
        self._best = read_json(path / RECORD)["best"]
        return Progress(**record)

    def best(self, progress: Progress) -> Path:
        """The file of the best weights so far."""
        return self.folder / f"best-{progress.best_step:08d}.safetensors"

    def save_best(self, progress: Progress, model: torch.nn.Module) -> None:
        """Keep the weights of `progress.best_step`; all processes those of a model they share."""
        path, weights = self.best(progress), tensors_of(model)
        if is_sharded(model):
            weights = on_first(weights, is_first=not rank())
            if rank():
                return
        with atomic(path) as temporary:
            save_file(weights, temporary)
        self._best[path.name] = {"size": path.stat().st_size, "sha256": file_sha256(path)}

    def load_best(self, progress: Progress, model: torch.nn.Module) -> None:
        """Put the best weights in place."""
        weights, targets = load_file(self.best(progress)), tensors_of(model)
        for name, tensor in weights.items():  # a model that was shared out cannot load them itself
            targets[name].copy_(tensor)


def _are_enough(files: Iterable[str]) -> bool:
    """Whether these are the files of a checkpoint: whole tensors, or the parts of processes."""
    has_shards = any(fnmatchcase(name, SHARDS) for name in files)
    return {*files} >= ({PROGRESS} if has_shards else FILES)


def _fault(record: dict[str, Any]) -> str:
    """What is wrong with a record of `Progress` and the optimizer; empty if nothing is."""
    names = {*(item.name for item in fields(Progress)), "optimizer"}
    if record.keys() != names:
        return f"{PROGRESS}: has not the fields {', '.join(sorted(names))}"
    try:
        _PROGRESS.validate_python({k: v for k, v in record.items() if k != "optimizer"})
    except ValueError as error:
        return f"{PROGRESS}: {brief(error)}"
    return ""


def _source_state(path: Path) -> dict[str, Tensor]:
    """What a checkpoint holds of a batch source."""
    return load_file(path / SOURCE) if (path / SOURCE).exists() else {}


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
