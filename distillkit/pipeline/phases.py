"""The roads of a run: one, or one for each of its phases."""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from distillkit.config import entries, phases
from distillkit.data import hub
from distillkit.pipeline.road import Road


def roads(cfg: DictConfig, *, makes: tuple[str, ...]) -> list[Road]:
    """The road of each phase in order, each beginning where an earlier one ends; or the run's one.

    The last is the run's result: what is evaluated, and what has a control.
    """
    hub.forget()
    declared = phases.declared(cfg)
    if not declared:
        return [Road(cfg, makes=makes)]
    found: dict[str, Road] = {}
    words = [str(word) for word in HydraConfig.get().overrides.task]
    for phase in phases.settled(words, declared, user_folder=entries.user_folder()):
        before = found[phase.start] if phase.start else None
        found[phase.name] = Road(phase.cfg, makes=makes, phase=phase.name, before=before)
    return [*found.values()]
