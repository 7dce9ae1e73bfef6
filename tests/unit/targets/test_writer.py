"""Writing beside the teacher: in order, each shard whole or not there, errors as they are."""

import errno
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from distillkit.artifacts.digests import recorded
from distillkit.errors import ConfigError
from distillkit.targets import Dense, LastHidden, TargetStore, TargetWriter, TopK
from distillkit.targets.codecs.last_hidden import HEAD
from distillkit.targets.writer import _WAITING, RECORDS
from distillkit.types import Outputs, SoftTargets
from tests.unit.targets.answers import keys, random_hidden, random_logits
from tests.unit.targets.test_manifest import ORIGIN

KEYS, LOGITS = keys(10), random_logits(10, 3)
SAID, ONE = Outputs(LOGITS), np.ones(10, np.int64)
PATIENCE = 20  # seconds that a test waits for another thread


def picked(rows: slice = slice(None)) -> dict[str, np.ndarray]:
    return {"logits": LOGITS[rows].numpy()}


def finish(writer: TargetWriter, examples: list[int]) -> Any:
    return writer.finish(examples, tokens=1, labels=[], origin=ORIGIN)


@dataclass(frozen=True)
class Watched(Dense):
    """A codec that does something first, with the number of the shard."""

    first: Callable[[int], None] = lambda number: None
    seen: list[int] = field(default_factory=list)

    def encode(self, picked: dict[str, np.ndarray], positions: np.ndarray) -> pa.LargeBinaryArray:
        self.seen.append(len(self.seen))
        self.first(self.seen[-1])
        return super().encode(picked, positions)


# going on after a kill


def test_a_shard_is_committed_when_it_is_written_and_stays_so(tmp_path: Path) -> None:
    with TargetWriter(tmp_path, Dense()) as writer:
        assert not writer.committed(0)
        writer.describe(SAID)
        writer.write(0, KEYS, ONE, picked())
        writer.wait()
        assert writer.committed(0)
    later = TargetWriter(tmp_path, Dense())
    assert [later.committed(number) for number in (0, 1)] == [True, False]


def test_leaving_the_writer_waits_for_all_shards(tmp_path: Path) -> None:
    with TargetWriter(tmp_path, Dense()) as writer:
        writer.describe(SAID)
        for number in range(7):
            writer.write(number, KEYS, ONE, picked())
    assert all(writer.committed(number) for number in range(7))


def test_shards_of_two_runs_make_one_store(tmp_path: Path) -> None:
    with TargetWriter(tmp_path, Dense()) as writer:
        writer.describe(SAID)
        writer.write(0, KEYS[:6], ONE[:6], picked(slice(6)))
    with TargetWriter(tmp_path, Dense()) as writer:
        writer.describe(SAID)
        writer.write(1, KEYS[6:], ONE[6:], picked(slice(6, 10)))
        finish(writer, [6, 4])
    store = TargetStore.open(tmp_path)
    read = store.read(store.rows(KEYS))
    assert isinstance(read, SoftTargets)
    assert torch.equal(read.logits, LOGITS)


@pytest.mark.parametrize("codec", [Dense(), LastHidden()])
def test_a_run_that_finds_all_shards_asks_the_teacher_nothing(tmp_path: Path, codec: Any) -> None:
    """It was killed before its manifest: how many outputs there are is known from a shard."""
    said = random_hidden(10, 12)
    with TargetWriter(tmp_path, codec) as writer:
        writer.describe(said)
        writer.write(0, KEYS, ONE, codec.select(said, None))
    with TargetWriter(tmp_path, codec) as writer:
        manifest = finish(writer, [10])
    assert (manifest.outputs, manifest.positions) == (12, 10)
    assert [file.file for file in manifest.files] == list(codec.shared_files)
    store = TargetStore.open(tmp_path)
    assert store.read(store.rows(KEYS)) is not None


def test_what_was_measured_is_in_the_manifest(tmp_path: Path) -> None:
    with TargetWriter(tmp_path, Dense()) as writer:
        manifest = writer.finish([], tokens=0, labels=[], origin=ORIGIN, quality={"entropy": 2.9})
    assert manifest.quality == {"entropy": 2.9}


# the first answer


def test_a_codec_that_does_not_fit_is_refused_at_the_first_answer(tmp_path: Path) -> None:
    with (
        TargetWriter(tmp_path, TopK(k=4)) as writer,
        pytest.raises(ConfigError, match=r"targets\.codec\.k = 4: .* 3 outputs"),
    ):
        writer.describe(SAID)


