"""Who teaches in a run, and what was said: one teacher, or several whose answers are averaged."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.data.folders import model_folder
from distillkit.data.sources import identity, tokenizer_identity
from distillkit.errors import DataError, ModelError
from distillkit.models.precision import Precision
from distillkit.models.saved import SavedEnsemble, SavedModel
from distillkit.models.vocabularies import check_same_tokens
from distillkit.pipeline import checks, joint, reading
from distillkit.stages import targets as stores
from distillkit.stages import teacher as teachers
from distillkit.targets import Dense, LastHidden, OnlineTargets, StoredTargets, TargetStore
from distillkit.targets.average import average_origin
from distillkit.teachers import LocalTeacher
from distillkit.token_table import TokenTable
from distillkit.training.distributed import compute_device
from distillkit.training.learning import MODEL
from distillkit.training.online_teacher import OnlineEnsemble, OnlineTeacher, open_teacher

if TYPE_CHECKING:
    from distillkit.pipeline.road import Road


class OneTeacher:
    """A teacher, ready or to be fitted, and its store of answers."""

    def __init__(self, road: "Road", teacher: LocalTeacher, number: int = 0) -> None:
        self.road, self.teacher, self.number = road, teacher, number
        self.key, self.source = teacher.key, teacher.source
        self.seed = road.seed if teacher.seed is None else teacher.seed

    @cached_property
    def fitted(self) -> Artifact | None:
        """The fitted teacher; None where a ready one is taken."""
        if self.teacher.is_ready:
            return None
        road, decided = self.road, self.inputs()

        def make(out: Path) -> dict[str, Any]:
            checks.check_batches(road)
            train, validation = (road.tokens(*self.reads, it) for it in ("train", "validation"))
            labels, folder = road.corpus.labels, self._folder
            with joint.training(road, "teacher", str(self.number), decided):
                return teachers.fit_teacher(
                    self.teacher,
                    road.task,
                    labels,
                    train,
                    validation,
                    folder=folder,
                    seed=self.seed,
                    checkpoint_seconds=road.trainer.checkpoint_seconds,
                    trust_remote_code=road.trust,
                    out=out,
                )

        return road.obtain("teacher", decided, make, learns=True)

    @cached_property
    def model(self) -> teachers.TeacherModel:
        """The teacher, fitted or ready, to be asked."""
        folder = str(self.fitted.path / MODEL) if self.fitted else self._folder
        teacher, decided = self.teacher, self.inputs()
        saved = SavedModel(folder, self.key, teacher.labels, self.road.trust, teacher.options)
        return teachers.TeacherModel(saved, {"fingerprint": fingerprint(decided), **decided})

    @property
    def members(self) -> "tuple[OneTeacher, ...]":
        """All who are asked."""
        return (self,)

    @property
    def saved(self) -> SavedModel:
        """The same, for an evaluation."""
        return self.model.saved

    @property
    def precision(self) -> Precision:
        """The number format that it is looked at in: of its fit, or of its answers as targets."""
        return self.road.targets.precision if self.teacher.is_ready else teachers.PRECISION

    def inputs(self) -> dict[str, Any]:
        """What decides the teacher."""
        source = identity(self.source, key=self.key)
        if self.teacher.is_ready:
            return teachers.ready_inputs(self.teacher, source=source)
        return teachers.fitted_inputs(
            self.teacher,
            self.road.task,
            body=source,
            labelled=self.road.labelled.fingerprint,
            seed=self.seed,
        )

    def origin(self) -> dict[str, Any]:
        """Whose answers about what: what a target store must match."""
        decided = self.inputs()
        key, spec = self.reads
        tokenizer = tokenizer_identity(spec, key=key)
        texts = {"labelled": self.road.labelled.manifest()["inputs"]}
        if self.road.transfer:
            texts["transfer"] = self.road.transfer.manifest()["inputs"]
        return {
            "teacher": {"fingerprint": fingerprint(decided), **decided},
            "tokenizer": {"fingerprint": fingerprint({"source": tokenizer}), "source": tokenizer},
            "data": {"fingerprint": fingerprint(texts), **texts},
        }

    def store_inputs(self, settings: StoredTargets) -> dict[str, Any]:
        """What decides the target store."""
        return stores.inputs(settings, self.origin(), self.road.task, self.road.states)

    def store(self, settings: StoredTargets) -> Path:
        """The folder of its answers, as `settings` keep them."""
        road = self.road

        def make(out: Path) -> dict[str, Any]:
            checks.check_batches(road)
            reading.check_held_out(road)
            settings.codec.check(road.task.width(self.tokenizer(), road.corpus.labels))
            return stores.generate_targets(
                self.model,
                road.task,
                road.corpus.labels,
                self.examples(),
                settings=settings,
                origin=self.origin(),
                out=out,
                states=road.states,
            )

        return road.obtain("targets", self.store_inputs(settings), make, resumable=True).path

    def online(self, student: TokenTable, spec: str, settings: OnlineTargets) -> OnlineTeacher:
        """The teacher, loaded to be asked about the batches of the student's examples."""
        loaded = self.model.place(self.road.task, self.road.corpus.labels)
        asked = self.examples() if spec != self.reads[1] else None
        return open_teacher(loaded, self.road.task, student, asked, settings)

    @property
    def reads(self) -> tuple[str, str]:
        """(setting, source) of the tokenizer that it is asked with, one for all if need be."""
        if self.road.task.one_tokenizer and self.road.loss.needs_teacher:
            return reading.source(self.road)
        return self.key, self.source

    def examples(self) -> TokenTable:
        """All that it is asked about."""
        return self.road.examples(*self.reads, transfer=True)

    def tokenizer(self) -> Any:
        """Its tokenizer."""
        folder = model_folder(
            self.source, key=self.key, cache=self.road.workspace.assets, weights=False
        )
        return self.road.task.load_tokenizer(
            folder, key=self.key, trust_remote_code=self.road.trust
        )

    def is_there(self) -> bool:
        """Whether it is ready, or fitted already."""
        return self.teacher.is_ready or self.find() is not None

    def find(self) -> Artifact | None:
        """The fitted teacher, if it is there."""
        try:
            return self.road.workspace.find("teacher", self.inputs())
        except DataError:  # a body that cannot be had is told of where it is needed
            return None

    @property
    def _folder(self) -> str:
        return model_folder(self.source, key=self.key, cache=self.road.workspace.assets)


