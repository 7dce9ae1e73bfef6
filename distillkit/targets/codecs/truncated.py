"""Some ids of each position, their log-probabilities, and the mass of all others.

    an example:  masses, float16 for each position and temperature | steps, a byte a position
                 | bits of a shortfall, a byte | k - number of ids, so many bits a position
                 | levels | ids

A level is a log-probability below the position's largest one, in steps that are just large enough
for the last level to reach the smallest one. What is decoded is scaled to the mass that was kept,
so that rounding moves mass between the ids but never to or from the others.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from distillkit.errors import ConfigError
from distillkit.ragged import segment_sums
from distillkit.setting_types import Positive, PositiveInt
from distillkit.targets.codecs import id_sets
from distillkit.targets.codecs.bit_packing import (
    Payload,
    Section,
    bit_length,
    bit_places,
    in_bytes,
    join,
    pack,
    padded,
    read_rows,
    rows,
    unpack,
)
from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.estimates import id_set_bytes, nucleus_ids
from distillkit.targets.codecs.logits import TeacherOutput, check_mass, chunks, width
from distillkit.targets.codecs.quantization import log_kept, step_sizes, steps, stored_masses
from distillkit.targets.codecs.sampling import Draws
from distillkit.types import SparseTargets

_NO_ID = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class TruncatedCodec(Codec):
    """What `TopK`, `TopP` and `SampledLogits` share; `mass` is what the likeliest ids shall reach.

    Rounding to 2^bits levels costs 1e-4 nats with 6 bits, 1e-5 with 8 (a language model's 50 most
    probable ids; scripts/bench/codecs.py): far less than what the other ids' mass hides, so 6 will
    do. `temperatures` are those at which that mass is kept, 1 always among them; a loss can be
    asked for no other.
    """

    k: PositiveInt = 50
    bits: Literal[6, 8, 16] = 6
    temperatures: list[Positive] = field(default_factory=lambda: [1.0])

    @property
    def mass(self) -> float:
        """The smallest set of ids with this mass is kept; with 1, whatever mass k of them have."""
        return 1.0

    @property
    def supported_temperatures(self) -> tuple[float, ...]:
        """The temperatures at which the targets are known."""
        return (1.0, *sorted({float(t) for t in self.temperatures} - {1.0}))

    def at_temperatures(self, temperatures: Collection[float]) -> Self:
        """The same, with the others' mass at these temperatures, too."""
        if not set(temperatures) - set(self.supported_temperatures):
            return self
        return replace(self, temperatures=sorted({*self.supported_temperatures, *temperatures}))

    def settings(self) -> dict[str, Any]:
        """What a manifest must say for the codec to be made again."""
        temperatures = list(self.supported_temperatures)
        return {"name": self.name, "k": self.k, "bits": self.bits, "temperatures": temperatures}

    def check(self, outputs: int) -> None:
        """Raise `ConfigError` if there are not k ids."""
        if self.k > outputs:
            raise ConfigError(
                f"targets.codec.k = {self.k}: the teacher has only {outputs:,} outputs; set "
                f"targets.codec.k={outputs}, or take targets=stored"
            )

    @torch.inference_mode()
    def select(self, output: TeacherOutput, draws: Draws) -> dict[str, np.ndarray]:
        """The ids that are kept, their probabilities, and what the others have.

        `counts` [positions] of ids; `ids` [positions, k], ascending, and their `log_probs`, of
        which the first `counts` mean something; `rest` [positions, temperatures]: the mass of all
        other ids, summed over these themselves, so that it is exact however small it is.
        """
        self.check(width(output))
        parts = [self._no_entries()]
        for part, logits in chunks(output):
            below = logits - logits.amax(dim=-1, keepdim=True)
            whole = below.exp().sum(dim=-1, keepdim=True, dtype=torch.float64)
            check_mass(whole)
            ids, mask = self.choose(below, whole, draws, part)
            parts.append(self._entries(below, whole, ids, mask))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _no_entries(self) -> dict[str, np.ndarray]:
        return {
            "counts": np.zeros(0, np.int64),
            "ids": np.zeros((0, self.k), np.int32),
            "log_probs": np.zeros((0, self.k), np.float32),
            "rest": np.zeros((0, len(self.supported_temperatures))),
        }

    def choose(
        self, logits: Tensor, whole: Tensor, draws: Draws, part: slice
    ) -> tuple[Tensor, Tensor]:
        """(ids [positions, k], which of them are kept): the smallest set of the likeliest ids that
        has the mass, but at most k of them. The sum of exp(logits) is `whole` [positions, 1]."""
        top, ids = logits.topk(self.k)
        mask = top > -torch.inf
        if self.mass < 1:
            reached = top.double().exp().cumsum(dim=-1) >= self.mass * whole
            mask[:, 1:] &= ~reached[:, :-1]
        return ids, mask

    def _entries(
        self, logits: Tensor, whole: Tensor, ids: Tensor, mask: Tensor
    ) -> dict[str, np.ndarray]:
        masses_elsewhere = [
            _mass_elsewhere(logits if t == 1 else logits / t, ids, mask)
            for t in self.supported_temperatures
        ]
        ids = ids.where(mask, _NO_ID).sort(dim=-1).values
        log_probs = logits.gather(1, ids.where(ids != _NO_ID, 0))
        return {
            "counts": mask.sum(dim=-1).cpu().numpy(),
            "ids": ids.int().cpu().numpy(),
            "log_probs": (log_probs - whole.log()).float().cpu().numpy(),
            "rest": torch.stack(masses_elsewhere, dim=-1).cpu().numpy(),
        }

    def encode(self, arrays: dict[str, np.ndarray], positions: np.ndarray) -> pa.LargeBinaryArray:
        """Some examples' values: see the module."""
        counts = arrays["counts"]
        mask = np.arange(self.k) < counts[:, None]
        largest = arrays["log_probs"].max(axis=1, where=mask, initial=-np.inf)
        below = (largest[:, None] - arrays["log_probs"]).astype(np.float64)
        step = steps(below.max(axis=1, where=mask, initial=0.0), self.bits)
        level = np.rint(below / step_sizes(step)[:, None])[mask].clip(max=2**self.bits - 1)
        return join(
            [
                rows(stored_masses(arrays["rest"]), positions),
                rows(step, positions),
                *_encode_counts(counts, positions, self.k),
                pack(level, np.full(len(level), self.bits), segment_sums(counts, positions)),
                *id_sets.encode(arrays["ids"][mask].astype(np.int64), counts, positions),
            ]
        )

    def decoder(
        self, folder: Path, outputs: int, device: torch.device
    ) -> Callable[[Payload], SparseTargets]:
        """Payload -> the entries, and log Z as it follows from the mass that was kept."""

        def decode(payload: Payload) -> SparseTargets:
            ids, below, masses = self._unpack(payload)
            mask = torch.from_numpy(log_kept(masses)).to(device).unbind(dim=-1)
            log_probs = torch.from_numpy(below).to(device).log_softmax(dim=-1) + mask[0][:, None]
            log_z = {
                t: torch.zeros_like(k) if t == 1 else (log_probs / t).logsumexp(dim=-1) - k
                for t, k in zip(self.supported_temperatures, mask, strict=True)
            }
            return SparseTargets(torch.from_numpy(ids).to(device), log_probs, log_z)

        return decode

    def expected_bytes(self, outputs: int, hidden: int) -> float:
        """About what a position takes: how many ids it has is an estimate."""
        ids = self.expected_ids(outputs)
        number = math.log2(self.k + 1) if ids < self.k else 0.0
        fixed = 2 * len(self.supported_temperatures) + 1
        return fixed + (number + self.bits * ids) / 8 + id_set_bytes(outputs, ids)

    @property
    def trial_outputs(self) -> int:
        """k or more."""
        return max(super().trial_outputs, self.k)

    def expected_ids(self, outputs: int) -> float:
        """About how many ids a position has."""
        return nucleus_ids(outputs, self.mass, self.k)

    def _unpack(self, payload: Payload) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids and log-probabilities (up to a constant) [positions, most ids], and the masses."""
        positions, begins = payload.positions, payload.begins[:-1]
        masses = read_rows(payload, begins, positions, "<f2", len(self.supported_temperatures))
        begins = begins + masses.itemsize * len(self.supported_temperatures) * positions
        step = read_rows(payload, begins, positions, "u1", 1)
        counts, begins = _decode_counts(payload, begins + positions, self.k)
        totals = segment_sums(counts, positions)
        if int(totals.sum()) * self.bits > 8 * len(payload.data):
            raise ValueError("it has more ids than its bytes can hold")
        places = bit_places(np.full(totals.sum(), self.bits), totals, begins)
        level = unpack(payload.data, places, self.bits).astype(np.float32)
        ids = id_sets.decode(payload, begins + in_bytes(self.bits * totals), counts)
        return padded(ids, counts, 0), padded(-level, counts, -np.inf) * step_sizes(step), masses


def _mass_elsewhere(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """The mass [positions] of all ids but the kept ones of `ids`; the largest logit is 0."""
    probabilities = logits.exp()
    of_ids = probabilities.gather(1, ids)
    unmasked = of_ids.where(~mask, 0)  # an id that is named twice is kept once, and so not left
    elsewhere = probabilities.scatter_reduce_(1, ids, unmasked, "amin").sum(
        dim=-1, dtype=torch.float64
    )
    kept_mass = of_ids.where(mask, 0).sum(dim=-1, dtype=torch.float64)
    return elsewhere / (elsewhere + kept_mass)


def _encode_counts(counts: np.ndarray, positions: np.ndarray, k: int) -> list[Section]:
    short = k - counts
    example = np.repeat(np.arange(len(positions)), positions)
    widest = np.zeros(len(positions), np.int64)
    np.maximum.at(widest, example, short)
    widths = bit_length(widest)
    once = np.ones_like(positions)
    return [rows(widths.astype(np.uint8), once), pack(short, widths[example], positions)]


def _decode_counts(payload: Payload, begins: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of ids [positions], and where what follows begins [examples]."""
    width = payload.data[begins].astype(np.int64)
    widths = np.repeat(width, payload.positions)
    places = bit_places(widths, payload.positions, begins + 1)
    after = begins + 1 + in_bytes(width * payload.positions)
    return k - unpack(payload.data, places, widths), after
