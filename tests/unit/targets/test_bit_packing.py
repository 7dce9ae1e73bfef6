"""Bits and ragged pieces: what was packed is unpacked, whatever its width and number."""

import numpy as np
import pytest

from distillkit.ragged import exclusive_cumsum, ranges, segment_sums
from distillkit.targets.codecs.bit_packing import (
    SLACK,
    WIDEST,
    Section,
    bit_length,
    bit_places,
    join,
    pack,
    pack_unary,
    padded,
    payload,
    read_rows,
    rows,
    unpack,
    unpack_unary,
)

RAGGED = [[5], [0], [3, 0, 0, 9, 1], [0, 2], [1000, 1, 0], []]


def readable(section: Section) -> np.ndarray:
    return np.concatenate([section.data, np.zeros(SLACK, np.uint8)])


@pytest.mark.parametrize("counts", RAGGED)
@pytest.mark.parametrize("widest", [1, 6, 17, 33, WIDEST])
def test_fields_of_any_width_come_back(counts: list[int], widest: int) -> None:
    rng = np.random.default_rng(0)
    many = np.array(counts, np.int64)
    widths = rng.integers(0, widest + 1, many.sum())
    values = rng.integers(0, 2**widths)
    section = pack(values, widths, many)
    begins = exclusive_cumsum(section.sizes)[:-1]
    back = unpack(readable(section), bit_places(widths, many, begins), widths)
    np.testing.assert_array_equal(back, values)


def test_fields_take_their_bits_and_no_more() -> None:
    section = pack(np.ones(20, int), np.full(20, 6), np.array([12, 7, 1, 0]))
    assert section.sizes.tolist() == [9, 6, 1, 0]  # 72, 42, 6 and 0 bits
    assert len(section.data) == 16


def test_fields_lie_in_the_order_of_little_bits() -> None:
    section = pack(np.array([0b1, 0b10, 0b111]), np.array([1, 2, 3]), np.array([3]))
    assert section.data.tolist() == [0b111101]


@pytest.mark.parametrize("counts", RAGGED)
def test_unary_numbers_come_back(counts: list[int]) -> None:
    many = np.array(counts, np.int64)
    values = np.random.default_rng(0).geometric(0.3, many.sum()) - 1
    section = pack_unary(values, many)
    begins = exclusive_cumsum(section.sizes)[:-1]
    back = unpack_unary(readable(section), begins, section.sizes, many)
    np.testing.assert_array_equal(back, values)
    assert section.sizes.sum() <= (values + 1).sum() / 8 + len(many)


def test_spans_are_the_places_of_ragged_pieces() -> None:
    assert ranges(np.array([10, 50, 7, 3]), np.array([3, 0, 1, 2])).tolist() == [
        10,
        11,
        12,
        7,
        3,
        4,
    ]
    assert ranges(np.zeros(0, int), np.zeros(0, int)).tolist() == []


def test_sums_of_groups() -> None:
    assert exclusive_cumsum(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]
    assert segment_sums(np.array([1, 2, 3, 4]), np.array([1, 0, 3])).tolist() == [1, 0, 9]


def test_bits_that_a_number_needs() -> None:
    numbers = np.array([0, 1, 2, 3, 4, 2**31 - 1, 2**31, 2**52 - 1])
    assert bit_length(numbers).tolist() == [int(n).bit_length() for n in numbers]


def test_ragged_rows_are_filled_up() -> None:
    back = padded(np.array([1, 2, 3]), np.array([1, 2]), 0)
    assert back.tolist() == [[1, 0], [2, 3]]
    assert padded(np.array([1, 2, 3, 4]), np.array([2, 2]), 0).tolist() == [[1, 2], [3, 4]]
    assert padded(np.zeros(0), np.zeros(0, int), 0).shape == (0, 1)


def test_sections_are_put_together_by_example() -> None:
    positions = np.array([2, 0, 1])
    first = rows(np.array([[1, 2], [3, 4], [5, 6]], np.uint8), positions)
    second = rows(np.array([257, 258, 259], "<u2"), positions)
    column = join([first, second])
    assert [value.as_py() for value in column] == [
        bytes([1, 2, 3, 4, 1, 1, 2, 1]),
        b"",
        bytes([5, 6, 3, 1]),
    ]
    whole = payload(column, positions)
    begins = whole.begins[:-1]
    back = read_rows(whole, begins + 2 * positions, positions, "<u2", 1)
    assert back.tolist() == [[257], [258], [259]]


def test_a_slice_of_a_column_is_read_as_that_slice() -> None:
    column = join([rows(np.arange(6, dtype=np.uint8), np.array([1, 2, 3]))])
    part = payload(column.slice(1, 2), np.array([2, 3]))
    assert part.data[:-SLACK].tolist() == [1, 2, 3, 4, 5]
    assert part.begins.tolist() == [0, 2, 5]
