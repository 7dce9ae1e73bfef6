"""Several losses at once."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distillkit.errors import ConfigError
from distillkit.losses import (
    ForwardKL,
    HardLabelLoss,
    LogitMSE,
    Loss,
    Mixture,
    ReverseKL,
    chunked,
    forward_kl,
    logit_mse,
    reduce_terms,
)
from distillkit.losses.heads import project
from distillkit.schedules import Constant, Linear
from distillkit.tasks import Classification
from distillkit.types import (
    HardLabels,
    Head,
    HiddenOutputs,
    LossTerms,
    Outputs,
    SoftTargets,
)

POSITIONS, CLASSES, HIDDEN = 6, 5, 4


class Elsewhere(Loss):
    """A loss that is not of logits: it has a parameter and a buffer, and hears of training."""

    def __init__(self) -> None:
        super().__init__({"state": Constant(2.0)})
        self.scale = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))
        self.heard: list[Any] = []

    def forward(
        self, outputs: Any, targets: Any, labels: HardLabels, insides: Any = None
    ) -> LossTerms:
        return LossTerms({"state": self.scale * labels.label_mask.double()}, self.weights)

    def on_step_end(self, shares: Any) -> None:
        self.heard.append(dict(shares))


def tensors() -> tuple[Tensor, Head, SoftTargets, HardLabels]:
    """Hidden states and a head, a teacher's logits, and labels of which one is not known."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    labelled = torch.arange(POSITIONS) != 2
    labels = HardLabels(torch.arange(POSITIONS) % CLASSES, labelled, Classification.per_example)
    head = Head(normal(CLASSES, HIDDEN).requires_grad_(), CLASSES)
    return normal(POSITIONS, HIDDEN), head, SoftTargets(normal(POSITIONS, CLASSES)), labels


def mixture(**more: Loss) -> Mixture:
    terms: dict[str, Loss] = {
        "warm": ForwardKL(temperature=4.0, soft_weight=3.0),
        "cold": ForwardKL(),
        "mse": LogitMSE(hard_weight=0.5),
        "hard": HardLabelLoss(),
        **more,
    }
    weights = {"warm": 0.5, "cold": 2.0, "mse": 0.1, "hard": 0.25} | dict.fromkeys(more, 0.7)
    return Mixture(terms, weights)


def test_it_is_the_weighted_sum_of_its_terms_each_under_its_name() -> None:
    hidden, head, targets, labels = tensors()
    logits = project(hidden, head)
    terms = mixture()(Outputs(logits), targets, labels)
    hard = Classification.per_example(logits, labels.values) * labels.label_mask
    expected = {
        "warm": forward_kl(logits, targets.logits, temperature=4.0),
        "cold": forward_kl(logits, targets.logits),
        "mse.soft": logit_mse(logits, targets.logits),
        "mse.hard": hard,
        "hard": hard,
    }
    torch.testing.assert_close(dict(terms.values), expected)
    weights = {"warm": 1.5, "cold": 2.0, "mse.soft": 0.1, "mse.hard": 0.05, "hard": 0.25}
    assert terms.weights == pytest.approx(weights)
    total, shares = reduce_terms(terms, count=POSITIONS)
    by_hand = sum(weights[name] * values.sum() / POSITIONS for name, values in expected.items())
    torch.testing.assert_close(total, by_hand)
    assert shares.keys() == weights.keys()


@pytest.mark.parametrize("more", [{}, {"elsewhere": Elsewhere()}], ids=["logits", "and others"])
def test_hidden_states_in_chunks_are_their_logits(
    more: dict[str, Loss], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "CHUNK_BYTES", 8 * CLASSES * 2)
    hidden, head, targets, labels = tensors()
    loss, found = mixture(**more), []
    for outputs in (Outputs(project(hidden, head)), HiddenOutputs(hidden, head)):
        total, shares = reduce_terms(loss(outputs, targets, labels), count=POSITIONS)
        learnt = [head.weight, *loss.parameters()]
        found.append((total.detach(), shares, torch.autograd.grad(total, learnt)))
    torch.testing.assert_close(found[1], found[0])


