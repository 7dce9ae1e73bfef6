"""The students of a run: the student, its control on hard labels, and the student untrained."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from distillkit.artifacts.code_identity import code_identity, code_of_node
from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.compression.fake_quantization import (
    ARITHMETIC,
    check_quantizable,
    fake_quantized,
)
from distillkit.compression.settings import QuantizationSettings
from distillkit.config.build import build
from distillkit.config.overrides import plain
from distillkit.data.folders import model_folder
from distillkit.data.sources import identity, tokenizer_identity
from distillkit.losses import HardLabelLoss
from distillkit.models.saved import SavedModel
from distillkit.pipeline import joint, tokenizers
from distillkit.pipeline.activations import LayerComparison
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.obtain import obtain
from distillkit.pipeline.target_store import TargetStoreArtifact
from distillkit.pipeline.teachers import EnsembleArtifacts, TeacherArtifacts
from distillkit.pipeline.text import TextArtifacts
from distillkit.stages import student as stage
from distillkit.stages.student import AdapterWork
from distillkit.students import PretrainedStudent, Student
from distillkit.targets.hidden_states import StoredStates
from distillkit.tasks.shared_words import Selection, align
from distillkit.token_table import TokenTable
from distillkit.training.job import TrainingJob
from distillkit.training.learning import MODEL
from distillkit.training.settings import TrainSettings

# Looks at the validation score, 20 a run: bert-tiny's control is at its best after 180 of 1,200
# steps and fits every label after 400
PATIENCE = 6
QUANTIZED = "quantized"
# of the loss that it began with: what stands still above that has not fitted its labels yet, and
# may be about to begin
FITTED = 0.05


@dataclass(frozen=True, slots=True)
class StudentVariant:
    """One model to train: the student, its control on hard labels, or the student as it starts."""

    name: str  # its row in the results: "student", "control" or "untrained"; or "quantized"
    loss: Any
    node: dict[str, Any]  # the loss as the config has it
    from_teacher: bool  # whether it learns from soft targets
    settings: TrainSettings
    lr_factor: float = 1.0  # on the optimizer's learning rates

    @property
    def kind(self) -> str:
        """The kind of its artifact."""
        return self.name if self.name == QUANTIZED else "student"


class StudentArtifacts:
    """Each variant of a run's student. A later phase's starts from the student of `before`."""

    def __init__(
        self,
        context: RunContext,
        text: TextArtifacts,
        activations: LayerComparison,
        teachers: TeacherArtifacts | EnsembleArtifacts,
        target_store: TargetStoreArtifact,
        before: "StudentArtifacts | None",
    ) -> None:
        self.context, self.text, self.activations = context, text, activations
        self.teachers, self.target_store, self.before = teachers, target_store, before

    @cached_property
    def student(self) -> StudentVariant:
        """The student, as the config has it."""
        context = self.context
        node, needs_teacher = plain(context.cfg.loss), bool(context.loss.needs_teacher)
        return StudentVariant("student", context.loss, node, needs_teacher, context.trainer)

    @cached_property
    def control(self) -> StudentVariant | None:
        """The same student and steps over the labelled text alone, hard labels only.

        None where the run has no control. It always keeps its best weights by validation: over so
        many epochs of the labelled text the last ones are overfitted, and a control that is held
        down proves nothing. It ends where it has fitted its labels and nothing better came for so
        long that nothing will. In a run of phases it has the steps of all that learn from the same
        text.
        """
        context, trainer = self.context, self.context.trainer
        if not context.cfg.control or not self.student.from_teacher:
            return None
        settings = replace(trainer, keep="best")
        if settings.patience is None and settings.eval_every is None:
            settings = replace(settings, patience=PATIENCE, patience_below=FITTED)
        elif settings.patience is not None and settings.patience_below is None:
            # the student's loss has another scale
            settings = replace(settings, patience_below=FITTED)
        earlier = [] if context.task.packs else self.earlier_on_same_text()
        if self.text.transfer or earlier:
            labelled = self.text.labelled.facts()["counts"]["train"]
            settings = replace(
                settings,
                steps=sum(phase.steps() for phase in (self, *earlier)),
                epochs=None,
                batch_size=min(trainer.batch_size, labelled),
            )
        node = {"_target_": "distillkit.losses.HardLabelLoss"}
        return StudentVariant("control", HardLabelLoss(), node, False, settings)

    @cached_property
    def initial(self) -> StudentVariant | None:
        """The student as it was cut out of its teacher; None for a student of another kind."""
        if not self.context.student.is_cut:
            return None
        return StudentVariant("untrained", None, {"untrained": True}, False, self.context.trainer)

    @cached_property
    def quantized(self) -> StudentVariant:
        """The trained student after more steps of the same loss in 8 bits; no row of its own.

        Its loss is a new one, which no training has changed yet. Where the trainer keeps the best
        weights by validation, now in 8 bits, those of the trained student are among them.
        """
        cfg = self.context.cfg
        settings = QuantizationSettings(**plain(cfg.quantization))
        own = self.student
        trainer = replace(
            own.settings,
            steps=settings.length(own.settings.steps or self.steps()),
            epochs=None,
            patience=None,
            eval_every=None,
        )
        loss = build(cfg.loss, key="loss")
        return StudentVariant(
            QUANTIZED, loss, own.node, own.from_teacher, trainer, settings.lr_factor
        )

    @property
    def variants(self) -> list[StudentVariant]:
        """Those that the run has, in the order of their rows."""
        return [variant for variant in (self.student, self.control, self.initial) if variant]

    def earlier_on_same_text(self) -> "list[StudentArtifacts]":
        """The earlier phases of a run that learn from the same labelled text."""
        if self.before is None:
            return []
        earlier = self.before.earlier_on_same_text()
        is_same = self.before.text.labelled.fingerprint == self.text.labelled.fingerprint
        return [*earlier, self.before] if is_same else earlier

    def steps(self) -> int:
        """The optimizer steps of a student that reads all the labelled text and transfer set."""
        text, trainer = self.text, self.context.trainer
        examples = text.labelled.facts()["counts"]["train"]
        if text.transfer:
            examples += text.transfer.facts()["counts"]["transfer"]
        return trainer.length(-(-examples // trainer.batch_size))

    # artifacts

    def obtain(self, variant: StudentVariant) -> Artifact:
        """The variant's model, trained if it is not there; the initial one is only saved."""
        context, fields = self.context, self.fingerprint_fields(variant)

        def make(out: Path) -> dict[str, Any]:
            if variant.name == "untrained":
                student_model = self._make(context.student, *tokenizers.student_source(context))
                return stage.keep_untrained(*student_model, context.task, out=out)
            job = self._job(variant)
            model, tokenizer = self._start(variant)
            label = f"{variant.name}, {context.phase}" if context.phase else variant.name
            quantized = variant.name == QUANTIZED
            if quantized:
                check_quantizable(model, at="compression: the student")
            arithmetic = fake_quantized(model) if quantized else nullcontext()
            with joint.training(context, variant.kind, variant.name, fields), arithmetic:
                return stage.train_student(
                    model,
                    tokenizer,
                    job,
                    out=out,
                    label=label,
                    start_counts=quantized and variant.settings.keep == "best",
                    adapter=None if quantized else self._adapter(),
                )

        return obtain(context, variant.kind, fields, make, learns=variant.name != "untrained")

    def find(self, variant: StudentVariant) -> Artifact | None:
        """The variant's model, if it is there."""
        return self.context.workspace.find(variant.kind, self.fingerprint_fields(variant))

    def fingerprint_fields(self, variant: StudentVariant) -> dict[str, Any]:
        """All that decides the weights of a variant."""
        context, text = self.context, self.text
        key, spec = tokenizers.learning_source(context)
        data = [text.labelled.fingerprint]
        if variant.from_teacher and text.transfer:
            data.append(text.transfer.fingerprint)
        if variant.name == "untrained":
            # nothing of the training decides it
            return stage.start_fields(
                context.student,
                context.task,
                teacher=self._first_teacher_fingerprint(),
                data=data,
                seed=context.seed,
            )
        start, source = self._start_source(variant)
        code = code_of_node(
            [variant.node, plain(context.cfg.optimizer), plain(context.cfg.scheduler)]
        )
        extra: dict[str, Any] = {"code": code} if code else {}
        if variant.name == QUANTIZED:
            extra |= {"arithmetic": ARITHMETIC, "lr_factor": variant.lr_factor}
        else:
            extra |= context.student.adapter_fields()
        return extra | stage.fingerprint_fields(
            start,
            context.task,
            source=source,
            tokenizer=tokenizer_identity(spec, key=key),
            teacher=self._first_teacher_fingerprint() if start.starts_from_teacher else "",
            texts=lambda: [
                corpus.fingerprint for corpus in (text.labelled, text.transfer) if corpus
            ],
            targets=self._targets_fingerprint() if variant.from_teacher else None,
            data=data,
            loss=variant.node,
            optimizer=plain(context.cfg.optimizer),
            scheduler=plain(context.cfg.scheduler),
            settings=variant.settings,
            seed=context.seed,
        )

    def _start_source(self, variant: StudentVariant) -> tuple[Student, str]:
        """(the student before training, the identity of the weights that it starts from)."""
        student: Student = self.context.student
        if variant.name == QUANTIZED:
            fields = self.fingerprint_fields(self.student)
            return PretrainedStudent(""), f"student-{fingerprint(fields)}"
        if self.before and variant.name == "student":
            fields = self.before.fingerprint_fields(self.before.student)
            return PretrainedStudent(""), f"student-{fingerprint(fields)}"
        if student.weights_source:
            key, spec = student.weights_source
            return student, identity(spec, key=key)
        return student, "new weights"

    def _first_teacher_fingerprint(self) -> str:
        return fingerprint(self.teachers.members[0].fingerprint_fields())

    def _targets_fingerprint(self) -> str:
        """The identity of the soft targets; of a provider from outside also its file's content."""
        targets = self.context.targets
        return fingerprint(targets.fingerprint_fields(self.teachers) | code_identity(targets))

    # training

    def _job(self, variant: StudentVariant) -> TrainingJob:
        """What a student or control learns from, and how."""
        context, text = self.context, self.text
        key, spec = tokenizers.learning_source(context)
        text.check_held_out()
        examples, selection = self._examples(variant, key, spec)
        teacher = store = states = None
        if variant.from_teacher:
            teacher = context.targets.in_loop(self.teachers, examples, spec)
        validation = text.tokens(key, spec, "validation")
        if variant.from_teacher and context.stores_targets:
            store = self.target_store.open()
        if variant.from_teacher and self.activations.stored:
            folder, verifier = self.target_store.folder, context.workspace.verifier
            states = StoredStates(folder, self.activations.stored, verifier)
        return TrainingJob(
            task=context.task,
            loss=variant.loss,
            examples=examples,
            validation=validation,
            store=store,
            teacher=teacher,
            states=states,
            make_optimizer=_slower(context.optimizer, variant.lr_factor),
            schedule=context.schedule,
            settings=variant.settings,
            seed=context.seed,
            batch_key="trainer.batch_size",
            labels=text.corpus.labels,
            selection=selection,
        )

    def _adapter(self) -> AdapterWork | None:
        """What is trained of a student whose weights stay as they are."""
        student: Any = self.context.student
        if not student.adapter_fields():
            return None
        base = None if self.before or student.lora.save != "both" else student.path
        return AdapterWork(student.lora, base=base, seed=self.context.seed)

    def _examples(
        self, variant: StudentVariant, key: str, spec: str
    ) -> tuple[TokenTable, Selection | None]:
        """The training examples, and their positions in the store where the teacher reads more."""
        examples = self.text.examples(key, spec, transfer=variant.from_teacher)
        first = self.teachers.members[0]
        if variant.from_teacher and examples.word_index is not None and spec != first.source:
            return align(examples, first.examples())
        return examples, None

    def _start(self, variant: StudentVariant) -> tuple[Any, Any]:
        """The model before training, and its tokenizer.

        A later phase starts from the student of an earlier one. What is cut out of a teacher is cut
        once: student, control and those of other losses start from the same artifact.
        """
        context = self.context
        if variant.name == QUANTIZED:
            folder = str(self.obtain(self.student).path / MODEL)
            return self._make(PretrainedStudent(folder), "student", folder)
        if self.before and variant.name == "student":
            folder = str(self.before.obtain(self.before.student).path / MODEL)
            return self._make(PretrainedStudent(folder), "start", folder)
        if not self.initial:
            return self._make(context.student, *tokenizers.student_source(context))
        folder = str(self.obtain(self.initial).path / MODEL)
        saved = SavedModel(folder, "student", None, context.trust_remote_code)
        start = context.task.load(saved, self.text.corpus.labels)
        return start.model, start.tokenizer

    def _make(self, student: Student, key: str, spec: str) -> tuple[Any, Any]:
        """A student of new weights, pretrained ones, or those cut out of the first teacher."""
        context, text, teacher = self.context, self.text, self.teachers.members[0]
        return stage.make_student(
            student,
            context.task,
            text.corpus.labels,
            lambda: teacher.model,
            lambda: text.tokens(*teacher.reads, "train"),
            teacher.examples,
            folder=model_folder(
                spec,
                key=key,
                cache=context.workspace.assets,
                weights=student.weights_source is not None,
            ),
            tokenizer=text.tokenizer(*tokenizers.learning_source(context)),
            seed=context.seed,
            trust_remote_code=context.trust_remote_code,
        )


def _slower(make_optimizer: Callable[..., Any], factor: float) -> Callable[..., Any]:
    """The optimizer with its learning rates times `factor`."""
    if factor == 1.0:
        return make_optimizer

    def make(groups: list[dict[str, Any]]) -> Any:
        optimizer = make_optimizer(groups)
        for group in optimizer.param_groups:
            group["lr"] *= factor
        return optimizer

    return make
