"""Teachers: where soft targets come from."""

from distillkit.teachers.local import LocalTeacher

__all__ = ["LocalTeacher"]
