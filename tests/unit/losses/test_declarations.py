"""What each loss says that outputs may mean to it, and that it is so."""

import inspect
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from distillkit import losses
from distillkit.config.build import build
from distillkit.config.paths import CONF
from distillkit.errors import ConfigError
from distillkit.losses.loss import Loss, SoftTargetLoss
from distillkit.losses.reduction import reduce_terms
from distillkit.pipeline.checks import check_codec, check_outputs
from distillkit.targets.codecs.registry import CODECS, from_settings
from distillkit.tasks import (
    CausalLM,
    Classification,
    MultiLabel,
    QuestionAnswering,
    Regression,
    Task,
)
from distillkit.types import DISTRIBUTIONS, HardLabels, Outputs, SoftTargets

TASKS: dict[str, Any] = {
    "softmax": Classification(),
    "choice": QuestionAnswering(),
    "bernoulli": MultiLabel(),
    "real": Regression(),
}
# all others are of two softmaxes
OTHERS = {
    "logit_mse": {"softmax", "bernoulli", "real"},
    "bernoulli_kl": {"bernoulli"},
    "hard_labels": set(DISTRIBUTIONS),
}
FILES = sorted(file.stem for file in (CONF / "loss").glob("*.yaml"))


def chosen(name: str) -> Loss:
    """The loss of a file of its group."""
    loss = build(OmegaConf.load(CONF / "loss" / f"{name}.yaml"), key="loss")
    assert isinstance(loss, Loss)
    return loss


def looks_inside_alone(loss: Loss) -> bool:
    return loss.needs_activations and not loss.needs_soft_targets


def expected(name: str, loss: Loss) -> set[str]:
    if looks_inside_alone(loss):
        return set(DISTRIBUTIONS)
    return OTHERS.get(name, {"softmax", "choice"})


@pytest.mark.parametrize("name", FILES)
def test_every_choice_of_a_loss_is_refused_for_the_outputs_that_it_is_not_for(name: str) -> None:
    loss = chosen(name)
    for distribution, task in TASKS.items():
        if distribution in expected(name, loss):
            check_outputs(task, loss)
        else:
            with pytest.raises(ConfigError, match=f"loss = {type(loss).__name__}: ") as refused:
                check_outputs(task, loss)
            assert "\n" not in str(refused.value)


def outputs(distribution: str) -> tuple[Tensor, Tensor, Tensor, Any]:
    """(student, teacher, labels, the task's loss) of outputs with this meaning."""
    torch.manual_seed(0)
    shape = (6, 1) if distribution == "real" else (6, 5)
    student, teacher = 2 * torch.randn(2, *shape)
    labels = torch.arange(6) % 5
    if distribution == "real":
        labels = torch.randn(6)
    elif distribution == "bernoulli":
        labels = torch.randint(0, 2, shape)
    elif distribution == "choice":
        nowhere = torch.arange(5) == (labels[:, None] + 1) % 5
        student, teacher = (it.masked_fill(nowhere, -torch.inf) for it in (student, teacher))
    return student, teacher, labels, TASKS[distribution].per_example


LEARNT = [
    (name, distribution)
    for name, loss in [(name, chosen(name)) for name in FILES]
    if not loss.needs_activations
    for distribution in loss.supported_outputs
]


@pytest.mark.parametrize(("name", "distribution"), LEARNT)
def test_a_loss_learns_from_what_it_says_it_is_for(name: str, distribution: Any) -> None:
    loss = chosen(name)
    student, teacher, labels, per_example = outputs(distribution)
    student.requires_grad_()
    hard = HardLabels(labels, torch.ones(6, dtype=torch.bool), per_example)
    total, _ = reduce_terms(loss(Outputs(student), SoftTargets(teacher), hard), count=6)
    (gradient,) = torch.autograd.grad(total, student)
    assert total.isfinite() and total > 0
    assert gradient.isfinite().all()
    assert (gradient != 0).any(dim=-1).all()  # every position teaches something
    assert (gradient[student == -torch.inf] == 0).all()


def test_every_loss_on_a_teachers_outputs_declares_what_they_may_be() -> None:
    exported = [getattr(losses, name) for name in losses.__all__]
    soft = [it for it in exported if inspect.isclass(it) and issubclass(it, SoftTargetLoss)]
    assert len(soft) > 10
    for kind in soft:
        own = [base for base in kind.__mro__ if "supported_outputs" in vars(base)]
        assert own[0] is not Loss
    # of a loss of one's own no more is believed than that of most
    assert SoftTargetLoss.supported_outputs == ("softmax",)


@pytest.mark.parametrize(
    ("codec", "task", "way_out"),
    [
        (codec, task, "choose targets=stored")
        for codec in ("top_k", "top_p", "sampled", "sampled_logits")
        for task in (MultiLabel(), Regression())
    ]
    + [("last_hidden", task, "choose targets=stored") for task in TASKS.values()],
    ids=lambda it: it if isinstance(it, str) else type(it).__name__,
)
def test_a_codec_is_refused_for_outputs_that_it_cannot_keep(
    codec: str, task: Task, way_out: str
) -> None:
    with pytest.raises(ConfigError, match=rf"targets\.codec = {codec}: keeps .*{way_out}"):
        check_codec(task, from_settings({"name": codec}))


def test_a_codec_is_taken_for_all_others() -> None:
    for kind in CODECS:
        check_codec(CausalLM(), from_settings({"name": kind.name}))
        if not kind.shared_files:
            check_codec(Classification(), from_settings({"name": kind.name}))
            check_codec(QuestionAnswering(), from_settings({"name": kind.name}))
    for task in TASKS.values():
        check_codec(task, from_settings({"name": "dense"}))
