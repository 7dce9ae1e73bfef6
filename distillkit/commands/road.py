"""The road of a run: every artifact by name, each found in the workspace or made there."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from distillkit.artifacts import Artifact, Workspace, fingerprint
from distillkit.config.build import build
from distillkit.config.overrides import plain
from distillkit.data.corpus import Corpus, TextData
from distillkit.data.folders import model_folder
from distillkit.data.sources import LocalSource, identity, parse, tokenizer_identity
from distillkit.data.tokens import TokenTable
from distillkit.engine.loop import check_batch_size
from distillkit.engine.settings import TrainSettings
from distillkit.errors import ConfigError, TargetsError, WorkspaceError
from distillkit.losses import HardLabelLoss
from distillkit.metrics import EvaluationSettings
from distillkit.stages import corpus as corpora
from distillkit.stages import evaluation as evaluations
from distillkit.stages import student as students
from distillkit.stages import targets as stores
from distillkit.stages import teacher as teachers
from distillkit.stages.learning import MODEL, Recipe
from distillkit.students import PretrainedStudent, ScratchStudent, Student
from distillkit.targets import StoredTargets, TargetStore
from distillkit.tasks import Task
from distillkit.tasks.models import SavedModel, check_folder, load_tokenizer
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
        self.data: TextData = build(cfg.data, key="data")
        self.task: Task = build(cfg.task, key="task")
        self.targets: StoredTargets = build(cfg.targets, key="targets")
        self.trainer: TrainSettings = build(cfg.trainer, key="trainer")
        self.evaluation: EvaluationSettings = build(cfg.evaluation, key="evaluation")
        self.loss: Any = build(cfg.loss, key="loss")
        self.optimizer: Callable[..., Any] = build(cfg.optimizer, key="optimizer", partial=True)
        self.schedule: Any = build(cfg.scheduler, key="scheduler")
        self._check_fit()
        self._check_sources()

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
        texts = self.transfer if name == "transfer" else self.labelled
        assert texts is not None

        def make(out: Path) -> dict[str, Any]:
            folder = model_folder(tokenizer_spec, key=tokenizer_key, cache=self.workspace.assets)
            tokenizer = load_tokenizer(folder, key=tokenizer_key, trust_remote_code=self.trust)
            return corpora.make_tokens(
                self.corpus,
                tokenizer,
                transfer=name == "transfer",
                max_length=self.task.max_length,
                out=out,
            )

        decided = corpora.token_inputs(
            texts.fingerprint,
            tokenizer_identity(tokenizer_spec, key=tokenizer_key),
            self.task.max_length,
        )
        return corpora.open_tokens(self._obtain("tokens", decided, make).path, name)

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
            self._check_batches()
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

        return self._obtain("teacher", self._teacher_inputs(), make, learns=True)

    @cached_property
    def teacher_model(self) -> teachers.TeacherModel:
        """The teacher, fitted or ready, to be asked."""
        decided = self._teacher_inputs()
        if self.fitted_teacher:
            folder = str(self.fitted_teacher.path / MODEL)
        else:
            folder = model_folder(
                self.teacher.source, key=self.teacher.key, cache=self.workspace.assets
            )
        saved = SavedModel(folder, self.teacher.key, self.teacher.labels, self.trust)
        return teachers.TeacherModel(saved, {"fingerprint": fingerprint(decided), **decided})

    def _teacher_inputs(self) -> dict[str, Any]:
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
        decided = self._teacher_inputs()
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
            self._check_batches()
            return stores.generate_targets(
                self.teacher_model,
                self.task,
                self.corpus.labels,
                self.examples(self.teacher.key, self.teacher.source, transfer=True),
                settings=self.targets,
                origin=self.origin(),
                out=out,
            )

        decided = stores.inputs(self.targets, self.origin(), self.task)
        return self._obtain("targets", decided, make, resumable=True).path

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
        counts = self.labelled.facts()["counts"]
        labelled, every = counts["train"], counts["train"]
        if self.transfer:
            every += self.transfer.facts()["counts"]["transfer"]
        steps = self.trainer.length(-(-every // self.trainer.batch_size))
        settings = replace(
            self.trainer,
            steps=steps,
            epochs=None,
            batch_size=min(self.trainer.batch_size, labelled),
            keep="best",
        )
        node = {"_target_": "distillkit.losses.HardLabelLoss"}
        return Role("control", HardLabelLoss(), node, False, settings)

    def trained(self, role: Role) -> Artifact:
        """The trained student, or control."""

        def make(out: Path) -> dict[str, Any]:
            recipe = self.recipe(role)
            model, tokenizer = self.new_student()
            return students.train_student(model, tokenizer, recipe, out=out, label=role.name)

        return self._obtain("student", self._student_inputs(role), make, learns=True)

    def recipe(self, role: Role) -> Recipe:
        """What a student or control learns from, and how."""
        store = self.open_store() if role.from_teacher else None
        key, spec = self._student_tokenizer()
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
        """The student before training, and its tokenizer."""
        key, spec = self._student_tokenizer()
        return students.make_student(
            self.student,
            self.task,
            self.corpus.labels,
            lambda: self.teacher_model,
            folder=model_folder(spec, key=key, cache=self.workspace.assets),
            seed=self.seed,
            trust_remote_code=self.trust,
        )

    def _student_tokenizer(self) -> tuple[str, str]:
        if isinstance(self.student, PretrainedStudent):
            return "student.path", self.student.path
        if self.student.tokenizer:
            return "student.tokenizer", self.student.tokenizer
        return self.teacher.key, self.teacher.source

    def _student_inputs(self, role: Role) -> dict[str, Any]:
        key, spec = self._student_tokenizer()
        data = [self.labelled.fingerprint]
        if role.from_teacher and self.transfer:
            data.append(self.transfer.fingerprint)
        targets = None
        if role.from_teacher:
            targets = (
                fingerprint(self.origin())
                if self.targets.path
                else fingerprint(stores.inputs(self.targets, self.origin(), self.task))
            )
        is_pretrained = isinstance(self.student, PretrainedStudent)
        return students.inputs(
            self.student,
            self.task,
            source=identity(spec, key=key) if is_pretrained else "new weights",
            tokenizer=tokenizer_identity(spec, key=key),
            teacher=fingerprint(self._teacher_inputs()),
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
        decided = evaluations.inputs(
            {row: digest for row, (_, digest) in models.items()},
            self.task,
            labelled=self.labelled.fingerprint,
            settings=asdict(self.evaluation),
        )
        return self._obtain(
            "evaluation",
            decided,
            lambda out: evaluations.evaluate(
                {row: saved for row, (saved, _) in models.items()},
                self.task,
                self.corpus.labels,
                self.corpus.split("test"),
                settings=self.evaluation,
                out=out,
            ),
        )

    def rows(self, *, student: SavedModel | None = None, digest: str = "") -> dict[str, Any]:
        """The rows of an evaluation: teacher, student, control, as far as they are there."""
        found: dict[str, tuple[SavedModel, str]] = {}
        if self.teacher.path or "teacher" in self.makes or self.find_teacher():
            model = self.teacher_model
            found["teacher"] = (model.saved, model.origin["fingerprint"])
        if student:
            return found | {"student": (student, digest)}
        for role in (self.student_role, self.control_role):
            if role and (role.name == "student" or role.name in self.makes or self.find(role)):
                artifact = self.trained(role)
                saved = SavedModel(str(artifact.path / MODEL), "student", None, self.trust)
                found[role.name] = (saved, artifact.fingerprint)
        return found

    def find(self, role: Role) -> Artifact | None:
        """The trained student or control, if it is there."""
        return self.workspace.find("student", self._student_inputs(role))

    def find_teacher(self) -> Artifact | None:
        """The fitted teacher, if it is there."""
        return self.workspace.find("teacher", self._teacher_inputs())

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

    def _check_fit(self) -> None:
        """What the groups show of each other, before any work."""
        if isinstance(self.loss, HardLabelLoss) and self.targets.path:
            raise ConfigError("targets.path: set, but loss=hard_labels looks at no soft targets")
        if not self.task.is_classification and hasattr(self.loss, "temperature"):
            raise ConfigError(
                f"loss = {type(self.loss).__name__}: a softmax over one real-valued output is "
                "constant; regression takes loss=logit_mse"
            )
        if "student" in self.makes and isinstance(self.student, ScratchStudent):
            self.student.check_is_new()
        if self.targets.path and not Path(self.targets.path).expanduser().is_dir():
            raise TargetsError(f"targets.path = {self.targets.path}: no such folder")

    def _check_sources(self) -> None:
        """Local files and folders that are not there, or cannot be models, before any work."""
        for role in ("train", "validation", "test", "transfer"):
            spec = getattr(self.data, role)
            if spec:
                parse(spec, key=f"data.{role}")
        models = {self.teacher.key: self.teacher.source}
        if isinstance(self.student, PretrainedStudent):
            models["student.path"] = self.student.path
        for key, spec in models.items():
            source = parse(spec, key=key)
            if isinstance(source, LocalSource):
                check_folder(str(source.path), key=key)

    def _check_batches(self) -> None:
        """Batches that the data cannot fill, before the teacher is fitted or asked."""
        examples = self.labelled.facts()["counts"]["train"]
        if not self.teacher.path:
            check_batch_size(self.teacher.batch_size, examples, key="teacher.batch_size")
        if self.transfer:
            examples += self.transfer.facts()["counts"]["transfer"]
        if "student" in self.makes:
            check_batch_size(self.trainer.batch_size, examples, key="trainer.batch_size")


COMMANDS = {
    "teacher": "generate-targets",
    "targets": "generate-targets",
    "student": "train-student",
}
NAMES = {"teacher": "fitted teacher", "targets": "target store", "student": "trained student"}
