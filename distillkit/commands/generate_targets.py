"""`distillkit generate-targets`: the teacher, fitted if need be, answers for every example."""

from omegaconf import DictConfig

from distillkit.commands import output
from distillkit.commands.road import Road
from distillkit.errors import ConfigError
from distillkit.progress import stdout
from distillkit.targets import OnlineTargets


def generate_targets(cfg: DictConfig) -> float:
    """Make the target store, or find it; return the number of its examples."""
    road = Road(cfg, makes=("teacher", "targets"))
    if isinstance(road.targets, OnlineTargets):
        raise ConfigError(
            "targets = online: nothing is kept, since the teacher answers in the training loop; "
            "`distillkit train` runs the whole road"
        )

    store = road.open_store()

    stdout().print(f"targets: {output.relative(store.folder)}", soft_wrap=True)
    return float(store.manifest.examples)
