"""The evaluation of a run: which models are its rows, and what was measured of them."""

from typing import Any

from distillkit.artifacts.code_identity import code_of_node
from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.config.overrides import plain
from distillkit.models.saved import SavedEnsemble, SavedModel
from distillkit.pipeline.compression import CompressionArtifacts
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.obtain import obtain
from distillkit.pipeline.students import StudentArtifacts
from distillkit.pipeline.teachers import EnsembleArtifacts, TeacherArtifacts
from distillkit.pipeline.text import TextArtifacts
from distillkit.stages import evaluation as stage
from distillkit.training.learning import MODEL

Row = tuple[SavedModel | SavedEnsemble, str]  # a model of the evaluation, and its fingerprint


class EvaluationArtifacts:
    """Measurements of teacher, student and control on the held-out split."""

    def __init__(
        self,
        context: RunContext,
        text: TextArtifacts,
        teachers: TeacherArtifacts | EnsembleArtifacts,
        students: StudentArtifacts,
        compression: CompressionArtifacts,
    ) -> None:
        self.context, self.text, self.teachers, self.students = context, text, teachers, students
        self.compression = compression

    def obtain(self, models: dict[str, Row]) -> Artifact:
        """The evaluation of these rows: name -> (model, its fingerprint)."""
        context = self.context
        fields = self.fingerprint_fields({row: digest for row, (_, digest) in models.items()})
        return obtain(
            context,
            "evaluation",
            fields,
            lambda out: stage.evaluate(
                {row: saved for row, (saved, _) in models.items()},
                context.task,
                self.text.corpus.labels,
                self.text.corpus.split("test"),
                settings=context.evaluation,
                out=out,
                class_counts=self.text.class_counts,
            ),
            resumable=True,
        )

    def fingerprint_fields(self, models: dict[str, str]) -> dict[str, Any]:
        """All that decides the evaluation of these rows: name -> its model's fingerprint."""
        context = self.context
        return (
            stage.fingerprint_fields(
                models,
                context.task,
                labelled=self.text.labelled.fingerprint,
                settings=context.evaluation.fingerprint_fields(),
            )
            | self._metric_fields()
        )

    def _metric_fields(self) -> dict[str, Any]:
        """The metrics that the config adds, as it has them, and the files of their classes."""
        node = plain(self.context.cfg.evaluation).get("metrics")
        return {"metrics": node, "code": code_of_node(node)} if node else {}

    def rows(self, *, student: SavedModel | None = None, digest: str = "") -> dict[str, Row]:
        """The rows of an evaluation: teacher, student, control, formats, as far as they are there.

        A `student` from elsewhere, of this fingerprint, stands in place of the run's own.
        """
        context, students = self.context, self.students
        rows: dict[str, Row] = {}
        makes_teacher = "teacher" in context.makes and context.loss.needs_teacher
        if makes_teacher or self.teachers.is_there():
            digest_of_teacher = fingerprint(self.teachers.fingerprint_fields())
            rows["teacher"] = (self.teachers.saved, digest_of_teacher)
        if student:
            return rows | {"student": (student, digest)}
        for variant in students.variants:
            if variant.name == "student" or variant.name in context.makes or students.find(variant):
                artifact = students.obtain(variant)
                folder = str(artifact.path / MODEL)
                saved = SavedModel(folder, "student", None, context.trust_remote_code)
                rows[variant.name] = (saved, artifact.fingerprint)
        return rows | self.compression.rows()
