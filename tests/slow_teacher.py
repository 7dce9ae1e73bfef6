"""distillkit with a teacher that takes its time: `python -m tests.slow_teacher SECONDS words…`.

So long is each forward pass of a capture, and the first one of rank 0 ends when another process has
captured something. Each shard that a process has to write is a line "process shard" in the file
that CAPTURED names.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def command(seconds: float, *words: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "tests.slow_teacher", str(seconds), *words]


def main(seconds: float, words: Sequence[str]) -> None:
    """Run distillkit."""
    from distillkit.cli.main import main as run
    from distillkit.stages import target_capture
    from distillkit.targets import TargetWriter

    predict, write = target_capture.predict, TargetWriter.write

    def slow(*args: Any, **settings: Any) -> Any:
        for number, batch in enumerate(predict(*args, **settings)):
            time.sleep(seconds)
            if not number and os.environ.get("RANK") == "0":
                await_others()
            yield batch

    def noted(self: TargetWriter, shard: int, *args: Any) -> None:
        if self.folder.name.startswith("targets-"):
            with open(os.environ["CAPTURED"], "a") as file:  # noqa: PTH123
                file.write(f"{os.getpid()} {shard}\n")
        write(self, shard, *args)

    target_capture.predict = slow
    TargetWriter.write = noted  # type: ignore[method-assign]
    sys.argv = ["distillkit", *words]
    run()


def await_others() -> None:
    """Wait until there is a line of another process, but not for ever."""
    late = time.monotonic() + 100
    while time.monotonic() < late:
        path = Path(os.environ["CAPTURED"])
        lines = path.read_text().splitlines() if path.is_file() else []
        if any(line.split()[0] != str(os.getpid()) for line in lines):
            return
        time.sleep(0.02)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