def test_the_head_is_written_once(tmp_path: Path) -> None:
    with TargetWriter(tmp_path, LastHidden()) as writer:
        writer.describe(random_hidden(2, 12))
        written = (tmp_path / HEAD).stat().st_mtime_ns
        writer.describe(random_hidden(2, 12))
    assert (tmp_path / HEAD).stat().st_mtime_ns == written


# beside the teacher


def test_the_caller_goes_on_while_a_shard_is_encoded(tmp_path: Path) -> None:
    gate = threading.Event()
    codec = Watched(first=lambda number: _pass(gate))
    with TargetWriter(tmp_path, codec) as writer:
        writer.describe(SAID)
        for number in range(_WAITING):
            writer.write(number, KEYS, ONE, picked())
        assert not any(writer.committed(number) for number in range(_WAITING))
        gate.set()
        writer.wait()
        assert all(writer.committed(number) for number in range(_WAITING))


def test_no_more_than_a_few_shards_wait(tmp_path: Path) -> None:
    """A disk that is slower than the teacher must not fill the memory."""
    gate, accepted = threading.Event(), []
    codec = Watched(first=lambda number: _pass(gate))
    with TargetWriter(tmp_path, codec) as writer:
        writer.describe(SAID)

        def give() -> None:
            for number in range(_WAITING + 2):
                writer.write(number, KEYS, ONE, picked())
                accepted.append(number)

        caller = threading.Thread(target=give)
        caller.start()
        caller.join(timeout=0.3)
        assert caller.is_alive() and accepted == list(range(_WAITING))
        gate.set()
        caller.join(timeout=PATIENCE)
        assert not caller.is_alive()
    assert accepted == list(range(_WAITING + 2))


def test_shards_are_committed_in_order(tmp_path: Path) -> None:
    there: list[list[bool]] = []
    codec = Watched(first=lambda number: there.append([writer.committed(i) for i in range(4)]))
    with TargetWriter(tmp_path, codec) as writer:
        writer.describe(SAID)
        for number in range(4):
            writer.write(number, KEYS, ONE, picked())
    assert there == [[i < number for i in range(4)] for number in range(4)]


# errors


@pytest.mark.parametrize("surfaces", ["write", "wait", "finish", "exit"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyError("x"), MemoryError()]
)
def test_an_error_of_the_thread_is_raised_as_it_is(
    tmp_path: Path, surfaces: str, error: Exception
) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise error

    with (
        pytest.raises(type(error)) as caught,
        TargetWriter(tmp_path, Watched(first=fail)) as writer,
    ):
        writer.describe(SAID)
        writer.write(0, KEYS, ONE, picked())
        writer.write(1, KEYS, ONE, picked())
        if surfaces == "write":
            for number in range(2, 2 + _WAITING):
                writer.write(number, KEYS, ONE, picked())
        elif surfaces == "wait":
            writer.wait()
        elif surfaces == "finish":
            finish(writer, [10, 10])
    assert caught.value is error
    assert writer.committed(0) and not writer.committed(1)
    assert not (tmp_path / "targets.json").exists()
    assert not list(tmp_path.glob(".*"))


def test_an_error_of_the_caller_is_not_hidden_by_one_of_the_thread(tmp_path: Path) -> None:
    def fail(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(KeyboardInterrupt),
        TargetWriter(tmp_path, Watched(first=fail)) as writer,
    ):
        writer.describe(SAID)
        writer.write(0, KEYS, ONE, picked())
        raise KeyboardInterrupt


def test_no_thread_is_left_when_the_caller_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), TargetWriter(tmp_path, Dense()) as writer:
        writer.describe(SAID)
        writer.write(0, KEYS, ONE, picked())
        assert [t for t in threading.enumerate() if t.name.startswith("targets")]
        raise KeyboardInterrupt
    assert not [t for t in threading.enumerate() if t.name.startswith("targets")]


def test_rows_that_do_not_fit_the_positions_are_not_committed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError), TargetWriter(tmp_path, Dense()) as writer:
        writer.describe(SAID)
        writer.write(0, KEYS, 2 * ONE, picked())
    assert list(tmp_path.iterdir()) == []


def _pass(gate: threading.Event) -> None:
    assert gate.wait(PATIENCE)


# what a killed run left


