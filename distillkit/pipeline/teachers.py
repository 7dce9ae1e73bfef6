"""The teacher of a run and its target store; or several, whose probabilities are averaged."""

from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.data.folders import model_folder
from distillkit.data.sources import identity, tokenizer_identity
from distillkit.errors import DataError, ModelError
from distillkit.models.precision import Precision
from distillkit.models.saved import SavedEnsemble, SavedModel
from distillkit.models.vocabularies import check_same_tokens
from distillkit.pipeline import checks, joint, tokenizers
from distillkit.pipeline.activations import LayerComparison
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.obtain import obtain
from distillkit.pipeline.text import TextArtifacts
from distillkit.stages import targets as stores
from distillkit.stages import teacher as teachers
from distillkit.stages.target_work import TargetHelp, TargetWork
from distillkit.targets import Dense, LastHidden, OnlineTargets, StoredTargets, TargetStore
from distillkit.targets.average import average_origin
from distillkit.teachers import Teacher
from distillkit.token_table import TokenTable
from distillkit.training.distributed import compute_device
from distillkit.training.learning import MODEL
from distillkit.training.online_teacher import OnlineEnsemble, OnlineTeacher, open_teacher


class TeacherArtifacts:
    """A teacher, ready or to be fitted, and its target store.

    `number` is its place among the run's teachers, from 0.
    """

    def __init__(
        self,
        context: RunContext,
        text: TextArtifacts,
        activations: LayerComparison,
        teacher: Teacher,
        number: int = 0,
    ) -> None:
        self.context, self.text, self.activations = context, text, activations
        self.teacher, self.number = teacher, number
        self.key, self.source = teacher.key, teacher.source
        self.seed = context.seed if teacher.seed is None else teacher.seed

    @cached_property
    def fitted(self) -> Artifact | None:
        """The fitted teacher; None where a ready one is taken."""
        if self.teacher.is_ready:
            return None
        context, text, fields = self.context, self.text, self.fingerprint_fields()

        def make(out: Path) -> dict[str, Any]:
            checks.check_batches(context, text)
            train, validation = (
                text.tokens(*self.reads, split) for split in ("train", "validation")
            )
            labels, folder = text.corpus.labels, self._folder
            with joint.training(context, "teacher", str(self.number), fields):
                return teachers.fit_teacher(
                    self.teacher,
                    context.task,
                    labels,
                    train,
                    validation,
                    folder=folder,
                    seed=self.seed,
                    checkpoint_seconds=context.trainer.checkpoint_seconds,
                    trust_remote_code=context.trust_remote_code,
                    out=out,
                )

        return obtain(context, "teacher", fields, make, learns=True)

    @cached_property
    def model(self) -> teachers.TeacherModel:
        """The teacher, fitted or ready, with what identifies it."""
        folder = str(self.fitted.path / MODEL) if self.fitted else self._folder
        teacher, fields = self.teacher, self.fingerprint_fields()
        saved = SavedModel(
            folder,
            self.key,
            teacher.labels,
            self.context.trust_remote_code,
            teacher.options,
            teacher.load,
        )
        return teachers.TeacherModel(saved, {"fingerprint": fingerprint(fields), **fields})

    @property
    def members(self) -> "tuple[TeacherArtifacts, ...]":
        """All teachers of the run: this one."""
        return (self,)

    @property
    def saved(self) -> SavedModel:
        """The model, for an evaluation."""
        return self.model.saved

    @property
    def precision(self) -> Precision:
        """The number format of its forward pass: of its fit, or of its targets if it is ready."""
        return self.context.targets.precision if self.teacher.is_ready else teachers.PRECISION

    def fingerprint_fields(self) -> dict[str, Any]:
        """All that decides the teacher's weights."""
        source = identity(self.source, key=self.key)
        if self.teacher.is_ready:
            return teachers.ready_fields(self.teacher, source=source)
        return teachers.fitted_fields(
            self.teacher,
            self.context.task,
            body=source,
            labelled=self.text.labelled.fingerprint,
            seed=self.seed,
        )

    def origin(self) -> dict[str, Any]:
        """Identity of teacher, tokenizer and data; a target store must match it."""
        fields = self.fingerprint_fields()
        key, spec = self.reads
        tokenizer = tokenizer_identity(spec, key=key)
        texts = {"labelled": self.text.labelled.manifest()["inputs"]}
        if self.text.transfer:
            texts["transfer"] = self.text.transfer.manifest()["inputs"]
        return {
            "teacher": {"fingerprint": fingerprint(fields), **fields},
            "tokenizer": {"fingerprint": fingerprint({"source": tokenizer}), "source": tokenizer},
            "data": {"fingerprint": fingerprint(texts), **texts},
        }

    def store_fields(self, settings: StoredTargets) -> dict[str, Any]:
        """The fingerprint fields of its target store."""
        return stores.fingerprint_fields(
            settings, self.origin(), self.context.task, self.activations.stored
        )

    def store(self, settings: StoredTargets) -> Path:
        """The folder of its target store, made as `settings` say where it is not there."""
        context, text = self.context, self.text
        fields = self.store_fields(settings)

        def make(out: Path) -> dict[str, Any]:
            checks.check_batches(context, text)
            text.check_held_out()
            settings.codec.check(context.task.width(self.tokenizer(), text.corpus.labels))
            work = self._work(settings)
            with joint.capture(context, self.number, fields):
                return stores.generate_targets(work, out=out)

        help_others = TargetHelp(lambda: self._work(settings))
        return obtain(context, "targets", fields, make, resumable=True, take_part=help_others).path

    def _work(self, settings: StoredTargets) -> TargetWork:
        """The work of its store, once all that it needs is there."""
        return TargetWork(
            self.model,
            self.context.task,
            self.text.corpus.labels,
            self.examples(),
            settings,
            self.origin(),
            self.activations.stored,
        )

    def member_settings(self, settings: StoredTargets) -> StoredTargets:
        """The settings of its store."""
        return settings

    def member_store_fields(self, settings: StoredTargets) -> list[dict[str, Any]]:
        """There is one store, and none of members."""
        return []

    def online(self, student: TokenTable, spec: str, settings: OnlineTargets) -> OnlineTeacher:
        """The teacher in the student's training loop.

        `student` are the examples as the student reads them, under the tokenizer of `spec`.
        """
        loaded = self.model.load(self.context.task, self.text.corpus.labels)
        task, may_move = self.context.task, self.model.may_move
        examples = self.examples() if spec != self.reads[1] else None
        return open_teacher(loaded, task, student, examples, settings, may_move=may_move)

    @property
    def reads(self) -> tuple[str, str]:
        """(setting, source) of the tokenizer that it reads with, one for all if need be."""
        if self.context.task.one_tokenizer and self.context.loss.needs_teacher:
            return tokenizers.learning_source(self.context)
        return self.key, self.source

    def examples(self) -> TokenTable:
        """All the examples that its targets are for, under its tokenizer."""
        return self.text.examples(*self.reads, transfer=True)

    def tokenizer(self) -> Any:
        """Its own tokenizer, as it was saved."""
        return tokenizers.load(self.context, self.key, self.source)

    def is_there(self) -> bool:
        """Whether it is ready, or fitted already."""
        return self.teacher.is_ready or self.find() is not None

    def find(self) -> Artifact | None:
        """The fitted teacher, if it is there."""
        try:
            return self.context.workspace.find("teacher", self.fingerprint_fields())
        except DataError:  # a body that is not there is an error where it is needed
            return None

    @property
    def _folder(self) -> str:
        return model_folder(self.source, key=self.key, cache=self.context.workspace.assets)


