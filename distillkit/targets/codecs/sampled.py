"""Ids drawn at random from the teacher's distribution: an unbiased estimate of all of it.

an example:  n - 1 bits a position: whether the next draw (they are ascending) has another id
             | with an exponent other than 1 a log-weight, uint16, of each id | the ids
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from distillkit.errors import ConfigError
from distillkit.ragged import exclusive_cumsum, ranges, segment_sums
from distillkit.setting_types import Positive, PositiveInt
from distillkit.targets.codecs import id_sets
from distillkit.targets.codecs import rejection_sampling as proposals
from distillkit.targets.codecs.bit_packing import (
    Payload,
    Section,
    in_bytes,
    join,
    padded,
    read_rows,
    rows,
    sections,
)
from distillkit.targets.codecs.codec import Codec, listed_temperatures
from distillkit.targets.codecs.estimates import id_set_bytes, unique_ids
from distillkit.targets.codecs.logits import TeacherOutput, check_mass, chunks
from distillkit.targets.codecs.sampling import Draws, draw_ids
from distillkit.types import SparseTargets

_WEIGHT_UNIT, _WEIGHT_ZERO = 2.0**-10, 2**15  # log-weights from -32 to 32, to 0.05 %


@dataclass(frozen=True)
class Sampled(Codec):
    """n draws with replacement from q ~ p_T^exponent; p_T(id) is estimated by count / n * p_T / q.

    Random Sampling KD, Anshumann et al. 2025, https://arxiv.org/abs/2503.16870. The expectation of
    the estimate is p_T itself, and so the expected gradient of a cross-entropy is the whole one.
    With the exponent 1 counts are all there is to keep. The estimate holds at `temperature` only;
    null is that of the run's loss, 1 where there is none.
    """

    draws: PositiveInt = 50
    temperature: Positive | None = None
    exponent: Positive = 1.0

    name: ClassVar[str] = "sampled"

    @property
    def softened(self) -> float:
        """The temperature that is drawn at."""
        return float(self.temperature or 1.0)

    @property
    def supported_temperatures(self) -> tuple[float, ...]:
        """The temperatures at which the targets are known."""
        return (self.softened,)

    def at_temperatures(self, temperatures: Collection[float]) -> "Sampled":
        """The same, to be drawn at the temperature of the loss where none is set."""
        if self.temperature is not None or not temperatures:
            return self
        if len(temperatures) > 1:
            raise ConfigError(
                f"loss: looks at the teacher at temperatures {listed_temperatures(temperatures)}, "
                "and draws hold at one; choose targets=top_k or targets=last_hidden"
            )
        return replace(self, temperature=next(iter(temperatures)))

    def settings(self) -> dict[str, Any]:
        """What a manifest must say for the codec to be made again."""
        return {
            "name": self.name,
            "draws": self.draws,
            "temperature": self.softened,
            "exponent": float(self.exponent),
        }

    @torch.inference_mode()
    def select(self, output: TeacherOutput, draws: Draws) -> dict[str, np.ndarray]:
        """`ids` [positions, draws], ascending; with an exponent other than 1 also `log_weights`."""
        if self.exponent == 1 and proposals.are_cheaper(output):
            ids = proposals.draw(output, draws, self.draws, self.softened)
            return {"ids": ids.int().numpy()}
        none = {"ids": np.zeros((0, self.draws), np.int32)}
        if self.exponent != 1:
            none["log_weights"] = np.zeros((0, self.draws), np.float32)
        parts = [none]
        for part, logits in chunks(output):
            uniforms = torch.from_numpy(draws.uniforms(self.draws, part)).to(logits.device)
            parts.append(self._select(logits, uniforms))
        return {name: np.concatenate([part[name] for part in parts]) for name in none}

    def _select(self, logits: Tensor, uniforms: Tensor) -> dict[str, np.ndarray]:
        # a factor of 1 would be a pass over the whole buffer for nothing
        scaled = logits if self.softened == 1 else logits / self.softened
        proposed = scaled if self.exponent == 1 else scaled * self.exponent
        ids, whole = draw_ids(proposed.softmax(dim=-1), uniforms)
        check_mass(whole)
        ids = ids.sort(dim=-1).values
        arrays = {"ids": ids.int().cpu().numpy()}
        if self.exponent != 1:
            log_p = scaled.gather(1, ids) - scaled.logsumexp(dim=-1, keepdim=True)
            log_q = proposed.gather(1, ids) - proposed.logsumexp(dim=-1, keepdim=True)
            arrays["log_weights"] = (log_p - log_q).cpu().numpy()
        return arrays

    def encode(self, arrays: dict[str, np.ndarray], positions: np.ndarray) -> pa.LargeBinaryArray:
        """Some examples' values: see the module."""
        draws = arrays["ids"].astype(np.int64)
        last = np.ones(draws.shape, bool)
        np.not_equal(draws[:, 1:], draws[:, :-1], out=last[:, :-1])
        counts = last.sum(axis=1)
        sections = [_pack_bits(last[:, :-1], positions)]
        if self.exponent != 1:
            steps = np.rint(arrays["log_weights"][last] / _WEIGHT_UNIT) + _WEIGHT_ZERO
            weights = steps.clip(0, 2 * _WEIGHT_ZERO - 1).astype("<u2")
            sections.append(rows(weights, segment_sums(counts, positions)))
        return join([*sections, *id_sets.encode(draws[last], counts, positions)])

    def decoder(
        self, folder: Path, outputs: int, device: torch.device
    ) -> Callable[[Payload], SparseTargets]:
        """Payload -> the ids that were drawn, and the estimates of their probabilities."""
        log_shares = np.log(np.arange(self.draws + 1).clip(min=1) / self.draws).astype(np.float32)

        def decode(payload: Payload) -> SparseTargets:
            begins = payload.begins[:-1]
            repeats = _unpack_bits(payload, begins, self.draws - 1)
            last = np.ones((len(repeats), self.draws), bool)
            last[:, :-1] = repeats
            begins = begins + in_bytes((self.draws - 1) * payload.positions)
            counts = last.sum(axis=1)
            log_p = log_shares[np.diff(np.flatnonzero(last), prepend=-1)]
            if self.exponent != 1:
                counts_each = segment_sums(counts, payload.positions)
                steps = read_rows(payload, begins, counts_each, "<u2", 1)[:, 0]
                log_p += (steps.astype(np.float32) - _WEIGHT_ZERO) * _WEIGHT_UNIT
                begins = begins + steps.itemsize * counts_each
            ids = id_sets.decode(payload, begins, counts)
            log_probs = torch.from_numpy(padded(log_p, counts, -np.inf)).to(device)
            return SparseTargets(
                ids=torch.from_numpy(padded(ids, counts, 0)).to(device),
                log_probs=log_probs,
                log_z={self.softened: log_probs.new_zeros(len(counts))},
                is_estimate=True,
            )

        return decode

    def expected_bytes(self, outputs: int, hidden: int) -> float:
        """About what a position takes: how many ids are drawn twice is an estimate."""
        ids = unique_ids(outputs, self.draws, self.exponent / self.softened)
        weights = 0 if self.exponent == 1 else 2 * ids
        return (self.draws - 1) / 8 + weights + id_set_bytes(outputs, ids)


def _pack_bits(bits: np.ndarray, positions: np.ndarray) -> Section:
    """[positions, bits], those of an example from a byte of its own on."""
    sizes = positions * bits.shape[1]
    begins = exclusive_cumsum(in_bytes(sizes))
    out = np.zeros(8 * begins[-1], bool)
    out[ranges(8 * begins[:-1], sizes)] = bits.reshape(-1)
    return Section(np.packbits(out, bitorder="little"), in_bytes(sizes))


def _unpack_bits(payload: Payload, begins: np.ndarray, width: int) -> np.ndarray:
    """What `_pack_bits` wrote, [positions, each]."""
    sizes = payload.positions * width
    places = exclusive_cumsum(in_bytes(sizes))[:-1]
    bits = np.unpackbits(sections(payload.data, begins, in_bytes(sizes)), bitorder="little")
    return bits[ranges(8 * places, sizes)].reshape(int(payload.positions.sum()), width)
