"""Students: how a small model is made."""

from distillkit.students.pretrained import PretrainedStudent
from distillkit.students.scratch import ScratchStudent

Student = PretrainedStudent | ScratchStudent

__all__ = ["PretrainedStudent", "ScratchStudent", "Student"]
