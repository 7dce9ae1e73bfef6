"""The road of a run: every artifact by name, each found in the workspace or made there."""

from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from distillkit.artifacts import damage
from distillkit.artifacts.earlier import tell_earlier
from distillkit.artifacts.homes import expanded
from distillkit.artifacts.run_records import RunRecord
from distillkit.artifacts.workspace import Artifact, Workspace, fingerprint
from distillkit.config.build import build
from distillkit.console.progress import rank, working
from distillkit.console.wording import brief
from distillkit.data import Augmentation, Corpus, Data
from distillkit.data.folders import model_folder
from distillkit.data.sources import tokenizer_identity
from distillkit.errors import WorkspaceError
from distillkit.metrics import EvaluationSettings
from distillkit.models.saved import SavedEnsemble, SavedModel
from distillkit.pipeline import checks, codec_choice, inside, joint, model_checks, reading, roles
from distillkit.pipeline.roles import Role
from distillkit.pipeline.teachers import OneTeacher, TeacherEnsemble, taught_by
from distillkit.stages import corpus as corpora
from distillkit.stages import evaluation as evaluations
from distillkit.stages import student as students
from distillkit.stages.targets import PLAN
from distillkit.stages.teacher import PROBE
from distillkit.students import PretrainedStudent, ScratchStudent, Student
from distillkit.students.architectures import register_architectures
from distillkit.targets import OnlineTargets, StoredTargets, TargetStore, unfinished
from distillkit.targets.hidden_states import StoredStates
from distillkit.tasks import Task
from distillkit.tasks.shared_words import align
from distillkit.teachers import Teacher
from distillkit.token_table import TokenTable
from distillkit.training import checkpoint
from distillkit.training.learning import MODEL, TrainingJob
from distillkit.training.settings import TrainSettings
from distillkit.types import States

Row = tuple[SavedModel | SavedEnsemble, str]  # a model of the evaluation, and its fingerprint


