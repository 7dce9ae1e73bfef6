"""Hidden states of a teacher beside its soft targets, in float16: what losses on the inside need.

In a target store's folder, `first` is a store of its own of the first token's states, a position an
example, and `whole` one of all tokens'. A position has the states of all layers that are kept, side
by side.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from distillkit.artifacts.digests import Verifier
from distillkit.errors import TargetsError
from distillkit.targets.codecs.dense import Dense
from distillkit.targets.codecs.sampling import Draws
from distillkit.targets.committed import CommittedFiles
from distillkit.targets.expected_size import store_bytes
from distillkit.targets.manifest import FILE, StoreManifest
from distillkit.targets.reader import TargetStore
from distillkit.targets.validity import check_inside
from distillkit.targets.writer import TargetWriter
from distillkit.types import Activations, Dimensions, Outputs, SoftTargets, StoredLayers

Part = Literal["first", "whole"]
PARTS: tuple[Part, ...] = get_args(Part)
CODEC = Dense("float16")


def settings(states: StoredLayers) -> dict[str, Any]:
    """What decides the states that are kept: the layers of each part."""
    return {part: sorted(getattr(states, part)) for part in PARTS if getattr(states, part)}


def states_bytes(states: StoredLayers, *, examples: int, tokens: int, hidden: int) -> float:
    """How much the states of so many examples take."""
    positions = {"first": examples, "whole": tokens}
    return sum(
        store_bytes(
            CODEC,
            examples=examples,
            positions=positions[part],
            outputs=len(layers) * hidden,
            hidden=hidden,
        )
        for part, layers in settings(states).items()
    )


def parts_of(folder: Path) -> list[Path]:
    """The stores of states in a target store's folder."""
    parts = [part for part in PARTS if (folder / part / FILE).is_file()]
    check_inside(folder, [*parts])
    return [folder / part for part in parts]


def states_files(folder: Path, states: StoredLayers) -> list[CommittedFiles]:
    """The files of each store of states in a target store's folder that is being made."""
    return [CommittedFiles(folder / part, CODEC) for part in settings(states)]


class StatesWriter:
    """Writes the states of each shard of a target store; see `TargetWriter`."""

    def __init__(self, folder: Path, states: StoredLayers, teacher: Dimensions) -> None:
        self._layers, self._teacher = settings(states), teacher
        self._writers: dict[str, TargetWriter] = {}
        self._stack = ExitStack()
        for part in self._layers:
            (folder / part).mkdir(exist_ok=True)
            self._writers[part] = TargetWriter(folder / part, CODEC)

    def __enter__(self) -> Self:
        for writer in self._writers.values():
            self._stack.enter_context(writer)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def select(self, activations: Activations, mask: Tensor) -> dict[str, np.ndarray]:
        """What is kept of a batch; `mask` [texts, tokens] says which tokens there are."""
        arrays = {}
        for part, layers in self._layers.items():
            layers_joined = torch.cat([activations.hidden[layer] for layer in layers], dim=-1)
            output = Outputs(layers_joined[:, 0] if part == "first" else layers_joined[mask.bool()])
            self._writers[part].describe(output)
            nobody = Draws(0, np.zeros(0), np.zeros(0, np.int64))
            arrays[part] = CODEC.select(output, nobody)["logits"]
        return arrays

    def write(
        self, shard: int, keys: np.ndarray, lengths: np.ndarray, arrays: dict[str, np.ndarray]
    ) -> None:
        """Have the states of one shard committed; `lengths` [examples] in tokens."""
        positions = {"first": np.ones_like(lengths), "whole": lengths}
        for part, writer in self._writers.items():
            writer.write(shard, keys, positions[part], {"logits": arrays[part]})

    def wait(self) -> None:
        """Return when all states that were given are committed."""
        for writer in self._writers.values():
            writer.wait()

    def finish(self, examples: list[int], *, tokens: int, origin: dict[str, Any]) -> None:
        """Write the manifests over all shards."""
        for part, writer in self._writers.items():
            states = {"layers": self._layers[part], "teacher": asdict(self._teacher)}
            writer.finish(
                examples,
                tokens=tokens,
                labels=[],
                origin={**origin, "states": states},
                distribution="real",
            )


class StoredStates:
    """The states of a target store's folder, read by example.

    Raises `TargetsError` where a part or a layer that the loss looks at was not kept, or a shard is
    damaged.
    """

    def __init__(
        self, folder: Path, states: StoredLayers, verifier: Verifier | None = None
    ) -> None:
        self._stores: dict[str, TargetStore] = {}
        self._layers: dict[str, list[int]] = {}
        for part, layers in settings(states).items():
            tokens = "the first token" if part == "first" else "all tokens"
            is_there = (folder / part / FILE).is_file()
            stored = StoreManifest.open(folder / part).origin["states"] if is_there else {}
            missing = sorted(set(layers) - set(stored.get("layers", [])))
            if missing:
                raise TargetsError(
                    f"{folder}: keeps no hidden states of {tokens} of layer "
                    f"{', '.join(map(str, missing))}, which the loss looks at; unset targets.path "
                    "to have them kept, or choose targets=online"
                )
            self._stores[part] = TargetStore.open(folder / part, verifier=verifier)
            self._layers[part] = stored["layers"]
            self.teacher = Dimensions(**stored["teacher"])
        self._rows: dict[str, np.ndarray] = {}

    def look_up(self, keys: np.ndarray) -> None:
        """Find the examples that `read` speaks of, by their keys."""
        self._rows = {part: store.rows(keys) for part, store in self._stores.items()}

    def read(self, indices: np.ndarray, mask: Tensor) -> Activations:
        """The states of some examples, [texts, tokens or 1, hidden] in float32, padded with 0."""
        hidden: dict[int, Tensor] = {}
        for part, store in self._stores.items():
            targets = store.read(self._rows[part][indices], mask.device)
            assert isinstance(targets, SoftTargets), "states are kept as they are"
            rows = targets.logits.unsqueeze(1) if part == "first" else _padded(targets.logits, mask)
            hidden |= self._by_layer(part, rows)
        none: Mapping[int, Tensor] = {}
        return Activations(hidden, queries=none, keys=none, values=none, heads=self.teacher.heads)

    def _by_layer(self, part: str, rows: Tensor) -> dict[int, Tensor]:
        layers = self._layers[part]
        return dict(zip(layers, rows.chunk(len(layers), dim=-1), strict=True))


def _padded(rows: Tensor, mask: Tensor) -> Tensor:
    """[tokens of all texts, width] as [texts, tokens, width]."""
    padded = rows.new_zeros(*mask.shape, rows.shape[-1])
    padded[mask] = rows
    return padded
