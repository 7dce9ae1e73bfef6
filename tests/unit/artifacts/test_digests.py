"""Records of files: what they hold, what is found to be wrong, what is not read twice."""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from distillkit.artifacts import digests
from distillkit.artifacts.digests import Verifier, are_files, is_sealed, recorded, sealed, strays


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "artifact"
    (made / "model").mkdir(parents=True)
    (made / "model" / "weights").write_bytes(bytes(range(200)))
    (made / "config.json").write_text("{}")
    (made / ".hidden").write_text("of an editor")
    return made


def verifier(folder: Path, mode: digests.Mode = "once") -> Verifier:
    return Verifier(mode, [folder.parent / "cache"])


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read, as they are; nothing was read before."""
    names: list[str] = []
    real = digests.file_sha256

    def counted(path: Path) -> str:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(digests, "file_sha256", counted)
    forget(monkeypatch)
    return names


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process would begin."""
    monkeypatch.setattr(digests, "_VERIFIED", {})
    monkeypatch.setattr(digests, "_READ", {})


def settle() -> None:
    """Wait until a later change has other times."""
    time.sleep(0.03)


def test_a_record_has_every_file_with_size_and_sha256(folder: Path) -> None:
    assert recorded(folder, leave_out=["config.json"]) == {
        "model/weights": {"size": 200, "sha256": hashlib.sha256(bytes(range(200))).hexdigest()}
    }
    assert sorted(recorded(folder)) == ["config.json", "model/weights"]


def test_what_was_hashed_while_it_was_made_is_not_read_again(folder: Path, read: list[str]) -> None:
    digests.file_sha256(folder / "config.json")
    assert read == ["config.json"]
    recorded(folder)
    assert sorted(read) == ["config.json", "weights"]


def test_a_whole_folder_has_no_damage(folder: Path) -> None:
    assert verifier(folder).damage(folder, recorded(folder)) == []
    assert strays(folder, recorded(folder)) == []


@pytest.mark.parametrize("mode", ["once", "always"])
@pytest.mark.parametrize("place", [0, 99, 199])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_is_named(folder: Path, mode: Any, place: int, bit: int) -> None:
    files = recorded(folder)
    content = bytearray((folder / "model/weights").read_bytes())
    content[place] ^= 1 << bit
    (folder / "model/weights").write_bytes(content)
    assert verifier(folder, mode).damage(folder, files) == [
        "model/weights: altered (its sha256 is not the one recorded)"
    ]


@pytest.mark.parametrize("mode", digests.MODES)
def test_what_is_gone_cut_or_longer_is_named(folder: Path, mode: Any) -> None:
    files = recorded(folder)
    (folder / "config.json").unlink()
    os.truncate(folder / "model/weights", 150)
    assert verifier(folder, mode).damage(folder, files) == [
        "config.json: missing",
        "model/weights: 150 bytes, not 200",
    ]
    os.truncate(folder / "model/weights", 1201)
    assert verifier(folder, mode).damage(folder, files)[1] == (
        "model/weights: 1,201 bytes, not 200"
    )


def test_never_looks_at_names_and_sizes_only(folder: Path, read: list[str]) -> None:
    files = recorded(folder)
    read.clear()
    assert verifier(folder, "never").damage(folder, files) == []
    assert read == []


