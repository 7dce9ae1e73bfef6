"""What a target store says of itself."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distillkit.artifacts import file_sha256, first_difference, read_json, write_json
from distillkit.errors import TargetsError

SCHEMA = 1
FILE = "targets.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """One committed file of the store."""

    file: str
    examples: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoreManifest:
    """The content of targets.json.

    `origin` has the records `teacher`, `tokenizer` and `data`, each with a `fingerprint` and the
    fields behind it: a store may only be used where all three are the same.
    """

    codec: dict[str, Any]
    outputs: int
    labels: list[str]
    examples: int
    tokens: int
    origin: dict[str, Any]
    shards: list[Shard]
    schema: int = SCHEMA

    def save(self, folder: Path) -> None:
        """Write targets.json."""
        write_json(folder / FILE, asdict(self))

    @classmethod
    def open(cls, folder: Path) -> "StoreManifest":
        """Read targets.json; raises `TargetsError` if there is none, or a newer one."""
        path = folder / FILE
        if not path.is_file():
            raise TargetsError(f"{folder}: no {FILE} in it; it is not a complete target store")
        try:
            record = read_json(path)
            schema = record.get("schema")
        except (ValueError, AttributeError) as error:  # no JSON, or no object
            raise _damaged(folder, error) from error
        if schema != SCHEMA:
            raise TargetsError(
                f"{folder}: schema {schema}; this distillkit reads schema {SCHEMA}. "
                "Use the distillkit that wrote it, or make the targets again"
            )
        try:
            return cls(**record | {"shards": [Shard(**shard) for shard in record["shards"]]})
        except (KeyError, TypeError) as error:
            raise _damaged(folder, error) from error

    def check_origin(self, expected: Mapping[str, Any], *, at: str) -> None:
        """Raise `TargetsError` if the store was made by another teacher, tokenizer or data."""
        # a teacher fitted on other data is another teacher, too: the cause is named, not the effect
        for part in ("data", "tokenizer", "teacher"):
            wanted, found = dict(expected[part]), dict(self.origin.get(part, {}))
            ours, theirs = wanted.pop("fingerprint"), found.pop("fingerprint", None)
            if ours == theirs:
                continue
            field, here, there = first_difference(wanted, found) or ("fingerprint", ours, theirs)
            raise TargetsError(
                f"{at}: made by another {part}: its fingerprint is {theirs}, this run's is "
                f"{ours}; the first field that differs is {part}.{field} ({there!r} there, "
                f"{here!r} here). Unset targets.path to have the right targets made"
            )

    def damaged(self, folder: Path) -> list[str]:
        """One line for each shard that is missing, cut short or altered."""
        lines = []
        for shard in self.shards:
            path = folder / shard.file
            if not path.is_file():
                lines.append(f"{shard.file}: missing")
            elif path.stat().st_size != shard.bytes:
                lines.append(f"{shard.file}: {path.stat().st_size:,} bytes, not {shard.bytes:,}")
            elif file_sha256(path) != shard.sha256:
                lines.append(f"{shard.file}: altered (its sha256 is not the manifest's)")
        return lines


def _damaged(folder: Path, error: Exception) -> TargetsError:
    reason = " ".join(str(error).split())
    return TargetsError(
        f"{folder}: its {FILE} is damaged ({type(error).__name__}: {reason}); make the "
        "targets again"
    )
