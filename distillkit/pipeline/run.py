"""All artifacts of a run, each found in the workspace or made there."""

from distillkit.pipeline.activations import LayerComparison
from distillkit.pipeline.compression import CompressionArtifacts
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.evaluation import EvaluationArtifacts
from distillkit.pipeline.students import StudentArtifacts, StudentVariant
from distillkit.pipeline.target_store import TargetStoreArtifact
from distillkit.pipeline.teachers import teacher_artifacts
from distillkit.pipeline.text import TextArtifacts


class Run:
    """One run, or one phase of it, as its parts; its student starts from that of `before`.

    Nothing is made before it is needed: `run.students.obtain(run.students.student)` makes the
    student, and what it takes.
    """

    def __init__(self, context: RunContext, before: "Run | None" = None) -> None:
        self.context, self.before = context, before
        self.text = TextArtifacts(context)
        self.activations = LayerComparison(context, self.text)
        self.teachers = teacher_artifacts(context, self.text, self.activations)
        self.target_store = TargetStoreArtifact(context, self.teachers)
        self.students: StudentArtifacts = StudentArtifacts(
            context,
            self.text,
            self.activations,
            self.teachers,
            self.target_store,
            before.students if before else None,
        )
        self.compression = CompressionArtifacts(context, self.text, self.students)
        self.evaluation = EvaluationArtifacts(
            context, self.text, self.teachers, self.students, self.compression
        )

    @property
    def beside(self) -> tuple[StudentVariant | None, ...]:
        """What is trained beside the student where the run has it: a control, one in int8."""
        return self.students.control, self.compression.trained
