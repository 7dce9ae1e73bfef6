"""Teachers: where soft targets come from."""

from distillkit.teachers.ensemble import EnsembleTeacher
from distillkit.teachers.local import LocalTeacher

Teacher = LocalTeacher | EnsembleTeacher

__all__ = ["EnsembleTeacher", "LocalTeacher", "Teacher"]
