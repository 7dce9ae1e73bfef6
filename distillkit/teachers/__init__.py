"""Teachers: where soft targets come from, as the config says it.

`teacher.Teacher` says what a new one has to do. How models are loaded is in `models`; how a teacher
is fitted is a stage's.
"""

from distillkit.teachers.ensemble import EnsembleTeacher
from distillkit.teachers.local import LocalTeacher
from distillkit.teachers.teacher import Teacher

__all__ = ["EnsembleTeacher", "LocalTeacher", "Teacher"]
