"""A classifier's head by a linear probe: from what its frozen body already tells apart.

A new head is random, and fine-tuning it moves the body before the head means anything. So the head
is fitted first, as a linear model on the features that it will see, and fine-tuning starts there
(LP-FT: Kumar et al. 2022, https://arxiv.org/abs/2202.10054, section 3.4). The model's class stays
as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor, nn

from distillkit.artifacts.parts import NOWHERE, Parts
from distillkit.models.inference import predict
from distillkit.models.precision import autocast, resolve
from distillkit.tasks import HeldOut, SequenceTask, Task
from distillkit.token_table import TokenTable
from distillkit.training.batching import length_buckets
from distillkit.training.collation import collator
from distillkit.training.hard_labels import PerExample, weighted_per_example
from distillkit.training.validation import VALIDATION_TOKENS
from distillkit.types import Batch, LabelSpace, Outputs

TEXTS = 5_000  # that a probe reads at least, if there are so many
A_CLASS = 200  # texts for each output beyond that
WORDS = 30_000  # positions, of a task that has many a text
PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)  # on half the squared weights, a mean loss beside
ITERATIONS = 200
TRACED = 4  # texts that show how a model is built
# what may stand between the dense layer of a head and its last one -> where that is nearly linear:
# (spread, center) of what goes in, in standard deviations
ACTIVATIONS: dict[Callable[[Tensor], Tensor], tuple[float, float]] = {
    torch.tanh: (0.5, 0.0),
    torch.relu: (1.0, 3.0),
    F.gelu: (1.0, 3.0),
    F.silu: (1.0, 3.0),
}


@dataclass(frozen=True, slots=True)
class Head:
    """The layers that a probe sets: the last one, and a square dense layer before it, if any."""

    last: nn.Linear
    dense: nn.Linear | None
    activation: Callable[[Tensor], Tensor] | None


@dataclass(frozen=True, slots=True)
class Features:
    """What the head sees at the counted positions: [positions, width], `before` the dense layer."""

    inputs: Tensor
    before: Tensor | None
    labels: Tensor


@dataclass(frozen=True, slots=True)
class Fitted:
    """A linear head, and how it does on the validation split."""

    weight: Tensor
    bias: Tensor
    penalty: float
    loss: float
    score: float


def takes_probe(task: Task) -> bool:
    """Whether a task's outputs come from a linear layer on features, one for each label."""
    return task.family == "sequence" and task.distribution != "choice"


def start_head(
    model: Any,
    tokenizer: Any,
    task: SequenceTask,
    space: LabelSpace,
    examples: TokenTable,
    validation: TokenTable,
    *,
    seed: int,
    device: torch.device,
    parts: Parts = NOWHERE,
) -> dict[str, Any] | None:
    """Set the head's weights to those of a linear probe; return how it does, by validation.

    Where the head has a dense layer of its own, which may be new and random, the probe is fitted
    twice: on what that layer makes of the body's output, and on that output itself, for which the
    layer becomes a near identity. None, and nothing changes, where no linear layer gives the
    model's outputs.
    """
    model.to(device).eval()
    forward_fn, collate = task.forward_fn(tokenizer), collator(examples, tokenizer, device)
    head = _head(model, forward_fn, collate(np.arange(min(TRACED, len(examples)))))
    if head is None:
        return None
    reader = _Reader(model, head, forward_fn, parts)
    indices = _sample(examples, head.last.out_features, seed)
    train = reader.features(examples, indices, collate, "the probe's texts")
    collate = collator(validation, tokenizer, device)
    held_out = reader.features(
        validation, np.arange(len(validation)), collate, "the probe's validation"
    )
    if train is None or held_out is None:
        return None

    def score(logits: Tensor) -> float:
        split = HeldOut(validation, space)
        return task.headline_score(task.outcomes(logits.numpy(), split))

    dtype = resolve("auto", device)  # in which the model will be trained and looked at
    per_example = weighted_per_example(task, examples, len(space.names), torch.device("cpu"))
    outputs, has_bias = head.last.out_features, head.last.bias is not None
    settings = _Settings(per_example, score, outputs, has_bias, dtype)
    best, features = _set_best(head, train, held_out, settings)
    return {
        "features": features,
        "examples": len(indices),
        "penalty": best.penalty,
        "score": best.score,
        "loss": best.loss,
    }


