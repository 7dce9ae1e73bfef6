"""What each fast path brings: the same work with and without it, in turn.

Printed is the work without the path / the work with it, in processor time of all threads, so that a
busy machine can measure it: the median of the rounds, the lowest and the highest. The first round
is not counted. Work is a student's steps and a teacher's pass, shards written, as in speed.py
(BERT-tiny in float32; MiniLM-L6's shape) and in language_speed.py (a teacher of SmolLM2-135M's
shape): what a run computes, and not the path's own part alone.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import language_speed
import speed
from timing import ORIGIN, ratio, seconds, shown

from distillkit.fast_paths import VARIABLE, FastPath
from distillkit.losses import HardLabelLoss
from distillkit.stages import targets as stage
from distillkit.stages.target_work import TargetWork
from distillkit.targets import Sampled, StoredTargets, TopK
from distillkit.tasks import CausalLM, Classification
from distillkit.training.batching import PaddedPlan
from distillkit.training.collation import collator
from distillkit.types import LabelSpace

Work = Callable[[Path], object]  # a new folder -> all that is measured


def compared(path: FastPath, work: Work, folder: Path, rounds: int) -> str:
    """The ratio as it is printed."""
    times: dict[bool, list[float]] = {True: [], False: []}
    numbers = count()
    for _ in range(rounds + 1):
        for is_enabled, spent in times.items():
            os.environ[VARIABLE] = "" if is_enabled else path
            out = folder / f"{path}-{next(numbers)}"
            out.mkdir()
            spent.append(seconds(partial(work, out), clock=time.process_time))
    del os.environ[VARIABLE]
    return shown(ratio(times[False][1:], times[True][1:]))


def student_steps(steps: int) -> Work:
    """Steps of BERT-tiny at batch 64, on labels alone."""
    table = speed.texts(20_000)
    job = speed.job_of(table, HardLabelLoss(), steps=steps, precision="float32", store=None)
    plan = PaddedPlan(table.lengths, size=64, seed=0)
    collate = collator(table, speed.Tokenizer(), speed.DEVICE)
    return partial(speed.our_steps, speed.BERT_TINY, job, plan, collate)


def encoder_pass(examples: int) -> Work:
    """A teacher's pass over short texts."""
    teacher: Any = speed.RandomTeacher()
    task, table = Classification(max_length=64), speed.texts(examples)
    work = TargetWork(teacher, task, speed.SPACE, table, StoredTargets(), ORIGIN)
    return lambda out: stage.generate_targets(work, out=out)


def language_pass(codec: Any, tokens: int, layers: int, vocabulary: int) -> Work:
    """A language model's pass, its outputs kept by `codec`."""
    stage.QUALITY_POSITIONS = 1  # as language_speed.py has it
    tokenizer, pair = language_speed.Tokenizer(vocabulary), language_speed.PAIRS["135m"]
    shape = pair.teacher | {"num_hidden_layers": layers}
    teacher: Any = language_speed.RandomTeacher(tokenizer, shape, pair.weights)
    table = language_speed.texts(tokens, 128, vocabulary)
    settings = StoredTargets(codec=codec, batch_tokens=1024, shard_tokens=2048)
    task = CausalLM(max_length=128)
    work = TargetWork(teacher, task, LabelSpace(()), table, settings, ORIGIN)
    return lambda out: stage.generate_targets(work, out=out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60, help="of the student, a round")
    parser.add_argument("--examples", type=int, default=2000, help="of the encoder's pass")
    parser.add_argument("--tokens", type=int, default=4096, help="of the language model's pass")
    parser.add_argument("--layers", type=int, default=30, help="of the language model")
    parser.add_argument("--vocabulary", type=int, default=49_152)
    chosen = parser.parse_args()
    language = chosen.tokens, chosen.layers, chosen.vocabulary
    measured: list[tuple[FastPath, str, Callable[[], Work]]] = [
        (FastPath.FIRST_TOKEN_LAYER, "student step", partial(student_steps, chosen.steps)),
        (FastPath.FIRST_TOKEN_LAYER, "encoder pass", partial(encoder_pass, chosen.examples)),
        (FastPath.CACHED_CASTS, "encoder pass", partial(encoder_pass, chosen.examples)),
        (FastPath.CACHED_CASTS, "language pass", partial(language_pass, Sampled(), *language)),
        (
            FastPath.REJECTION_SAMPLING,
            "language pass",
            partial(language_pass, Sampled(), *language),
        ),
        (
            FastPath.BFLOAT16_PRODUCTS,
            "language pass",
            partial(language_pass, TopK(k=50), *language),
        ),
    ]
    with tempfile.TemporaryDirectory() as name:
        for path, what, work in measured:
            found = compared(path, work(), Path(tempfile.mkdtemp(dir=name)), chosen.rounds)
            print(f"{path:<20} {what:<14} {found}", flush=True)


if __name__ == "__main__":
    main()
