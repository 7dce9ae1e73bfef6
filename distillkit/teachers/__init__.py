"""Teachers: where soft targets come from, as the config says it.

How models are loaded is in `models`; how a teacher is fitted is a stage's.
"""

from distillkit.teachers.ensemble import EnsembleTeacher
from distillkit.teachers.local import LocalTeacher

Teacher = LocalTeacher | EnsembleTeacher

__all__ = ["EnsembleTeacher", "LocalTeacher", "Teacher"]
