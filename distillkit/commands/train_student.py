"""`distillkit train-student`: a student from targets that are there."""

from omegaconf import DictConfig

from distillkit.commands import output
from distillkit.commands.inside import check_inside
from distillkit.commands.road import Road
from distillkit.progress import stdout
from distillkit.stages.learning import MODEL


def train_student(cfg: DictConfig) -> float:
    """Train the student, or find it; return its best validation score."""
    road = Road(cfg, makes=("student",))
    check_inside(road)

    artifact = road.trained(road.student_role)

    facts = artifact.facts()
    stdout().print(f"student: {output.relative(artifact.path / MODEL)}", soft_wrap=True)
    return float(facts["fit"]["best_score"])
