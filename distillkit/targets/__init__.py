"""The target store: what the teacher said of every example, kept once and read in any order."""

from distillkit.targets.codecs import Codec
from distillkit.targets.dense import Dense
from distillkit.targets.draws import Draws
from distillkit.targets.last_hidden import LastHidden
from distillkit.targets.manifest import StoreManifest
from distillkit.targets.reader import TargetStore
from distillkit.targets.sampled import Sampled
from distillkit.targets.sampled_logits import SampledLogits
from distillkit.targets.settings import AutoTargets, OnlineTargets, StoredTargets
from distillkit.targets.top_k import TopK
from distillkit.targets.top_p import TopP
from distillkit.targets.writer import TargetWriter

__all__ = [
    "AutoTargets",
    "Codec",
    "Dense",
    "Draws",
    "LastHidden",
    "OnlineTargets",
    "Sampled",
    "SampledLogits",
    "StoreManifest",
    "StoredTargets",
    "TargetStore",
    "TargetWriter",
    "TopK",
    "TopP",
]
