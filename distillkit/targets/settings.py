"""How soft targets are had: from a store, or from a teacher in the loop."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Literal

from distillkit.artifacts.homes import expanded
from distillkit.errors import ConfigError
from distillkit.setting_types import PositiveInt, Seed
from distillkit.targets.codecs.codec import Codec, described
from distillkit.targets.codecs.dense import Dense
from distillkit.targets.codecs.registry import register
from distillkit.targets.manifest import StoreManifest
from distillkit.targets.provider import CodecChoice, TargetChoice, TargetProvider, TeacherOutputs


@dataclass(frozen=True)
class StoredTargets(TargetProvider):
    """Targets from a store that is made once and read by every student.

    `codec` says what is kept of each position; `seed` belongs to codecs that draw. `path` takes a
    store as it is, after checking that teacher, tokenizer and data are this run's. `batch_tokens`
    is a forward pass's size with padding; neither it nor `shard_tokens` changes what the store
    means.
    """

    keeps_store: ClassVar = True

    codec: Any = field(default_factory=Dense)
    seed: Seed = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_tokens: PositiveInt = 4096
    shard_tokens: PositiveInt = 65536
    path: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.codec, Codec):
            raise ConfigError(
                f"targets.codec = {self.codec}: no codec; choose one with targets=stored, sampled, "
                "top_k, top_p, sampled_logits or last_hidden"
            )
        register(type(self.codec))

    def settle(self, choice: CodecChoice) -> "StoredTargets":
        """The same, captured at the temperatures of the loss; a given store is as it is."""
        return (
            self
            if self.path
            else replace(self, codec=self.codec.at_temperatures(choice.temperatures))
        )

    def fingerprint_fields(self, teachers: TeacherOutputs) -> dict[str, Any]:
        """Those of the store; of a given one its content, and whose it must be."""
        if self.path:
            digest = StoreManifest.open(expanded(self.path).absolute()).fingerprint
            return {"run": teachers.origin(), "store": digest}
        return teachers.store_fields(self)

    def describe(self) -> str:
        """The given store, or the codec."""
        return f"the store {self.path}" if self.path else described(self.codec.settings())


@dataclass(frozen=True)
class AutoTargets(TargetChoice):
    """Targets from a store whose codec follows from the task and the loss.

    `codec` holds settings of the one that is chosen; the rest is as of `StoredTargets`.
    """

    keeps_store: ClassVar = True

    codec: dict[str, Any] = field(default_factory=dict)
    seed: Seed = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_tokens: PositiveInt = 4096
    shard_tokens: PositiveInt = 65536
    path: str | None = None

    def settle(self, choice: CodecChoice) -> StoredTargets:
        """A store with the smallest codec that does for the loss."""
        return self.kept_by(choice.smallest(self.codec)).settle(choice)

    def describe(self) -> str:
        """Which store it will be follows from the loss."""
        return "a store whose codec follows from the loss"

    def kept_by(self, codec: Any) -> StoredTargets:
        """The same with a codec."""
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "codec"}
        return StoredTargets(codec=codec, **settings)


@dataclass(frozen=True)
class OnlineTargets(TargetProvider):
    """The teacher answers in the training loop, and nothing is kept.

    For what is too large to keep: hidden states, attention. `precision` is of its forward pass,
    which has at most `batch_tokens` tokens, padding included.
    """

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_tokens: PositiveInt = 4096

    def fingerprint_fields(self, teachers: TeacherOutputs) -> dict[str, Any]:
        """The teacher, what it is asked about, and how."""
        return {"origin": teachers.origin(), "online": asdict(self)}

    def describe(self) -> str:
        """Nothing is stored."""
        return "online: the teacher answers in the training loop"

    def in_loop(self, teachers: TeacherOutputs, examples: Any, spec: str) -> Any:
        """The teacher itself."""
        return teachers.online(examples, spec, self)