class Road:
    """The artifacts of one run config. `makes` names the kinds that may be made, not only found.

    Of a run in phases each `phase` has a road, and its student starts from that of `before`.
    """

    def __init__(
        self,
        cfg: DictConfig,
        *,
        makes: tuple[str, ...],
        phase: str = "",
        before: "Road | None" = None,
    ) -> None:
        self.cfg, self.makes, self.phase, self.before = cfg, makes, phase, before
        self.workspace = Workspace(
            cfg.workspace.path,
            verify=cfg.workspace.verify,
            repair=cfg.workspace.repair,
            others=[kind for kind in COMMANDS if kind not in makes],
        )
        self.workspace.check_writable()
        self._unread: set[str] = set()  # sources of tokenizers that cannot read the text
        self.record = RunRecord(self.workspace.root, str(cfg.run_name))
        self.seed, self.trust = int(cfg.seed), bool(cfg.trust_remote_code)
        self.teacher: Teacher = build(cfg.teacher, key="teacher")
        self.student: Student = build(cfg.student, key="student")
        self.data: Data = build(cfg.data, key="data")
        self.augmentation: Augmentation = build(cfg.augmentation, key="augmentation")
        self.task: Task = build(cfg.task, key="task")
        self.trainer: TrainSettings = build(cfg.trainer, key="trainer")
        self.evaluation: EvaluationSettings = build(cfg.evaluation, key="evaluation")
        self.loss: Any = build(cfg.loss, key="loss")
        self.optimizer: Callable[..., Any] = build(cfg.optimizer, key="optimizer", partial=True)
        self.schedule: Any = build(cfg.scheduler, key="scheduler")
        chosen = build(cfg.targets, key="targets")
        self.targets: StoredTargets | OnlineTargets = checks.settled_targets(self, chosen)
        checks.check_optimizer(self)
        checks.check_fit(self)
        codec_choice.check_loss(self)
        checks.check_sources(self)
        register_architectures()  # late: transformers takes seconds to import
        model_checks.check_configs(self)

    # text

    @cached_property
    def labelled(self) -> Artifact:
        """The labelled splits."""
        return self.obtain(
            "data",
            corpora.labelled_inputs(self.data, self.task),
            lambda out: corpora.make_labelled(
                self.data, self.task, cache=self.workspace.assets, out=out
            ),
        )

    @cached_property
    def augmented(self) -> Artifact | None:
        """Copies of the training texts, if the run makes some."""
        if not self.augmentation.copies:
            return None
        return self.obtain(
            "augmented",
            self.augmented_inputs(),
            lambda out: corpora.make_augmented(
                self.augmentation,
                Corpus.open(self.labelled.path, None),
                cache=self.workspace.assets,
                out=out,
            ),
        )

    def augmented_inputs(self) -> dict[str, Any]:
        """What decides the copies of the training texts."""
        return corpora.augmented_inputs(self.augmentation, self.labelled.fingerprint)

    @property
    def has_transfer(self) -> bool:
        """Whether there is a transfer set."""
        return self.data.has_transfer or self.augmentation.copies > 0

    @cached_property
    def transfer(self) -> Artifact | None:
        """The transfer set, if the run has one: the data's unlabelled text, and the copies."""
        if not self.has_transfer:
            return None
        return self.obtain(
            "transfer",
            self.transfer_inputs(),
            lambda out: corpora.make_transfer(
                self.data,
                Corpus.open(self.labelled.path, None),
                cache=self.workspace.assets,
                out=out,
                augmented=self.augmented.path if self.augmented else None,
            ),
        )

    def transfer_inputs(self) -> dict[str, Any]:
        """What decides the transfer set."""
        copies = fingerprint(self.augmented_inputs()) if self.augmentation.copies else None
        return corpora.transfer_inputs(self.data, self.labelled.fingerprint, augmented=copies)

    @cached_property
    def corpus(self) -> Corpus:
        """The text, labels and transfer set, ready to be read."""
        return Corpus.open(self.labelled.path, self.transfer.path if self.transfer else None)

    def tokens(self, tokenizer_key: str, tokenizer_spec: str, name: str) -> TokenTable:
        """A split's token table under a tokenizer."""

        def make(out: Path) -> dict[str, Any]:
            tokenizer = reading.tokenizer(self, tokenizer_key, tokenizer_spec)
            source = f"{tokenizer_key} = {brief(tokenizer_spec, 80)}"
            return corpora.make_tokens(
                self.corpus,
                tokenizer,
                self.task,
                name=name,
                out=out,
                source=source,
                warned=self._unread,
            )

        decided = self.token_inputs(tokenizer_key, tokenizer_spec, name)
        path = self.obtain("tokens", decided, make).path
        with damage.reading(path):
            return TokenTable.open(path)

    def token_inputs(self, tokenizer_key: str, tokenizer_spec: str, name: str) -> dict[str, Any]:
        """What decides a split's token table."""
        texts = self.transfer if name == "transfer" else self.labelled
        assert texts is not None
        tokenizer = tokenizer_identity(tokenizer_spec, key=tokenizer_key)
        return corpora.token_inputs(texts.fingerprint, tokenizer, self.task, name)

    def examples(self, tokenizer_key: str, tokenizer_spec: str, *, transfer: bool) -> TokenTable:
        """The training examples: the labelled ones, then the transfer set's."""
        table = self.tokens(tokenizer_key, tokenizer_spec, "train")
        if transfer and self.transfer:
            table = table.joined(self.tokens(tokenizer_key, tokenizer_spec, "transfer"))
        return table

    # teacher and targets

    @cached_property
    def taught_by(self) -> OneTeacher | TeacherEnsemble:
        """The teacher, or the ensemble of teachers."""
        return taught_by(self)

    @property
    def teachers(self) -> tuple[OneTeacher, ...]:
        """All who are asked; a student takes tokenizer, embeddings or layers from the first."""
        return self.taught_by.members

    def teacher_inputs(self) -> dict[str, Any]:
        """What decides the teacher."""
        return self.taught_by.inputs()

    def origin(self) -> dict[str, Any]:
        """Whose answers about what: what a target store must match."""
        return self.taught_by.origin()

    @cached_property
    def store(self) -> Path:
        """The folder of the target store."""
        targets = self.targets
        assert isinstance(targets, StoredTargets), "an online teacher's answers are not kept"
        if targets.path:
            return expanded(targets.path).absolute()
        return self.taught_by.store(targets)

    def store_inputs(self) -> dict[str, Any]:
        """What decides the target store."""
        assert isinstance(self.targets, StoredTargets)
        return self.taught_by.store_inputs(self.targets)

    @cached_property
    def states(self) -> States:
        """The hidden states of the teacher that its store keeps, for a loss that looks at them."""
        if not self.keeps_targets or not self.loss.looks_inside:
            return States()
        return inside.bound(self).states

    @property
    def given_store(self) -> str | None:
        """The store that the config names, if it names one."""
        return self.targets.path if isinstance(self.targets, StoredTargets) else None

    @property
    def keeps_targets(self) -> bool:
        """Whether the student learns from a store, not from a teacher in its loop."""
        return bool(self.loss.needs_teacher) and isinstance(self.targets, StoredTargets)

    def open_store(self) -> TargetStore:
        """The target store, after checking whose it is and that no shard is damaged."""
        expected = self.origin() if self.given_store else None
        return TargetStore.open(self.store, expected=expected, verifier=self.workspace.verifier)

    # student and control

    @cached_property
    def student_role(self) -> Role:
        """The student, as the config says."""
        return roles.student(self)

    @cached_property
    def control_role(self) -> Role | None:
        """The same student on hard labels alone; None where the run has no control."""
        return roles.control(self)

    @cached_property
    def untrained_role(self) -> Role | None:
        """The student before training; None where it starts from nothing worth measuring."""
        return roles.untrained(self)

    def trained(self, role: Role) -> Artifact:
        """The trained student, or control; or the student before training."""

        decided = self.student_inputs(role)

        def make(out: Path) -> dict[str, Any]:
            if role.name == "untrained":
                made = self._made_student(self.student, *self.student_tokenizer())
                return students.keep_untrained(*made, self.task, out=out)
            recipe = self.recipe(role)
            model, tokenizer = self.new_student(role)
            label = f"{role.name}, {self.phase}" if self.phase else role.name
            with joint.training(self, "student", role.name, decided):
                return students.train_student(model, tokenizer, recipe, out=out, label=label)

        return self.obtain("student", decided, make, learns=role.name != "untrained")

    def recipe(self, role: Role) -> TrainingJob:
        """What a student or control learns from, and how."""
        key, spec = reading.source(self)
        reading.check_held_out(self)
        examples = self.examples(key, spec, transfer=role.from_teacher)
        selection = None
        first = self.teachers[0]
        if role.from_teacher and examples.words is not None and spec != first.source:
            examples, selection = align(examples, first.examples())
        teacher = None
        if role.from_teacher and isinstance(self.targets, OnlineTargets):
            teacher = self.taught_by.online(examples, spec, self.targets)
        return TrainingJob(
            task=self.task,
            loss=role.loss,
            examples=examples,
            validation=self.tokens(key, spec, "validation"),
            store=self.open_store() if role.from_teacher and self.keeps_targets else None,
            teacher=teacher,
            states=StoredStates(self.store, self.states, self.workspace.verifier)
            if role.from_teacher and self.states
            else None,
            make_optimizer=self.optimizer,
            schedule=self.schedule,
            settings=role.settings,
            seed=self.seed,
            batch_key="trainer.batch_size",
            labels=self.corpus.labels,
            selection=selection,
        )

    def new_student(self, role: Role) -> tuple[Any, Any]:
        """The student before training, and its tokenizer.

        A later phase starts from the student of an earlier one. What is cut out of a teacher is cut
        once: student, control and those of other losses start from the same artifact.
        """
        if self.before and role.name == "student":
            folder = str(self.before.trained(self.before.student_role).path / MODEL)
            return self._made_student(PretrainedStudent(folder), "start", folder)
        if not self.untrained_role:
            return self._made_student(self.student, *self.student_tokenizer())
        folder = str(self.trained(self.untrained_role).path / MODEL)
        start = self.task.load(SavedModel(folder, "student", None, self.trust), self.corpus.labels)
        return start.model, start.tokenizer

    def _made_student(self, student: Student, key: str, spec: str) -> tuple[Any, Any]:
        return students.make_student(
            student,
            self.task,
            self.corpus.labels,
            lambda: self.teachers[0].model,
            lambda: self.tokens(*self.teachers[0].reads, "train"),
            lambda: self.examples(*self.teachers[0].reads, transfer=True),
            folder=model_folder(
                spec,
                key=key,
                cache=self.workspace.assets,
                weights=isinstance(student, PretrainedStudent),
            ),
            tokenizer=reading.tokenizer(self, *reading.source(self)),
            seed=self.seed,
            trust_remote_code=self.trust,
        )

    def student_tokenizer(self) -> tuple[str, str]:
        """(setting, source) of the student's own tokenizer, whoever's it reads with."""
        if self.before:
            return self.before.student_tokenizer()
        if isinstance(self.student, PretrainedStudent):
            return "student.path", self.student.path
        if isinstance(self.student, ScratchStudent) and self.student.tokenizer:
            return "student.tokenizer", self.student.tokenizer
        return self.teacher.key, self.teacher.source

    def student_inputs(self, role: Role) -> dict[str, Any]:
        """What decides the student, its control, or the student before training."""
        return roles.inputs(self, role)

    # evaluation

    def evaluated(self, models: dict[str, Row]) -> Artifact:
        """The evaluation of these rows: name -> (model, its fingerprint)."""
        return self.obtain(
            "evaluation",
            self.evaluation_inputs({row: digest for row, (_, digest) in models.items()}),
            lambda out: evaluations.evaluate(
                {row: saved for row, (saved, _) in models.items()},
                self.task,
                self.corpus.labels,
                self.corpus.split("test"),
                settings=self.evaluation,
                out=out,
            ),
            resumable=True,
        )

    def evaluation_inputs(self, models: dict[str, str]) -> dict[str, Any]:
        """What decides the evaluation of these rows: name -> its model's fingerprint."""
        return evaluations.inputs(
            models,
            self.task,
            labelled=self.labelled.fingerprint,
            settings=asdict(self.evaluation),
        )

    def rows(self, *, student: SavedModel | None = None, digest: str = "") -> dict[str, Any]:
        """The rows of an evaluation: teacher, student, control, as far as they are there."""
        found: dict[str, Row] = {}
        asks = "teacher" in self.makes and self.loss.needs_teacher
        if asks or self.taught_by.is_there():
            found["teacher"] = (self.taught_by.saved, fingerprint(self.teacher_inputs()))
        if student:
            return found | {"student": (student, digest)}
        for role in (self.student_role, self.control_role, self.untrained_role):
            if role and (role.name == "student" or role.name in self.makes or self.find(role)):
                artifact = self.trained(role)
                saved = SavedModel(str(artifact.path / MODEL), "student", None, self.trust)
                found[role.name] = (saved, artifact.fingerprint)
        return found

    def find(self, role: Role) -> Artifact | None:
        """The trained student or control, if it is there."""
        return self.workspace.find("student", self.student_inputs(role))

    def find_teacher(self) -> Artifact | None:
        """The fitted teacher, if it is there; None of an ensemble, which has several."""
        return self.taught_by.find()

    # the workspace

    def obtain(
        self,
        kind: str,
        inputs: dict[str, Any],
        make: Callable[[Path], Any],
        *,
        resumable: bool = False,
        learns: bool = False,
    ) -> Artifact:
        """An artifact of the workspace, made there if this run may make its kind."""
        if rank():
            return joint.obtain(self, kind, inputs, make)
        found = self.workspace.find(kind, inputs)
        if found:
            self.record.note(found.name, made=False)
            return found
        if kind in COMMANDS and kind not in self.makes:
            command = f"`distillkit {COMMANDS[kind]}` with the same arguments makes it, and "
            if kind == "teacher" and not self.keeps_targets:
                command = ""  # nothing is generated from it
            raise WorkspaceError(
                f"{kind}: no {NAMES[kind]} of this config in {self.workspace.root}; {command}"
                "`distillkit train` makes all"
            )
        tell_earlier(self.workspace.root)
        self.record.note(f"{kind}-{fingerprint(inputs)}", made=True)
        with working(NOUNS.get(kind, kind)):
            return self.workspace.obtain(
                kind, inputs, make, resumable=resumable or learns, scratch=SCRATCH
            )


COMMANDS = dict.fromkeys(("teacher", "targets"), "generate-targets") | {"student": "train-student"}
SCRATCH = (*checkpoint.SCRATCH, PROBE, PLAN, unfinished.PATTERN)  # what a killed run goes on from
NOUNS = {"data": "reading the text", "transfer": "the transfer set", "augmented": "rewriting text"}
NAMES = {"teacher": "fitted teacher", "targets": "target store", "student": "trained student"}
