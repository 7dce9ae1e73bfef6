"""`distillkit generate-targets`: the teacher, fitted if need be, answers for every example."""

from omegaconf import DictConfig

from distillkit.console.progress import stdout
from distillkit.errors import ConfigError
from distillkit.pipeline import run_folder
from distillkit.pipeline.model_checks import check_shapes
from distillkit.pipeline.phases import runs
from distillkit.pipeline.worth import check_teacher


def generate_targets(cfg: DictConfig) -> float:
    """Make the target store, or find it; return the number of its examples."""
    phases = runs(cfg, makes=("teacher", "targets"))
    stored = [run for run in phases if run.context.targets.keeps_store]
    if not stored:
        raise ConfigError(
            "targets = online: nothing is kept, since the teacher answers in the training loop; "
            "`distillkit train` runs all stages"
        )

    for run in stored:
        check_shapes(run, student=False)
        check_teacher(run)
    needing = [r for r in stored if r.context.loss.needs_soft_targets or not r.context.phase]
    stores = [run.target_store.open() for run in needing]

    for store in stores:
        stdout().print(f"targets: {run_folder.relative(store.folder)}", soft_wrap=True)
    return float(sum(store.manifest.examples for store in stores))
