"""Who learns in a run: the student, its control, and the student before it has learnt."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from distillkit.artifacts.workspace import fingerprint
from distillkit.config.overrides import plain
from distillkit.data.sources import identity, tokenizer_identity
from distillkit.losses import HardLabelLoss
from distillkit.pipeline import reading
from distillkit.stages import student as students
from distillkit.students import FromTeacher, PretrainedStudent, Student
from distillkit.targets import OnlineTargets, StoreManifest
from distillkit.training.settings import TrainSettings

if TYPE_CHECKING:
    from distillkit.pipeline.road import Road

# Looks at the validation score, 20 a run: bert-tiny's control is at its best after 180 of 1,200
# steps and fits every label after 400
PATIENCE = 6
# of the loss that it began with: what stands still above that has not fitted its labels yet, and
# may be about to begin
FITTED = 0.05


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


def inputs(road: "Road", role: Role) -> dict[str, Any]:
    """What decides the student, its control, or the student before training."""
    key, spec = reading.source(road)
    data = [road.labelled.fingerprint]
    if role.from_teacher and road.transfer:
        data.append(road.transfer.fingerprint)
    if role.name == "untrained":
        # nothing of the training decides it
        return students.start_inputs(
            road.student,
            road.task,
            teacher=fingerprint(road.teachers[0].inputs()),
            data=data,
            seed=road.seed,
        )
    start: Student = road.student
    source = "new weights"
    before = road.before if role.name == "student" else None
    if before:
        start = PretrainedStudent("")
        source = f"student-{fingerprint(inputs(before, before.student_role))}"
    elif isinstance(start, PretrainedStudent):
        source = identity(start.path, key="student.path")
    return students.inputs(
        start,
        road.task,
        source=source,
        tokenizer=tokenizer_identity(spec, key=key),
        teacher=fingerprint(road.teachers[0].inputs()) if start.starts_from_teacher else "",
        texts=lambda: [it.fingerprint for it in (road.labelled, road.transfer) if it],
        targets=_targets(road) if role.from_teacher else None,
        data=data,
        loss=role.node,
        optimizer=plain(road.cfg.optimizer),
        scheduler=plain(road.cfg.scheduler),
        settings=role.settings,
        seed=road.seed,
    )


def _targets(road: "Road") -> str:
    """What decides the soft targets."""
    if isinstance(road.targets, OnlineTargets):
        return fingerprint({"origin": road.origin(), "online": asdict(road.targets)})
    if road.given_store:
        given = StoreManifest.open(road.store).fingerprint
        return fingerprint({"run": road.origin(), "store": given})
    return fingerprint(road.store_inputs())


def control(road: "Road") -> Role | None:
    """The same student and steps over the labelled text alone, hard labels only.

    It always keeps its best weights by validation: over so many epochs of the labelled text the
    last ones are overfitted, and a control that is held down proves nothing. It ends where it has
    fitted its labels and nothing better came for so long that nothing will. In a run of phases it
    has the steps of all that learn from the same text.
    """
    if not road.cfg.control or not road.student_role.from_teacher:
        return None
    settings = replace(road.trainer, keep="best")
    if settings.patience is None and settings.eval_every is None:
        settings = replace(settings, patience=PATIENCE, patience_below=FITTED)
    elif settings.patience is not None and settings.patience_below is None:
        settings = replace(settings, patience_below=FITTED)  # the student's loss has another scale
    earlier = [] if road.task.packs else same_text(road)
    if road.transfer or earlier:
        labelled = road.labelled.facts()["counts"]["train"]
        settings = replace(
            settings,
            steps=sum(map(_steps, (road, *earlier))),
            epochs=None,
            batch_size=min(road.trainer.batch_size, labelled),
        )
    node = {"_target_": "distillkit.losses.HardLabelLoss"}
    return Role("control", HardLabelLoss(), node, False, settings)


def same_text(road: "Road") -> list["Road"]:
    """The earlier phases of a run that learn from the same labelled text."""
    if road.before is None:
        return []
    earlier = same_text(road.before)
    same = road.before.labelled.fingerprint == road.labelled.fingerprint
    return [*earlier, road.before] if same else earlier


def _steps(road: "Road") -> int:
    """The optimizer steps of a student that reads all the labelled text and the transfer set."""
    every = road.labelled.facts()["counts"]["train"]
    if road.transfer:
        every += road.transfer.facts()["counts"]["transfer"]
    return road.trainer.length(-(-every // road.trainer.batch_size))


def untrained(road: "Road") -> Role | None:
    """The student as it was cut out of its teacher: what training had to mend."""
    if not isinstance(road.student, FromTeacher):
        return None
    return Role("untrained", None, {"untrained": True}, False, road.trainer)
