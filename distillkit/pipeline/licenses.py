"""What the models and texts that a student is made of are licensed under, for its model card."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from distillkit.data import hub
from distillkit.data.licenses import license_of
from distillkit.data.sources import expand
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.summary import short

MOST = 20  # files of a split that are looked at one by one


def licenses(contexts: Sequence[RunContext]) -> list[dict[str, str | None]]:
    """Each source of the phases of a run once: `what` it is for, `source`, `license`, `origin`.

    `license` is None where nobody says which; `origin` is who says so, or where nothing is said.
    """
    cache = contexts[0].workspace.assets
    found: dict[str, dict[str, str | None]] = {}
    for context in contexts:
        for label, key, spec, repo_type in _sources(context):
            if spec not in found:
                found[spec] = of_source(label, spec, key=key, cache=cache, repo_type=repo_type)
    return [*found.values()]


def of_source(
    label: str, spec: str, *, key: str, cache: Path, repo_type: hub.RepoType = "model"
) -> dict[str, str | None]:
    """The license of one source, which is this for the student."""
    found = license_of(spec, key=key, cache=cache, repo_type=repo_type)
    return {
        "what": label,
        "source": short(spec, repo_type),
        "license": found.name,
        "origin": found.origin,
    }


def _sources(context: RunContext) -> Iterator[tuple[str, str, str, hub.RepoType]]:
    """(what it is for, setting, source, kind) of all that weights or texts come from."""
    if context.loss.needs_teacher:
        for member in context.teacher.members:
            yield "teacher", member.key, member.source, "model"
    if context.student.weights_source and context.before is None:
        yield "student's first weights", *context.student.weights_source, "model"
    for split, specs in context.data.sources.items():
        for spec in expand(specs, key=f"data.{split}")[:MOST]:
            yield "data", f"data.{split}", spec, "dataset"
