"""A teacher that answers in the training loop: for what is too large to keep, or never the same."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from distillkit.errors import ModelError
from distillkit.models.activations import ActivationRecorder, joined
from distillkit.models.layouts import layer_stack
from distillkit.models.precision import Precision, autocast, resolve
from distillkit.models.saved import Loaded, ordered
from distillkit.models.shapes import dimensions_of
from distillkit.targets import OnlineTargets
from distillkit.tasks import Task
from distillkit.tasks.shared_words import align
from distillkit.token_table import TokenTable
from distillkit.training.collation import collator
from distillkit.training.distributed import accelerator_for, gather, shard_frozen, shards
from distillkit.training.sharding import Shared, gather_root, is_sharded
from distillkit.types import (
    Activations,
    ActivationSpec,
    AveragedTargets,
    Batch,
    Dimensions,
    Distribution,
    HiddenOutputs,
    HiddenTargets,
    Outputs,
    SoftTargets,
    Targets,
)

SEVERAL = "loss: activations of several teachers cannot be averaged; choose a loss on logits"


class TeacherInLoop(Protocol):
    """A teacher that gives soft targets and activations for each batch of the training loop."""

    @property
    def dimensions(self) -> Dimensions:
        """Its sizes, for a loss on activations."""
        ...

    def look_at(self, needs: ActivationSpec) -> None:
        """Record these activations from the next batch on; called for a loss on activations."""
        ...

    def __call__(self, batch: Batch) -> tuple[Targets, Activations | None]:
        """The targets at the batch's counted positions, and the activations that are recorded."""
        ...


@dataclass(slots=True)
class OnlineTeacher:
    """A loaded teacher, asked about the student's own batches.

    `collate` cuts the same examples for a tokenizer of the teacher's own; None: the student's batch
    is asked about as it is. A forward pass has at most `batch_tokens` tokens, padding included.
    What was placed by a `device_map`, or quantised, stays where it is, all of it on each process.
    """

    loaded: Loaded
    task: Task
    precision: Precision
    batch_tokens: int
    collate: Callable[[np.ndarray], Batch] | None = None
    watch: ActivationRecorder | None = None
    may_move: bool = True  # to where the training loop runs

    @property
    def dimensions(self) -> Dimensions:
        """The model's sizes."""
        return dimensions_of(self.loaded.model)

    def look_at(self, needs: ActivationSpec) -> None:
        """Record these activations from the next batch on."""
        self.watch = watch(self.loaded.model, needs)

    def __call__(self, batch: Batch) -> tuple[Targets, Activations | None]:
        """What the teacher says at the batch's counted positions, and what was seen inside.

        The tensors have no graph. Not inference mode: a loss keeps them for its backward pass.
        """
        if self.may_move:
            self._place()
        model, forward_fn = self.loaded.model, self.task.forward_fn(self.loaded.tokenizer)
        device = next(model.parameters()).device
        dtype = resolve(self.precision, device)
        outputs, activations = [], []
        own_batch = self.collate(batch.indices) if self.collate else batch
        pieces = [*_pieces(own_batch, self.batch_tokens)]
        for piece in [*pieces, *self._fillers(pieces)]:
            with (
                torch.no_grad(),
                autocast(dtype, device),
                self.watch() if self.watch else nullcontext(),
            ):
                outputs.append(ordered(forward_fn(model, piece), self.loaded.order))
            check_finite(outputs[-1], key=f"teacher: what {type(model).__name__} says")
            if self.watch:
                activations.append(self.watch.pop())
        count = len(pieces)
        return _targets(outputs[:count]), joined(activations[:count]) if activations else None

    def _fillers(self, pieces: list[Batch]) -> list[Batch]:
        """What is forwarded besides, its outputs dropped, where the model is shared out.

        All processes gather its layers together, so that each makes as many passes as the others.
        """
        if not is_sharded(self.loaded.model):
            return []
        return [pieces[-1]] * (max(gather(len(pieces))) - len(pieces))

    def _place(self) -> None:
        """Put the model on this process's device, or, by FSDP2, a part of it on each.

        Then a layer is gathered while it runs; embeddings, last norm and head once and for all, for
        every batch needs them. With the first batch: all processes are there by then.
        """
        accelerator, model = accelerator_for(), self.loaded.model
        if shards(accelerator):
            gather_root(shard_frozen(accelerator, Shared(model)))
        else:
            model.to(accelerator.device)
        self.may_move = False


