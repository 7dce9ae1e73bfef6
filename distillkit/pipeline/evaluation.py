"""The evaluation of a run: which models are its rows, and what was measured of them."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from distillkit import ranks
from distillkit.artifacts.code_identity import code_of_node
from distillkit.artifacts.parts import Parts
from distillkit.artifacts.shared_parts import NothingLeftError, SharedParts
from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.config.overrides import plain
from distillkit.console.wording import listed
from distillkit.data.folders import model_folder
from distillkit.data.sources import identity
from distillkit.errors import ConfigError
from distillkit.models.folders import place
from distillkit.models.runtimes.llama_cpp import in_runtime
from distillkit.models.saved import SavedMembers, SavedModel
from distillkit.pipeline import joint, slices, tokenizers
from distillkit.pipeline.compression import CompressionArtifacts
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.obtain import obtain
from distillkit.pipeline.students import StudentArtifacts
from distillkit.pipeline.teachers import EnsembleArtifacts, TeacherArtifacts
from distillkit.pipeline.text import TextArtifacts
from distillkit.prediction.purpose import has_other_names, student_folder
from distillkit.stages import evaluation as stage
from distillkit.training.learning import MODEL

SHARED_FROM = 2000  # held-out texts: of fewer, loading the models costs others more than they do
Row = tuple[SavedMembers, str]  # a model of the evaluation, and its fingerprint


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

    def obtain(self, models: dict[str, Row], *, reference: str | None = None) -> Artifact:
        """The evaluation of these rows: name -> (model, its fingerprint).

        The others are held against the row `reference`; None: the teacher's.
        """
        context, test = self.context, self.text.corpus.split("test")
        saved = {row: model for row, (model, _) in models.items()}
        digests = {row: digest for row, (_, digest) in models.items()}
        fields = self.fingerprint_fields(digests, reference=reference)
        fixed: dict[str, Any] = {"settings": context.evaluation, "reference": reference}
        what = (saved, context.task, self.text.corpus.labels, test)

        def make(out: Path) -> dict[str, Any]:
            rows = named_rows(models) if len(test) >= SHARED_FROM and ranks.leads() else None
            parts = SharedParts(out) if rows else None
            with joint.evaluation(context, rows, reference, fields, parts):
                return stage.evaluate(
                    *what,
                    **fixed,
                    parts=parts or Parts(out),
                    out=out,
                    train_labels=self._train_labels(models),
                    slice_values=slices.values(context, test),
                )

        def take_part(out: Path) -> bool:
            parts = SharedParts(out)
            if not parts.is_open:
                return False
            with suppress(NothingLeftError):
                stage.take_part(*what, **fixed, parts=parts)
            return True

        return obtain(context, "evaluation", fields, make, resumable=True, take_part=take_part)

    def take_part(self, job: dict[str, Any]) -> None:
        """Work out a share of an evaluation that the first process has called for."""
        own = self.teachers.saved, fingerprint(self.teachers.fingerprint_fields())
        models: dict[str, Row] = {}
        for row, (folder, key, labels, digest) in job["rows"].items():
            saved = SavedModel(folder, key, labels, self.context.trust_remote_code)
            models[row] = own if digest == own[1] else (saved, digest)
        self.obtain(models, reference=job["reference"])

    def _train_labels(self, models: Mapping[str, Row]) -> np.ndarray | None:
        """The labels of the training text; of language models its tokens, where these are its own.

        Of models from elsewhere, whose tokenizer may be another, they are not counted.
        """
        context, text = self.context, self.text
        if getattr(context.data, "train", "") is None:
            return None
        if context.task.family == "sequence":
            return text.corpus.split("train").labels
        student = self.students.student
        if self.students.find(student) is None or "student" not in models:
            return None
        is_own = models["student"][1] == self.students.obtain(student).fingerprint
        key, spec = tokenizers.learning_source(context)
        return text.tokens(key, spec, "train").labels if is_own else None

    def fingerprint_fields(
        self, models: dict[str, str], *, reference: str | None = None
    ) -> dict[str, Any]:
        """All that decides the evaluation of these rows: name -> its model's fingerprint."""
        context = self.context
        return (
            stage.fingerprint_fields(
                models,
                context.task,
                labelled=self.text.labelled.fingerprint,
                settings=context.evaluation.fingerprint_fields(),
                reference=reference,
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
            return rows | {"student": _named(student, digest)}
        for variant in students.variants:
            if variant.name == "student" or variant.name in context.makes or students.find(variant):
                artifact = students.obtain(variant)
                folder = str(artifact.path / MODEL)
                saved = SavedModel(folder, "student", None, context.trust_remote_code)
                rows[variant.name] = (saved, artifact.fingerprint)
        return rows | self.compression.rows()

    def rows_of(self, specs: Sequence[str], *, with_teacher: bool) -> tuple[dict[str, Row], str]:
        """(rows of folders and hub ids by name, the one that the others are held against).

        That is the run's teacher where it is wanted `with_teacher`, else the first of them.
        `student.labels` names the outputs of those that have none of these names.
        """
        context = self.context
        rows: dict[str, Row] = {}
        if with_teacher and self.teachers.is_there():
            digest = fingerprint(self.teachers.fingerprint_fields())
            rows[stage.TEACHER] = (self.teachers.saved, digest)
        labels = context.cfg.student.get("labels")
        names = None if labels is None else [str(name) for name in labels]
        for name, spec in names_of(specs, used=rows).items():
            own = model_folder(spec, key="models", cache=context.workspace.assets)
            folder = student_folder(own)
            digest = identity(spec if folder == own else folder, key="models")
            named = names if names and has_other_names(folder, names) else None
            saved = SavedModel(folder, "models", named, context.trust_remote_code)
            rows[name] = _named(saved, digest)
        return rows, next(iter(rows))


def named_rows(models: Mapping[str, Row]) -> dict[str, list[Any]] | None:
    """[folder, key, labels, fingerprint] of each row, for another process to open the model by.

    The teacher's own is opened as the config has it. None where a model is not told by these.
    """
    rows: dict[str, list[Any]] = {}
    for row, (saved, digest) in models.items():
        if row == stage.TEACHER:
            rows[row] = ["", "", None, digest]
        elif not isinstance(saved, SavedModel) or saved.loader or saved.options:
            return None
        else:
            rows[row] = [saved.folder, saved.key, saved.labels, digest]
    return rows


def _named(saved: SavedModel, digest: str) -> Row:
    """A row of a model from elsewhere: its names of outputs decide it, too, and what runs it."""
    if place(saved.folder)[1]:
        digest = in_runtime(digest)
    return saved, digest if saved.labels is None else f"{digest} {json.dumps(saved.labels)}"


def names_of(specs: Sequence[str], *, used: Collection[str] = ()) -> dict[str, str]:
    """Names of sources: the fewest last parts of each that tell them apart; name -> source."""
    parts = [[part for part in spec.split("/") if part not in ("", ".", "..")] for spec in specs]
    for count in range(1, max(map(len, parts), default=0) + 1):
        names = ["-".join(part[-count:]) for part in parts]
        if len({*names}) == len(names) and not {*names} & {*used}:
            return dict(zip(names, specs, strict=True))
    raise ConfigError(f"models = [{listed(specs)}]: names one of them twice; name each once")