def test_all_terms_of_logits_share_one_pass_over_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    products = []
    raw_logits = chunked.raw_logits
    monkeypatch.setattr(
        chunked, "raw_logits", lambda *args: products.append(args) or raw_logits(*args)
    )
    hidden, head, targets, labels = tensors()
    mixture(elsewhere=Elsewhere())(HiddenOutputs(hidden, head), targets, labels)
    assert len(products) == 1


def test_a_term_that_is_not_of_logits_has_its_place() -> None:
    hidden, head, targets, labels = tensors()
    terms = mixture(elsewhere=Elsewhere())(Outputs(project(hidden, head)), targets, labels)
    assert terms.weights["elsewhere"] == pytest.approx(0.7 * 2.0)
    torch.testing.assert_close(terms.values["elsewhere"], 3.0 * labels.label_mask.double())


def test_every_term_hears_of_training_what_is_its_own() -> None:
    inner = Elsewhere()
    warm = ForwardKL(temperature=Linear(4.0, 2.0))
    loss = Mixture({"warm": warm, "other": inner}, {"warm": Linear(0.0, 1.0), "other": 1.0})
    loss.on_step_begin(0.5)
    assert (warm.current_temperature, inner.progress) == (3.0, 0.5)
    assert loss.weights == {"warm": 0.5, "other": 2.0}
    loss.on_step_end({"loss": 9.0, "warm": 4.0, "other": 5.0})
    assert inner.heard == [{"state": 5.0}]


def test_a_terms_own_parameters_are_the_mixtures() -> None:
    assert [name for name, _ in mixture(other=Elsewhere()).named_parameters()] == [
        "terms.other.scale"
    ]


def test_mixtures_may_be_terms() -> None:
    hidden, head, targets, labels = tensors()
    outer = Mixture({"all": mixture(), "reverse": ReverseKL()}, {"all": 2.0, "reverse": 1.0})
    terms = outer(Outputs(project(hidden, head)), targets, labels)
    assert terms.values.keys() == terms.weights.keys() == outer.weights.keys()
    assert terms.weights["all.mse.hard"] == pytest.approx(2.0 * 0.05)


def test_a_term_of_weight_0_is_not_computed() -> None:
    terms = {"kl": ForwardKL(), "other": Elsewhere()}
    loss = Mixture(terms, {"kl": 1.0, "other": 0.0})
    assert loss.weights == {"kl": 1.0}
    assert not list(loss.parameters())


@pytest.mark.parametrize(
    ("terms", "weights", "fault"),
    [
        ({}, {}, r"loss\.terms: empty"),
        ({"kl": {"temperature": 2.0}}, {"kl": 1.0}, r"loss\.terms\.kl: no loss; it takes _target_"),
        ({"kl": ForwardKL()}, {"lk": 1.0}, r"loss\.weights\.lk: no such term; did you mean kl\?"),
        ({"kl": ForwardKL()}, {}, r"loss\.weights\.kl: not set"),
        ({"kl": ForwardKL()}, {"kl": -1.0}, r"loss\.weights\.kl: gets as low as -1"),
        ({"a.b": ForwardKL()}, {"a.b": 1.0}, r"loss\.terms\.a\.b: cannot be a name"),
        ({"values": ForwardKL()}, {"values": 1.0}, r"loss\.terms\.values: cannot be a name"),
        ({"hard": HardLabelLoss()}, {"hard": 1.0}, "choose loss=hard_labels"),
    ],
)
def test_what_cannot_be_mixed_is_refused(terms: Any, weights: Any, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        Mixture(terms, weights)


def test_it_takes_what_every_term_takes() -> None:
    mse, kl = LogitMSE(), ForwardKL()
    assert "real" in Mixture({"mse": mse}, {"mse": 1.0}).supported_outputs
    assert Mixture({"mse": mse, "kl": kl}, {"mse": 1.0, "kl": 1.0}).supported_outputs == (
        "softmax",
    )


def test_what_moves_is_told_under_the_name_of_its_term() -> None:
    softened = ForwardKL(temperature=Linear(4.0, 2.0), hard_weight=Linear(0.0, 1.0))
    loss = Mixture({"kl": softened, "mse": LogitMSE()}, {"kl": Linear(1.0, 0.0), "mse": 1.0})
    loss.on_step_begin(0.5)
    assert loss.scheduled_values == {"kl_weight": 0.5, "kl.temperature": 3.0, "kl.hard_weight": 0.5}
    assert ForwardKL().scheduled_values == {}
