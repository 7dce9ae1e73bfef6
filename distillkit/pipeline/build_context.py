"""A run's context from its config, after all that can be wrong before any text is read."""

from omegaconf import DictConfig

from distillkit.artifacts.run_records import RunRecord
from distillkit.artifacts.workspace import Workspace
from distillkit.config.build import build
from distillkit.pipeline import checks, joint
from distillkit.pipeline.adapter_sources import with_bases
from distillkit.pipeline.codec_choice import check_loss, settle_targets
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.obtain import COMMANDS
from distillkit.students.architectures import register_architectures


def build_context(
    cfg: DictConfig, *, makes: tuple[str, ...], phase: str = "", before: RunContext | None = None
) -> RunContext:
    """Build the groups of a config and hold them against each other.

    Raises `ConfigError`, and what else `checks` raises, for groups that do not go together, for
    sources that are not there, and for models of architectures that the task cannot take.
    """
    workspace = Workspace(
        cfg.workspace.path,
        verify=cfg.workspace.verify,
        repair=cfg.workspace.repair,
        others=[kind for kind in COMMANDS if kind not in makes],
    )
    workspace.check_writable()
    record = RunRecord(workspace.root, str(cfg.run_name))
    context = _with_groups(cfg, makes, phase, before, workspace, record)
    checks.check_optimizer(context)
    checks.check_execution(context)
    checks.check_fit(context)
    check_loss(context)
    checks.check_sources(context)
    register_architectures()  # late: transformers takes seconds to import
    checks.check_configs(context)
    joint.check_shared(workspace.root)
    return context


def _with_groups(
    cfg: DictConfig,
    makes: tuple[str, ...],
    phase: str,
    before: RunContext | None,
    workspace: Workspace,
    record: RunRecord,
) -> RunContext:
    """The context with the groups built; the first one that cannot be is the one that raises."""
    teacher, student = build(cfg.teacher, key="teacher"), build(cfg.student, key="student")
    data, augmentation = build(cfg.data, key="data"), build(cfg.augmentation, key="augmentation")
    task, trainer = build(cfg.task, key="task"), build(cfg.trainer, key="trainer")
    teacher = with_bases(teacher, "teacher", workspace, task)
    student = with_bases(student, "student", workspace, task)
    evaluation, loss = build(cfg.evaluation, key="evaluation"), build(cfg.loss, key="loss")
    optimizer = build(cfg.optimizer, key="optimizer", partial=True)
    schedule, targets = build(cfg.scheduler, key="scheduler"), build(cfg.targets, key="targets")
    return RunContext(
        cfg=cfg,
        makes=makes,
        phase=phase,
        before=before,
        workspace=workspace,
        record=record,
        seed=int(cfg.seed),
        trust_remote_code=bool(cfg.trust_remote_code),
        teacher=teacher,
        student=student,
        data=data,
        augmentation=augmentation,
        task=task,
        trainer=trainer,
        evaluation=evaluation,
        loss=loss,
        optimizer=optimizer,
        schedule=schedule,
        targets=settle_targets(targets, loss, teacher=teacher, task=task, node=cfg.loss),
    )
