"""What several processes of one run train together: the first calls, the others take part.

A call carries the config that the first process has read and checked, so that the others read no
words, files or environment of their own. They find in the workspace what the training needs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from distillkit import ranks, stopping
from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.errors import WorkspaceError

if TYPE_CHECKING:
    from distillkit.pipeline.road import Road


@contextmanager
def training(road: "Road", kind: str, which: str, inputs: dict[str, Any]) -> Iterator[None]:
    """Have the other processes train this teacher or student, too, while the block lasts."""
    job = {
        "artifact": f"{kind}-{fingerprint(inputs)}",
        "kind": kind,
        "which": which,
        "phases": [{"phase": it.phase, "config": _text(it)} for it in _line(road)],
    }
    with ranks.call(job):
        yield


def obtain(
    road: "Road", kind: str, inputs: dict[str, Any], make: Callable[[Path], Any]
) -> Artifact:
    """An artifact, for a process that only takes part: there by now, or what it was called for."""
    name = f"{kind}-{fingerprint(inputs)}"
    if ranks.called(name):
        with stopping.scope():
            make(road.workspace.partial(kind, inputs))
        return Artifact(kind, fingerprint(inputs), road.workspace.root / name)
    return road.workspace.await_artifact(kind, inputs)


def take_part(job: dict[str, Any]) -> None:
    """Train with the first process what it has called for."""
    from distillkit.pipeline.road import Road

    road: Road | None = None
    for it in job["phases"]:
        cfg = OmegaConf.create(it["config"])
        assert isinstance(cfg, DictConfig)
        road = Road(cfg, makes=(), phase=it["phase"], before=road)
    assert road is not None
    if job["kind"] == "teacher":
        _check_same(job, road.teachers[int(job["which"])].inputs())
        _ = road.teachers[int(job["which"])].fitted
        return
    role = road.control_role if job["which"] == "control" else road.student_role
    assert role is not None
    _check_same(job, road.student_inputs(role))
    road.trained(role)


def _check_same(job: dict[str, Any], inputs: dict[str, Any]) -> None:
    """Raise `WorkspaceError` where the same config means something else on this machine."""
    name = f"{job['kind']}-{fingerprint(inputs)}"
    if name != job["artifact"]:
        raise WorkspaceError(
            f"{job['artifact']}: would be {name} here; a file that the config names, or distillkit "
            "itself, is not the same on all machines"
        )


def _text(road: "Road") -> str:
    """The config as it is used here: every value settled, the workspace by its whole path."""
    cfg = OmegaConf.create(OmegaConf.to_container(road.cfg, resolve=True))
    cfg.workspace.path = str(road.workspace.root)
    return OmegaConf.to_yaml(cfg)


def _line(road: "Road") -> list["Road"]:
    """A phase after those whose students it starts from."""
    return [*(_line(road.before) if road.before else []), road]
