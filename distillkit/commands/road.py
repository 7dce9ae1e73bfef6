"""The road of a run: every artifact by name, each found in the workspace or made there."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from distillkit.artifacts import Artifact, Workspace, fingerprint
from distillkit.commands import checks
from distillkit.config.build import build
from distillkit.config.overrides import plain
from distillkit.data import Corpus, Data
from distillkit.data.folders import model_folder
from distillkit.data.sources import identity, tokenizer_identity
from distillkit.engine.settings import TrainSettings
from distillkit.errors import WorkspaceError
from distillkit.examples import TokenTable
from distillkit.losses import HardLabelLoss
from distillkit.metrics import EvaluationSettings
from distillkit.stages import corpus as corpora
from distillkit.stages import evaluation as evaluations
from distillkit.stages import student as students
from distillkit.stages import targets as stores
from distillkit.stages import teacher as teachers
from distillkit.stages.learning import MODEL, Recipe
from distillkit.students import FromTeacher, PretrainedStudent, ScratchStudent, Student
from distillkit.targets import StoredTargets, StoreManifest, TargetStore
from distillkit.tasks import SavedModel, Task
from distillkit.tasks.vocabularies import check_same_tokenizer
from distillkit.teachers import LocalTeacher


@dataclass(frozen=True, slots=True)
class Role:
    """Whose training is meant: the student's, or its control's on hard labels alone."""

    name: str
    loss: Any
    node: dict[str, Any]
    from_teacher: bool
    settings: TrainSettings


class Road:
    """The artifacts of one run config. `makes` names the kinds that may be made, not only found."""

    def __init__(self, cfg: DictConfig, *, makes: tuple[str, ...]) -> None:
        self.cfg, self.makes = cfg, makes
        self.workspace = Workspace(cfg.workspace)
        self.workspace.check_writable()
        self.seed, self.trust = int(cfg.seed), bool(cfg.trust_remote_code)
        self.teacher: LocalTeacher = build(cfg.teacher, key="teacher")
        self.student: Student = build(cfg.student, key="student")
        self.data: Data = build(cfg.data, key="data")
        self.task: Task = build(cfg.task, key="task")
        self.targets: StoredTargets = build(cfg.targets, key="targets")
        self.trainer: TrainSettings = build(cfg.trainer, key="trainer")
        self.evaluation: EvaluationSettings = build(cfg.evaluation, key="evaluation")
        self.loss: Any = build(cfg.loss, key="loss")
        self.optimizer: Callable[..., Any] = build(cfg.optimizer, key="optimizer", partial=True)
        self.schedule: Any = build(cfg.scheduler, key="scheduler")
        checks.check_fit(self)
        checks.check_loss(self)
        checks.check_sources(self)

    # text

    @cached_property
    def labelled(self) -> Artifact:
        """The labelled splits."""
        return self._obtain(
            "data",
            corpora.labelled_inputs(self.data, self.task),
            lambda out: corpora.make_labelled(
                self.data, self.task, cache=self.workspace.assets, out=out
            ),
        )

    @cached_property
    def transfer(self) -> Artifact | None:
        """The transfer set, if the run has one."""
        if not self.data.has_transfer:
            return None
        return self._obtain(
            "transfer",
            corpora.transfer_inputs(self.data, self.labelled.fingerprint),
            lambda out: corpora.make_transfer(
                self.data,
                Corpus.open(self.labelled.path, None),
                cache=self.workspace.assets,
                out=out,
            ),
        )

    @cached_property
    def corpus(self) -> Corpus:
        """The text, labels and transfer set, ready to be read."""
        return Corpus.open(self.labelled.path, self.transfer.path if self.transfer else None)

    def tokens(self, tokenizer_key: str, tokenizer_spec: str, name: str) -> TokenTable:
        """A split's token table under a tokenizer."""

        def make(out: Path) -> dict[str, Any]:
            folder = model_folder(tokenizer_spec, key=tokenizer_key, cache=self.workspace.assets)
            tokenizer = self.task.load_tokenizer(
                folder, key=tokenizer_key, trust_remote_code=self.trust
            )
            return corpora.make_tokens(self.corpus, tokenizer, self.task, name=name, out=out)

        decided = self.token_inputs(tokenizer_key, tokenizer_spec, name)
        return TokenTable.open(self._obtain("tokens", decided, make).path)

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
    def fitted_teacher(self) -> Artifact | None:
        """The fitted teacher; None where a ready one is taken."""
        if self.teacher.path:
            return None
        key, source = self.teacher.key, self.teacher.source

        def make(out: Path) -> dict[str, Any]:
            checks.check_batches(self)
            return teachers.fit_teacher(
                self.teacher,
                self.task,
                self.corpus.labels,
                self.tokens(key, source, "train"),
                self.tokens(key, source, "validation"),
                folder=model_folder(source, key=key, cache=self.workspace.assets),
                seed=self.seed,
                checkpoint_seconds=self.trainer.checkpoint_seconds,
                trust_remote_code=self.trust,
                out=out,
            )

        return self._obtain("teacher", self.teacher_inputs(), make, learns=True)

    @cached_property
    def teacher_model(self) -> teachers.TeacherModel:
        """The teacher, fitted or ready, to be asked."""
        decided = self.teacher_inputs()
        if self.fitted_teacher:
            folder = str(self.fitted_teacher.path / MODEL)
        else:
            folder = model_folder(
                self.teacher.source, key=self.teacher.key, cache=self.workspace.assets
            )
        options = self.teacher.options
        saved = SavedModel(folder, self.teacher.key, self.teacher.labels, self.trust, options)
        return teachers.TeacherModel(saved, {"fingerprint": fingerprint(decided), **decided})

    def teacher_inputs(self) -> dict[str, Any]:
        """What decides the teacher."""
        source = identity(self.teacher.source, key=self.teacher.key)
        if self.teacher.path:
            return teachers.ready_inputs(self.teacher, source=source)
        return teachers.fitted_inputs(
            self.teacher,
            self.task,
            body=source,
            labelled=self.labelled.fingerprint,
            seed=self.seed,
        )

    def origin(self) -> dict[str, Any]:
        """Whose answers about what: what a target store must match."""
        decided = self.teacher_inputs()
        tokenizer = tokenizer_identity(self.teacher.source, key=self.teacher.key)
        texts = {"labelled": self.labelled.manifest()["inputs"]}
        if self.transfer:
            texts["transfer"] = self.transfer.manifest()["inputs"]
        return {
            "teacher": {"fingerprint": fingerprint(decided), **decided},
            "tokenizer": {"fingerprint": fingerprint({"source": tokenizer}), "source": tokenizer},
            "data": {"fingerprint": fingerprint(texts), **texts},
        }

    @cached_property
    def store(self) -> Path:
        """The folder of the target store."""
        if self.targets.path:
            return Path(self.targets.path).expanduser().absolute()

        def make(out: Path) -> dict[str, Any]:
            checks.check_batches(self)
            self.targets.codec.check(self.task.width(self._teacher_tokenizer(), self.corpus.labels))
            return stores.generate_targets(
                self.teacher_model,
                self.task,
                self.corpus.labels,
                self.examples(self.teacher.key, self.teacher.source, transfer=True),
                settings=self.targets,
                origin=self.origin(),
                out=out,
            )

        return self._obtain("targets", self.store_inputs(), make, resumable=True).path

    def store_inputs(self) -> dict[str, Any]:
        """What decides the target store."""
        return stores.inputs(self.targets, self.origin(), self.task)

    def _teacher_tokenizer(self) -> Any:
        key, spec = self.teacher.key, self.teacher.source
        folder = model_folder(spec, key=key, cache=self.workspace.assets)
        return self.task.load_tokenizer(folder, key=key, trust_remote_code=self.trust)

    def open_store(self) -> TargetStore:
        """The target store, after checking whose it is and that no shard is damaged."""
        expected = self.origin() if self.targets.path else None
        return TargetStore.open(self.store, expected=expected)

    # student and control

    @cached_property
    def student_role(self) -> Role:
        """The student, as the config says."""
        node = plain(self.cfg.loss)
        return Role("student", self.loss, node, bool(self.loss.needs_teacher), self.trainer)

    @cached_property
    def control_role(self) -> Role | None:
        """The same student and steps over the labelled text alone, hard labels only.

        It always keeps its best weights by validation: over so many epochs of the labelled text
        the last ones are overfitted, and a control that is held down proves nothing.
        """
        if not self.cfg.control or not self.student_role.from_teacher:
            return None
        settings = replace(self.trainer, keep="best")
        if self.transfer:
            labelled = self.labelled.facts()["counts"]["train"]
            every = labelled + self.transfer.facts()["counts"]["transfer"]
            steps = self.trainer.length(-(-every // self.trainer.batch_size))
            batch_size = min(self.trainer.batch_size, labelled)
            settings = replace(settings, steps=steps, epochs=None, batch_size=batch_size)
        node = {"_target_": "distillkit.losses.HardLabelLoss"}
        return Role("control", HardLabelLoss(), node, False, settings)

    @cached_property
    def untrained_role(self) -> Role | None:
        """The student as it was cut out of its teacher: what training had to mend."""
        if not isinstance(self.student, FromTeacher):
            return None
        return Role("untrained", None, {"untrained": True}, False, self.trainer)

    def trained(self, role: Role) -> Artifact:
        """The trained student, or control; or the student before training."""

        def make(out: Path) -> dict[str, Any]:
            if role.name == "untrained":
                return students.keep_untrained(*self._made_student(), self.task, out=out)
            recipe = self.recipe(role)
            model, tokenizer = self.new_student()
            return students.train_student(model, tokenizer, recipe, out=out, label=role.name)

        learns = role.name != "untrained"  # of several processes one cuts, the others wait for it
        return self._obtain("student", self.student_inputs(role), make, learns=learns)

    def recipe(self, role: Role) -> Recipe:
        """What a student or control learns from, and how."""
        key, spec = self.student_tokenizer()
        if role.from_teacher and self.task.family == "language" and spec != self.teacher.source:
            folder = model_folder(spec, key=key, cache=self.workspace.assets)
            ours = self.task.load_tokenizer(folder, key=key, trust_remote_code=self.trust)
            check_same_tokenizer(ours, self._teacher_tokenizer(), key=f"{key} = {spec}")
        store = self.open_store() if role.from_teacher else None
        return Recipe(
            task=self.task,
            loss=role.loss,
            examples=self.examples(key, spec, transfer=role.from_teacher),
            validation=self.tokens(key, spec, "validation"),
            store=store,
            make_optimizer=self.optimizer,
            schedule=self.schedule,
            settings=role.settings,
            seed=self.seed,
            batch_key="trainer.batch_size",
        )

    def new_student(self) -> tuple[Any, Any]:
        """The student before training, and its tokenizer.

        What is cut out of a teacher is cut once: student, control and those of other losses start
        from the same artifact.
        """
        if not self.untrained_role:
            return self._made_student()
        folder = str(self.trained(self.untrained_role).path / MODEL)
        start = self.task.load(SavedModel(folder, "student", None, self.trust), self.corpus.labels)
        return start.model, start.tokenizer

    def _made_student(self) -> tuple[Any, Any]:
        key, spec = self.student_tokenizer()
        return students.make_student(
            self.student,
            self.task,
            self.corpus.labels,
            lambda: self.teacher_model,
            lambda: self.tokens(self.teacher.key, self.teacher.source, "train"),
            folder=model_folder(spec, key=key, cache=self.workspace.assets),
            seed=self.seed,
            trust_remote_code=self.trust,
        )

    def student_tokenizer(self) -> tuple[str, str]:
        """(setting, source) of the student's tokenizer."""
        if isinstance(self.student, PretrainedStudent):
            return "student.path", self.student.path
        if isinstance(self.student, ScratchStudent) and self.student.tokenizer:
            return "student.tokenizer", self.student.tokenizer
        return self.teacher.key, self.teacher.source

    def student_inputs(self, role: Role) -> dict[str, Any]:
        """What decides the student, its control, or the student before training."""
        key, spec = self.student_tokenizer()
        data = [self.labelled.fingerprint]
        if role.from_teacher and self.transfer:
            data.append(self.transfer.fingerprint)
        targets = None
        if role.from_teacher:
            targets = fingerprint(self.store_inputs())
            if self.targets.path:
                given = StoreManifest.open(self.store).fingerprint
                targets = fingerprint({"run": self.origin(), "store": given})
        is_pretrained = isinstance(self.student, PretrainedStudent)
        if role.name == "untrained":
            # nothing of the training decides it
            return students.start_inputs(
                self.student,
                self.task,
                teacher=fingerprint(self.teacher_inputs()),
                data=data,
                seed=self.seed,
            )
        return students.inputs(
            self.student,
            self.task,
            source=identity(spec, key=key) if is_pretrained else "new weights",
            tokenizer=tokenizer_identity(spec, key=key),
            teacher=fingerprint(self.teacher_inputs()),
            targets=targets,
            data=data,
            loss=role.node,
            optimizer=plain(self.cfg.optimizer),
            scheduler=plain(self.cfg.scheduler),
            settings=role.settings,
            seed=self.seed,
        )

    # evaluation

    def evaluated(self, models: dict[str, tuple[SavedModel, str]]) -> Artifact:
        """The evaluation of these rows: name -> (model, its fingerprint)."""
        return self._obtain(
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
        found: dict[str, tuple[SavedModel, str]] = {}
        if self.teacher.path or "teacher" in self.makes or self.find_teacher():
            model = self.teacher_model
            found["teacher"] = (model.saved, model.origin["fingerprint"])
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
        """The fitted teacher, if it is there."""
        return self.workspace.find("teacher", self.teacher_inputs())

    # the workspace

    def _obtain(
        self,
        kind: str,
        inputs: dict[str, Any],
        make: Callable[[Path], Any],
        *,
        resumable: bool = False,
        learns: bool = False,
    ) -> Artifact:
        found = self.workspace.find(kind, inputs)
        if found:
            return found
        if kind in COMMANDS and kind not in self.makes:
            command = f"distillkit {COMMANDS[kind]}"
            raise WorkspaceError(
                f"{kind}: no {NAMES[kind]} of this config in {self.workspace.root}; `{command}` "
                "with the same arguments makes it, and `distillkit train` makes all"
            )
        return self.workspace.obtain(
            kind, inputs, make, resumable=resumable or learns, collective=learns
        )


COMMANDS = {
    "teacher": "generate-targets",
    "targets": "generate-targets",
    "student": "train-student",
}
NAMES = {"teacher": "fitted teacher", "targets": "target store", "student": "trained student"}
