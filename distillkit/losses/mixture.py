"""Several losses at once, each with a name and a weight."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from distillkit.errors import ConfigError
from distillkit.losses.chunked import Known, loss_terms
from distillkit.losses.loss import EXTENTS, Extent, LogitLoss, Loss
from distillkit.schedules import Schedule, Weight, scheduled
from distillkit.types import (
    ActivationSpec,
    Dimensions,
    HardLabels,
    HiddenOutputs,
    LossTerms,
    Outputs,
    PairedActivations,
    StoredLayers,
    Targets,
)


class Mixture(Loss):
    """The weighted sum of named losses.

    Every term has its own settings, its temperature among them, and is reported under its name;
    the parts of a term that has several (soft and hard) under name.part. A term of weight 0 is not
    computed. The terms that are of logits see those of each chunk together, so that a language
    model's head is passed once.
    """

    def __init__(self, terms: Mapping[str, Loss], weights: Mapping[str, Weight]) -> None:
        _check(terms, weights)
        schedules = {name: scheduled(f"weights.{name}", weights[name]) for name in terms}
        super().__init__({name: w for name, w in schedules.items() if w.span[1] > 0})
        self.terms = nn.ModuleDict({name: terms[name] for name in self._schedules})
        if not any(loss.needs_teacher for loss in self._losses().values()):
            raise ConfigError(
                f"loss.terms = {', '.join(terms)}: nothing would be learnt from the teacher; "
                "choose loss=hard_labels to train on the labels alone"
            )
        losses = self._losses().values()
        self.needs_soft_targets = any(loss.needs_soft_targets for loss in losses)
        self.needs_activations = any(loss.needs_activations for loss in losses)
        self.has_unused_parameters = all(loss.has_unused_parameters for loss in losses)
        self.least_outputs = max(loss.least_outputs for loss in losses)
        self.compares_texts = any(loss.compares_texts for loss in losses)
        self.supported_outputs = tuple(
            d for d in Loss.supported_outputs if all(d in loss.supported_outputs for loss in losses)
        )

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each part of each term: the term's, times the part's own in it."""
        return {
            _name(term, part, loss): self._weight(term) * own
            for term, loss in self._losses().items()
            for part, own in loss.weights.items()
        }

    @property
    def scheduled_values(self) -> dict[str, float]:
        """The weights of the terms that move, and what moves in a term as term.name."""
        inner = {
            f"{term}.{name}": value
            for term, loss in self._losses().items()
            for name, value in loss.scheduled_values.items()
        }
        return super().scheduled_values | inner

    def bind(self, student: Dimensions, teacher: Dimensions) -> None:
        """Settle what each term compares."""
        for loss in self._losses().values():
            loss.bind(student, teacher)

    @property
    def activation_specs(self) -> tuple[ActivationSpec, ActivationSpec]:
        """What any term looks at."""
        student, teacher = ActivationSpec(), ActivationSpec()
        for loss in self._losses().values():
            of_student, of_teacher = loss.activation_specs
            student, teacher = student | of_student, teacher | of_teacher
        return student, teacher

    @property
    def teacher_scope(self) -> Extent:
        """What the term that looks at most looks at."""
        return max((loss.teacher_scope for loss in self._losses().values()), key=EXTENTS.index)

    @property
    def states(self) -> StoredLayers:
        """What any term looks at."""
        layers = StoredLayers()
        for loss in self._losses().values():
            layers |= loss.states
        return layers

    @property
    def temperatures(self) -> dict[str, Schedule]:
        """Those of all terms, as terms.NAME.temperature."""
        return {
            f"terms.{term}.{name}": schedule
            for term, loss in self._losses().items()
            for name, schedule in loss.temperatures.items()
        }

    @property
    def summands(self) -> Sequence[Loss]:
        """Its terms."""
        return tuple(self._losses().values())

    @property
    def drawings(self) -> dict[str, str]:
        """The layer maps, each under the name of its term."""
        return {
            name: drawing
            for name, loss in self._losses().items()
            for drawing in loss.drawings.values()
        }

    def forward(
        self,
        outputs: Outputs | HiddenOutputs,
        targets: Targets | None,
        labels: HardLabels,
        insides: PairedActivations | None = None,
    ) -> LossTerms:
        """The parts of all terms, before reduction."""
        terms_of_losses = []
        weights = self._logit_weights()
        if weights:
            terms_of_losses.append(loss_terms(self._of_logits, weights, outputs, targets, labels))
        for term, loss in self._losses().items():
            if not isinstance(loss, LogitLoss):
                parts: LossTerms = loss(outputs, targets, labels, insides)
                terms_of_losses.append(_weighted(parts, self._weight(term), term, loss))
        return _together(terms_of_losses)

    def on_step_begin(self, progress: float) -> None:
        """Tell every term."""
        super().on_step_begin(progress)
        for loss in self._losses().values():
            loss.on_step_begin(progress)

    def on_step_end(self, shares: Mapping[str, float]) -> None:
        """Tell every term what it came to."""
        for term, loss in self._losses().items():
            loss.on_step_end({part: shares[_name(term, part, loss)] for part in loss.weights})

    def _losses(self) -> dict[str, Loss]:
        return {name: loss for name, loss in self.terms.items() if isinstance(loss, Loss)}

    def _weight(self, term: str) -> float:
        return self._schedules[term](self.progress)

    def _logit_weights(self) -> dict[str, float]:
        """The weights of all parts that are computed from logits."""
        return {
            _name(term, part, loss): self._weight(term) * own
            for term, loss in self._losses().items()
            if isinstance(loss, LogitLoss)
            for part, own in loss.weights.items()
        }

    def _of_logits(self, logits: Tensor, targets: Known, labels: HardLabels) -> dict[str, Tensor]:
        return {
            _name(term, part, loss): values
            for term, loss in self._losses().items()
            if isinstance(loss, LogitLoss)
            for part, values in loss.of_logits(logits, targets, labels).items()
        }


