"""`distillkit train-student`: a student from targets that are there."""

from omegaconf import DictConfig

from distillkit.console.progress import stdout
from distillkit.pipeline import run_folder
from distillkit.pipeline.model_checks import check_models
from distillkit.pipeline.phases import runs
from distillkit.training.learning import MODEL


def train_student(cfg: DictConfig) -> float:
    """Train the student, or find it; return its best validation score."""
    phases = runs(cfg, makes=("student",))
    for run in phases:
        check_models(run)

    for run in phases:
        artifact = run.students.obtain(run.students.student)

    facts = artifact.facts()
    stdout().print(f"student: {run_folder.relative(artifact.path / MODEL)}", soft_wrap=True)
    return float(facts["fit"]["best_score"])
