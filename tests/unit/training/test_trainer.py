"""The one training loop."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from distillkit.errors import DataError, TrainingError
from distillkit.schedules import LinearLR
from distillkit.training.checkpoint import Checkpoints
from distillkit.training.gradients import parameter_groups
from distillkit.training.objective import ModelWithObjective
from distillkit.training.trainer import METRICS, check_batch_size
from distillkit.types import Batch, LossTerms
from tests.processes import run_two
from tests.unit.training import toy
from tests.unit.training.toy import (
    EXAMPLES,
    OPTIMIZERS,
    STEPS,
    Projected,
    assert_bits,
    likelihood,
    net,
    objective,
    train,
    weights,
)

Change = Callable[[LossTerms], LossTerms]


def at_call(
    number: int, change: Change, *, of: Callable[[Any, Batch], LossTerms] = objective
) -> Callable[[Any, Batch], LossTerms]:
    """An objective, the toy's own by default, changed from its n-th call on."""
    calls = 0

    def changed(model: nn.Module, batch: Batch) -> LossTerms:
        nonlocal calls
        calls += 1
        terms = of(model, batch)
        return terms if calls < number else change(terms)

    return changed


class Killed(BaseException):
    """As SIGKILL would: nothing in the loop may catch it."""


def killed(_: LossTerms) -> LossTerms:
    raise Killed


def dies_at(step: int) -> Callable[[nn.Module], dict[str, float]]:
    """A validation, due at every second step, that one step is killed in."""
    steps = 0

    def dies_once(model: nn.Module) -> dict[str, float]:
        nonlocal steps
        steps += 2
        if steps == step:
            raise Killed
        return likelihood(model)

    return dies_once


def not_a_number(terms: LossTerms) -> LossTerms:
    return LossTerms({"hard": terms.values["hard"] * math.nan}, terms.weights)


def without_gradient(terms: LossTerms) -> LossTerms:
    """A loss of 0, whose gradient is 0/0."""
    return LossTerms({"hard": (0 * terms.values["hard"]).sqrt()}, terms.weights)


