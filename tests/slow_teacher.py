"""distillkit with a teacher that takes its time: `python -m tests.slow_teacher SECONDS words…`.

So long is each forward pass of a capture. The first one of rank 0, or of a process for which AWAITS
is set, ends when another process has captured something. Each shard that a process has to write is
a line "process shard" in the file that CAPTURED names, and so is each piece of an evaluation that
is shared, however few texts it has.
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
    from distillkit.artifacts import shared_parts
    from distillkit.cli.main import main as run
    from distillkit.pipeline import evaluation
    from distillkit.stages import target_capture
    from distillkit.targets import TargetWriter

    predict, write = target_capture.predict, TargetWriter.write
    SharedParts = shared_parts.SharedParts
    save, share, evaluation.SHARED_FROM = shared_parts.save_batches, SharedParts.batches, 1

    def slow(*args: Any, **settings: Any) -> Any:
        for number, batch in enumerate(predict(*args, **settings)):
            time.sleep(seconds)
            if not number and (os.environ.get("RANK") == "0" or "AWAITS" in os.environ):
                await_others()
            yield batch

    def noted(self: TargetWriter, shard: int, *args: Any) -> None:
        if self.folder.name.startswith("targets-"):
            note(shard)
        write(self, shard, *args)

    def saved(path: Path, batches: Any) -> None:
        note(path.stem.replace(" ", "_"))
        save(path, batches)

    def shared(self: SharedParts, *args: Any) -> Any:
        if os.environ.get("RANK") == "0":
            await_others()
        return share(self, *args)

    target_capture.predict = slow
    TargetWriter.write = noted  # type: ignore[method-assign]
    shared_parts.save_batches, SharedParts.batches = saved, shared  # type: ignore[method-assign]
    sys.argv = ["distillkit", *words]
    run()


def note(work: object) -> None:
    """Write down what this process does."""
    with open(os.environ["CAPTURED"], "a") as file:  # noqa: PTH123
        file.write(f"{os.getpid()} {work}\n")


def await_others() -> None:
    """Wait until there is a line of another process, but not for ever."""
    late = time.monotonic() + 200
    while time.monotonic() < late:
        path = Path(os.environ["CAPTURED"])
        lines = path.read_text().splitlines() if path.is_file() else []
        if any(line.split()[0] != str(os.getpid()) for line in lines):
            return
        time.sleep(0.02)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
