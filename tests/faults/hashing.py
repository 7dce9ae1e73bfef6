"""What verification costs: the share of a run's processor time that goes into digests.

    OMP_NUM_THREADS=1 python -m tests.faults.hashing train +recipe=bert-tiny workspace=w

runs the command in this process with every function of `distillkit/artifacts/digests.py` that reads
files or records timed (user and system time of its thread, the outermost call alone), and prints
the share of all processor time of the process, imports included. Started again it measures a run
that finds all there: `workspace.verify=once` has remembered what was read, `always` reads it all.
"""

import contextlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any
from unittest import mock

TIMED = (
    "file_sha256",
    "sha256_as_it_stands",
    "recorded",
    "trust",
    "sealed",
    "is_sealed",
    "manifest_of",
    "fault_of",
)


@dataclass
class Spent:
    """What digests took: seconds of processor time, and which files were read, how often."""

    seconds: float = 0.0
    bytes: int = 0
    reads: Counter[tuple[int, int]] = field(default_factory=Counter)  # of a device and an inode

    def share(self, whole: float) -> str:
        """Of a whole in seconds, in words."""
        return (
            f"digests: {self.seconds:.3f} of {whole:.1f} s of processor time = "
            f"{self.seconds / whole:.2%}; {self.bytes / 1e6:,.1f} MB read, "
            f"{sum(self.reads.values()):,} reads of {len(self.reads):,} files"
        )


@contextlib.contextmanager
def counted() -> Iterator[Spent]:
    """Within, what digests take is counted, in whatever module they are called."""
    from distillkit.artifacts import digests

    spent, lock, depth = Spent(), threading.Lock(), threading.local()

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            outer = getattr(depth, "number", 0)
            depth.number, began = outer + 1, time.thread_time()
            try:
                return function(*given, **named)
            finally:
                depth.number = outer
                with lock:
                    spent.seconds += 0 if outer else time.thread_time() - began
                    if function is digests_file_sha256:
                        found = Path(given[0]).stat()
                        spent.bytes += found.st_size
                        spent.reads[found.st_dev, found.st_ino] += 1

        return wrapped

    digests_file_sha256 = digests.file_sha256
    whole = {getattr(digests, name): timed(getattr(digests, name)) for name in TIMED}
    verify = timed(digests.Verifier.damage)
    replace_everywhere(whole)
    with mock.patch.object(digests.Verifier, "damage", verify):
        try:
            yield spent
        finally:  # also in modules that were imported meanwhile
            replace_everywhere({new: old for old, new in whole.items()})


def replace_everywhere(functions: dict[Any, Any]) -> None:
    """Put other functions in the place of some, in every module of distillkit."""
    for name, module in [*sys.modules.items()]:
        if name.partition(".")[0] == "distillkit":
            for key, value in [*vars(module).items()]:
                if isinstance(value, FunctionType) and value in functions:
                    setattr(module, key, functions[value])


def main(words: Sequence[str]) -> int:
    """Run a command and say what its digests took; its exit code."""
    from distillkit.cli.commands import evaluate, train  # noqa: F401  all that call digests are loaded
    from distillkit.cli.main import main as run

    code: Any = 0
    with counted() as spent, mock.patch.object(sys, "argv", ["distillkit", *words]):
        try:
            run()
        except SystemExit as end:
            code = end.code
    times = os.times()
    whole = times.user + times.system + times.children_user + times.children_system
    sys.stderr.write(f"{spent.share(whole)}\n")
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