@pytest.fixture
def every_third_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints at steps 3, 6, 9 only, so that a kill costs work."""
    save = Checkpoints.save

    def seldom(self: Checkpoints, progress: Any, *rest: Any) -> None:
        if progress.step % 3 == 0:
            save(self, progress, *rest)

    monkeypatch.setattr(Checkpoints, "save", seldom)


@pytest.mark.usefixtures("every_third_step")
@pytest.mark.parametrize(
    "kills", [[8, 3, 9], *(pytest.param([n], marks=pytest.mark.slow) for n in (2, 8, 10, 21))]
)
@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_killed_run_ends_with_the_bits_of_an_undisturbed_one(
    name: str, keep: str, kills: list[int], tmp_path: Path
) -> None:
    how = {
        "keep": keep,
        "micro_batch_size": 3,  # seven calls in four steps: some kills fall into a step
        "make_optimizer": OPTIMIZERS[name],
        "schedule": LinearLR(final=0.1),
    }
    model = net()
    expected = train(tmp_path / "whole", model, **how)

    for call in kills:
        with pytest.raises(Killed):
            train(tmp_path / "cut", net(), objective=at_call(call, killed), **how)
    resumed = net()
    report = train(tmp_path / "cut", resumed, **how)
    assert_bits(weights(resumed), weights(model))
    assert replace(report, seconds=0.0) == replace(expected, seconds=0.0)
    texts = [(tmp_path / run / METRICS).read_text() for run in ("whole", "cut")]
    assert texts[0] == texts[1]


@pytest.mark.usefixtures("every_third_step")
@pytest.mark.parametrize("kills", [[8], [10], [21], [8, 3, 9]])
def test_what_a_loss_learns_and_keeps_goes_on_bit_by_bit(kills: list[int], tmp_path: Path) -> None:
    model, objective = net(), Projected()
    expected = train(tmp_path / "whole", model, objective=objective, micro_batch_size=3)
    for call in kills:
        dying = Projected()
        dying.forward = at_call(call, killed, of=dying.forward)  # type: ignore[method-assign]
        with pytest.raises(Killed):
            train(tmp_path / "cut", net(), objective=dying, micro_batch_size=3)
    resumed, again = net(), Projected()
    report = train(tmp_path / "cut", resumed, objective=again, micro_batch_size=3)
    assert_bits(weights(resumed), weights(model))
    assert_bits(weights(again), weights(objective))
    assert replace(report, seconds=0.0) == replace(expected, seconds=0.0)


def test_a_losss_own_parameters_are_trained_and_its_buffers_kept(tmp_path: Path) -> None:
    objective, before = Projected(), weights(Projected())
    train(tmp_path, net(), objective=objective)
    after = weights(objective)
    assert before.keys() == after.keys() == {"project.weight", "project.bias", "mean", "told"}
    assert not any(torch.equal(after[name], before[name]) for name in before)


def test_a_loss_is_told_the_progress_before_every_step(tmp_path: Path) -> None:
    objective = Projected()
    train(tmp_path, net(), objective=objective, micro_batch_size=2)
    assert objective.heard == [step / STEPS for step in range(STEPS)]


def test_a_losss_own_parameters_decay_as_the_models_do() -> None:
    matrices, vectors = parameter_groups(ModelWithObjective(net(), Projected()))
    assert [p.shape for p in matrices["params"]] == [(8, 4), (2, 8), (3, 2)]
    assert [p.shape for p in vectors["params"]][-1] == (3,)


def test_the_best_weights_are_the_models_alone(tmp_path: Path) -> None:
    model = net()
    with pytest.raises(Killed):
        train(tmp_path, model, objective=Projected(), evaluate=dies_at(6))
    (best,) = tmp_path.glob("best-*.safetensors")
    assert load_file(best).keys() == weights(model).keys()


@pytest.mark.usefixtures("every_third_step")
@pytest.mark.parametrize("first", range(2, STEPS + 1, 2))
def test_a_run_killed_while_it_validates_ends_with_the_same_best(
    first: int, tmp_path: Path
) -> None:
    model = net()
    expected = train(tmp_path / "whole", model)
    with pytest.raises(Killed):
        train(tmp_path / "cut", net(), evaluate=dies_at(first))
    resumed = net()
    report = train(tmp_path / "cut", resumed)
    assert (report.best_step, report.best_score) == (expected.best_step, expected.best_score)
    assert_bits(weights(resumed), weights(model))


def test_the_best_weights_are_kept_and_not_the_last(tmp_path: Path) -> None:
    seen: list[tuple[float, dict[str, torch.Tensor]]] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        scores = likelihood(model)
        seen.append((scores["score"], weights(model)))
        return scores

    model = net()
    report = train(tmp_path, model, evaluate=evaluate)
    best = max(range(len(seen)), key=lambda i: seen[i][0])
    assert best < len(seen) - 1  # or the toy shows nothing
    assert report.best_step == 2 * (best + 1)
    assert report.best_score == seen[best][0]
    assert_bits(weights(model), seen[best][1])
    train(tmp_path / "last", model := net(), keep="last")
    assert_bits(weights(model), seen[-1][1])


def scored(*scores: float) -> Callable[[nn.Module], dict[str, float]]:
    """A validation that gives these scores in turn."""
    given = iter(scores)
    return lambda _: {"score": next(given)}


def test_a_model_as_it_comes_is_kept_where_nothing_is_better(tmp_path: Path) -> None:
    model = net()
    before = weights(model)
    scores = scored(0.5, 0.4, 0.5, 0.3, 0.2, 0.1, 0.1)
    report = train(tmp_path, model, evaluate=scores, start_counts=True)
    assert (report.best_step, report.best_score, report.steps) == (0, 0.5, STEPS)
    assert_bits(weights(model), before)
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert rows[0] == {"step": 0, "lr": 0.0, "tokens": 0.0, "validation_score": 0.5}
    assert report.history == rows


def test_a_model_as_it_comes_is_not_kept_where_a_step_is_better(tmp_path: Path) -> None:
    scores = scored(0.5, 0.4, 0.6, 0.3, 0.2, 0.1, 0.1)
    report = train(tmp_path, net(), evaluate=scores, start_counts=True)
    assert (report.best_step, report.best_score) == (4, 0.6)


def test_it_ends_after_as_many_evaluations_without_a_better_score(tmp_path: Path) -> None:
    scores = scored(0.1, 0.4, 0.3, 0.4, 0.9, 0.9)
    report = train(tmp_path, net(), evaluate=scores, patience=2)
    assert (report.best_step, report.best_score, report.steps) == (4, 0.4, 8)
    scores = scored(0.1, 0.4, 0.3, 0.5, 0.4, 0.4)
    assert train(tmp_path / "more", net(), evaluate=scores, patience=2).steps == STEPS
    scores = scored(0.5, 0.4, 0.3)
    report = train(tmp_path / "start", net(), evaluate=scores, patience=2, start_counts=True)
    assert (report.best_step, report.steps) == (0, 4)


def test_it_does_not_end_before_its_loss_has_come_down(tmp_path: Path) -> None:
    found = [0.4, 0.3, 0.3, 0.2, 0.1, 0.1]
    fitted = train(
        tmp_path / "fitted", net(), evaluate=scored(*found), patience=2, patience_below=1e3
    )
    assert (fitted.best_step, fitted.steps) == (2, 6)
    waiting = train(
        tmp_path / "waiting", net(), evaluate=scored(*found), patience=2, patience_below=1e-6
    )
    assert (waiting.best_step, waiting.steps) == (2, STEPS)


@pytest.mark.usefixtures("every_third_step")
@pytest.mark.parametrize("kills", [[2], [5], [8], [3, 7]])
def test_a_killed_run_ends_where_an_undisturbed_one_runs_out_of_patience(
    kills: list[int], tmp_path: Path
) -> None:
    how: dict[str, Any] = {"patience": 1, "start_counts": True, "eval_every": 1}
    model = net()
    expected = train(tmp_path / "whole", model, **how)
    assert expected.steps < STEPS  # or the toy shows nothing
    for call in kills:
        if call <= expected.steps:
            with pytest.raises(Killed):
                train(tmp_path / "cut", net(), objective=at_call(call, killed), **how)
    resumed = net()
    report = train(tmp_path / "cut", resumed, **how)
    assert replace(report, seconds=0.0) == replace(expected, seconds=0.0)
    assert_bits(weights(resumed), weights(model))


def test_the_first_of_equal_scores_is_the_best(tmp_path: Path) -> None:
    assert train(tmp_path, net(), evaluate=lambda model: {"score": 0.5}).best_step == 2


def test_a_score_that_is_not_a_number_is_never_the_best(tmp_path: Path) -> None:
    scores = iter([math.nan, 0.1, math.nan, 0.3, 0.2, math.nan])
    report = train(tmp_path, net(), evaluate=lambda model: {"score": next(scores)})
    assert (report.best_step, report.best_score) == (8, 0.3)


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(
    tmp_path: Path,
) -> None:
    with pytest.raises(TrainingError) as caught:
        train(tmp_path, net(), objective=at_call(6, not_a_number))
    checkpoint = tmp_path / "checkpoint-00000005"
    assert Checkpoints(tmp_path).newest() == checkpoint
    for part in ("step 6 ", "learning rate 0.05", str(checkpoint), "trainer.max_grad_norm"):
        assert part in str(caught.value)


def test_a_first_loss_that_is_not_a_number_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 1 .*no checkpoint was due before"):
        train(tmp_path, net(), objective=at_call(1, not_a_number))


@pytest.mark.parametrize("max_grad_norm", [None, 1.0])
def test_a_gradient_that_is_not_a_number_reaches_no_checkpoint(
    max_grad_norm: float | None, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError):
        train(tmp_path, net(), objective=at_call(6, without_gradient), max_grad_norm=max_grad_norm)
    newest = Checkpoints(tmp_path).newest()
    assert newest is not None
    kept = load_file(newest / "learner.safetensors")
    assert all(tensor.isfinite().all() for tensor in kept.values())


def test_a_gradient_that_is_not_a_number_at_the_last_step_is_no_student(tmp_path: Path) -> None:
    with pytest.raises(TrainingError):
        train(tmp_path, net(), objective=at_call(STEPS, without_gradient), keep="last")


def test_micro_batches_change_nothing_but_rounding(tmp_path: Path) -> None:
    whole, cut = net(dropout=0), net(dropout=0)
    train(tmp_path / "whole", whole, make_optimizer=OPTIMIZERS["sgd"])
    train(tmp_path / "cut", cut, make_optimizer=OPTIMIZERS["sgd"], micro_batch_size=4)
    torch.testing.assert_close(weights(cut), weights(whole), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    run_two(toy.__name__, tmp_path)
    train(tmp_path / "one", model := net(dropout=0), **toy.TOGETHER)
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in "01")
    assert_bits(second, first)
    torch.testing.assert_close(first, weights(model), rtol=1e-3, atol=1e-5)
    of_rank = [load_file(tmp_path / f"projected-{rank}.safetensors") for rank in "01"]
    assert_bits(of_rank[1], of_rank[0])


def test_a_batch_larger_than_the_data_is_refused() -> None:
    check_batch_size(20, 20, key="trainer.batch_size")
    with pytest.raises(DataError, match=r"trainer\.batch_size = 21: .*20 examples"):
        check_batch_size(21, 20, key="trainer.batch_size")


def test_matrices_decay_and_vectors_do_not() -> None:
    model = net()
    model[0].weight.requires_grad_(False)
    matrices, vectors = parameter_groups(model)
    assert [p.shape for p in matrices["params"]] == [(2, 8)]
    assert {p.ndim for p in vectors["params"]} == {1}
    assert vectors["weight_decay"] == 0.0
    assert "weight_decay" not in matrices


def test_weight_decay_leaves_vectors_alone(tmp_path: Path) -> None:
    def flat(terms: LossTerms) -> LossTerms:
        return LossTerms({"hard": 0 * terms.values["hard"]}, terms.weights)

    def make(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, lr=0.1, weight_decay=0.5)

    model = net()
    before = weights(model)
    train(tmp_path, model, objective=at_call(1, flat), make_optimizer=make, keep="last")
    for name, tensor in weights(model).items():
        assert torch.equal(tensor, before[name]) is (tensor.ndim == 1), name


def test_the_gradient_is_clipped_to_the_norm_that_is_set(tmp_path: Path) -> None:
    model = net()
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()

    def make(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=1.0)

    train(tmp_path, model, make_optimizer=make, max_grad_norm=1e-3, steps=1)
    moved = nn.utils.parameters_to_vector(model.parameters()).detach() - before
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-2)


def test_history_has_a_row_for_each_log_and_each_validation(tmp_path: Path) -> None:
    losses: list[float] = []

    def watched(model: nn.Module, batch: Batch) -> LossTerms:
        terms = objective(model, batch)
        losses.append(terms.values["hard"].mean().item())
        return terms

    how = {"steps": 7, "log_every": 2, "eval_every": 3, "schedule": LinearLR(warmup=0)}
    report = train(tmp_path, net(), objective=watched, **how)
    rows = report.history
    assert [row["step"] for row in rows] == [2, 3, 4, 6, 7]
    assert [row["step"] for row in rows if "validation_score" in row] == [3, 6, 7]
    assert {*rows[0]} == {"step", "lr", "loss", "hard", "tokens"}
    assert [row["lr"] for row in rows] == pytest.approx(
        [0.05 * (8 - row["step"]) / 7 for row in rows]
    )
    means = [sum(losses[a:b]) / (b - a) for a, b in ((0, 2), (2, 3), (3, 4), (4, 6), (6, 7))]
    assert [row["loss"] for row in rows] == pytest.approx(means)
    written = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert written == rows


def test_the_tokens_of_an_epoch_are_counted_once(tmp_path: Path) -> None:
    report = train(tmp_path, net(), steps=4, micro_batch_size=2)  # 20 examples in batches of 6
    assert sum(row["tokens"] for row in report.history) == EXAMPLES * (EXAMPLES + 1) / 2


def test_the_model_is_left_ready_to_be_asked(tmp_path: Path) -> None:
    model = net().train()
    train(tmp_path / "not" / "yet", model, steps=1)
    assert not model.training


def test_the_seed_decides_the_bits(tmp_path: Path) -> None:
    first, again = net(), net()
    for name, model in (("first", first), ("again", again)):
        torch.manual_seed(len(name))  # what was drawn before does not matter
        train(tmp_path / name, model)
    torch.manual_seed(99)
    train(tmp_path / "other", other := net())
    assert_bits(weights(again), weights(first))
    assert_bits(weights(other), weights(first))
