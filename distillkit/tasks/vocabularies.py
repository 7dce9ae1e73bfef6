"""Which token ids are real, and whether two tokenizers mean the same by them."""

from typing import Any

from distillkit.errors import ModelError


def real_vocabulary(tokenizer: Any, *models: Any) -> int:
    """How many logits mean a token: the highest token id + 1.

    Models round their vocabularies up, each its own way (Qwen: 151,936 rows for 151,665 tokens);
    `len(tokenizer)` counts tokens, and ids may have gaps. Raises `ModelError` for a model with
    fewer rows.
    """
    size = max(tokenizer.get_vocab().values(), default=-1) + 1
    for model in models:
        rows = len(model.get_output_embeddings().weight)
        if rows < size:
            raise ModelError(
                f"{model.config.name_or_path or type(model).__name__}: its vocabulary has {rows} "
                f"rows, but the tokenizer's highest id is {size - 1}; it belongs to another "
                "tokenizer"
            )
    return size


def check_same_tokenizer(student_tokenizer: Any, teacher_tokenizer: Any, *, key: str) -> None:
    """Raise `ModelError` unless both give the same ids to the same tokens.

    Either may have added tokens of its own where the other has none, such as a pad token.
    """
    student, teacher = student_tokenizer.get_vocab(), teacher_tokenizer.get_vocab()
    added = {
        *student_tokenizer.get_added_vocab().values(),
        *teacher_tokenizer.get_added_vocab().values(),
    }
    students = {i: token for token, i in student.items()}
    teachers = {i: token for token, i in teacher.items()}
    for i in sorted(students.keys() | teachers.keys()):
        ours, theirs = students.get(i), teachers.get(i)
        if ours == theirs:
            continue
        alone = theirs not in student if ours is None else ours not in teacher
        if None in (ours, theirs) and i in added and alone:
            continue
        raise ModelError(
            f"{key}: the student's tokenizer is not the teacher's: token {i} is {_spelt(ours)} in "
            f"the student's and {_spelt(theirs)} in the teacher's; take the teacher's tokenizer "
            "(student.tokenizer=null), or a student of the teacher's family"
        )


def _spelt(token: str | None) -> str:
    return "no token" if token is None else repr(token)