def _set_best(
    head: Head, train: Features, held_out: Features, settings: "_Settings"
) -> tuple[Fitted, str]:
    """Set the layers of the head to the better probe: (the probe, on which features)."""
    best = _best(train.inputs, held_out.inputs, train.labels, held_out.labels, settings)
    features = "as the head has them"
    if head.dense is not None and train.before is not None and held_out.before is not None:
        assert head.activation is not None
        weight, bias = _near_identity(train.before, head.activation)
        passed, held_out_passed = (
            head.activation(_linear(states, weight, bias, settings.dtype)).float()
            for states in (train.before, held_out.before)
        )
        through_dense = _best(passed, held_out_passed, train.labels, held_out.labels, settings)
        if (through_dense.score, -through_dense.loss) > (best.score, -best.loss):
            best, features = through_dense, "the body's, through a near identity"
            _set(head.dense, weight, bias)
    _set(head.last, best.weight, best.bias)
    return best, features


def _set(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)


def share_read(examples: TokenTable, outputs: int) -> float:
    """The share of the examples that a probe reads."""
    return min(1.0, _positions_read(examples, outputs) / max(1, int(examples.positions.sum())))


def _positions_read(examples: TokenTable, outputs: int) -> int:
    count = max(TEXTS, A_CLASS * outputs)
    return count if examples.loss_mask is None else max(count, WORDS)


def _sample(examples: TokenTable, outputs: int, seed: int) -> np.ndarray:
    """The examples that are read, in order; of many, as many as their positions need."""
    order = np.random.default_rng(seed).permutation(len(examples))
    count = _positions_read(examples, outputs)
    enough = int(np.searchsorted(np.cumsum(examples.positions[order]), count)) + 1
    return np.sort(order[:enough])


def _head(model: Any, forward_fn: Callable[[Any, Batch], Any], batch: Batch) -> Head | None:
    """The layers of a model's head, found by what they do to one batch."""
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def record(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Linear)
        calls.append((module, args[0], output))

    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    hooks = [module.register_forward_hook(record) for module in linear]
    try:
        with torch.no_grad():
            logits = forward_fn(model, batch).logits
    finally:
        for hook in hooks:
            hook.remove()
    for place in range(len(calls) - 1, -1, -1):
        layer, args, output = calls[place]
        if layer.out_features != logits.shape[-1]:
            continue
        rows = _rows(output, logits, batch)
        if rows is None or not torch.allclose(output.flatten(0, -2)[rows].float(), logits):
            continue
        dense, activation = _dense([call for call in calls[:place] if call[1].ndim == 2], args)
        return Head(layer, dense, activation)
    return None


def _rows(output: Tensor, logits: Tensor, batch: Batch) -> Tensor | None:
    """Which of the head's outputs [rows, (tokens,) outputs], flattened, are the model's logits."""
    if output.ndim == 2:
        return (
            torch.arange(len(output), device=output.device) if len(output) == len(logits) else None
        )
    if output.ndim != 3:
        return None
    if batch.loss_index is not None:
        return batch.loss_index
    if len(output) != len(logits):
        return None
    is_equal = (output.float() == logits[:, None]).all(
        dim=-1
    )  # [rows, tokens]: it reads one of them
    if not bool(is_equal.any(dim=1).all()):
        return None
    begins = torch.arange(len(output), device=output.device) * output.shape[1]
    return begins + is_equal.int().argmax(dim=1)


def _dense(
    calls: list[tuple[nn.Linear, Tensor, Tensor]], last_input: Tensor
) -> tuple[nn.Linear | None, Callable[[Tensor], Tensor] | None]:
    """The dense layer before the last one, and the activation between them, if that is all."""
    if not calls or last_input.ndim != 2:
        return None, None
    layer, _, output = calls[-1]
    if (
        layer.in_features != layer.out_features
        or output.shape != last_input.shape
        or layer.bias is None
    ):
        return None, None
    for activation in ACTIVATIONS:
        if torch.allclose(activation(output), last_input, atol=1e-6):
            return layer, activation
    return None, None


class _Unlike(Exception):
    """The outputs of the last layer are not the model's answers."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """A frozen model whose head's inputs are read; a killed run goes on with its `parts`."""

    model: Any
    head: Head
    forward_fn: Callable[[Any, Batch], Any]
    parts: Parts

    def features(
        self,
        table: TokenTable,
        indices: np.ndarray,
        collate: Callable[[np.ndarray], Batch],
        name: str,
    ) -> Features | None:
        """What goes into the head's layers for some examples of a table, in their order.

        None where the outputs of the last layer are not the model's answers, in some batch.
        """
        lengths = table.lengths[indices]
        buckets = [indices[b] for b in length_buckets(lengths, tokens=VALIDATION_TOKENS)]
        device = next(self.model.parameters()).device.type
        try:
            batches = self.parts.batches(
                f"{name} on {device}", lambda begin: self._batches(table, buckets[begin:], collate)
            )
        except _Unlike:
            return None
        # stable: an example's positions stay in their order
        order = np.argsort(np.concatenate([part["owners"] for part in batches]), kind="stable")
        joined = {
            n: torch.from_numpy(np.concatenate([part[n] for part in batches])[order])
            for n in batches[0]
            if n != "owners"
        }
        return Features(joined["seen"], joined.get("before"), joined["labels"])

    def _batches(
        self,
        table: TokenTable,
        buckets: Sequence[np.ndarray],
        collate: Callable[[np.ndarray], Batch],
    ) -> Iterator[dict[str, np.ndarray]]:
        """What the head's layers see of each bucket, with the `owners` of its positions."""
        with _inputs_of(self.head) as caught:
            for batch, outputs in predict(
                self.model, self.forward_fn, buckets, collate, precision="auto"
            ):
                assert isinstance(outputs, Outputs)
                rows = _rows(caught["made"], outputs.logits, batch)
                if rows is None or not torch.equal(
                    caught["made"].flatten(0, -2)[rows].float(), outputs.logits
                ):
                    raise _Unlike
                inputs = caught["seen"].flatten(0, -2)[rows].float()
                arrays = {"seen": inputs, "labels": batch.labels}
                if self.head.dense is not None:
                    arrays["before"] = caught["before"].float()
                owners = np.repeat(batch.indices, table.positions[batch.indices])
                yield {"owners": owners, **{n: value.cpu().numpy() for n, value in arrays.items()}}


