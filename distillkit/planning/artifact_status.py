"""Which artifacts of a run are there; text and tokens, which cost little, are made if need be."""

from collections.abc import Collection
from typing import Any

from distillkit.artifacts.workspace import fingerprint
from distillkit.console.progress import say
from distillkit.pipeline.compression import digest_of, row_of
from distillkit.pipeline.run import Run
from distillkit.pipeline.tokenizers import learning_source
from distillkit.planning.cost_model import EARLIER
from distillkit.planning.tables import Made
from distillkit.targets import StoreManifest

THERE, MADE_NOW, BEGUN, MISSING = "there", "made now", "begun", "to be made"
NOT_NEEDED = "not needed"


def is_made(run: Run, *, evaluated: bool) -> bool:
    """Whether nothing is left for a run to compute, its evaluation included where there is one."""
    artifacts = models(run, is_last=evaluated)
    return all(artifact.state in (THERE, NOT_NEEDED) for artifact in artifacts)


def texts(run: Run, *, tells: bool = True) -> list[Made]:
    """Text; what is not there is made, and that is said if it `tells`."""
    artifacts = [_text(run, "data", run.text.labelled_fields(), tells)]
    if run.context.augmentation.copies:
        artifacts.append(_text(run, "augmented", run.text.augmented_fields(), tells))
    if run.context.has_transfer:
        artifacts.append(_text(run, "transfer", run.text.transfer_fields(), tells))
    return artifacts


def tokens(run: Run, *, tells: bool = True) -> Made:
    """Tokens; those that are not there are made, and that is said if it `tells`."""
    splits = ["train", "validation", *(["transfer"] if run.text.transfer else [])]
    tables = [(key, spec, name) for key, spec in _tokenizers(run) for name in splits]
    missing = [
        table for table in tables if _state(run, "tokens", run.text.token_fields(*table)) != THERE
    ]
    if missing and tells:
        say(f"plan: {len(missing)} of {len(tables)} token tables are not there; made now")
    for table in missing:
        run.text.tokens(*table)
    state = MADE_NOW if missing else THERE
    return Made("tokens", state, f"{len(tables)} tables: {', '.join(splits)}")


def models(run: Run, *, is_last: bool = True, earlier: Collection[str] = ()) -> list[Made]:
    """Teacher, targets, students and evaluation: looked for, never made.

    Of several phases only the last has a control, and is evaluated; what is in `earlier` one of
    those before makes.
    """
    artifacts = _models(run, is_last=is_last)
    return [
        Made(artifact.name, EARLIER, artifact.detail)
        if artifact.detail in earlier and artifact.state in (MISSING, BEGUN)
        else artifact
        for artifact in artifacts
    ]


def _models(run: Run, *, is_last: bool) -> list[Made]:
    needs_teacher = bool(run.context.loss.needs_teacher)
    artifacts = [_teacher(run), *([_targets(run)] if run.context.stores_targets else [])]
    rows: dict[str, str] = {}
    if needs_teacher or run.teachers.is_there():
        rows["teacher"] = fingerprint(run.teachers.fingerprint_fields())
    for variant in run.students.variants:
        if variant.name == "control" and not is_last:
            continue
        state = _state(run, "student", fields := run.students.fingerprint_fields(variant))
        if needs_teacher or variant.name == "student" or state == THERE:
            rows[variant.name] = fingerprint(fields)
            artifacts.append(Made(variant.name, state, f"student-{rows[variant.name]}"))
    if not is_last:
        return artifacts
    if trained := run.compression.trained:
        fields = run.students.fingerprint_fields(trained)
        name = f"{trained.kind}-{fingerprint(fields)}"
        artifacts.append(Made(trained.name, _state(run, trained.kind, fields), name))
    for form in run.compression.formats:
        fields = run.compression.fingerprint_fields(form, rows["student"])
        row, digest = row_of(form), fingerprint(fields)
        rows[row] = digest_of(form, digest)
        artifacts.append(Made(row, _state(run, "compressed", fields), f"compressed-{digest}"))
    fields = run.evaluation.fingerprint_fields(rows)
    name, state = f"evaluation-{fingerprint(fields)}", _state(run, "evaluation", fields)
    return [*artifacts, Made("evaluation", state, name)]


def _text(run: Run, kind: str, fields: dict[str, Any], tells: bool) -> Made:
    state = _state(run, kind, fields)
    if state != THERE:
        if tells:
            say(f"plan: {kind}: not there; fetched and made now, as by any other command")
        state = MADE_NOW
    artifact = run.text.labelled if kind == "data" else getattr(run.text, kind)
    assert artifact is not None
    return Made(kind, state, artifact.name)


def _tokenizers(run: Run) -> list[tuple[str, str]]:
    """(setting, source) of the tokenizers in use; two settings may name one source."""
    read = (
        [artifact.reads for artifact in run.teachers.members]
        if run.context.loss.needs_teacher
        else []
    )
    by_source = {spec: (key, spec) for key, spec in [learning_source(run.context), *read]}
    return [*by_source.values()]


def _teacher(run: Run) -> Made:
    context = run.context
    if context.teacher.is_ready:
        return Made("teacher", THERE, f"ready: {context.teacher.source_name}")
    if not (context.loss.needs_teacher or run.teachers.is_there()):
        return Made("teacher", NOT_NEEDED, "the loss looks at no soft targets")
    fields_of_each = [member.fingerprint_fields() for member in run.teachers.members]
    state = _together([_state(run, "teacher", fields) for fields in fields_of_each])
    return Made(
        "teacher",
        state,
        ", ".join(f"teacher-{fingerprint(artifact)}" for artifact in fields_of_each),
    )


def _targets(run: Run) -> Made:
    context, teachers = run.context, run.teachers
    if context.given_store:
        manifest = StoreManifest.open(run.target_store.folder)
        manifest.check_origin(teachers.origin(), at=f"targets.path = {context.given_store}")
        return Made("targets", THERE, f"given: {context.given_store}")
    fields = run.target_store.fingerprint_fields()
    state = _state(run, "targets", fields)
    if state == MISSING:
        members = teachers.member_store_fields(context.store_settings)
        has_begun = any(
            _state(run, "targets", fields_of_each) != MISSING for fields_of_each in members
        )
        state = BEGUN if has_begun else MISSING
    return Made("targets", state, f"targets-{fingerprint(fields)}")


def _together(states: list[str]) -> str:
    """The state of several artifacts that are one thing to the run."""
    return states[0] if len(set(states)) == 1 else BEGUN


def _state(run: Run, kind: str, fields: dict[str, Any]) -> str:
    if run.context.workspace.find(kind, fields):
        return THERE
    has_begun = run.context.workspace.partial(kind, fields)
    return BEGUN if has_begun.is_dir() and any(has_begun.iterdir()) else MISSING