def test_once_reads_a_file_once_in_a_session_and_always_once_a_process(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = recorded(folder)
    settle()
    for mode, expected in [("once", 2), ("once", 0), ("always", 2), ("once", 0)]:
        forget(monkeypatch)
        read.clear()
        for _ in range(2):
            assert verifier(folder, mode).damage(folder, files) == []  # type: ignore[arg-type]
        assert len(read) == expected, mode
    monkeypatch.setattr(digests, "session", lambda: "after the machine was started again")
    forget(monkeypatch)
    assert verifier(folder).damage(folder, files) == []
    assert len(read) == 2


@pytest.mark.parametrize("known", ["this process", "an earlier one"])
def test_what_changes_after_it_was_read_is_read_again(
    folder: Path, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where size and mtime are as they were."""
    files = recorded(folder)
    settle()
    assert verifier(folder).damage(folder, files) == []
    path = folder / "model/weights"
    times = path.stat()
    path.write_bytes(bytes(200))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    if known != "this process":
        forget(monkeypatch)
    assert verifier(folder).damage(folder, files) == [
        "model/weights: altered (its sha256 is not the one recorded)"
    ]


def test_what_was_written_just_now_is_not_remembered(folder: Path, read: list[str]) -> None:
    """A second change within the same tick of the file system's clock would not show."""
    files = recorded(folder)
    (folder / "config.json").write_text("[]")
    (folder / "config.json").write_text("{}")
    read.clear()
    for _ in range(2):
        assert verifier(folder).damage(folder, files) == []
    assert read.count("config.json") == 2


@pytest.mark.parametrize("content", ["", "{", "[1]", '"x"', '{"model/weights": 3}', "\udcff"])
def test_a_cache_that_is_damaged_is_passed_over(
    folder: Path, content: str, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = recorded(folder)
    settle()
    assert verifier(folder).damage(folder, files) == []
    (kept,) = (folder.parent / "cache").rglob("*.json")
    kept.write_bytes(content.encode(errors="surrogateescape"))
    forget(monkeypatch)
    read.clear()
    assert verifier(folder).damage(folder, files) == []
    assert len(read) == 2


@pytest.mark.parametrize("what", ["pipe", "folder", "loop", "nested"])
def test_what_is_no_cache_is_passed_over(
    folder: Path, what: str, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe would be waited for; whatever it is, the files are read, and nothing is wrong."""
    files = recorded(folder)
    settle()
    assert verifier(folder).damage(folder, files) == []
    (kept,) = (folder.parent / "cache").rglob("*.json")
    kept.unlink()
    if what == "pipe":
        os.mkfifo(kept)
    elif what == "folder":
        kept.mkdir()
    elif what == "loop":
        kept.symlink_to(kept.name)
    else:
        kept.write_text(100_000 * "[")
    forget(monkeypatch)
    read.clear()
    assert verifier(folder).damage(folder, files) == []
    assert len(read) == 2
    (folder / "config.json").write_text("[]")
    assert verifier(folder).damage(folder, files) == [
        "config.json: altered (its sha256 is not the one recorded)"
    ]


def test_the_first_cache_that_can_be_written_is_used(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = recorded(folder)
    settle()
    (folder.parent / "closed").write_text("a file, where a folder cannot be made")
    caches = [folder.parent / "closed", folder.parent / "open"]
    assert Verifier("once", caches).damage(folder, files) == []
    assert len([*(folder.parent / "open").rglob("*.json")]) == 1
    forget(monkeypatch)
    read.clear()
    assert Verifier("once", caches).damage(folder, files) == []
    assert read == []
    assert Verifier("once").damage(folder, files) == []  # nowhere to remember


def test_the_cache_of_a_session_long_ago_is_removed(folder: Path) -> None:
    cache = folder.parent / "cache"
    for name, days in (("old", 40), ("other", 1)):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (time.time() - days * 86_400,) * 2)
    settle()
    verifier(folder).damage(folder, recorded(folder))
    assert {path.name for path in cache.iterdir()} == {"other", digests.session()}


def test_files_that_no_record_names_are_found(folder: Path) -> None:
    files = recorded(folder)
    (folder / "model" / "adapter_config.json").write_text("{}")
    assert strays(folder, files) == ["model/adapter_config.json"]


# sealed records


def test_a_file_that_stands_as_it_was_is_read_once_and_a_changed_one_again(
    folder: Path, read: list[str]
) -> None:
    settle()
    path = folder / "model" / "weights"
    first = hashlib.sha256(bytes(range(200))).hexdigest()
    assert [digests.sha256_as_it_stands(path) for _ in range(3)] == [first] * 3
    assert read == ["weights"]
    times = path.stat()
    path.write_bytes(bytes(range(1, 201)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    changed = hashlib.sha256(bytes(range(1, 201))).hexdigest()
    assert digests.sha256_as_it_stands(path) == changed
    path.write_bytes(bytes(200))  # within the tick in which it was read
    assert digests.sha256_as_it_stands(path) == hashlib.sha256(bytes(200)).hexdigest()


def test_a_sealed_record_stays_so_through_json() -> None:
    record = sealed({"b": 1.5, "a": {2: "ä", 10: None, "x": (1, 2)}, "nan": float("inf")})
    assert is_sealed(record)
    assert is_sealed(json.loads(json.dumps(record)))


@pytest.mark.parametrize(
    "change", [{"a": 2}, {"b": None}, {"c": 0}, {"digest": "0" * 64}, {"digest": None}]
)
def test_no_part_of_a_sealed_record_changes_unseen(change: dict[str, Any]) -> None:
    assert not is_sealed(sealed({"a": 1, "b": [1]}) | change)


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        {"a": None},
        {"a": {"size": 1}},
        {"a": {"size": "1", "sha256": ""}},
        {"a": {"size": True, "sha256": ""}},
        {"../a": {"size": 1, "sha256": ""}},
        {"/etc/passwd": {"size": 1, "sha256": ""}},
        {"": {"size": 1, "sha256": ""}},
    ],
)
def test_what_is_no_record_of_files_is_told(files: Any) -> None:
    assert not are_files(files)
    assert are_files({"a/b": {"size": 1, "sha256": "00"}})
