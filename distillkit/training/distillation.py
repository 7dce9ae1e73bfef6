"""The objective of a student: a loss to the teacher's soft targets and activations."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch

from distillkit.errors import TargetsError
from distillkit.models.activations import ActivationRecorder, rows_of_texts
from distillkit.models.shapes import dimensions_of
from distillkit.token_table import TokenTable
from distillkit.training.hard_labels import weighted_per_example
from distillkit.training.job import TrainingJob
from distillkit.training.objective import Objective
from distillkit.training.online_teacher import TeacherInLoop, watch
from distillkit.types import (
    Activations,
    Batch,
    Dimensions,
    HardLabels,
    LossTerms,
    PairedActivations,
    Targets,
)

SoftTargetsOf = Callable[[Batch], tuple[Targets | None, Activations | None]]


class Distillation(Objective):
    """The loss of a training job on the student's outputs, soft targets and hard labels.

    A loss on activations is bound to both models here, and what it compares is recorded during each
    forward pass.
    """

    def __init__(self, job: TrainingJob, model: Any, tokenizer: Any, device: torch.device) -> None:
        super().__init__()
        self.loss = job.loss
        self._forward_fn, self._per_example = (
            job.task.forward_fn(tokenizer),
            weighted_per_example(job.task, job.examples, len(job.labels.names), device),
        )
        self._soft_targets = _soft_targets(job, device)
        self._watch: ActivationRecorder | None = None
        if self.loss.needs_activations:
            torch.manual_seed(job.seed)  # the projections
            self.loss.bind(dimensions_of(model), _teacher_dimensions(job))
            of_student, of_teacher = self.loss.activation_specs
            self._watch = watch(model, of_student)
            if job.teacher is not None:
                job.teacher.look_at(of_teacher)

    @property
    def has_unused_parameters(self) -> bool:
        """Whether the loss may leave parameters of the model without a gradient."""
        return self.loss.has_unused_parameters

    @property
    def scheduled_values(self) -> dict[str, float]:
        """Weights and temperatures that follow a schedule, and what a loss settles by itself."""
        return self.loss.scheduled_values

    def forward(self, model: Any, batch: Batch) -> LossTerms:
        """The loss's terms on one micro-batch."""
        with self._watch() if self._watch else nullcontext():
            outputs = self._forward_fn(model, batch)
        targets, activations = self._soft_targets(batch)
        insides = self._insides(batch, activations)
        labels = HardLabels(batch.labels, batch.label_mask, self._per_example)
        value: LossTerms = self.loss(outputs, targets, labels, insides)
        return value

    def _insides(self, batch: Batch, teacher: Activations | None) -> PairedActivations | None:
        if self._watch is None or teacher is None:
            return None
        assert batch.mask is not None and batch.text_index is not None
        return PairedActivations(
            student=rows_of_texts(self._watch.pop(), batch.gather_index),
            teacher=teacher,
            mask=batch.mask,
            text_index=batch.text_index,
        )

    def on_step_begin(self, progress: float) -> None:
        """Tell the loss how far training is."""
        self.loss.on_step_begin(progress)

    def on_step_end(self, shares: Mapping[str, float]) -> None:
        """Tell the loss what its terms came to in a step."""
        self.loss.on_step_end(shares)


def _soft_targets(job: TrainingJob, device: torch.device) -> SoftTargetsOf:
    """Where the job's soft targets come from: its store, its teacher, or nowhere."""
    if job.store is not None:
        return _StoredTargets(job, device)
    # a closure: an attribute that is a module would be trained with the student
    return _no_targets if job.teacher is None else partial(_from_teacher, job.teacher)


def _no_targets(batch: Batch) -> tuple[None, None]:
    return None, None


def _from_teacher(teacher: TeacherInLoop, batch: Batch) -> tuple[Targets, Activations | None]:
    """A forward pass of the teacher over the student's batch."""
    targets, activations = teacher(batch)
    return targets, activations and rows_of_texts(activations, batch.gather_index)


class _StoredTargets:
    """Soft targets and hidden states of a store, looked up by example.

    Raises `TargetsError` for a store of words that were cut otherwise.
    """

    def __init__(self, job: TrainingJob, device: torch.device) -> None:
        assert job.store is not None
        self._store, self._device = job.store, device
        self._rows = job.store.rows(job.examples.keys)
        self._states, self._selection = job.states, job.selection
        self._check_positions(job.examples)
        if self._states is not None:
            self._states.look_up(job.examples.keys)

    def __call__(self, batch: Batch) -> tuple[Targets, Activations | None]:
        """The targets of the batch's positions; of its texts, the hidden states that are stored."""
        targets = self._store.read(self._rows[batch.indices], self._device)
        if self._selection is not None:
            targets = targets.part(self._selection(batch.indices))
        if self._states is None or batch.mask is None:
            return targets, None
        return targets, self._states.read(batch.indices, batch.mask)

    def _check_positions(self, examples: TokenTable) -> None:
        if examples.word_index is None:
            return
        expected = examples.positions if self._selection is None else self._selection.counts
        if not np.array_equal(self._store.positions[self._rows], expected):
            raise TargetsError(
                f"{self._store.folder}: its sentences were cut elsewhere; it was made with another "
                "task.max_length"
            )


def _teacher_dimensions(job: TrainingJob) -> Dimensions:
    """The sizes of the teacher whose activations the loss compares."""
    if job.states is not None:
        return job.states.teacher
    assert job.teacher is not None, "activations are stored, or the teacher is in the loop"
    return job.teacher.dimensions