class TeacherEnsemble:
    """Several teachers; each one's answers are a store of its own, which another run may share."""

    def __init__(self, road: "Road", members: tuple[OneTeacher, ...]) -> None:
        self.road, self.members = road, members
        self.shares = road.teacher.shares

    @property
    def saved(self) -> SavedEnsemble:
        """All of them, for an evaluation."""
        return SavedEnsemble(tuple(member.saved for member in self.members), self.shares)

    @property
    def precision(self) -> Precision:
        """The number format of its members' answers."""
        return self.road.targets.precision

    def inputs(self) -> dict[str, Any]:
        """What decides the ensemble: its members and their shares, as a merged store names them."""
        record = self.origin()["teacher"]
        return {name: value for name, value in record.items() if name != "fingerprint"}

    def origin(self) -> dict[str, Any]:
        """Whose answers about what: what a target store must match."""
        return average_origin([member.origin() for member in self.members], self.shares)

    def store_inputs(self, settings: StoredTargets) -> dict[str, Any]:
        """What decides the store of the average."""
        kept = self.kept(settings).codec.settings()
        return stores.inputs(settings, self.origin(), self.road.task) | {"averaged_from": kept}

    def member_inputs(self, settings: StoredTargets) -> list[dict[str, Any]]:
        """What decides each member's store."""
        kept = self.kept(settings)
        return [member.store_inputs(kept) for member in self.members]

    def store(self, settings: StoredTargets) -> Path:
        """The folder of the average. The members are asked in turn: one is in memory at a time."""
        kept = self.kept(settings)

        def make(out: Path) -> dict[str, Any]:
            self._check_tokenizers()
            return stores.average_targets(
                [
                    TargetStore.open(member.store(kept), verifier=self.road.workspace.verifier)
                    for member in self.members
                ],
                self.shares,
                settings=settings,
                device=compute_device(),
                out=out,
            )

        return self.road.obtain("targets", self.store_inputs(settings), make).path

    def online(self, student: TokenTable, spec: str, settings: OnlineTargets) -> OnlineEnsemble:
        """All of them, loaded to be asked in turn about the batches of the student's examples."""
        self._check_tokenizers()
        opened = tuple(member.online(student, spec, settings) for member in self.members)
        return OnlineEnsemble(opened, self.shares, self.road.task.distribution)

    def is_there(self) -> bool:
        """Whether all are ready, or fitted already."""
        return all(member.is_there() for member in self.members)

    def find(self) -> None:
        """There is no one fitted teacher."""

    def kept(self, settings: StoredTargets) -> StoredTargets:
        """How each member's answers are kept: all logits, since only these can be averaged."""
        if settings.codec.keeps_all:
            return settings
        codec = LastHidden() if self.road.task.family == "language" else Dense()
        return replace(settings, codec=codec)

    def _check_tokenizers(self) -> None:
        """Raise `ModelError` where ids do not mean the same to all members, and must."""
        first, *others = self.members
        if not self.road.task.one_tokenizer:
            self._check_words(first, others)
            return
        for other in others:
            check_same_tokens(
                first.tokenizer(), other.tokenizer(), key=f"{other.key} = {other.source}"
            )

    def _check_words(self, first: OneTeacher, others: list[OneTeacher]) -> None:
        """Raise `ModelError` where a member's tokenizer drops other words than the first one's."""
        for other in others:
            if other.source == first.source:
                continue
            ours, theirs = first.examples().words, other.examples().words
            if ours is not None and theirs is not None and not np.array_equal(ours, theirs):
                raise ModelError(
                    f"{other.key} = {other.source}: its tokenizer drops or cuts other words than "
                    f"that of {first.source}, and answers about other words cannot be averaged; "
                    "raise task.max_length, or choose teachers with one tokenizer"
                )


def taught_by(road: "Road") -> OneTeacher | TeacherEnsemble:
    """Who answers in a run."""
    members = tuple(OneTeacher(road, it, number) for number, it in enumerate(road.teacher.members))
    return TeacherEnsemble(road, members) if len(members) > 1 else members[0]
