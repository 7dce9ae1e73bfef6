"""Words that several tokenizers have tokens for: one may drop a word, or cut a sentence earlier."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distillkit.ragged import ranges
from distillkit.token_table import TokenTable


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of a teacher's positions a student has, too, example by example of the student.

    `places` [positions of the student] are places among the teacher's of the same example, whose
    number is `counts` [examples]; `offsets` [examples + 1] say where each example's places begin.
    """

    places: np.ndarray
    offsets: np.ndarray
    counts: np.ndarray

    def __call__(self, examples: np.ndarray) -> Tensor:
        """Places in what the teacher says about these examples, one after the other."""
        begins, sizes = self.offsets[examples], np.diff(self.offsets)[examples]
        before = np.concatenate([[0], np.cumsum(self.counts[examples])[:-1]])
        indices = self.places[ranges(begins, sizes)] + np.repeat(before, sizes)
        return torch.from_numpy(indices)


def shared(tables: Sequence[TokenTable]) -> list[np.ndarray]:
    """Of each table the positions whose words all of them have, bool [positions] each.

    The tables are of the same sentences, each under a tokenizer of its own.
    """
    keys = np.concatenate([table.keys for table in tables])
    _, numbers = np.unique(keys, return_inverse=True)
    indices = [table.word_index for table in tables if table.word_index is not None]
    longest = max((int(index.max(initial=0)) for index in indices), default=0)
    codes, start = [], 0
    for table in tables:
        assert table.word_index is not None
        of_sentence = np.repeat(numbers[start : start + len(table)], table.positions)
        codes.append(of_sentence.astype(np.int64) * (longest + 1) + table.word_index)
        start += len(table)
    return [np.all([np.isin(code, table) for table in codes], axis=0) for code in codes]


def align(student: TokenTable, teacher: TokenTable) -> tuple[TokenTable, Selection | None]:
    """(the student's table of words that the teacher has, too; which of the teacher's they are).

    None where both have the same words, as is usual. Sentences stand in each table once.
    """
    of_student, of_teacher = shared([student, teacher])
    if of_student.all() and of_teacher.all() and np.array_equal(student.keys, teacher.keys):
        return student, None
    table = student.counting(of_student)
    order = np.argsort(teacher.keys, kind="stable")
    rows = order[np.searchsorted(teacher.keys[order], table.keys)]
    counts = teacher.positions[rows]
    begins = teacher.position_offsets[rows]
    # in the order of the student's sentences: the teacher's positions, and which of them are shared
    positions = ranges(begins, counts)
    within = positions - np.repeat(begins, counts)
    return table, Selection(within[of_teacher[positions]], table.position_offsets, counts)
