"""Class labels become ids in one order, or are refused with the way out."""

from typing import Any

import numpy as np
import pytest

from distillkit.errors import DataError
from distillkit.tasks import Classification, HeldOut
from distillkit.types import LabelSpace
from tests.tables import one_position_each


@pytest.mark.parametrize(
    ("values", "names", "space", "ids"),
    [
        (["b", "a", "b"], None, LabelSpace(("a", "b")), [1, 0, 1]),
        (["b", "a", "b"], ["b", "a"], LabelSpace(("b", "a")), [0, 1, 0]),
        ([10, 9, -1], None, LabelSpace(("-1", "9", "10"), numeric=True), [2, 1, 0]),
        (["10", "9", "-1"], None, LabelSpace(("-1", "9", "10"), numeric=True), [2, 1, 0]),
        (["1e3", "NA"], None, LabelSpace(("1e3", "NA")), [0, 1]),
        (["1.0", "0.0"], None, LabelSpace(("0.0", "1.0"), numeric=True), [1, 0]),
        (["True", "False"], None, LabelSpace(("False", "True"), numeric=True), [1, 0]),
        (["true", "false"], ["no", "yes"], LabelSpace(("no", "yes"), numeric=True), [1, 0]),
        ([1, 0], ["bad", "good"], LabelSpace(("bad", "good"), numeric=True), [1, 0]),
        (["1", "0"], ["1", "0"], LabelSpace(("1", "0"), numeric=True), [0, 1]),
        (["2", 1], None, LabelSpace(("1", "2"), numeric=True), [1, 0]),
        (["1", "01", "1"], None, LabelSpace(("01", "1")), [1, 0, 1]),
        (["010", "9", "08"], None, LabelSpace(("08", "9", "010"), numeric=True), [2, 1, 0]),
        (["1.10", "1.1", "1.9"], None, LabelSpace(("1.1", "1.10", "1.9")), [1, 0, 2]),
        (["😀", "é", "nan", "None"], None, LabelSpace(("None", "nan", "é", "😀")), [3, 2, 1, 0]),
        (["LABEL_3", "LABEL_10"], None, LabelSpace(("LABEL_10", "LABEL_3")), [1, 0]),
    ],
)
def test_labels_are_put_in_order(
    values: list[Any], names: list[str] | None, space: LabelSpace, ids: list[int]
) -> None:
    found, encoded = Classification.read_labels(values, names)
    assert found == space
    assert encoded.tolist() == ids
    assert encoded.dtype == np.int64


@pytest.mark.parametrize(
    ("values", "names", "said"),
    [
        (["a", "a"], None, "'a'; a classifier needs two classes"),
        ([], None, "needs two classes"),
        (["1", "01"], ["a", "b"], "01 and 1 in the data would both be b"),
        (["a", "c"], ["a", "b"], r"\[a, b\]: the data also has c"),
        ([0, 2], ["a", "b"], "labels 0 to 1, but the data has 0 to 2"),
        (
            [str(i / 8) for i in range(50)],
            None,
            r"50 different labels in 50 rows, as '0\.0', '0\.125', '0\.25': nearly each row has "
            "one of its own; a real value takes task=regression loss=logit_mse",
        ),
        (
            [f"id {i}" for i in range(1001)],
            None,
            "1,001 different labels in 1,001 rows.*is this the right",
        ),
        ([["a"], ["b"]], None, "which is no single label; several labels a text are for"),
    ],
)
def test_what_are_no_classes_is_refused(
    values: list[Any], names: list[str] | None, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        Classification.read_labels(values, names)


def test_many_classes_are_warned_of_and_taken(capsys: pytest.CaptureFixture[str]) -> None:
    values = [f"intent {i}" for i in range(2000)] * 2
    space, ids = Classification.read_labels(values)
    assert len(space.names) == 2000
    assert [space.names[i] for i in ids] == values
    said = capsys.readouterr().err
    assert "data.label: 2,000 classes, as 'intent 0', 'intent 1', 'intent 2'" in said
    assert len(said) < 200


def test_decimals_as_classes_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    Classification.read_labels(["0.5", "1.0", "0.5"])
    assert "2 classes are numbers with decimals" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["Pos", "pos", "neg"], ["'Pos' (1) and 'pos' (1)"]),
        (["card lost", "card_lost", "cardlost"], ["'card lost' (1) and 'card_lost' (1) and"]),
        (["caf\u00e9", "cafe\u0301", "tea"], ["'caf\u00e9' (1)"]),
        (["01", "1", "2"], ["'01' (1) and '1' (1)"]),
        (["1.10", "1.1", "2"], ["'1.1' (1) and '1.10' (1)"]),
        (["a\u200b", "a", "b"], ["'a' (1)"]),
        (["\uff11", "1", "2"], ["'1' (1)"]),
        (["9007199254740993", "9007199254740992"], []),
        (["C", "C++", "C#", "-1", "1", ":)", ":(", "कि", "का"], []),
    ],
)
def test_near_equal_labels_are_reported(
    labels: list[str], groups: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    space, _ = Classification.read_labels(labels)
    assert set(space.names) == set(labels)
    said = capsys.readouterr().err
    assert ("nearly equal" in said) == bool(groups)
    assert all(group in said for group in groups)


def test_the_headline_is_the_accuracy() -> None:
    logits, labels = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), np.array([0, 1, 1])
    task, held_out = Classification(), HeldOut(one_position_each(labels), LabelSpace(("a", "b")))
    outcomes = task.outcomes(logits, held_out)
    assert task.headline_score(outcomes) == pytest.approx(2 / 3)
    assert task.scores(logits, outcomes, held_out)["accuracy"] == pytest.approx(2 / 3)
