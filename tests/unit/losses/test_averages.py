"""What several teachers say on average, by hand and where it is used."""

import math
from dataclasses import replace

import pytest
import torch

from distillkit.losses import ForwardKL
from distillkit.losses.averages import averaged, averaged_logits
from distillkit.types import (
    AveragedTargets,
    HardLabels,
    HiddenOutputs,
    HiddenTargets,
    Outputs,
    SoftTargets,
)
from tests.unit.targets.answers import random_hidden, random_logits

LABELS = HardLabels(torch.zeros(7).long(), torch.zeros(7).bool(), None)


def test_probabilities_are_averaged_and_not_logits() -> None:
    sure, unsure = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.5]])
    found = averaged([sure.log() + 3, unsure.log()], [0.25, 0.75], "softmax")
    torch.testing.assert_close(found.exp(), torch.tensor([[0.6, 0.4]]))


def test_labels_by_themselves_have_the_log_odds_of_the_mean() -> None:
    found = averaged(
        [torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, -2.0]])], [0.5, 0.5], "bernoulli"
    )
    torch.testing.assert_close(found, torch.zeros(1, 2))
    first = averaged([torch.tensor([math.log(9.0)]), torch.tensor([0.0])], [0.5, 0.5], "bernoulli")
    torch.testing.assert_close(first, torch.tensor([math.log(0.7 / 0.3)]))


def test_real_values_have_their_mean() -> None:
    found = averaged([torch.tensor([[4.0]]), torch.tensor([[-2.0]])], [0.25, 0.75], "real")
    torch.testing.assert_close(found, torch.tensor([[-0.5]]))


def test_what_is_ruled_out_by_all_stays_so_and_what_is_tiny_is_not_lost() -> None:
    first = torch.tensor([[0.0, -500.0, -torch.inf]])
    second = torch.tensor([[0.0, -500.0, -torch.inf]])
    found = averaged([first, second], [0.5, 0.5], "choice")
    torch.testing.assert_close(found, first)


@pytest.mark.parametrize("distribution", ["softmax", "bernoulli", "real"])
def test_one_opinion_given_twice_is_that_opinion(distribution: str) -> None:
    said = random_logits(7, 5)
    found = averaged([said, said], [0.3, 0.7], distribution)  # type: ignore[arg-type]
    expected = said.log_softmax(-1) if distribution == "softmax" else said
    torch.testing.assert_close(found, expected)


def test_a_loss_softens_the_mean_and_not_the_members() -> None:
    """With T = 2: softmax(log(mean) / 2), as the documentation of an ensemble says."""
    members = [random_logits(7, 5, seed=seed) for seed in (0, 1)]
    student = Outputs(random_logits(7, 5, seed=2))
    targets = AveragedTargets(tuple(map(SoftTargets, members)), (0.5, 0.5), "softmax")
    mean = (members[0].softmax(-1) + members[1].softmax(-1)) / 2
    loss = ForwardKL(temperature=2.0)
    found = loss(student, targets, LABELS).values["soft"]
    expected = loss(student, SoftTargets(mean.log()), LABELS).values["soft"]
    torch.testing.assert_close(found, expected)


def test_over_a_head_the_average_is_made_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    from distillkit.losses import chunked

    monkeypatch.setattr(chunked, "CHUNK_BYTES", 3 * 4 * 11)  # three positions at a time
    said = [random_hidden(7, 11, seed=seed) for seed in (0, 1)]
    targets = AveragedTargets(
        tuple(HiddenTargets(it.hidden, it.head) for it in said), (0.25, 0.75), "softmax"
    )
    begin = random_hidden(7, 11, seed=2)
    grads = []
    for kept in (targets, SoftTargets(averaged_logits(targets))):
        hidden = begin.hidden.clone().requires_grad_()
        student = HiddenOutputs(hidden, replace(begin.head))
        terms = ForwardKL()(student, kept, LABELS)
        assert terms.total is not None
        terms.total.backward()
        assert hidden.grad is not None
        grads.append(hidden.grad)
    torch.testing.assert_close(grads[0], grads[1])
    assert grads[0].abs().max() > 1e-3
