"""`distillkit train-student`: a student from targets that are there."""

from omegaconf import DictConfig

from distillkit.console.progress import stdout
from distillkit.pipeline import run_folder
from distillkit.pipeline.model_checks import check_models
from distillkit.pipeline.objective import objective
from distillkit.pipeline.phases import runs
from distillkit.training.learning import MODEL, read_metrics
from distillkit.training.tracking import check_tracker, log_rows, tracked


def train_student(cfg: DictConfig) -> float | tuple[float, ...]:
    """Train the student, or find it; return what a sweeper goes by: see `sweep.objective`."""
    check_tracker(cfg.tracker)
    phases = runs(cfg, makes=("student",))
    for run in phases:
        check_models(run)

    with tracked(cfg.tracker, str(cfg.run_name), run_folder.current(), run_folder.shown()):
        for run in phases:
            artifact = run.students.obtain(run.students.student)
            log_rows(run.context.phase or "student", read_metrics(artifact.path))

    facts = artifact.facts()
    stdout().print(f"student: {run_folder.relative(artifact.path / MODEL)}", soft_wrap=True)
    return objective(cfg, facts["fit"], facts, command="train-student")
