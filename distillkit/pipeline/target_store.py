"""The target store that a run's student learns from: given by the config, or the run's own."""

from functools import cached_property
from pathlib import Path
from typing import Any

from distillkit.artifacts.homes import expanded
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.teachers import EnsembleArtifacts, TeacherArtifacts
from distillkit.targets import StoredTargets, TargetStore


class TargetStoreArtifact:
    """The store of a run whose `context.targets` are `StoredTargets`."""

    def __init__(self, context: RunContext, teachers: TeacherArtifacts | EnsembleArtifacts) -> None:
        self.context, self.teachers = context, teachers

    @cached_property
    def folder(self) -> Path:
        """Where the store is; the run's own is made if it is not there."""
        targets = self._settings
        if targets.path:
            return expanded(targets.path).absolute()
        return self.teachers.store(targets)

    def fingerprint_fields(self) -> dict[str, Any]:
        """All that decides the run's own store."""
        return self.teachers.store_fields(self._settings)

    def open(self) -> TargetStore:
        """The store; raises `TargetsError` for one of another teacher or data, or a damaged one."""
        expected = self.teachers.origin() if self.context.given_store else None
        return TargetStore.open(
            self.folder, expected=expected, verifier=self.context.workspace.verifier
        )

    @property
    def _settings(self) -> StoredTargets:
        return self.context.store_settings
