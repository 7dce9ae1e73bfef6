"""What several processes of one run train together: the first calls, the others take part.

A call carries the config that the first process has read and checked, so that the others read no
words, files or environment of their own. They find in the workspace what the training needs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from distillkit import ranks, stopping
from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.pipeline.context import RunContext


@contextmanager
def training(context: RunContext, kind: str, digest: str, fields: dict[str, Any]) -> Iterator[None]:
    """Have the other processes train this teacher or student, too, while the block lasts.

    `fields` are the artifact's fingerprint fields.
    """
    job = {
        "artifact": f"{kind}-{fingerprint(fields)}",
        "kind": kind,
        "which": digest,
        "phases": [{"phase": phase.phase, "config": _resolved(phase)} for phase in context.phases],
    }
    with ranks.call(job):
        yield


def obtain(
    context: RunContext, kind: str, fields: dict[str, Any], make: Callable[[Path], Any]
) -> Artifact:
    """An artifact, for a process that only takes part: there by now, or what it was called for."""
    name = f"{kind}-{fingerprint(fields)}"
    if ranks.called(name):
        with stopping.scope():
            make(context.workspace.partial(kind, fields))
        return Artifact(kind, fingerprint(fields), context.workspace.root / name)
    return context.workspace.await_artifact(kind, fields)


def _resolved(context: RunContext) -> str:
    """The config as it is used here: every value settled, the workspace by its whole path."""
    cfg = OmegaConf.create(OmegaConf.to_container(context.cfg, resolve=True))
    cfg.workspace.path = str(context.workspace.root)
    return OmegaConf.to_yaml(cfg)
