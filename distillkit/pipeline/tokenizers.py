"""Which tokenizer makes the token ids of a run, and how a student's own differs from it."""

from typing import Any

from distillkit.chat.templates import ChatTemplate
from distillkit.data.folders import model_folder
from distillkit.errors import DataError
from distillkit.pipeline.context import RunContext

TOKENS = {"bos_token": "begin of text", "eos_token": "end of text", "pad_token": "padding"}


def student_source(context: RunContext) -> tuple[str, str]:
    """(setting, source) of the student's own tokenizer, whether or not it learns with it."""
    if context.before:
        return student_source(context.before)
    teacher = context.teacher
    return context.student.tokenizer_source or (teacher.key, teacher.source)


def learning_source(context: RunContext) -> tuple[str, str]:
    """(setting, source) of the tokenizer whose ids the student learns from.

    Where positions and ids must mean the same to both, the student reads the very ids that the
    teacher read: the teacher's tokenizer makes them once.
    """
    if context.task.one_tokenizer and context.loss.needs_teacher:
        return context.teacher.key, context.teacher.source
    return learning_source(context.before) if context.before else student_source(context)


def load(context: RunContext, key: str, spec: str) -> Any:
    """The tokenizer of a setting `key` and its source `spec`, as it was saved."""
    folder = model_folder(spec, key=key, cache=context.workspace.assets, weights=False)
    return context.task.load_tokenizer(folder, key=key, trust_remote_code=context.trust_remote_code)


def differences(own: Any, teacher: Any, *, reads_chats: bool) -> list[str]:
    """In what two tokenizers of one vocabulary differ, for a message."""
    lines = [
        f"{label} ({getattr(own, name)}, the teacher's {getattr(teacher, name)})"
        for name, label in TOKENS.items()
        if getattr(own, name) != getattr(teacher, name)
    ]
    if not reads_chats or own.chat_template == teacher.chat_template:
        return lines
    if not own.chat_template:
        return [*lines, "the chat template, of which it has none"]
    ends = [_end_of_turn(tokenizer) for tokenizer in (own, teacher)]
    if ends[0] == ends[1]:
        return [*lines, "the chat template"]
    return [*lines, f"the chat template, which ends a turn with {ends[0]}, the teacher's {ends[1]}"]


def _end_of_turn(tokenizer: Any) -> str:
    try:
        return ChatTemplate(tokenizer).end_of_turn or "no token of its own"
    except DataError:
        return "no token of its own"