@contextmanager
def _inputs_of(head: Head) -> Iterator[dict[str, Tensor]]:
    """Within, the last forward pass: `seen` by the last layer, `made` by it, `before` the dense."""
    caught: dict[str, Tensor] = {}

    def catch_last(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        caught["seen"], caught["made"] = args[0], output

    def catch_dense(_: nn.Module, args: tuple[Any, ...]) -> None:
        caught["before"] = args[0]

    hooks = [head.last.register_forward_hook(catch_last)]
    if head.dense is not None:
        hooks.append(head.dense.register_forward_pre_hook(catch_dense))
    try:
        yield caught
    finally:
        for hook in hooks:
            hook.remove()


def _near_identity(states: Tensor, activation: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """(weight, bias) of a dense layer that brings `states` to an activation's linear part."""
    spread, center = ACTIVATIONS[activation]
    mean, deviation = _moments(states)
    scale = spread / deviation
    return torch.diag(scale), center - scale * mean


def _linear(states: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """What a linear layer makes of states, float32, its product rounded as the model rounds it."""
    with autocast(dtype, states.device):
        return F.linear(states, weight, bias).float()


def _moments(states: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and standard deviation of each column; what is constant has a small one."""
    wide = states.double()
    floor = 1e-3 * wide.std(dim=0, correction=0).mean() + 1e-8
    return wide.mean(dim=0).float(), (wide.std(dim=0, correction=0) + floor).float()


@dataclass(frozen=True, slots=True)
class _Settings:
    """What a linear head is fitted to; `score` is the headline metric on the validation split."""

    per_example: PerExample
    score: Callable[[Tensor], float]
    outputs: int
    has_bias: bool
    dtype: torch.dtype


def _best(
    train: Tensor, held_out: Tensor, labels: Tensor, held_out_labels: Tensor, settings: _Settings
) -> Fitted:
    """The linear head of the penalty with the least loss on the validation split."""
    mean, deviation = _moments(train)
    mean = mean if settings.has_bias else torch.zeros_like(mean)  # nothing would give it back
    z, outputs = (train - mean) / deviation, settings.outputs
    flat = np.zeros(outputs * (train.shape[1] + 1))
    best: Fitted | None = None
    for penalty in PENALTIES:
        flat = _minimised(z, labels, flat, penalty, settings)
        solution = torch.from_numpy(flat).float().view(outputs, -1)
        weight = solution[:, :-1] / deviation
        bias = solution[:, -1] - weight @ mean if settings.has_bias else torch.zeros(outputs)
        logits = _linear(held_out, weight, bias, settings.dtype)
        loss = float(settings.per_example(logits, held_out_labels).double().mean())
        if best is not None and not loss < best.loss:
            break  # less of a penalty only fits the training texts better
        best = Fitted(weight, bias, penalty, loss, settings.score(logits))
    assert best is not None
    return best


def _minimised(
    z: Tensor, labels: Tensor, start: np.ndarray, penalty: float, settings: _Settings
) -> np.ndarray:
    """The weights and biases, flat [outputs, width + 1], of the least penalised mean loss."""

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.from_numpy(flat).float().view(settings.outputs, -1).requires_grad_()
        weight, bias = theta[:, :-1], theta[:, -1] if settings.has_bias else None
        loss = settings.per_example(F.linear(z, weight, bias), labels).mean()
        total = loss + 0.5 * penalty * weight.square().sum()
        (gradient,) = torch.autograd.grad(total, theta)
        return float(total.detach()), gradient.double().numpy().ravel()

    result = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS, "ftol": 1e-6}
    )
    solution: np.ndarray = result.x
    return solution
