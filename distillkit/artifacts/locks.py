"""Locks across processes, users and machines.

They are held by the kernel (flock) and end with the process. Where a disk has no such locks, as
some network disks have not, a file with the holder's name stands in (a *soft* lock): one of a
process of this machine that is gone is removed, and so is one of another machine that its holder
does not touch any more (`beats`). The line that says who is waited for names the file.
"""

import errno
import fcntl
import json
import os
import pwd
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from distillkit.artifacts import beats

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
_BUSY = {errno.EAGAIN, errno.EACCES}
_POLL = 0.2  # seconds between two looks at a lock that another process holds
_EMPTY = 10.0  # seconds after which a soft lock without a name is of a process that died
_BEATS = b"\n"  # the end of a soft lock that its holder touches; earlier versions did not
_folders_without_locks: set[Path] = set()  # folders of which it was said that they have no locks


@dataclass(frozen=True, slots=True)
class Holder:
    """A process; `machine` and `started` tell it from a later one with its number."""

    pid: int
    host: str
    user: str
    machine: str
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}"

    def is_here(self) -> bool:
        """Whether it is of this machine, and of no container that numbers its own processes."""
        same_numbers = machine().rpartition(" ")[0] == self.machine.rpartition(" ")[0]
        return self.host == socket.gethostname() and same_numbers

    def is_gone(self) -> bool:
        """Whether it was a process of this machine and has ended."""
        if not self.is_here():
            return False
        boot, its_boot = (text.rpartition(" ")[2] for text in (machine(), self.machine))
        return boot != its_boot or _started(self.pid) != self.started

    def is_stopped(self) -> bool:
        """Whether it is a process that SIGSTOP or ^Z stopped; asked of this machine's own."""
        return _state(self.pid)[:1] == ["T"]


@cache
def myself() -> Holder:
    """This process."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    pid = os.getpid()
    return Holder(pid, socket.gethostname(), user, machine(), _started(pid))


os.register_at_fork(after_in_child=myself.cache_clear)


@cache
def machine() -> str:
    """The namespace of this process's number, and the start of the machine."""
    parts = ["", ""]
    with suppress(OSError):
        parts[0] = str(Path("/proc/self/ns/pid").readlink())
    with suppress(OSError):
        parts[1] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return " ".join(parts)


def _started(pid: int) -> str:
    """When a process was started, in ticks; empty for one that is gone."""
    fields = _state(pid)
    if not fields:
        return "" if Path("/proc/self/stat").exists() else _alive(pid)
    return "" if fields[0] == "Z" else fields[19]


def _state(pid: int) -> list[str]:
    """What /proc says of a process, from its state on; empty where it says nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _alive(pid: int) -> str:
    """The same where there is no /proc: whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"


