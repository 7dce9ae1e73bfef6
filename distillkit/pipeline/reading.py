"""Whose tokenizer and chat template make the ids of a run, and what a student's own would do."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distillkit.artifacts.workspace import read_json
from distillkit.chat.templates import ChatTemplate
from distillkit.console.progress import say
from distillkit.data.folders import model_folder
from distillkit.errors import DataError
from distillkit.models.vocabularies import (
    check_reads_back,
    check_same_tokenizer,
    same_ids,
)

if TYPE_CHECKING:
    from distillkit.pipeline.road import Road

TOKENS = {"bos_token": "begin of text", "eos_token": "end of text", "pad_token": "padding"}


def source(road: "Road") -> tuple[str, str]:
    """(setting, source) of the tokenizer whose ids the student learns from.

    Where positions and ids must mean the same to both, what the teacher is asked about is what the
    student reads: the teacher's tokenizer makes the ids once.
    """
    if road.task.one_tokenizer and road.loss.needs_teacher:
        return road.teacher.key, road.teacher.source
    return source(road.before) if road.before else road.student_tokenizer()


def tokenizer(road: "Road", key: str, spec: str) -> Any:
    """The tokenizer of a source, with the chat template that the run's conversations chose."""
    folder = model_folder(spec, key=key, cache=road.workspace.assets, weights=False)
    found = road.task.load_tokenizer(folder, key=key, trust_remote_code=road.trust)
    if road.corpus.chat.template is not None:
        found.chat_template = road.corpus.chat.template
    return found


def check_tokenizers(road: "Road") -> None:
    """Say what of the student's own tokenizer gives way to the teacher's.

    Raises `ModelError` where their ids do not mean the same, before anything is asked.
    """
    key, spec = road.student_tokenizer()
    if road.before or source(road) == (key, spec) or spec == road.teacher.source:
        return
    if not (road.task.one_tokenizer and road.loss.needs_teacher):
        return
    folder = model_folder(spec, key=key, cache=road.workspace.assets, weights=False)
    own = road.task.load_tokenizer(folder, key=key, trust_remote_code=road.trust)
    teacher = road.teachers[0].tokenizer()
    check_same_tokenizer(own, teacher, key=f"{key} = {spec}")
    config = Path(folder) / "config.json"
    if config.is_file() and not same_ids(own, teacher):
        architecture = str(read_json(config).get("model_type"))
        check_reads_back(architecture, teacher, key=f"{key} = {spec}: its model_type")
    found = differences(own, teacher, reads_chats=road.corpus.holds_messages)
    if found:
        say(
            "student: reads, and is saved with, the teacher's tokenizer; its own differs in "
            + "; ".join(found)
        )


def differences(own: Any, teacher: Any, *, reads_chats: bool) -> list[str]:
    """What two tokenizers of one vocabulary do otherwise, for a message."""
    found = [
        f"{what} ({getattr(own, name)}, the teacher's {getattr(teacher, name)})"
        for name, what in TOKENS.items()
        if getattr(own, name) != getattr(teacher, name)
    ]
    if not reads_chats or own.chat_template == teacher.chat_template:
        return found
    if not own.chat_template:
        return [*found, "the chat template, of which it has none"]
    ends = [_end_of_turn(it) for it in (own, teacher)]
    if ends[0] == ends[1]:
        return [*found, "the chat template"]
    return [*found, f"the chat template, which ends a turn with {ends[0]}, the teacher's {ends[1]}"]


def _end_of_turn(held: Any) -> str:
    try:
        return ChatTemplate(held).end_of_turn or "no token of its own"
    except DataError:
        return "no token of its own"


def check_held_out(road: "Road") -> None:
    """Read the held-out conversations: one that is refused is told before the teacher is asked."""
    if road.data.kind == "conversations":
        for name in ("validation", "test"):
            road.tokens(*source(road), name)
