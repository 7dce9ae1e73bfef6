"""Tensors of several processes in safetensors files, each process its own parts of them.

`torch.distributed.checkpoint` plans what is written where and what is read back, by however many
processes; its readers and writers of safetensors keep no pickle beside. A file of whole tensors is
read in the same way as one of parts.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distillkit.artifacts.digests import file_sha256, read_before
from distillkit.console.progress import rank
from distillkit.training.distributed import gather

SHARDS = "shard-*-model-*.safetensors"


def write_shards(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write this process's parts of some tensors; every process must call it, with all names.

    What all processes hold whole is written once. Each hashes its own files.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    save(dict(tensors), storage_writer=writer)
    own = {path.name: file_sha256(path) for path in folder.glob(f"shard-{rank() + 1:05d}-*")}
    hashes = gather(own)
    if rank():  # the first process goes on at once, and renames the folder
        return
    for name, sha256 in (pair for part in hashes for pair in part.items()):
        read_before(folder / name, sha256)


def read_shards(folder: Path, tensors: Mapping[str, Tensor], *, alone: bool) -> None:
    """Fill tensors, or this process's parts of them, from the safetensors files of a folder.

    Not `alone`, every process must call it.
    """
    from torch.distributed.checkpoint.state_dict_loader import load

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # as is meant
        load(dict(tensors), storage_reader=_reader(folder), no_dist=alone)


def optimizer_tensors(folder: Path, parameters: list[Tensor]) -> dict[str, Tensor]:
    """Empty tensors for what a folder's files hold of an optimizer's state, by index.name.

    What is of a parameter's shape is shared out as the parameter is.
    """
    tensors: dict[str, Tensor] = {}
    for name, stored in _reader(folder).read_metadata().state_dict_metadata.items():
        index, _, _ = name.partition(".")
        if not index.isdecimal():  # a weight
            continue
        parameter, dtype = parameters[int(index)].detach(), stored.properties.dtype
        if stored.size == parameter.shape:
            tensors[name] = torch.zeros_like(parameter, dtype=dtype)
        else:
            tensors[name] = torch.zeros(stored.size, dtype=dtype)
    return tensors


def _reader(folder: Path) -> Any:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    return HuggingFaceStorageReader(str(folder))
