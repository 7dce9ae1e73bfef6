"""Students: how a small model is made."""

from distillkit.students.architectures import register_architectures
from distillkit.students.from_teacher import FromTeacher
from distillkit.students.pretrained import PretrainedStudent
from distillkit.students.scratch import ScratchStudent

Student = FromTeacher | PretrainedStudent | ScratchStudent

__all__ = [
    "FromTeacher",
    "PretrainedStudent",
    "ScratchStudent",
    "Student",
    "register_architectures",
]
