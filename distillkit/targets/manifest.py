"""What a target store says of itself."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from distillkit.artifacts.digests import DIGEST, Verifier, is_sealed, sealed
from distillkit.artifacts.workspace import fingerprint, first_difference, read_json, write_json
from distillkit.console.progress import warn
from distillkit.console.wording import brief
from distillkit.errors import TargetsError
from distillkit.targets.validity import check_inside, wrong_in
from distillkit.types import Distribution

SCHEMA = 3  # 2 had no digest of the manifest itself
READS = (2, SCHEMA)
FILE = "targets.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """One committed file of the store."""

    file: str
    examples: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file beside the shards that all examples share, as a head is."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoreManifest:
    """The content of targets.json.

    `outputs` are a classifier's classes or a language model's vocabulary; `codec` has all settings
    of the codec, with the temperatures that it captured. `quality` is what was measured at capture.
    `distribution` says what outputs mean, and so what an average of several stores is of.
    `origin` has the records `teacher`, `tokenizer` and `data`, each with a `fingerprint` and the
    fields behind it: a store may only be used where all three are the same. What was merged of
    several names them as `members`; then it may be used where one of them is the run's.
    """

    codec: dict[str, Any]
    outputs: int
    labels: list[str]
    examples: int
    positions: int
    tokens: int
    origin: dict[str, Any]
    shards: list[Shard]
    files: list[SharedFile] = field(default_factory=list)
    quality: dict[str, Any] = field(default_factory=dict)
    distribution: Distribution = "softmax"
    schema: int = SCHEMA

    @property
    def fingerprint(self) -> str:
        """The name of what the store holds: two stores may have one origin, and other targets."""
        digests = [s.sha256 for s in self.shards] + [f.sha256 for f in self.files]
        return fingerprint({"origin": self.origin, "codec": self.codec, "held": digests})

    def save(self, folder: Path) -> None:
        """Write targets.json, with a digest of itself."""
        write_json(folder / FILE, sealed(asdict(self)))

    @classmethod
    def open(cls, folder: Path) -> "StoreManifest":
        """Read targets.json; raises `TargetsError` if there is none, a newer or a damaged one.

        One of an earlier version is taken as it is: its shards have their sha256 in it.
        """
        path = folder / FILE
        if not path.is_file():
            raise TargetsError(f"{folder}: no {FILE} in it; it is not a complete target store")
        try:
            record = read_json(path)
            schema = record.get("schema")
        except (ValueError, AttributeError, RecursionError) as error:  # no JSON, or no object
            raise _damaged(folder, error) from error
        except OSError as error:
            raise TargetsError(f"{folder}: its {FILE} cannot be read ({error.strerror})") from error
        if schema not in READS:
            raise TargetsError(
                f"{folder}: schema {schema}; this distillkit reads schema {SCHEMA}. "
                "Use the distillkit that wrote it, or make the targets again"
            )
        if DIGEST in record or schema == SCHEMA:
            if not is_sealed(record):
                raise _damaged(folder, ValueError("its digest is not that of its content"))
            record.pop(DIGEST)
        else:
            warn(
                f"{folder}: made by an earlier version, whose {FILE} has no checksum of its own; "
                "only its other files are verified"
            )
        try:
            shards = [Shard(**shard) for shard in record["shards"]]
            files = [SharedFile(**file) for file in record["files"]]
            manifest = cls(**record | {"shards": shards, "files": files, "schema": SCHEMA})
        except (KeyError, TypeError) as error:
            raise _damaged(folder, error) from error
        fault = wrong_in(record)
        if fault:
            raise TargetsError(f"{folder}: its {FILE} is damaged ({fault}); make the targets again")
        check_inside(folder, [FILE, *manifest.records])
        return manifest

    def check_origin(self, expected: Mapping[str, Any], *, at: str) -> None:
        """Raise `TargetsError` if the store was made by another teacher, tokenizer or data."""
        # a teacher fitted on other data is another teacher, too: the cause is named, not the effect
        for part in ("data", "tokenizer", "teacher"):
            needs, has = dict(expected[part]), dict(self.origin.get(part, {}))
            needed, stored = needs.pop("fingerprint"), has.pop("fingerprint", None)
            if needed in (stored, *(member["fingerprint"] for member in has.get("members", []))):
                continue
            field, own, there = first_difference(needs, has) or ("fingerprint", needed, stored)
            raise TargetsError(
                f"{at}: made by another {part}: its fingerprint is {stored}, this run's is "
                f"{needed}; the first field that differs is {part}.{field} ({there!r} there, "
                f"{own!r} here). Unset targets.path to have the right targets made"
            )

    def damaged(self, folder: Path, verifier: Verifier | None = None) -> list[str]:
        """One line for each shard or other file that is missing, cut short or altered.

        Without a `verifier` all are read.
        """
        return (verifier or Verifier("always")).damage(folder, self.records)

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """The size and sha256 of each file, by name."""
        parts: list[Shard | SharedFile] = [*self.shards, *self.files]
        return {part.file: {"size": part.bytes, "sha256": part.sha256} for part in parts}


def _damaged(folder: Path, error: Exception) -> TargetsError:
    reason = brief(error)
    return TargetsError(
        f"{folder}: its {FILE} is damaged ({type(error).__name__}: {reason}); make the "
        "targets again"
    )