def _name(term: str, part: str, loss: Loss) -> str:
    return term if len(loss.weights) == 1 else f"{term}.{part}"


def _weighted(parts: LossTerms, weight: float, term: str, loss: Loss) -> LossTerms:
    """The parts of one term under its name, with its weight."""
    return LossTerms(
        {_name(term, part, loss): values for part, values in parts.values.items()},
        {_name(term, part, loss): weight * own for part, own in parts.weights.items()},
        None if parts.total is None else weight * parts.total,
    )


def _together(terms_of_losses: list[LossTerms]) -> LossTerms:
    """One record of several; where one has only its total, they all have one."""
    if len(terms_of_losses) == 1:
        return terms_of_losses[0]
    values = {name: value for terms in terms_of_losses for name, value in terms.values.items()}
    weights = {name: weight for terms in terms_of_losses for name, weight in terms.weights.items()}
    if all(terms.total is None for terms in terms_of_losses):
        return LossTerms(values, weights)
    return LossTerms(
        values, weights, torch.stack([_total(terms) for terms in terms_of_losses]).sum()
    )


def _total(terms: LossTerms) -> Tensor:
    if terms.total is not None:
        return terms.total
    parts = [terms.weights[name] * values.sum() for name, values in terms.values.items()]
    return torch.stack(parts).sum()


def _check(terms: Mapping[str, object], weights: Mapping[str, object]) -> None:
    """Raise `ConfigError` for terms that are no losses, or whose names and weights differ."""
    if not terms:
        raise ConfigError("loss.terms: empty; name at least one term")
    for name, loss in terms.items():
        if not isinstance(loss, Loss):
            raise ConfigError(
                f"loss.terms.{name}: no loss; it takes _target_=distillkit.losses.NAME and its "
                "settings"
            )
        if not name.isidentifier() or hasattr(nn.ModuleDict, name):
            raise ConfigError(
                f"loss.terms.{name}: cannot be a name of a term; take another, of letters, digits "
                "and _"
            )
    for name in weights:
        if name not in terms:
            near = get_close_matches(name, terms, n=1) or [", ".join(terms)]
            raise ConfigError(f"loss.weights.{name}: no such term; did you mean {near[0]}?")
    for name in terms:
        if name not in weights:
            raise ConfigError(f"loss.weights.{name}: not set; every term has a weight, 0 or more")
