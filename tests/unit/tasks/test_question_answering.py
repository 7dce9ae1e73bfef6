"""Answers in windows: where they stand, where none may, and which of several is given."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.data import Split
from distillkit.errors import DataError, ModelError
from distillkit.evaluation.predictions import write_predictions
from distillkit.losses import JSD, ForwardKL, ReverseKL, reduce_terms
from distillkit.models.saved import SavedModel
from distillkit.tasks import HeldOut, QuestionAnswering
from distillkit.tasks.question_answering import START_AND_END, best_span
from distillkit.token_table import TokenTable
from distillkit.training.collation import Collator
from distillkit.types import HardLabels, Outputs, SoftTargets

CONTEXT = "the film was a good story and the music was lovely and the ending was cold ."
QUESTIONS = ["good story", "the story was a scene", "silly camera"]
ANSWERS = [[("story", CONTEXT.index("story"))], [("cold .", CONTEXT.index("cold"))], []]


@pytest.fixture(scope="module")
def tokenizer(body: Path) -> Any:
    return QuestionAnswering().load_tokenizer(str(body), key="k")


def split(questions: list[str] = QUESTIONS, answers: Any = ANSWERS) -> Split:
    keys, contexts = np.zeros(len(questions), "S16"), [CONTEXT] * len(questions)
    return Split(keys, questions, contexts, None, None, None, answers)


def task_and_table(tokenizer: Any, max_length: int = 15, **settings: Any) -> Any:
    task = QuestionAnswering(max_length=max_length, stride=4, **settings)
    return task, task.tokenise(split(), tokenizer, label="texts")[0]


def windows(table: TokenTable) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(ids, allowed, labels) of each."""
    assert table.answer_mask is not None
    cuts = table.offsets[1:-1]
    parts = np.split(table.ids, cuts), np.split(table.answer_mask, cuts)
    return list(zip(*parts, np.asarray(table.labels).reshape(-1, 2), strict=True))


def test_each_window_says_the_answers_tokens_or_cls_where_it_has_none(tokenizer: Any) -> None:
    _, table = task_and_table(tokenizer)
    assert table.text_index is not None
    found: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for owner, (ids, _, (first, last)) in zip(table.text_index, windows(table), strict=True):
        found[int(owner)].append(tokenizer.decode(ids[first : last + 1]))
    assert min(map(len, found.values())) > 1
    assert set(found[0]) == {"story", "[CLS]"}
    assert set(found[1]) == {"cold [UNK]", "[CLS]"}
    assert set(found[2]) == {"[CLS]"}


def test_windows_share_tokens_and_cover_the_context(tokenizer: Any) -> None:
    _, table = task_and_table(tokenizer)
    assert table.char_spans is not None and table.lengths.max() == 15
    covered = {c for begin, end in table.char_spans[table.offsets[0] :] for c in range(begin, end)}
    assert covered == {i for i, c in enumerate(CONTEXT) if c != " "}


def test_only_the_context_and_cls_may_hold_an_answer(tokenizer: Any) -> None:
    _, table = task_and_table(tokenizer)
    for ids, allowed, _ in windows(table):
        tokens = tokenizer.convert_ids_to_tokens(ids.tolist())
        question_ends = tokens.index("[SEP]")
        assert allowed[0] and not allowed[1 : question_ends + 1].any()
        assert allowed[question_ends + 1 : -1].all() and not allowed[-1]


def test_every_window_has_two_positions(tokenizer: Any) -> None:
    _, table = task_and_table(tokenizer)
    assert (table.positions == 2).all()
    collate = Collator(table, pad_id=0, device=torch.device("cpu"))
    batch = collate(np.array([3, 0]))
    pairs = np.asarray(table.labels).reshape(-1, 2)
    np.testing.assert_array_equal(batch.labels, np.concatenate([pairs[3], pairs[0]]))
    assert (
        batch.answer_mask is not None and batch.answer_mask.shape == batch.inputs["input_ids"].shape
    )
    assert not batch.answer_mask[batch.inputs["attention_mask"] == 0].any()


