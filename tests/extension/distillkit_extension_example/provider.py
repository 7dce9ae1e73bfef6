"""A provider of soft targets: the teacher in the loop, its distribution moved towards uniform."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from distillkit.targets.provider import TargetProvider, TeacherOutputs
from distillkit.types import Activations, ActivationSpec, Batch, Dimensions, SoftTargets, Targets


@dataclass(frozen=True)
class Smoothed(TargetProvider):
    """(1 - share) of the teacher's distribution and `share` of the uniform one, batch by batch."""

    share: float = 0.1
    precision: str = "auto"
    batch_tokens: int = 4096

    def fingerprint_fields(self, teachers: TeacherOutputs) -> dict[str, Any]:
        """The teacher, what it is asked about, and the settings."""
        return {"origin": teachers.origin(), "smoothed": asdict(self)}

    def describe(self) -> str:
        """The share of the uniform distribution."""
        return f"online, with {self.share:g} of the uniform distribution"

    def in_loop(self, teachers: TeacherOutputs, examples: Any, spec: str) -> "SmoothedTeacher":
        """The teacher, with its answers smoothed."""
        return SmoothedTeacher(teachers.online(examples, spec, self), self.share)


class SmoothedTeacher:
    """A teacher in the loop (see `TeacherInLoop`) whose logits are smoothed."""

    def __init__(self, teacher: Any, share: float) -> None:
        self.teacher, self.share = teacher, share

    @property
    def dimensions(self) -> Dimensions:
        """Those of the teacher."""
        sizes: Dimensions = self.teacher.dimensions
        return sizes

    def look_at(self, needs: ActivationSpec) -> None:
        """Record the teacher's activations."""
        self.teacher.look_at(needs)

    def __call__(self, batch: Batch) -> tuple[Targets, Activations | None]:
        """Logits of the mixture [positions, classes]."""
        targets, activations = self.teacher(batch)
        assert isinstance(targets, SoftTargets)
        p = targets.logits.softmax(dim=-1)
        mixed = (1 - self.share) * p + self.share / p.shape[-1]
        return SoftTargets(torch.log(mixed)), activations
