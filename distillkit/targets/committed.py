"""The files of a target store that is being made, each with a record of its size and sha256."""

import contextlib
from pathlib import Path
from typing import Any

from distillkit.artifacts.digests import Verifier, are_files, file_sha256, place_of, read_before
from distillkit.artifacts.workspace import read_json, write_json
from distillkit.console.progress import say
from distillkit.targets.codecs.codec import Codec

_RECORD = ".digest.json"  # what is appended to a file's name, for its size and sha256
RECORDS = (f"*{_RECORD}", f"*/*{_RECORD}")  # of a store, and of the hidden states in it


def shard_name(shard: int) -> str:
    """The file of the shard with this number."""
    return f"shard-{shard:05d}.arrow"


class CommittedFiles:
    """The shards in a folder, and the files that all share, which stand and fall with shard 0.

    A file gets its name after its record is there, so that what has its name is whole unless it was
    damaged later.
    """

    def __init__(self, folder: Path, codec: Codec) -> None:
        self.folder, self._codec = folder, codec
        self._whole: dict[str, bool] = {}  # of what an earlier run left
        self._records: dict[str, dict[str, Any]] = {}

    def names(self, shard: int) -> list[str]:
        """The shard's file; with the first one the files that all share, too."""
        return [shard_name(shard), *(self._codec.shared_files if shard == 0 else ())]

    def is_there(self, shard: int) -> bool:
        """Whether some process has committed the shard; what is in it is not read."""
        return all((self.folder / name).exists() for name in self.names(shard))

    def is_whole(self, shard: int) -> bool:
        """Whether this shard is there and as it was written; what is damaged is named once."""
        return all(self._is_whole(name) for name in self.names(shard))

    def discard(self, shard: int) -> None:
        """Remove a shard that is damaged."""
        for name in self.names(shard):
            for known in (self._whole, self._records):
                known.pop(name, None)
            (self.folder / name).unlink(missing_ok=True)

    def _is_whole(self, name: str) -> bool:
        if name not in self._whole and (self.folder / name).exists():
            record = self._recorded(name)
            damage = [f"{name}: no size and sha256 of it can be read"]
            place = place_of(self.folder / name)
            if record is not None and record.get("place", place) != place:
                damage = [f"{name}: is that of {str(record['place'])[:80]}"]
            elif record is not None:
                damage = Verifier("always").damage(self.folder, {name: record})
            if damage:
                say(f"{self.folder}: damaged: {damage[0]}; it is made again")
            self._whole[name] = not damage
        return self._whole.get(name, False)

    def _recorded(self, name: str) -> dict[str, Any] | None:
        """The size, sha256 and place that were written with a file."""
        if name not in self._records:
            with contextlib.suppress(OSError, ValueError, RecursionError):
                self._records[name] = read_json(self.folder / f"{name}{_RECORD}")
        record = self._records.get(name)
        return record if record and are_files({name: record}) else None

    def record(self, name: str, path: Path) -> None:
        """Write the size and sha256 of a file beside it: a killed run tells by it what is whole."""
        self._whole[name] = True
        self._records[name] = {
            "size": path.stat().st_size,
            "sha256": file_sha256(path),
            "place": place_of(self.folder / name),
        }
        write_json(self.folder / f"{name}{_RECORD}", self._records[name])

    def recorded_file(self, name: str) -> tuple[str, int, str]:
        """(name, bytes, sha256) of a file that is whole."""
        record = self._recorded(name)
        assert record is not None, f"{name} was neither written nor found"
        read_before(self.folder / name, record["sha256"])
        return name, record["size"], record["sha256"]

    def remove_records(self) -> None:
        """Forget how the files were written: a manifest says it."""
        for path in self.folder.glob(f"*{_RECORD}"):
            path.unlink()