def killed(folder: Path, codec: Any = None, shards: int = 2) -> None:
    """Some shards of a run that did not come to its end."""
    with TargetWriter(folder, codec or Dense()) as writer:
        writer.describe(SAID)
        for number in range(shards):
            writer.write(number, KEYS, ONE, picked())


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-30] ^= 2
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (flipped, "altered (its sha256 is not the one recorded)"),
        (lambda p: p.write_bytes(p.read_bytes()[:-64]), "bytes, not"),
        (lambda p: p.write_bytes(b""), "0 bytes, not"),
        (
            lambda p: p.with_name(f"{p.name}.digest.json").unlink(),
            "no size and sha256 of it can be read",
        ),
        (
            lambda p: p.with_name(f"{p.name}.digest.json").write_text('{"size": 1'),
            "no size and sha256 of it can be read",
        ),
    ],
)
def test_a_damaged_shard_of_a_killed_run_is_not_committed(
    damage: Any, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed(tmp_path)
    expected = (tmp_path / "shard-00001.arrow").read_bytes()
    damage(tmp_path / "shard-00001.arrow")
    with TargetWriter(tmp_path, Dense()) as writer:
        assert [writer.committed(number) for number in range(3)] == [True, False, False]
        assert not writer.committed(1)
        writer.describe(SAID)
        writer.write(1, KEYS, ONE, picked())
        writer.wait()
        assert writer.committed(1)
        manifest = finish(writer, [len(KEYS), len(KEYS)])
    assert (tmp_path / "shard-00001.arrow").read_bytes() == expected
    assert not manifest.damaged(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert f"{tmp_path}: damaged: shard-00001.arrow: " in lines[0]
    assert told in lines[0]


def test_a_shard_that_is_gone_is_not_committed(tmp_path: Path) -> None:
    killed(tmp_path)
    (tmp_path / "shard-00000.arrow").unlink()
    writer = TargetWriter(tmp_path, Dense())
    assert [writer.committed(number) for number in range(3)] == [False, True, False]


def test_a_store_that_was_finished_in_a_killed_run_is_gone_on_with(tmp_path: Path) -> None:
    """Until the artifact has its name, the records stay beside the shards."""
    folder = tmp_path / f"targets-{'a' * 16}"
    folder.mkdir()
    killed(folder)
    with TargetWriter(folder, Dense()) as writer:
        manifest = finish(writer, [len(KEYS), len(KEYS)])
    assert len(list(folder.glob(RECORDS[0]))) == 2
    with TargetWriter(folder, Dense()) as again:
        assert [again.committed(number) for number in range(3)] == [True, True, False]
        assert finish(again, [len(KEYS), len(KEYS)]) == manifest
    flipped(folder / "shard-00000.arrow")
    assert not TargetWriter(folder, Dense()).committed(0)


def test_outside_of_artifacts_a_store_that_is_finished_has_no_other_records(tmp_path: Path) -> None:
    killed(tmp_path)
    with TargetWriter(tmp_path, Dense()) as writer:
        finish(writer, [len(KEYS), len(KEYS)])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"targets.json", "shard-00000.arrow", "shard-00001.arrow"}


def test_a_manifest_alone_vouches_for_no_shard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may have come with the shards of another artifact: it has no mark of whose it is."""
    folder = tmp_path / f"targets-{'a' * 16}"
    folder.mkdir()
    killed(folder)
    with TargetWriter(folder, Dense()) as writer:
        finish(writer, [len(KEYS), len(KEYS)])
    for record in folder.glob(RECORDS[0]):
        record.unlink()
    assert not TargetWriter(folder, Dense()).committed(1)
    assert "shard-00001.arrow: no size and sha256 of it can be read" in capsys.readouterr().err


def test_no_shard_is_hashed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = hashlib.file_digest

    def counted(file: Any, name: str) -> Any:
        read.append(Path(file.name).name)
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    killed(tmp_path)
    with TargetWriter(tmp_path, Dense()) as writer:
        assert writer.committed(0) and writer.committed(1)
        read.clear()
        finish(writer, [len(KEYS), len(KEYS)])
    recorded(tmp_path, leave_out=["targets.json"])
    assert read == []


def test_a_shard_of_another_store_is_not_committed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (tmp_path / f"targets-{digit * 16}" for digit in "ab")
    one.mkdir()
    killed(one)
    assert TargetWriter(one, Dense()).committed(1)
    one.rename(other)
    assert not TargetWriter(other, Dense()).committed(1)
    told = f"shard-00001.arrow: is that of {one.name}/shard-00001.arrow"
    assert told in capsys.readouterr().err
