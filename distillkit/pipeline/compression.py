"""The student of a run in other formats: each an artifact, and a row of the evaluation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.compression.checks import formats_of
from distillkit.compression.compress import CARD
from distillkit.compression.formats import FORMATS, Format
from distillkit.compression.student import TrainedStudent
from distillkit.models.runtimes.llama_cpp import in_runtime
from distillkit.models.saved import SavedModel
from distillkit.pipeline import tokenizers
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.obtain import obtain
from distillkit.pipeline.run_folder import copy_model
from distillkit.pipeline.students import StudentArtifacts, StudentVariant
from distillkit.pipeline.text import TextArtifacts
from distillkit.reporting.model_card import licensed
from distillkit.stages import compression as stage
from distillkit.tasks import identity_of
from distillkit.training.learning import MODEL

OWN = "student"  # the key of the run's own student


@dataclass(frozen=True, slots=True)
class CompressionSource:
    """A student that is compressed: its folder, fingerprint, and "setting = value" for messages."""

    folder: str
    digest: str
    key: str


class CompressionArtifacts:
    """The formats of `compression`, in its order, of a run's student or of one from elsewhere."""

    def __init__(
        self, context: RunContext, text: TextArtifacts, students: StudentArtifacts
    ) -> None:
        self.context, self.text, self.students = context, text, students

    @property
    def formats(self) -> list[Format]:
        """The formats that the config names, each once."""
        return formats_of(self.context.cfg)

    @property
    def trained(self) -> StudentVariant | None:
        """The student that a format has trained further; None where no format has."""
        distilled = any(form.distilled for form in self.formats)
        return self.students.quantized if distilled else None

    def own_source(self) -> CompressionSource:
        """The run's student."""
        artifact = self.students.obtain(self.students.student)
        return CompressionSource(str(artifact.path / MODEL), artifact.fingerprint, OWN)

    def obtain(self, form: Format, source: CompressionSource) -> Artifact:
        """The student in a format; what that format begins with is an artifact, too."""
        fields = self.fingerprint_fields(form, source.digest, self._tokenizer(source))

        def make(out: Path) -> dict[str, Any]:
            return stage.compress_student(form, self._student(form, source), out=out)

        return obtain(self.context, "compressed", fields, make)

    def _student(self, form: Format, source: CompressionSource) -> TrainedStudent:
        """The student as a format begins with it."""
        if form.distilled:
            artifact = self.students.obtain(self.students.quantized)
            source = CompressionSource(str(artifact.path / MODEL), artifact.fingerprint, source.key)
        folder = Path(source.folder)
        if form.start:
            folder = self.obtain(FORMATS[form.start], source).path / MODEL
        trusts = self.context.trust_remote_code
        return TrainedStudent(
            folder=folder,
            load=lambda: stage.load(source.folder, key=source.key, trust_remote_code=trusts),
            texts=lambda: self._texts(source),
            data=lambda: self._data(source),
            at=f"compression = {form.name}: {source.key}",
        )

    def fingerprint_fields(
        self, form: Format, digest: str, tokenizer: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        """All that decides what a format makes of the student of a fingerprint.

        `tokenizer` is (setting, source) of the one that it reads with; None: as the run's own does.
        """
        if form.distilled:
            digest = fingerprint(self.students.fingerprint_fields(self.students.quantized))
        texts = None
        if form.calibrates:
            key, spec = tokenizer or tokenizers.learning_source(self.context)
            texts = fingerprint(self.text.token_fields(key, spec, "train"))
        data = self._data_fields() if form.reads_data else None
        return stage.inputs(form, student=digest, texts=texts, data=data)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Row -> the facts of the run's own student in each format."""
        source = self.own_source()
        return {row_of(form): dict(self.obtain(form, source).facts()) for form in self.formats}

    def rows(self) -> dict[str, tuple[SavedModel, str]]:
        """The rows of the run's own student: `student onnx` and so on, made if need be."""
        if not self.formats:
            return {}
        rows, source = {}, self.own_source()
        for form in self.formats:
            artifact = self.obtain(form, source)
            path = artifact.path / MODEL
            saved = SavedModel(str(path), row_of(form), None, self.context.trust_remote_code)
            rows[row_of(form)] = (saved, digest_of(form, artifact.fingerprint))
        return rows

    def copy(
        self,
        out: Path,
        source: CompressionSource | None = None,
        *,
        licenses: Sequence[Mapping[str, Any]],
    ) -> list[str]:
        """Copy the student in each format beside a run's report; the names of the folders.

        Their cards say what the student's sources are licensed under.
        """
        names = []
        for form in self.formats:
            path = self.obtain(form, source or self.own_source()).path / MODEL
            card = (path / CARD).read_text(encoding="utf-8")
            copy_model(path, out / folder_of(form), licensed(card, licenses))
            names.append(folder_of(form))
        return names

    def _data_fields(self) -> dict[str, Any]:
        """What decides all texts, and the tokens of them: the tokenizer is the student's own."""
        text, task = self.text, self.context.task
        return {
            "labelled": text.labelled.fingerprint,
            "transfer": text.transfer.fingerprint if text.transfer else None,
            **identity_of(task),
            **task.feature_fields(held_out=False),
            "held_out": task.feature_fields(held_out=True),
        }

    def _data(self, source: CompressionSource) -> stage.StudentTexts:
        context = self.context
        return stage.StudentTexts(
            context.task, self.text.corpus, source.key, context.trust_remote_code
        )

    def _tokenizer(self, source: CompressionSource) -> tuple[str, str] | None:
        """(setting, source) of the tokenizer of a student from elsewhere: its own."""
        return None if source.key == OWN else ("student.path", source.folder)

    def _texts(self, source: CompressionSource) -> Iterator[dict[str, Tensor]]:
        key, spec = self._tokenizer(source) or tokenizers.learning_source(self.context)
        table = self.text.tokens(key, spec, "train")
        return stage.calibration_texts(table, self.text.tokenizer(key, spec))


def digest_of(form: Format, digest: str) -> str:
    """What decides the figures of a format's row: its fingerprint, and what runs its file here."""
    return in_runtime(digest) if form.name.startswith("gguf") else digest


def row_of(form: Format) -> str:
    """The name of a format's row."""
    return f"student {form.name}"


def folder_of(form: Format) -> str:
    """The name of a format's folder among a run's outputs."""
    return f"student-{form.name}"