def test_a_table_is_the_same_after_it_was_saved(tokenizer: Any, tmp_path: Path) -> None:
    _, table = task_and_table(tokenizer)
    table.save(tmp_path)
    again = TokenTable.open(tmp_path)
    for name in ("ids", "segments", "labels", "answer_mask", "char_spans", "text_index", "keys"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
    np.testing.assert_array_equal(again.position_offsets, table.position_offsets)


def asked(tokenizer: Any, body: Path) -> Any:
    """(task, table, the model's logits at each window's start and end, model)."""
    task, table = task_and_table(tokenizer)
    torch.manual_seed(0)
    model = task.load_body(str(body), START_AND_END, key="k").eval()
    collate = Collator(table, pad_id=0, device=torch.device("cpu"))
    batch = collate(np.arange(len(table)))
    return table, batch, task.forward_fn(tokenizer)(model, batch), model


def test_a_model_says_minus_infinity_wherever_no_answer_may_stand(
    tokenizer: Any, body: Path
) -> None:
    table, batch, said, model = asked(tokenizer, body)
    logits = said.logits.reshape(len(table), 2, 15)
    allowed = torch.zeros(len(table), 15, dtype=torch.bool)
    allowed[:, : batch.answer_mask.shape[1]] = batch.answer_mask
    assert (logits.isfinite() == allowed[:, None]).all()
    theirs = model(**batch.inputs)
    torch.testing.assert_close(logits[:, 0][allowed], theirs.start_logits[batch.answer_mask])
    torch.testing.assert_close(logits[:, 1][allowed], theirs.end_logits[batch.answer_mask])


@pytest.mark.parametrize("loss", [ForwardKL(temperature=2.0), ReverseKL(), JSD()])
def test_what_is_ruled_out_stays_out_of_the_loss_and_its_gradient(
    loss: Any, tokenizer: Any, body: Path
) -> None:
    _, batch, said, model = asked(tokenizer, body)
    teacher = torch.randn(said.logits.shape).masked_fill(said.logits.isinf(), -torch.inf)
    labels = HardLabels(batch.labels, batch.label_mask, QuestionAnswering.per_example)
    total, _ = reduce_terms(loss(said, SoftTargets(teacher), labels), count=len(batch.labels))
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert total.isfinite() and all(g.isfinite().all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0
    # the same over the allowed tokens of each window alone
    by_hand = []
    for row in range(len(teacher)):
        kept = teacher[row].isfinite()
        pair = Outputs(said.logits[row : row + 1, kept]), SoftTargets(teacher[row : row + 1, kept])
        one = HardLabels(batch.labels[:1], batch.label_mask[:1], None)
        by_hand.append(loss(*pair, one).values["soft"])
    torch.testing.assert_close(total, torch.cat(by_hand).mean())


def certain(table: TokenTable, width: int, sure: float = 20.0) -> np.ndarray:
    """Logits that are sure of the labels."""
    logits = np.full((len(table.labels), width), 0.0, np.float32)
    logits[np.arange(len(table.labels)), table.labels] = sure
    return logits


def test_sure_of_every_label_all_answers_are_right(tokenizer: Any) -> None:
    task, table = task_and_table(tokenizer, impossible=True)
    logits = certain(table, 15)
    places = task.answers(logits, table)
    assert [CONTEXT[a:b] for a, b in places] == ["story", "cold .", ""]
    with_text = HeldOut(table, START_AND_END, split())
    assert task.outcomes(logits, with_text).tolist() == [[1, 1]] * 3
    assert task.outcomes(logits, HeldOut(table, START_AND_END)).tolist() == [[1, 1]] * 3


def test_where_every_question_has_an_answer_one_is_always_given(tokenizer: Any) -> None:
    task, table = task_and_table(tokenizer)
    places = task.answers(certain(table, 15), table)
    assert all(end > begin for begin, end in places)


def test_a_shift_of_one_windows_logits_changes_no_answer(tokenizer: Any) -> None:
    task, table = task_and_table(tokenizer)
    logits = certain(table, 15)
    shifted = logits + np.repeat(np.arange(len(table)) * 50.0, 2)[:, None]
    assert task.answers(shifted, table) == task.answers(logits, table)


def test_the_best_span_is_that_of_all_spans() -> None:
    rng = np.random.default_rng(0)
    for longest in (1, 3, 40):
        start, end = rng.normal(size=(2, 20))
        spans = [
            (start[i] + end[j], i, j) for i in range(20) for j in range(i, min(20, i + longest))
        ]
        assert best_span(start, end, longest) == max(spans)


def test_a_question_that_leaves_no_room_is_refused(tokenizer: Any) -> None:
    task = QuestionAnswering(max_length=12, stride=6)
    with pytest.raises(DataError, match=r"max_length = 12: question 2 takes 8 tokens of it"):
        task.tokenise(split(), tokenizer, label="texts")


def test_a_body_without_a_head_is_no_ready_teacher(body: Path) -> None:
    with pytest.raises(ModelError, match="it has no weights for qa_outputs"):
        QuestionAnswering().load(SavedModel(str(body), "teacher.path"), START_AND_END)


def test_a_table_says_what_each_question_was_answered_with_and_how_right_it_is(
    tokenizer: Any, tmp_path: Path
) -> None:
    task, table = task_and_table(tokenizer, impossible=True)
    right = certain(table, 15)
    wrong = np.full_like(right, -20.0)
    wrong[:, 0] = 20.0  # [CLS]: no answer
    numbered = replace(split(), numbers=np.array([7, 3, 12]))
    held_out = HeldOut(table, START_AND_END, numbered)
    write_predictions({"teacher": right, "student": wrong}, task, held_out, out=tmp_path)
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["7", "3", "12"]
    assert [row["question"] for row in rows] == QUESTIONS
    assert [json.loads(row["answers"]) for row in rows] == [["story"], ["cold ."], []]
    assert [row["teacher"] for row in rows] == ["story", "cold .", ""]
    assert [float(row["teacher_f1"]) for row in rows] == [1, 1, 1]
    assert [row["student"] for row in rows] == ["", "", ""]
    assert [row["student_exact_match"] for row in rows] == ["0", "0", "1"]
    for name, values in (("teacher", right), ("student", wrong)):
        scores = task.outcomes(values, held_out)
        assert [float(row[f"{name}_f1"]) for row in rows] == scores[:, 1].tolist()
