"""Each class has its share of the held-out rows, and still a text's hash says where it stands."""

import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from distillkit.data import TextData, prepare_labelled
from distillkit.data.duplicates import unique
from distillkit.data.rows import Rows
from distillkit.data.splits import assign, unit_hash
from distillkit.tasks import Regression
from tests.tiny import write_csv

NAMES = ("train", "validation", "test")


def split(classes: list[list[str]], validation: float = 0.1, test: float = 0.15) -> list[str]:
    """The split of each row; its text is its number."""
    texts = [f"text {i}" for i in range(len(classes))]
    places = assign(
        texts,
        validation_fraction=validation,
        test_fraction=test,
        strata=[tuple(c) for c in classes],
    )
    found = {int(row): name for name, rows in places.items() for row in rows}
    assert len(found) == len(classes)
    return [found[i] for i in range(len(classes))]


def counts(classes: list[list[str]], where: list[str]) -> dict[str, Counter[str]]:
    """class -> how many of its rows stand in each split."""
    found: dict[str, Counter[str]] = {}
    for names, name in zip(classes, where, strict=True):
        for each in names:
            found.setdefault(each, Counter())[name] += 1
    return found


def test_classes_of_many_rows_stand_where_their_hashes_say() -> None:
    classes = [["good"] if i % 2 else ["bad"] for i in range(8530)]
    hashes = np.array([unit_hash(f"text {i}") for i in range(len(classes))])
    expected = np.where(hashes < 0.2, "test", np.where(hashes < 0.25, "validation", "train"))
    assert split(classes, validation=0.05, test=0.2) == expected.tolist()


@pytest.mark.parametrize("rows", [4, 5, 7, 10, 20, 40, 130])
def test_each_of_many_small_classes_has_its_share(rows: int) -> None:
    classes = [[f"class {i % 77}"] for i in range(77 * rows)]
    for each in counts(classes, split(classes)).values():
        for name, fraction in (("test", 0.15), ("validation", 0.1)):
            share = rows * fraction
            assert math.floor(0.75 * share) <= each[name] <= math.ceil(1.25 * share)
            assert each[name] >= (share >= 0.5)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_class_of_few_rows_always_has_one_to_train_on(rows: int) -> None:
    classes = [[f"class {i % 300}"] for i in range(300 * rows)]
    found = counts(classes, split(classes, validation=0.4, test=0.5))
    assert min(each["train"] for each in found.values()) >= 1
    if rows == 1:
        assert all(each == {"train": 1} for each in found.values())


def test_a_label_among_several_has_rows_in_each_split() -> None:
    rng = random.Random(0)
    rare = {17: "rare", 400: "rare", 801: "rare", 802: "rare", 803: "rare", 950: "single"}
    classes = [
        sorted(
            {
                *rng.sample(["a", "b", "c", "d"], rng.randint(0, 3)),
                *([rare[i]] if i in rare else []),
            }
        )
        for i in range(1000)
    ]
    found = counts(classes, split(classes))
    assert found["single"] == {"train": 1}
    assert all(found["rare"][name] >= 1 for name in NAMES)
    for each in "abcd":
        total = sum(found[each].values())
        assert found[each]["test"] == pytest.approx(0.15 * total, rel=0.25, abs=1)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_rows_plays_no_part(seed: int) -> None:
    rng = random.Random(seed)
    rows = [
        (f"text {i}", tuple({rng.choice("abcdefgh"), rng.choice("abcdefgh")})) for i in range(90)
    ]
    where = []
    for some in (rows, rng.sample(rows, len(rows))):
        places = assign(
            [text for text, _ in some],
            validation_fraction=0.1,
            test_fraction=0.15,
            strata=[names for _, names in some],
        )
        where.append({name: {some[i][0] for i in found} for name, found in places.items()})
    assert where[0] == where[1]


def test_the_test_split_stays_when_the_validation_share_changes_and_grows_into_itself() -> None:
    classes = [[f"class {i % 20}"] for i in range(260)]
    held = [
        {i for i, name in enumerate(split(classes, validation=v, test=t)) if name == "test"}
        for v, t in ((0.05, 0.15), (0.3, 0.15), (0.1, 0.3))
    ]
    assert held[0] == held[1] < held[2]


@pytest.mark.parametrize("seed", range(40))
def test_no_row_is_lost_and_no_class_untrained_whatever_the_shares(seed: int) -> None:
    rng = random.Random(seed)
    validation, test = rng.choice([(0.1, 0.15), (0.3, 0.3), (0, 0.2), (0.2, 0), (0.45, 0.5)])
    most = rng.choice([1, 4])
    classes = [
        sorted({f"class {int(rng.paretovariate(0.6)) % 40}" for _ in range(rng.randint(1, most))})
        for _ in range(rng.randint(5, 400))
    ]
    where = split(classes, validation=validation, test=test)
    assert all(each["train"] for each in counts(classes, where).values())
    assert validation or "validation" not in where
    assert test or "test" not in where


# duplicates

TEXTS = ["a", "A ", "b", "c", "c", "c"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("first", [("a", "x", 1), ("b", "x", 3), ("c", "y", 4)]),
        (None, [("a", "x", 1), ("b", "x", 3), ("c", "y", 4)]),
        ("majority", [("a", "x", 1), ("b", "x", 3), ("c", "z", 5)]),
        ("drop", [("b", "x", 3)]),
    ],
)
def test_a_choice_of_labels_that_contradict_each_other(
    choice: str | None, expected: list[tuple[str, str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = Rows(TEXTS, None, ["x", "y", "x", "y", "z", "z"])
    found = unique(rows, choice=choice)
    kept = found.rows
    assert list(zip(kept.texts, kept.labels, kept.numbers or [], strict=True)) == expected
    assert (found.contradicting, found.duplicates + found.dropped) == (2, 6 - len(expected))
    said = capsys.readouterr().err
    assert "2 texts stand in 5 training rows with different labels" in said
    assert "'a' is x (row 1) and y (row 2); 'c' is y (row 4) and z (row 5)" in said
    assert (f"data.duplicates = {choice}" in said) == (choice is not None)


def test_several_labels_contradict_each_other_in_no_order() -> None:
    rows = Rows(["a", "a", "b", "b"], None, [["x", "y"], ["y", "x"], [], ["x"]])
    assert unique(rows).contradicting == 1


def test_a_long_text_is_cut_in_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    texts = [f"{i} " + "word " * 5000 for i in range(50) for _ in (0, 1)]
    unique(Rows(texts, None, ["x" * 9000, "y"] * 50), choice="first")
    said = capsys.readouterr().err
    assert "50 texts stand in 100 training rows" in said
    assert len(said) < 900


@pytest.mark.parametrize("seed", range(40))
def test_few_rows_with_real_values_have_their_share_held_out(seed: int, tmp_path: Path) -> None:
    rows = [(f"text {seed} {i}", i / 10) for i in range(25)]
    path = write_csv(tmp_path / "a.csv", ("text", "label"), rows)
    data = TextData(train=str(path), text="text", label="label")
    task = Regression()
    done = prepare_labelled(
        data,
        task.read_labels,
        distribution=task.distribution,
        cache=tmp_path / "cache",
        out=tmp_path / "out",
    )
    assert 1 <= done["counts"]["validation"] <= 4  # 2.5, a quarter more or fewer
    assert 2 <= done["counts"]["test"] <= 5  # 3.75
    assert sum(done["counts"].values()) == 25
