"""`distillkit generate-targets`: the teacher, fitted if need be, answers for every example."""

from omegaconf import DictConfig

from distillkit.console.progress import stdout
from distillkit.errors import ConfigError
from distillkit.pipeline import run_folder as output
from distillkit.pipeline.model_checks import check_shapes
from distillkit.pipeline.phases import roads
from distillkit.pipeline.worth import check_teacher
from distillkit.targets import StoredTargets


def generate_targets(cfg: DictConfig) -> float:
    """Make the target store, or find it; return the number of its examples."""
    line = roads(cfg, makes=("teacher", "targets"))
    kept = [road for road in line if isinstance(road.targets, StoredTargets)]
    if not kept:
        raise ConfigError(
            "targets = online: nothing is kept, since the teacher answers in the training loop; "
            "`distillkit train` runs the whole road"
        )

    for road in kept:
        check_shapes(road, student=False)
        check_teacher(road)
    stores = [road.open_store() for road in kept if road.loss.needs_soft_targets or not road.phase]

    for store in stores:
        stdout().print(f"targets: {output.relative(store.folder)}", soft_wrap=True)
    return float(sum(store.manifest.examples for store in stores))
