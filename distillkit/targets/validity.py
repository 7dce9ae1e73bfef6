"""Whether a target store that a stranger handed over is one: its record first, then what it holds.

A record is held against its shape before anything it names is opened: names stay inside the
store's folder, numbers are numbers. What is read of the shards is checked before it is decoded.
"""

import math
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
import pyarrow as pa
import torch
from annotated_types import Ge, Gt, Le, Lt

from distillkit.artifacts.workspace import fingerprint
from distillkit.console.wording import brief
from distillkit.errors import ConfigError, TargetsError
from distillkit.types import DISTRIBUTIONS, KEY_BYTES, HiddenTargets, SoftTargets, SparseTargets

PARTS = ("teacher", "tokenizer", "data")
POSITIONS = 4096  # that are decoded at a time
ABOVE_ONE = 0.01  # by which probabilities of a position, rounded by their codec, may exceed 1
BITS_OF_NOTHING = 64  # positions that an example may have whose value is empty
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}")
_SHA256, _FINGERPRINT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{16}")
COLUMNS = pa.schema(
    [
        pa.field("key", pa.binary(KEY_BYTES)),
        pa.field("positions", pa.uint32()),
        pa.field("payload", pa.large_binary()),
    ]
)


# the record


def wrong_in(record: Mapping[str, Any]) -> str:
    """The first thing in a targets.json that cannot be; empty where there is none."""
    return next(_wrong_fields(record), "")


def _wrong_fields(record: Mapping[str, Any]) -> Iterator[str]:
    for name in ("outputs", "examples", "positions", "tokens"):
        if not _is_count(record.get(name)):
            yield f"{name} = {brief(record.get(name), 60)!r}, which is no count"
            return
    for name, kind in (("codec", dict), ("origin", dict), ("quality", dict), ("labels", list)):
        if not isinstance(record.get(name, kind()), kind):
            yield f"{name} is no {'list' if kind is list else 'record'}"
            return
    if not all(isinstance(label, str) for label in record["labels"]):
        yield "labels are not all text"
    if record.get("distribution", "softmax") not in DISTRIBUTIONS:
        yield f"distribution = {brief(record['distribution'], 60)!r}"
    quality = record.get("quality", {})
    if not all(map(_is_finite, quality.values())) or not _is_count(quality.get("positions", 0)):
        yield "quality is not all numbers"
    if quality and "positions" not in quality:
        yield "quality does not say of how many positions"
    yield from _wrong_files(record)
    yield from _wrong_origin(record["origin"])


def _wrong_files(record: Mapping[str, Any]) -> Iterator[str]:
    names: set[str] = set()
    for group in ("shards", "files"):
        parts = record.get(group, [])
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            yield f"{group} is no list of records"
            return
        for part in parts:
            name = part.get("file")
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                yield f"{group} names {brief(name, 60)!r}, which is no plain name of a file"
                return
            counts = ("bytes", "examples") if group == "shards" else ("bytes",)
            if not all(_is_count(part.get(count)) for count in counts):
                yield f"{name}: its {' and '.join(counts)} are no counts"
            if not isinstance(part.get("sha256"), str) or not _SHA256.fullmatch(part["sha256"]):
                yield f"{name}: its sha256 is none"
            if name in names:
                yield f"{name} is named twice"
            names.add(name)
    examples = sum(part["examples"] for part in record["shards"] if _is_count(part.get("examples")))
    if examples != record["examples"]:
        yield f"examples = {record['examples']:,}, and its shards have {examples:,}"


def _wrong_origin(origin: Mapping[str, Any]) -> Iterator[str]:
    for name in PARTS:
        part = origin.get(name)
        if not isinstance(part, dict) or not isinstance(part.get("fingerprint"), str):
            yield f"origin.{name} has no fingerprint"
            continue
        members = part.get("members", [])
        if not isinstance(members, list) or not all(
            isinstance(value, dict) and isinstance(value.get("fingerprint"), str)
            for value in members
        ):
            yield f"origin.{name}.members have no fingerprints"
    converted = origin.get("converted", {"name": ""})
    if not isinstance(converted, dict) or not isinstance(converted.get("name"), str):
        yield "origin.converted names no codec"
    states = origin.get("states", {"layers": [], "teacher": {}})
    if (
        not isinstance(states, dict)
        or not isinstance(states.get("layers"), list)
        or not all(_is_count(layer) for layer in states["layers"])
        or not isinstance(states.get("teacher"), dict)
    ):
        yield "origin.states names no layers and teacher"


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def is_of(value: Any, hint: Any) -> bool:
    """Whether a value is one that a setting's declared type has, its bounds included."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        plain, *bounds = arguments
        return is_of(value, plain) and all(_is_within(value, bound) for bound in bounds)
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if origin is list:
        return isinstance(value, list) and all(is_of(item, arguments[0]) for item in value)
    if arguments:  # a union
        return any(is_of(value, argument) for argument in arguments)
    if hint is float:
        return _is_finite(value)
    return value is None if hint is type(None) else type(value) is hint


def _is_within(value: float, bound: Any) -> bool:
    match bound:
        case Gt(gt):
            return bool(value > gt)  # type: ignore[operator]
        case Ge(ge):
            return bool(value >= ge)  # type: ignore[operator]
        case Lt(lt):
            return bool(value < lt)  # type: ignore[operator]
        case Le(le):
            return bool(value <= le)  # type: ignore[operator]
    return True


def check_inside(folder: Path, names: list[str]) -> None:
    """Raise `TargetsError` for a file of a store that is a link to somewhere else."""
    home = folder.resolve()
    for name in names:
        if not (folder / name).resolve().is_relative_to(home):
            raise TargetsError(
                f"{folder}: {name} is a link out of the store's folder, and is not followed"
            )


# what the shards hold


def check_batch(name: str, batch: pa.RecordBatch) -> None:
    """Raise `ValueError` for a shard whose columns are not a store's, before they are read."""
    types = [field.type for field in COLUMNS]
    if batch.schema.names != COLUMNS.names or [field.type for field in batch.schema] != types:
        raise ValueError(f"{name}: its columns are {batch.schema.to_string()}")
    batch.validate()
    if any(column.null_count for column in batch.columns):
        raise ValueError(f"{name}: has empty cells")
    payload, count = batch.column("payload"), len(batch)
    offsets = np.frombuffer(payload.buffers()[1], np.int64, count + 1) if count else np.zeros(1)
    size = payload.buffers()[2].size if payload.buffers()[2] is not None else 0
    sizes = np.diff(offsets)
    if offsets[0] < 0 or offsets[-1] > size or (sizes < 0).any():
        raise ValueError(f"{name}: its values lie outside of it")
    positions = batch.column("positions").to_numpy().astype(np.int64)
    if (positions > 8 * sizes + BITS_OF_NOTHING).any():
        raise ValueError(f"{name}: an example has more positions than its bytes can hold")


