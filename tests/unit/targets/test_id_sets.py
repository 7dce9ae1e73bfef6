"""Sets of ids: they come back, whatever the vocabulary, and take little more than they must."""

import numpy as np
import pytest
from scipy.special import gammaln

from distillkit.ragged import exclusive_cumsum
from distillkit.targets.codecs import id_sets
from distillkit.targets.codecs.bit_packing import join, payload


def random_sets(
    counts: np.ndarray, vocabulary: int, *, power: float = 1.0, seed: int = 0
) -> np.ndarray:
    """counts[i] ids, ascending, of each position; a higher power makes small ids more frequent."""
    rng = np.random.default_rng(seed)
    sets = []
    for number in counts:
        found: set[int] = set()
        while len(found) < number:
            drawn = vocabulary * rng.random(number) ** power
            found.update(drawn.astype(int).tolist())
        sets.append(sorted(rng.permutation(sorted(found))[:number]))
    return np.concatenate([np.zeros(0, np.int64), *sets]).astype(np.int64)


def there_and_back(ids: np.ndarray, counts: np.ndarray, positions: np.ndarray) -> np.ndarray:
    whole = payload(join(id_sets.encode(ids, counts, positions)), positions)
    return id_sets.decode(whole, whole.begins[:-1], counts)


@pytest.mark.parametrize("vocabulary", [60, 49_152, 151_936, 2**18 + 1, 2**24 + 3, 2**31 - 1])
@pytest.mark.parametrize("power", [1.0, 6.0])
def test_ids_of_any_vocabulary_come_back(vocabulary: int, power: float) -> None:
    positions = np.array([3, 0, 1, 20, 0])
    counts = np.random.default_rng(1).integers(1, 40, positions.sum())
    ids = random_sets(counts, vocabulary, power=power)
    np.testing.assert_array_equal(there_and_back(ids, counts, positions), ids)


@pytest.mark.parametrize("ids", [[0], [7], [0, 1, 2, 3], [2**31 - 2], [0, 2**31 - 2]])
def test_one_position_comes_back(ids: list[int]) -> None:
    sets = np.array(ids, np.int64)
    np.testing.assert_array_equal(there_and_back(sets, np.array([len(ids)]), np.array([1])), sets)


def test_no_position_at_all() -> None:
    none = np.zeros(0, np.int64)
    assert there_and_back(none, none, np.zeros(3, np.int64)).tolist() == []
    assert there_and_back(none, none, none).tolist() == []


@pytest.mark.parametrize(("kept", "vocabulary"), [(18, 49_152), (50, 49_152), (50, 262_144)])
def test_ids_without_any_pattern_take_little_more_than_they_must(
    kept: int, vocabulary: int
) -> None:
    """log2 of the number of sets is the least; gaps are geometric then, which suits Rice best."""
    positions = np.full(4, 100)
    counts = np.full(400, kept)
    column = join(id_sets.encode(random_sets(counts, vocabulary), counts, positions))
    least = (gammaln(vocabulary + 1) - gammaln(kept + 1) - gammaln(vocabulary - kept + 1)) / np.log(
        2
    )
    assert 1 < 8 * column.nbytes / 400 / least < 1.12


def test_frequent_small_ids_take_less() -> None:
    positions, counts = np.full(4, 100), np.full(400, 20)
    sizes = [
        join(id_sets.encode(random_sets(counts, 49_152, power=p), counts, positions)).nbytes
        for p in (1.0, 6.0)
    ]
    assert sizes[1] < 0.9 * sizes[0]


def test_all_ids_of_a_vocabulary_take_a_bit_each() -> None:
    ids, positions = np.tile(np.arange(1000), 8), np.array([8])
    column = join(id_sets.encode(ids, np.full(8, 1000), positions))
    assert column.nbytes - 16 <= 1000 + 6  # 16: where the value begins and ends


def test_examples_are_coded_each_for_itself() -> None:
    counts = np.random.default_rng(2).integers(1, 9, 30)
    ids, positions = random_sets(counts, 5000), np.array([12, 0, 18])
    column = join(id_sets.encode(ids, counts, positions))
    cut = exclusive_cumsum(counts)[12]
    alone = join(id_sets.encode(ids[cut:], counts[12:], positions[2:]))
    assert column[2].as_py() == alone[0].as_py()
