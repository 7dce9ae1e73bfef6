"""Word embeddings for a narrow student: the principal components of the teacher's."""

from pathlib import Path
from typing import Any

import pytest
import torch

from distillkit.errors import ModelError
from distillkit.models.classifiers import load_tokenizer, new_classifier
from distillkit.students.embeddings import principal_components, start_from_teacher
from distillkit.types import LabelSpace


@pytest.fixture
def table() -> torch.Tensor:
    return torch.randn(60, 12, generator=torch.Generator().manual_seed(0)) @ torch.diag(
        torch.linspace(3, 0.1, 12)
    )


@pytest.fixture
def counts() -> torch.Tensor:
    return torch.arange(60) % 7 * 5


def weighted(table: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(the centred table, the weight of each row's square)"""
    weights = (counts.double() + 0.5).sqrt()[:, None]
    return table.double() - (table.double() * weights).sum(dim=0) / weights.sum(), weights


def student(body: Path, hidden: int) -> tuple[Any, int]:
    tokenizer = load_tokenizer(str(body), key="k")
    shape = {
        "model_type": "bert",
        "hidden_size": hidden,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    model = new_classifier(
        shape,
        LabelSpace(("a", "b")),
        tokenizer,
        key="k",
        problem_type="single_label_classification",
    )
    return model, len(tokenizer)


def test_components_are_those_of_the_singular_value_decomposition(
    table: torch.Tensor, counts: torch.Tensor
) -> None:
    found = principal_components(table, 5, counts)
    centred, weights = weighted(table, counts)
    _, _, axes = torch.linalg.svd(centred * weights.sqrt(), full_matrices=False)
    expected = centred @ axes[:5].T
    torch.testing.assert_close(found.abs(), expected.abs(), rtol=1e-6, atol=1e-8)


def test_no_narrower_table_is_nearer_to_the_whole(
    table: torch.Tensor, counts: torch.Tensor
) -> None:
    centred, weights = weighted(table, counts)
    whole = float((weights * centred.square()).sum())
    lost = [
        whole - float((weights * principal_components(table, k, counts).square()).sum())
        for k in (1, 4, 12)
    ]
    assert lost[0] > lost[1] > lost[2] == pytest.approx(0, abs=1e-8)


def test_what_a_text_is_made_of_is_kept_best() -> None:
    table = torch.eye(4)[torch.arange(40) % 4]
    counts = torch.where(torch.arange(40) % 4 >= 2, 1000, 0)
    kept = principal_components(table, 1, counts)[:, 0]
    assert float((kept[2] - kept[3]).abs()) == pytest.approx(2**0.5)
    assert float((kept[0] - kept[1]).abs()) == pytest.approx(0, abs=1e-6)


def test_rows_that_count_alike_are_plain_components(table: torch.Tensor) -> None:
    found = principal_components(table, 3, torch.full((60,), 7))
    torch.testing.assert_close(found, principal_components(table, 3, torch.zeros(60)))


def test_signs_do_not_hang_on_the_solver(table: torch.Tensor, counts: torch.Tensor) -> None:
    torch.testing.assert_close(
        principal_components(-table, 3, counts), -principal_components(table, 3, counts)
    )


def test_the_student_starts_from_them_at_its_own_spread(body: Path) -> None:
    model, tokens = student(body, hidden=8)
    before = model.get_input_embeddings().weight.clone()
    teacher = torch.randn(tokens, 32, generator=torch.Generator().manual_seed(1))
    counts = torch.arange(tokens)
    start_from_teacher(model, teacher, counts=counts)
    after = model.get_input_embeddings().weight.detach()
    assert not torch.equal(after, before)
    assert float(after.std()) == pytest.approx(model.config.initializer_range, rel=1e-4)
    reduced = principal_components(teacher, 8, counts).float()
    torch.testing.assert_close(after / after.std(), reduced / reduced.std(), rtol=1e-4, atol=1e-5)


def test_a_student_wider_than_its_teacher_is_refused(body: Path) -> None:
    model, tokens = student(body, hidden=48)
    with pytest.raises(ModelError, match=r"wider \(48\) than the teacher \(32\)"):
        start_from_teacher(model, torch.zeros(tokens, 32), counts=torch.zeros(tokens))
