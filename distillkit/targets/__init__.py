"""The target store: what the teacher said of every example, kept once and read in any order."""

from distillkit.targets.codecs import Dense
from distillkit.targets.manifest import StoreManifest
from distillkit.targets.reader import TargetStore
from distillkit.targets.settings import StoredTargets
from distillkit.targets.writer import TargetWriter

__all__ = ["Dense", "StoreManifest", "StoredTargets", "TargetStore", "TargetWriter"]
