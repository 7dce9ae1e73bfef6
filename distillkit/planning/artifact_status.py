"""Which artifacts of a run are there; text and tokens, which cost little, are made if need be."""

from typing import Any

from distillkit.artifacts.workspace import fingerprint
from distillkit.console.progress import say
from distillkit.pipeline import reading
from distillkit.pipeline.road import Road
from distillkit.pipeline.teachers import TeacherEnsemble
from distillkit.planning.tables import Made
from distillkit.stages import corpus as corpora
from distillkit.targets import StoredTargets, StoreManifest

THERE, MADE_NOW, BEGUN, MISSING = "there", "made now", "begun", "to be made"
NOT_NEEDED = "not needed"


def is_made(road: Road, *, evaluated: bool) -> bool:
    """Whether nothing is left for a run to compute, its evaluation included where there is one."""
    found = [it for it in models(road) if evaluated or it.name != "evaluation"]
    return all(it.state in (THERE, NOT_NEEDED) for it in found)


def texts(road: Road, *, tells: bool = True) -> list[Made]:
    """Text; what is not there is made, and that is said if it `tells`."""
    found = [_text(road, "data", corpora.labelled_inputs(road.data, road.task), tells)]
    if road.augmentation.copies:
        found.append(_text(road, "augmented", road.augmented_inputs(), tells))
    if road.has_transfer:
        found.append(_text(road, "transfer", road.transfer_inputs(), tells))
    return found


def tokens(road: Road, *, tells: bool = True) -> Made:
    """Tokens; those that are not there are made, and that is said if it `tells`."""
    splits = ["train", "validation", *(["transfer"] if road.transfer else [])]
    tables = [(key, spec, name) for key, spec in _tokenizers(road) for name in splits]
    missing = [it for it in tables if _state(road, "tokens", road.token_inputs(*it)) != THERE]
    if missing and tells:
        say(f"plan: {len(missing)} of {len(tables)} token tables are not there; made now")
    for table in missing:
        road.tokens(*table)
    state = MADE_NOW if missing else THERE
    return Made("tokens", state, f"{len(tables)} tables: {', '.join(splits)}")


def models(road: Road) -> list[Made]:
    """Teacher, targets, students and evaluation: looked for, never made."""
    asks = bool(road.loss.needs_teacher)
    found = [_teacher(road), *([_targets(road)] if road.keeps_targets else [])]
    rows: dict[str, str] = {}
    if asks or road.taught_by.is_there():
        rows["teacher"] = fingerprint(road.teacher_inputs())
    for role in (road.student_role, road.control_role, road.untrained_role):
        if role is None:
            continue
        inputs = road.student_inputs(role)
        state = _state(road, "student", inputs)
        if asks or role.name == "student" or state == THERE:
            rows[role.name] = fingerprint(inputs)
            found.append(Made(role.name, state, f"student-{rows[role.name]}"))
    inputs = road.evaluation_inputs(rows)
    state = _state(road, "evaluation", inputs)
    return [*found, Made("evaluation", state, f"evaluation-{fingerprint(inputs)}")]


def _text(road: Road, kind: str, inputs: dict[str, Any], tells: bool) -> Made:
    state = _state(road, kind, inputs)
    if state != THERE:
        if tells:
            say(f"plan: {kind}: not there; fetched and made now, as by any other command")
        state = MADE_NOW
    artifact = road.labelled if kind == "data" else getattr(road, kind)
    assert artifact is not None
    return Made(kind, state, artifact.name)


def _tokenizers(road: Road) -> list[tuple[str, str]]:
    """(setting, source) of the tokenizers in use; two settings may name one source."""
    asked = [it.reads for it in road.teachers] if road.loss.needs_teacher else []
    found = {spec: (key, spec) for key, spec in [reading.source(road), *asked]}
    return [*found.values()]


def _teacher(road: Road) -> Made:
    if road.teacher.is_ready:
        return Made("teacher", THERE, f"ready: {road.teacher.source_name}")
    if not (road.loss.needs_teacher or road.taught_by.is_there()):
        return Made("teacher", NOT_NEEDED, "the loss looks at no soft targets")
    every = [member.inputs() for member in road.teachers]
    state = _together([_state(road, "teacher", inputs) for inputs in every])
    return Made("teacher", state, ", ".join(f"teacher-{fingerprint(i)}" for i in every))


def _targets(road: Road) -> Made:
    if road.given_store:
        given = StoreManifest.open(road.store)
        given.check_origin(road.origin(), at=f"targets.path = {road.given_store}")
        return Made("targets", THERE, f"given: {road.given_store}")
    inputs = road.store_inputs()
    state = _state(road, "targets", inputs)
    if state == MISSING and isinstance(road.taught_by, TeacherEnsemble):
        assert isinstance(road.targets, StoredTargets)
        members = road.taught_by.member_inputs(road.targets)
        begun = any(_state(road, "targets", inputs) != MISSING for inputs in members)
        state = BEGUN if begun else MISSING
    return Made("targets", state, f"targets-{fingerprint(inputs)}")


def _together(states: list[str]) -> str:
    """The state of several artifacts that are one thing to the run."""
    return states[0] if len(set(states)) == 1 else BEGUN


def _state(road: Road, kind: str, inputs: dict[str, Any]) -> str:
    if road.workspace.find(kind, inputs):
        return THERE
    begun = road.workspace.partial(kind, inputs)
    return BEGUN if begun.is_dir() and any(begun.iterdir()) else MISSING
