"""What it takes to fill a target store, by one process and by several that share the shards.

The teacher has MiniLM-L6's shape and random weights, the texts have the lengths of review
sentences; see speed.py. Each process has one thread and loads a teacher of its own, as ranks and
the jobs of an array do. Start-up (Python, PyTorch) is not counted, loading the teacher is.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import speed
import torch

from distillkit.artifacts.digests import file_sha256
from distillkit.artifacts.shared_work import LOOK
from distillkit.stages.target_work import TargetHelp, TargetWork
from distillkit.stages.targets import generate_targets
from distillkit.targets import StoredTargets
from distillkit.tasks import Classification

START = 0.05  # seconds between two looks whether all are ready


class LateTeacher:
    """A teacher that is loaded when it is needed."""

    saved = speed.RandomTeacher.saved

    def place(self, task: Any, space: Any) -> Any:
        return speed.RandomTeacher().place(task, space)


def work_of(examples: int, tokens: int) -> TargetWork:
    """The same work in each process."""
    teacher: Any = LateTeacher()
    settings = StoredTargets(shard_tokens=tokens, precision="float32")
    task = Classification(max_length=64)
    return TargetWork(teacher, task, speed.SPACE, speed.texts(examples), settings, speed.ORIGIN)


def run(number: int, processes: int, folder: Path, examples: int, tokens: int) -> None:
    """One process: the first leads; leaves the seconds that it took and computed."""
    torch.set_num_threads(1)
    work, out = work_of(examples, tokens), folder / "store"
    (folder / f"ready-{number}").touch()
    while len(list(folder.glob("ready-*"))) < processes:
        time.sleep(START)
    wall, spent = time.perf_counter(), time.process_time()
    if number:
        help_first = TargetHelp(lambda: work)
        while not help_first(out):
            time.sleep(LOOK)
    else:
        generate_targets(work, out=out)
    seconds = time.perf_counter() - wall, time.process_time() - spent
    (folder / f"seconds-{number}").write_text(" ".join(map(str, seconds)))


def measured(processes: int, examples: int, tokens: int) -> tuple[float, list[float], list[str]]:
    """(seconds of the whole, computed seconds of each, the shards' sha256)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "store").mkdir()
        context = multiprocessing.get_context("spawn")
        children = [
            context.Process(target=run, args=(number, processes, folder, examples, tokens))
            for number in range(processes)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join()
            assert child.exitcode == 0, "a process failed"
        walls, spent = zip(
            *(
                map(float, (folder / f"seconds-{number}").read_text().split())
                for number in range(processes)
            ),
            strict=True,
        )
        digests = [file_sha256(path) for path in sorted(folder.glob("store/shard-*.arrow"))]
        return max(walls), list(spent), digests


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--shard-tokens", type=int, default=16_384)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    first: list[str] = []
    for turn in range(options.rounds):
        for processes in options.processes:
            wall, spent, digests = measured(processes, options.examples, options.shard_tokens)
            first = first or digests
            same = "same bits" if digests == first else "OTHER BITS"
            each = ", ".join(f"{seconds:.1f}" for seconds in spent)
            print(
                f"round {turn + 1}, {processes} processes: {wall:.1f} s, computed {sum(spent):.1f} "
                f"s ({each}), {len(digests)} shards, {same}"
            )


if __name__ == "__main__":
    main()
