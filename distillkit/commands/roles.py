"""Who learns in a run: the student, its control, and the student before it has learnt."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from distillkit.config.overrides import plain
from distillkit.engine.settings import TrainSettings
from distillkit.losses import HardLabelLoss
from distillkit.students import FromTeacher

if TYPE_CHECKING:
    from distillkit.commands.road import Road


@dataclass(frozen=True, slots=True)
class Role:
    """Whose training is meant: the student's, or its control's on hard labels alone."""

    name: str
    loss: Any
    node: dict[str, Any]
    from_teacher: bool
    settings: TrainSettings


def student(road: "Road") -> Role:
    """The student, as the config says."""
    node = plain(road.cfg.loss)
    return Role("student", road.loss, node, bool(road.loss.needs_teacher), road.trainer)


def control(road: "Road") -> Role | None:
    """The same student and steps over the labelled text alone, hard labels only.

    It always keeps its best weights by validation: over so many epochs of the labelled text the
    last ones are overfitted, and a control that is held down proves nothing.
    """
    if not road.cfg.control or not road.student_role.from_teacher:
        return None
    settings = replace(road.trainer, keep="best")
    if road.transfer:
        labelled = road.labelled.facts()["counts"]["train"]
        every = labelled + road.transfer.facts()["counts"]["transfer"]
        steps = road.trainer.length(-(-every // road.trainer.batch_size))
        batch_size = min(road.trainer.batch_size, labelled)
        settings = replace(settings, steps=steps, epochs=None, batch_size=batch_size)
    node = {"_target_": "distillkit.losses.HardLabelLoss"}
    return Role("control", HardLabelLoss(), node, False, settings)


def untrained(road: "Road") -> Role | None:
    """The student as it was cut out of its teacher: what training had to mend."""
    if not isinstance(road.student, FromTeacher):
        return None
    return Role("untrained", None, {"untrained": True}, False, road.trainer)