def problems(store: Any) -> list[str]:
    """What a `TargetStore` says of itself that what it holds does not bear out, a line each."""
    manifest, faults = store.manifest, []
    try:
        store.codec.check(manifest.outputs)
    except ConfigError as error:
        faults.append(str(error))
    if manifest.labels and len(manifest.labels) != manifest.outputs:
        faults.append(f"{len(manifest.labels)} labels of {manifest.outputs} outputs")
    if len(set(manifest.labels)) < len(manifest.labels):
        faults.append("a label stands twice")
    for name in PARTS:
        part = manifest.origin[name]
        if not _FINGERPRINT.fullmatch(part["fingerprint"]) or not _fits(part):
            faults.append(f"origin.{name}: its fields do not give its fingerprint")
    positions = int(store.positions.sum())
    if len(store.positions) != manifest.examples:
        faults.append(f"{len(store.positions):,} examples, not {manifest.examples:,}")
    if positions != manifest.positions:
        faults.append(f"{positions:,} positions, not {manifest.positions:,}")
    return faults or _wrong_values(store)


def _fits(part: Mapping[str, Any]) -> bool:
    fields = {name: value for name, value in part.items() if name != "fingerprint"}
    return fingerprint(fields) == part["fingerprint"]


def _wrong_values(store: Any) -> list[str]:
    """The first examples whose targets are none."""
    rows = np.arange(len(store.positions))
    ends = np.searchsorted(
        np.cumsum(store.positions), np.arange(0, store.positions.sum(), POSITIONS)
    )
    cuts = sorted({0, *ends.tolist(), len(rows)})
    for first, last in pairwise(cuts):
        part = rows[first:last]
        try:
            targets = store.read(part)
            fault = _wrong_in_targets(targets, store.manifest.outputs)
            count = len(targets.ids if isinstance(targets, SparseTargets) else _dense(targets))
        except (ValueError, RuntimeError, IndexError, OverflowError, TypeError) as error:
            return [f"examples {first:,} to {last - 1:,} cannot be decoded ({brief(error, 100)})"]
        expected = int(store.positions[part].sum())
        if not fault and count != expected:
            fault = f"{count:,} positions, not {expected:,}"
        if fault:
            return [f"examples {first:,} to {last - 1:,}: {fault}"]
    return []


def _dense(targets: SoftTargets | HiddenTargets) -> torch.Tensor:
    return targets.hidden if isinstance(targets, HiddenTargets) else targets.logits


def _wrong_in_targets(targets: Any, outputs: int) -> str:
    if isinstance(targets, SparseTargets):
        return _wrong_in_sparse(targets, outputs)
    if isinstance(targets, HiddenTargets):
        if targets.head.size != outputs:
            return f"its head has {targets.head.size:,} outputs, not {outputs:,}"
        if not bool(torch.isfinite(targets.head.weight).all()):
            return "its head has entries that are not finite"
    values = _dense(targets)
    # a class that a teacher rules out has -inf
    is_bad = ~torch.isfinite(values) & ~torch.isneginf(values)
    if isinstance(targets, SoftTargets) and values.shape[-1] != outputs:
        return f"{values.shape[-1]:,} logits a position, not {outputs:,}"
    return "has entries that are not finite" if bool(is_bad.any()) else ""


def _wrong_in_sparse(targets: SparseTargets, outputs: int) -> str:
    used = torch.isfinite(targets.log_probs)
    if bool((~used & ~torch.isneginf(targets.log_probs)).any()):
        return "has probabilities that are not finite"
    ids = targets.ids
    if bool(((ids < 0) | (ids >= max(1, outputs))).any()):
        return f"has ids outside of the {outputs:,} outputs"
    total = targets.log_probs.double().exp().sum(-1)
    if len(total) and not targets.is_estimate and float(total.max()) > 1 + ABOVE_ONE:
        return f"has probabilities that sum to {float(total.max()):.4g}"
    if any(not bool(torch.isfinite(values).all()) for values in targets.log_z.values()):
        return "has sums of probabilities that are not finite"
    return ""
