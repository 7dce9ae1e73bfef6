"""An artifact of a run: found in the workspace, or made there if the command makes its kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from distillkit.artifacts import claims
from distillkit.artifacts.earlier import tell_earlier
from distillkit.artifacts.shared_work import TakePart
from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.console.progress import rank, stage, working
from distillkit.errors import WorkspaceError
from distillkit.pipeline import joint
from distillkit.pipeline.context import RunContext
from distillkit.stages.teacher import PROBE
from distillkit.targets import committed, unfinished
from distillkit.targets.shard_queue import PLAN
from distillkit.training import checkpoint

COMMANDS = {  # kind -> the command that makes it
    "teacher": "generate-targets",
    "targets": "generate-targets",
    "student": "train-student",
    "compressed": "compress",
    "quantized": "compress",
}
# what a killed run goes on from
SCRATCH = (
    *(*checkpoint.SCRATCH, PROBE, PLAN, unfinished.PATTERN),
    *(*committed.RECORDS, *claims.PATTERNS),
)
NOUNS = {"data": "reading the text", "transfer": "the transfer set", "augmented": "rewriting text"}
NAMES = {
    "teacher": "fitted teacher",
    "targets": "target store",
    "student": "trained student",
    "compressed": "student in that format",
    "quantized": "student trained in int8",
}


def obtain(
    context: RunContext,
    kind: str,
    fields: dict[str, Any],
    make: Callable[[Path], Any],
    *,
    resumable: bool = False,
    learns: bool = False,
    take_part: TakePart | None = None,
) -> Artifact:
    """The artifact whose name is the hash of `fields`, made if this run may make its kind.

    `make(folder)` fills the folder and returns the artifact's facts. One that is `resumable`, or
    that `learns`, goes on from what a killed run left in the folder. While another process makes
    it, this one does what `take_part` does of it. Raises `WorkspaceError` for one that is not there
    and that another command makes.
    """
    if rank():
        return joint.obtain(context, kind, fields, make, take_part)
    artifact = context.workspace.find(kind, fields)
    if artifact:
        context.record.note(artifact.name, is_new=False)
        return artifact
    if kind in COMMANDS and kind not in context.makes:
        command = f"`distillkit {COMMANDS[kind]}` with the same arguments makes it, and "
        if kind == "teacher" and not context.stores_targets:
            command = ""  # nothing is generated from it
        raise WorkspaceError(
            f"{kind}: no {NAMES[kind]} of this config in {context.workspace.root}; {command}"
            "`distillkit train` makes all"
        )
    tell_earlier(context.workspace.root)
    context.record.note(f"{kind}-{fingerprint(fields)}", is_new=True)
    with stage(f"{kind}-{fingerprint(fields)}"), working(NOUNS.get(kind, kind)):
        return context.workspace.obtain(
            kind,
            fields,
            make,
            resumable=resumable or learns,
            scratch=SCRATCH,
            take_part=take_part,
        )
