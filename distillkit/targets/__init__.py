"""The target store: what the teacher said of every example, kept once and read in any order.

`codecs.codec.Codec` says what a new codec has to do, `provider.TargetProvider` what a new source of
targets has.

How a position is kept is a codec's, in `codecs`; how a teacher is run is a stage's.
"""

from distillkit.targets.codecs.codec import Codec
from distillkit.targets.codecs.dense import Dense
from distillkit.targets.codecs.last_hidden import LastHidden
from distillkit.targets.codecs.sampled import Sampled
from distillkit.targets.codecs.sampled_logits import SampledLogits
from distillkit.targets.codecs.sampling import Draws
from distillkit.targets.codecs.top_k import TopK
from distillkit.targets.codecs.top_p import TopP
from distillkit.targets.manifest import StoreManifest
from distillkit.targets.provider import CodecChoice, TargetChoice, TargetProvider
from distillkit.targets.reader import TargetStore
from distillkit.targets.settings import AutoTargets, OnlineTargets, StoredTargets
from distillkit.targets.writer import TargetWriter

__all__ = [
    "AutoTargets",
    "Codec",
    "CodecChoice",
    "Dense",
    "Draws",
    "LastHidden",
    "OnlineTargets",
    "Sampled",
    "SampledLogits",
    "StoreManifest",
    "StoredTargets",
    "TargetChoice",
    "TargetProvider",
    "TargetStore",
    "TargetWriter",
    "TopK",
    "TopP",
]
