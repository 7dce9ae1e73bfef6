"""The runs that a config asks for: one, or one for each of its phases."""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from distillkit.config import entries, phases
from distillkit.data import hub
from distillkit.pipeline.build_context import build_context
from distillkit.pipeline.run import Run


def runs(cfg: DictConfig, *, makes: tuple[str, ...]) -> list[Run]:
    """The run of each phase in order, each beginning where an earlier one ends; or the one run.

    The last is the run's result: what is evaluated, and what has a control.
    """
    hub.forget()
    declared = phases.declared(cfg)
    if not declared:
        return [Run(build_context(cfg, makes=makes))]
    by_name: dict[str, Run] = {}
    words = [str(word) for word in HydraConfig.get().overrides.task]
    for phase in phases.settled(words, declared, user_folder=entries.user_folder()):
        before = by_name[phase.start] if phase.start else None
        context = build_context(
            phase.cfg, makes=makes, phase=phase.name, before=before.context if before else None
        )
        by_name[phase.name] = Run(context, before)
    return [*by_name.values()]
