"""Students: how a small model is made, of new weights, of a folder's, or out of the teacher's.

`student.Student` says what a new one has to do. How it is trained is in `training`, and which
artifact it becomes in `stages`.
"""

from distillkit.students.adapters import Lora
from distillkit.students.architectures import register_architectures
from distillkit.students.from_teacher import FromTeacher
from distillkit.students.pretrained import PretrainedStudent
from distillkit.students.scratch import ScratchStudent
from distillkit.students.student import Student, StudentContext

__all__ = [
    "FromTeacher",
    "Lora",
    "PretrainedStudent",
    "ScratchStudent",
    "Student",
    "StudentContext",
    "register_architectures",
]
