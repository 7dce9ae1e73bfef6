"""`distillkit train-student`: a student from targets that are there."""

from omegaconf import DictConfig

from distillkit.console.progress import stdout
from distillkit.pipeline import run_folder as output
from distillkit.pipeline.inside import check_inside
from distillkit.pipeline.model_checks import check_shapes
from distillkit.pipeline.phases import roads
from distillkit.pipeline.reading import check_tokenizers
from distillkit.training.learning import MODEL


def train_student(cfg: DictConfig) -> float:
    """Train the student, or find it; return its best validation score."""
    line = roads(cfg, makes=("student",))
    for road in line:
        check_shapes(road)
        check_tokenizers(road)
        check_inside(road)

    for road in line:
        artifact = road.trained(road.student_role)

    facts = artifact.facts()
    stdout().print(f"student: {output.relative(artifact.path / MODEL)}", soft_wrap=True)
    return float(facts["fit"]["best_score"])