class EnsembleArtifacts:
    """Several teachers; each one's targets are a store of its own, which another run may share."""

    def __init__(self, context: RunContext, members: tuple[TeacherArtifacts, ...]) -> None:
        self.context, self.members = context, members
        self.weights = context.teacher.shares  # of each member's probabilities; they sum to 1

    @property
    def saved(self) -> SavedEnsemble:
        """All of them, for an evaluation."""
        return SavedEnsemble(tuple(member.saved for member in self.members), self.weights)

    @property
    def precision(self) -> Precision:
        """The number format of its members' answers."""
        return self.context.targets.precision

    def fingerprint_fields(self) -> dict[str, Any]:
        """The ensemble's members and their weights, as a merged store names them."""
        record = self.origin()["teacher"]
        return {name: value for name, value in record.items() if name != "fingerprint"}

    def origin(self) -> dict[str, Any]:
        """Identity of teachers, tokenizer and data; a target store must match it."""
        return average_origin([member.origin() for member in self.members], self.weights)

    def store_fields(self, settings: StoredTargets) -> dict[str, Any]:
        """The fingerprint fields of the store of the average."""
        codec = self.member_settings(settings).codec.settings()
        return stores.fingerprint_fields(settings, self.origin(), self.context.task) | {
            "averaged_from": codec
        }

    def member_store_fields(self, settings: StoredTargets) -> list[dict[str, Any]]:
        """The fingerprint fields of each member's store."""
        settings_of_each = self.member_settings(settings)
        return [member.store_fields(settings_of_each) for member in self.members]

    def store(self, settings: StoredTargets) -> Path:
        """The folder of the average; one member at a time is in memory for it."""
        settings_of_each = self.member_settings(settings)

        def make(out: Path) -> dict[str, Any]:
            self._check_tokenizers()
            folders = [member.store(settings_of_each) for member in self.members]
            verifier = self.context.workspace.verifier
            return stores.average_targets(
                [TargetStore.open(folder, verifier=verifier) for folder in folders],
                self.weights,
                settings=settings,
                device=compute_device(),
                out=out,
            )

        @cache
        def take_part(out: Path) -> bool:
            for member in self.members:  # each store is filled together
                member.store(settings_of_each)
            return True

        fields = self.store_fields(settings)
        return obtain(self.context, "targets", fields, make, take_part=take_part).path

    def online(self, student: TokenTable, spec: str, settings: OnlineTargets) -> OnlineEnsemble:
        """All of them, in turn, in the student's training loop."""
        self._check_tokenizers()
        opened = tuple(member.online(student, spec, settings) for member in self.members)
        return OnlineEnsemble(opened, self.weights, self.context.task.distribution)

    def is_there(self) -> bool:
        """Whether all are ready, or fitted already."""
        return all(member.is_there() for member in self.members)

    def find(self) -> None:
        """There is no one fitted teacher."""

    def member_settings(self, settings: StoredTargets) -> StoredTargets:
        """The settings of each member's store: all logits, since only these can be averaged."""
        if settings.codec.keeps_all:
            return settings
        codec = LastHidden() if self.context.task.family == "language" else Dense()
        return replace(settings, codec=codec)

    def _check_tokenizers(self) -> None:
        """Raise `ModelError` where ids do not mean the same to all members, and must."""
        first, *later = self.members
        if not self.context.task.one_tokenizer:
            self._check_words(first, later)
            return
        for member in later:
            check_same_tokens(
                first.tokenizer(), member.tokenizer(), key=f"{member.key} = {member.source}"
            )

    def _check_words(self, first: TeacherArtifacts, later: list[TeacherArtifacts]) -> None:
        """Raise `ModelError` where a member's tokenizer drops other words than the first one's."""
        for member in later:
            if member.source == first.source:
                continue
            words, others_words = first.examples().word_index, member.examples().word_index
            if words is None or others_words is None:
                continue
            if not np.array_equal(words, others_words):
                raise ModelError(
                    f"{member.key} = {member.source}: its tokenizer drops or cuts other words than "
                    f"that of {first.source}, and answers about other words cannot be averaged; "
                    "raise task.max_length, or choose teachers with one tokenizer"
                )


def teacher_artifacts(
    context: RunContext, text: TextArtifacts, activations: LayerComparison
) -> TeacherArtifacts | EnsembleArtifacts:
    """The teacher of a run, or the ensemble of its teachers."""
    members = tuple(
        TeacherArtifacts(context, text, activations, teacher, number)
        for number, teacher in enumerate(context.teacher.members)
    )
    return EnsembleArtifacts(context, members) if len(members) > 1 else members[0]