@dataclass(frozen=True, slots=True)
class OnlineEnsemble:
    """Several loaded teachers, asked in turn; `shares` sum to 1."""

    members: tuple[OnlineTeacher, ...]
    shares: tuple[float, ...]
    distribution: Distribution

    @property
    def dimensions(self) -> Dimensions:
        """Raises `ModelError`: each of several has its own."""
        raise ModelError(SEVERAL)

    def look_at(self, needs: ActivationSpec) -> None:
        """Raises `ModelError`: activations of several cannot be averaged."""
        raise ModelError(SEVERAL)

    def __call__(self, batch: Batch) -> tuple[Targets, Activations | None]:
        """What they say at the batch's counted positions, to be averaged by the loss."""
        outputs = []
        for member in self.members:
            targets, _ = member(batch)
            assert isinstance(targets, SoftTargets | HiddenTargets), "a model says all logits"
            outputs.append(targets)
        return AveragedTargets(tuple(outputs), self.shares, self.distribution), None


def open_teacher(
    loaded: Loaded,
    task: Task,
    student: TokenTable,
    own_batch: TokenTable | None,
    settings: OnlineTargets,
    *,
    may_move: bool,
) -> OnlineTeacher:
    """A teacher that is asked about the batches of the `student`'s examples.

    `own_batch` are the same examples under a tokenizer of the teacher's own, if it has one.
    """
    model, collate = loaded.model, None
    if own_batch is not None:
        if student.word_index is not None:
            own_batch, _ = align(own_batch, student)
        assert np.array_equal(own_batch.keys, student.keys), "both tables are of the same texts"
        device = accelerator_for().device if may_move else next(model.parameters()).device
        collate = collator(own_batch, loaded.tokenizer, device)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    precision, tokens = settings.precision, settings.batch_tokens
    return OnlineTeacher(loaded, task, precision, tokens, collate, may_move=may_move)


def check_finite(outputs: Outputs | HiddenOutputs, *, key: str) -> None:
    """Raise `ModelError` for answers that are no numbers; a logit of what is ruled out is -inf."""
    if isinstance(outputs, HiddenOutputs):
        is_faulty = ~outputs.hidden.isfinite()
    else:
        is_faulty = outputs.logits.isnan() | outputs.logits.isposinf()
    count = int(is_faulty.any(dim=-1).sum())
    if count:
        raise ModelError(
            f"{key} is not finite (NaN or infinite) at {count:,} of {len(is_faulty):,} positions; "
            "set targets.precision=float32, or take another teacher"
        )


def watch(model: Any, needs: ActivationSpec) -> ActivationRecorder:
    """A watch over what a loss needs of a model. Raises `ModelError` where it cannot be seen."""
    try:
        _, layers = layer_stack(model)
    except ModelError as error:
        raise ModelError(
            f"loss: {type(model).__name__} has no one stack of layers to look inside; choose a "
            "loss on logits"
        ) from error
    return ActivationRecorder(model, layers, needs, heads=dimensions_of(model).heads)


def _pieces(batch: Batch, tokens: int) -> Iterator[Batch]:
    """A batch's rows in pieces of at most `tokens` tokens; a longer row is a piece of its own."""
    rows, width = batch.inputs["input_ids"].shape
    size = max(1, tokens // width)
    if size >= rows:
        yield batch
        return
    for begin in range(0, rows, size):
        piece_rows = slice(begin, begin + size)
        inputs = {name: tensor[piece_rows] for name, tensor in batch.inputs.items()}
        loss_index = batch.loss_index
        if loss_index is not None:
            is_inside = (loss_index >= begin * width) & (loss_index < (begin + size) * width)
            loss_index = loss_index[is_inside] - begin * width
        answer_mask = None if batch.answer_mask is None else batch.answer_mask[piece_rows]
        yield replace(batch, inputs=inputs, loss_index=loss_index, answer_mask=answer_mask)


def _targets(outputs: list[Outputs | HiddenOutputs]) -> Targets:
    first = outputs[0]
    if isinstance(first, HiddenOutputs):
        hidden = torch.cat([part.hidden for part in outputs if isinstance(part, HiddenOutputs)])
        return HiddenTargets(hidden, first.head)
    return SoftTargets(torch.cat([part.logits for part in outputs if isinstance(part, Outputs)]))
