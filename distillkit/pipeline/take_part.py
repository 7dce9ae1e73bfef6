"""A process that takes part in what the first process of a run trains or captures."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from distillkit.artifacts.workspace import fingerprint
from distillkit.errors import WorkspaceError
from distillkit.pipeline import joint
from distillkit.pipeline.build_context import build_context
from distillkit.pipeline.run import Run


def take_part(job: dict[str, Any]) -> None:
    """Do with the first process what it has called for (see `joint`)."""
    if job["kind"] == "workspace":
        joint.check_seen(job)
        return
    run: Run | None = None
    for phase in job["phases"]:
        cfg = OmegaConf.create(phase["config"])
        assert isinstance(cfg, DictConfig)
        before = run.context if run else None
        run = Run(build_context(cfg, makes=(), phase=phase["phase"], before=before), run)
    assert run is not None
    if job["kind"] == "teacher":
        teacher = run.teachers.members[int(job["which"])]
        _check_same(job, teacher.fingerprint_fields())
        _ = teacher.fitted
        return
    if job["kind"] == "evaluation":
        run.evaluation.take_part(job)
        return
    if job["kind"] == "targets":
        settings = run.teachers.member_settings(run.context.store_settings)
        teacher = run.teachers.members[int(job["which"])]
        _check_same(job, teacher.store_fields(settings))
        teacher.store(settings)
        return
    students = run.students
    variants = {variant.name: variant for variant in (*students.variants, students.quantized)}
    variant = variants[job["which"]]
    _check_same(job, students.fingerprint_fields(variant))
    students.obtain(variant)


def _check_same(job: dict[str, Any], fields: dict[str, Any]) -> None:
    """Raise `WorkspaceError` where the same config means something else on this machine."""
    name = f"{job['kind']}-{fingerprint(fields)}"
    if name != job["artifact"]:
        raise WorkspaceError(
            f"{job['artifact']}: would be {name} here; a file that the config names, or distillkit "
            "itself, is not the same on all machines"
        )