@contextmanager
def hold(
    path: Path,
    *,
    mode: int,
    group: int,
    waiting: Callable[[str], None],
    tell: Callable[[str], None],
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[None]:
    """Hold the lock of a file, which is made with `mode` and `group` and stays.

    `waiting` is called once if another process has it, with who that is as far as it is known, and
    may raise to wait no longer; `meanwhile` between two looks at a lock that another has; `tell`
    once a folder where the disk has no locks. Raises `OSError` where the file cannot be opened.
    """
    release = _acquired(path, mode, group, _Waiting(waiting, meanwhile), tell)
    try:
        yield
    finally:
        release()


class HeldError(Exception):
    """Another process has the lock; who that is, as far as it is known."""


@contextmanager
def held_at_once(
    path: Path, *, mode: int, group: int, tell: Callable[[str], None]
) -> Iterator[None]:
    """The same as `held`, but raises `HeldError` where it would wait."""

    def refuse(holder: str) -> None:
        raise HeldError(holder)

    with hold(path, mode=mode, group=group, waiting=refuse, tell=tell):
        yield


def is_held(path: Path) -> bool | None:
    """Whether a process has the lock of a file; None where that cannot be told. Makes nothing."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return _is_held_softly(path)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        has_none = error.errno in _NO_LOCKS
        return (_is_held_softly(path) or None) if has_none else None
    finally:
        os.close(handle)
    return _is_held_softly(path)


def soft(path: Path) -> Path:
    """The file that stands in for a lock where the disk has none."""
    return path.with_name(f"{path.name}.soft")


def hard(path: Path) -> Path:
    """The file of the lock that a soft one stands in for; any other path as it is."""
    return path.with_name(path.name.removesuffix(".soft"))


def holder_of(path: Path) -> Holder | None:
    """Who has, or had, the lock of a file, where its name is there to be read."""
    for place in (path, soft(path)):
        with suppress(OSError):
            holder = _holder_in(_content(place))
            if holder is not None:
                return holder
    return None


def _is_held_softly(path: Path) -> bool:
    """Whether there is a soft lock whose process may live."""
    with suppress(OSError):
        if soft(path).is_file():
            return not _is_left(soft(path), soft(path).read_bytes())
    return False


def _acquired(
    path: Path, mode: int, group: int, waits: "_Waiting", tell: Callable[[str], None]
) -> Callable[[], None]:
    """Take the lock, of the kernel or else a soft one; return what gives it up."""
    try:
        handle = _kernel_lock(path, mode, group, waits)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        if path.parent not in _folders_without_locks:
            _folders_without_locks.add(path.parent)
            tell(
                f"{path.parent}: this disk has no locks ({error.strerror}); files with the names "
                "of those who work stand in for them"
            )
    else:
        return partial(_release, handle)
    _soft_lock(soft(path), mode, group, waits)
    return partial(_release_soft, soft(path))


def _release(handle: int) -> None:
    with suppress(OSError):  # another user's file, to be read only
        os.ftruncate(handle, 0)
    os.close(handle)


class _Waiting:
    """Tells of a holder the first time that it is called; works, and sleeps a moment, each time."""

    def __init__(self, tell: Callable[[str], None], work: Callable[[], object]) -> None:
        self._tell, self._work, self._called = tell, work, False

    def __call__(self, holder: str) -> None:
        if not self._called:
            self._called = True
            self._tell(holder)
        self._work()
        time.sleep(_POLL)


def _kernel_lock(path: Path, mode: int, group: int, waits: _Waiting) -> int:
    """The open file whose lock is held."""
    while True:
        handle = _opened(path, mode, group)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                _sign(handle)
                return handle
        except OSError as error:
            if error.errno not in _BUSY:
                os.close(handle)
                if error.errno == errno.EBADF:  # NFS: a file that is open for reading only
                    raise PermissionError(errno.EACCES, "Permission denied", str(path)) from error
                raise
            holder = _holder_text(os.pread(handle, 4096, 0))
        except BaseException:
            os.close(handle)
            raise
        else:
            holder = ""  # its file was removed meanwhile
        os.close(handle)
        if holder:
            waits(holder)


def _opened(path: Path, mode: int, group: int) -> int:
    """The file of a lock, for reading where another user's may not be written."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # its holder has just removed it
            return _opened(path, mode, group)
    with suppress(OSError):
        os.fchown(handle, -1, group)
    with suppress(OSError):
        os.fchmod(handle, mode)
    return handle


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file is still the one of that name; it may have been removed."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(handle)
    return (named.st_ino, named.st_dev) == (opened.st_ino, opened.st_dev)


def _sign(handle: int) -> None:
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(myself())).encode(), 0)


def _holder_in(content: bytes) -> Holder | None:
    try:
        return Holder(**json.loads(content))
    except (ValueError, TypeError):
        return None


def _content(path: Path) -> bytes:
    """What is in a soft lock; nothing in what is no file: a pipe would be waited for."""
    return path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else b""


def _holder_text(content: bytes) -> str:
    holder = _holder_in(content)
    return str(holder) if holder else "another run"


def _soft_lock(path: Path, mode: int, group: int, waits: _Waiting) -> None:
    """Make the file that stands in for a lock."""
    empty_since: float | None = None
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "wb") as file:
                file.write(json.dumps(asdict(myself())).encode() + _BEATS)
            with suppress(OSError):
                os.chown(path, -1, group)
            with suppress(OSError):
                path.chmod(mode)
            beats.begin(path)
            return
        try:
            content = _content(path)
        except FileNotFoundError:
            continue
        holder = _holder_in(content)
        empty_since = None if holder else empty_since or time.monotonic()
        is_lost = empty_since is not None and time.monotonic() - empty_since > _EMPTY
        if is_lost or _is_left(path, content):
            _remove_stale(path, content)
            continue
        waits(_waited_for(holder, path))


def _is_left(path: Path, content: bytes) -> bool:
    """Whether a soft lock is of a process that is gone, or of another machine and silent."""
    holder = _holder_in(content)
    if holder is None:
        return False
    return holder.is_gone() or (
        content.endswith(_BEATS) and not holder.is_here() and beats.is_silent(path)
    )


def _waited_for(holder: Holder | None, path: Path) -> str:
    """Who holds a soft lock, and what to do where nobody can tell whether it lives."""
    return f"{holder or 'another run'}; if that one is gone, remove {path}"


def _remove_stale(path: Path, content: bytes) -> None:
    """Remove the lock of a process that is gone, unless another one has just done so.

    On a machine one at a time does so: a name among its sockets is held by one process and ends
    with it. Of two machines the one removes what the other has just made only if it was made
    between the two looks of a moment.
    """
    with socket.socket(socket.AF_UNIX) as guard:
        try:
            place = path.stat()
            if sys.platform == "linux":  # others have no such names
                guard.bind(f"\0distillkit-{place.st_dev}-{path.name}"[:100])
        except OSError:  # somebody else is at it, or it is removed
            time.sleep(_POLL)
            return
        with suppress(FileNotFoundError):
            if _content(path) == content:
                path.unlink()


def _release_soft(path: Path) -> None:
    beats.end(path)
    with suppress(OSError):
        if _holder_in(path.read_bytes()) == myself():
            path.unlink()
