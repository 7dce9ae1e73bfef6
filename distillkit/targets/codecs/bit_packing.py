"""Bits and ragged pieces, vectorised both ways.

Bit i of a buffer is bit i % 8 of its byte i // 8 (numpy calls this order "little"). What belongs
to an example begins at a byte of its own, so that examples can be cut out and put together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from distillkit.ragged import exclusive_cumsum, ranges, segment_sums

SLACK = 8  # bytes behind every buffer that is read: a field is cut from the 8 bytes it begins in
WIDEST = 57  # bits of a field: in 8 bytes, whatever the bit it begins at


@dataclass(frozen=True, slots=True)
class Payload:
    """The stored values of some examples, in the order asked for.

    That of example i is data[begins[i] : begins[i + 1]]; `data` has `SLACK` bytes more.
    `positions` [examples] int64 says how many positions each of them has.
    """

    data: np.ndarray
    begins: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the examples' values: `data` end to end, `sizes` [examples] in bytes."""

    data: np.ndarray
    sizes: np.ndarray


def sections(data: np.ndarray, begins: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The bytes of parts that do not overlap, end to end.

    Raises `ValueError`, before anything of their size is held, where they cannot all be in `data`.
    """
    within = len(data)
    if len(sizes) and (
        begins.min() < 0
        or sizes.min() < 0
        or int(sizes.max()) > within
        or int(sizes.sum(dtype=np.float64)) > within
    ):
        raise ValueError("its parts are larger than all of it")
    return data[ranges(begins, sizes)]


def in_bytes(bits: np.ndarray) -> np.ndarray:
    """How many bytes hold so many bits."""
    return (bits + 7) >> 3


def bit_length(values: np.ndarray) -> np.ndarray:
    """How many bits each number needs; 0 needs none."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def bit_places(widths: np.ndarray, counts: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The bit that each field begins at: those of an example follow each other from a byte on.

    `widths` [fields] in bits; `counts` [examples] of fields; `begins` [examples] in bytes.
    """
    ends = np.cumsum(widths, dtype=np.int64)
    first = exclusive_cumsum(counts)[:-1]
    start = ends - widths
    if len(start):
        begins = 8 * begins - start[first.clip(max=len(start) - 1)]
    return start + np.repeat(begins, counts)


def pack(values: np.ndarray, widths: np.ndarray, counts: np.ndarray) -> Section:
    """Fields of `widths` [fields] bits, of which `counts` [examples] belong to each example."""
    sizes = in_bytes(segment_sums(widths, counts))
    begins = exclusive_cumsum(sizes)
    places = bit_places(widths, counts, begins[:-1])
    words, shifts = places >> 6, (places & 63).astype(np.uint64)
    wide = values.astype(np.uint64)
    out = np.zeros((begins[-1] >> 3) + 2, np.uint64)
    # fields do not overlap, so that a sum is a union; what leaves a word goes to the next
    np.add.at(out, words, wide << shifts)
    np.add.at(out, words + 1, (wide >> np.uint64(1)) >> (np.uint64(63) - shifts))
    return Section(_little(out)[: begins[-1]], sizes)


def unpack(data: np.ndarray, places: np.ndarray, widths: np.ndarray | int) -> np.ndarray:
    """The fields that begin at these bits, int64. `data` has `SLACK` bytes behind the last."""
    windows = np.ndarray((len(data) - SLACK + 1,), "<u8", data, strides=(1,))
    fields = windows.take(places >> 3) >> (places & 7).astype(np.uint64)
    mask = (np.uint64(1) << np.asarray(widths, np.uint64)) - np.uint64(1)
    return (fields & mask).astype(np.int64)


def pack_unary(values: np.ndarray, counts: np.ndarray) -> Section:
    """Each value as so many 0 bits and a 1; `counts` [examples] of values an example."""
    sizes = in_bytes(segment_sums(values, counts) + counts)
    begins = exclusive_cumsum(sizes)
    bits = np.zeros(8 * begins[-1], np.uint8)
    bits[bit_places(values + 1, counts, begins[:-1]) + values] = 1
    return Section(np.packbits(bits, bitorder="little"), sizes)


def unpack_unary(
    data: np.ndarray, begins: np.ndarray, sizes: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """The values that `pack_unary` wrote, `sizes` [examples] bytes from `begins` [examples] on."""
    bits = np.unpackbits(sections(data, begins, sizes), bitorder="little")
    ones = np.flatnonzero(bits.view(bool))  # eight times as fast as that of bytes
    values = np.diff(ones, prepend=-1) - 1
    first = exclusive_cumsum(counts)[:-1][counts > 0]
    values[first] = ones[first] - 8 * exclusive_cumsum(sizes)[:-1][counts > 0]
    return values


def rows(array: np.ndarray, counts: np.ndarray) -> Section:
    """[rows, ...] as they lie in memory; `counts` [examples] of them belong to each example."""
    width = array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return Section(flat, counts * width)


def read_rows(
    payload: Payload, begins: np.ndarray, counts: np.ndarray, dtype: str, row_size: int
) -> np.ndarray:
    """What `rows` wrote, [rows, each]: `counts` [examples] of them from `begins` [examples] on."""
    size = np.dtype(dtype).itemsize * row_size
    return sections(payload.data, begins, size * counts).view(dtype).reshape(-1, row_size)


def padded(values: np.ndarray, counts: np.ndarray, fill: float) -> np.ndarray:
    """Values that follow each other, counts[i] of them in row i: [rows, the largest count]."""
    width = int(counts.max(initial=1))
    if len(values) == width * len(counts):
        return values.reshape(-1, width)
    out = np.full((len(counts), width), fill, values.dtype)
    out[np.arange(width) < counts[:, None]] = values
    return out


def join(sections: Sequence[Section]) -> pa.LargeBinaryArray:
    """The values of examples whose parts follow each other in the order of `sections`."""
    offsets = exclusive_cumsum(np.sum([section.sizes for section in sections], axis=0))
    if len(sections) == 1:
        return binary(sections[0].data, offsets)
    out = np.empty(offsets[-1], np.uint8)
    begins = offsets[:-1].copy()
    for section in sections:
        out[ranges(begins, section.sizes)] = section.data
        begins += section.sizes
    return binary(out, offsets)


def binary(data: np.ndarray, offsets: np.ndarray) -> pa.LargeBinaryArray:
    """An Arrow column over bytes that lie end to end."""
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def payload(column: pa.LargeBinaryArray, positions: np.ndarray) -> Payload:
    """All examples of a column, ready to be decoded."""
    begins = np.frombuffer(column.buffers()[1], np.int64, len(column) + 1, 8 * column.offset)
    data = np.zeros(begins[-1] - begins[0] + SLACK, np.uint8)
    data[:-SLACK] = np.frombuffer(column.buffers()[2], np.uint8)[begins[0] : begins[-1]]
    return Payload(data, begins - begins[0], positions)


def _little(words: np.ndarray) -> np.ndarray:
    return words.astype("<u8", copy=False).view(np.uint8)
