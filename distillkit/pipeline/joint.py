"""What several processes of one run do together: the first calls, the others take part.

They train a model in step, or capture a target store, each the shards that it claims. A call
carries the config that the first process has read and checked, so that the others read no words,
files or environment of their own. They find in the workspace what the work needs.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from distillkit import ranks, stopping
from distillkit.artifacts import permissions
from distillkit.artifacts.shared_parts import SharedParts
from distillkit.artifacts.shared_work import LOOK, TakePart, not_shared, shared_work
from distillkit.artifacts.workspace import SHARED_SOON, Artifact, fingerprint
from distillkit.errors import WorkspaceError
from distillkit.pipeline.context import RunContext

SEEN_SOON = 20.0  # seconds until a network disk shows a new file to another machine


@contextmanager
def training(context: RunContext, kind: str, digest: str, fields: dict[str, Any]) -> Iterator[None]:
    """Have the other processes train this teacher or student, too, while the block lasts.

    `fields` are the artifact's fingerprint fields.
    """
    with ranks.call(_job(context, kind, digest, fields)):
        yield


@contextmanager
def capture(context: RunContext, number: int, fields: dict[str, Any]) -> Iterator[None]:
    """Have them capture the target store of a teacher with this number, too, at their own pace."""
    with ranks.call(_job(context, "targets", str(number), fields)):
        yield


@contextmanager
def evaluation(
    context: RunContext,
    rows: dict[str, list[Any]] | None,
    reference: str | None,
    fields: dict[str, Any],
    parts: SharedParts | None,
) -> Iterator[None]:
    """Have them work out some of the `parts` of an evaluation of these rows; None: nobody."""
    if rows is None or parts is None:
        yield
        return
    parts.open()
    job = _job(context, "evaluation", "", fields)
    with ranks.call(job | {"rows": rows, "reference": reference}):
        yield


@cache
def check_shared(root: Path) -> None:
    """Have each other process of the run see that it has the same workspace, before the work.

    One that has not ends all with a line (`check_seen`).
    """
    if not ranks.leads():
        return
    host = socket.gethostname()
    probe = root / f".probe-{host}-{os.getpid()}"
    remove = partial(probe.unlink, missing_ok=True)
    try:
        probe.touch()
    except OSError:
        return  # closed, or full: told where something is made
    try:
        ranks.have_done({"kind": "workspace", "probe": str(probe), "host": host}, remove)
    finally:
        remove()


def check_seen(job: dict[str, Any]) -> None:
    """Raise `WorkspaceError` if what the first process has put into its workspace is not here."""
    probe, late = Path(job["probe"]), time.monotonic() + SEEN_SOON
    while not probe.exists():
        if time.monotonic() > late:
            raise WorkspaceError(
                f"workspace = {probe.parent}: is another folder on {socket.gethostname()} than for "
                f"rank 0 on {job['host']}; set workspace=FOLDER to one on a disk that all share"
            )
        time.sleep(LOOK)


def _job(context: RunContext, kind: str, digest: str, fields: dict[str, Any]) -> dict[str, Any]:
    """What the others need to know of a teacher, student or store that is made."""
    return {
        "artifact": f"{kind}-{fingerprint(fields)}",
        "kind": kind,
        "which": digest,
        "phases": [{"phase": phase.phase, "config": _resolved(phase)} for phase in context.phases],
    }


def obtain(
    context: RunContext,
    kind: str,
    fields: dict[str, Any],
    make: Callable[[Path], Any],
    take_part: TakePart | None = None,
) -> Artifact:
    """An artifact, for a process that only takes part: there by now, or what it was called for.

    It does what `take_part` does of it, where that is given, or as all do in step what makes it.
    """
    artifact = Artifact(
        kind, fingerprint(fields), context.workspace.root / f"{kind}-{fingerprint(fields)}"
    )
    if not ranks.called(artifact.name):
        return context.workspace.await_artifact(kind, fields)
    with stopping.scope():
        if take_part:
            _take_part(context, artifact, context.workspace.partial(kind, fields), take_part)
        else:
            make(context.workspace.partial(kind, fields))
    return artifact


def _take_part(context: RunContext, artifact: Artifact, folder: Path, take_part: TakePart) -> None:
    """Do what is free of an artifact that the first process makes, until nothing is left of it.

    Raises `WorkspaceError` if nothing of it is to be seen: the workspace is not shared.
    """
    looks = 0
    with context.workspace.guard(), permissions.shared_like(context.workspace.root):
        while not os.path.lexists(artifact.path) and not shared_work(folder, take_part):
            looks = 0 if folder.is_dir() else looks + 1
            if looks * LOOK > SHARED_SOON:
                raise not_shared(context.workspace.root, artifact.name)
            time.sleep(LOOK)


def _resolved(context: RunContext) -> str:
    """The config as it is used here: every value settled, the workspace by its whole path."""
    cfg = OmegaConf.create(OmegaConf.to_container(context.cfg, resolve=True))
    cfg.workspace.path = str(context.workspace.root)
    return OmegaConf.to_yaml(cfg)
