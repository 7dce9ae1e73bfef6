"""The measuring scripts still speak to the library as it is: each runs at its smallest."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
SMALLEST = {
    "chunked.py": "--rounds 1 --case few",
    "codecs.py": "--rounds 1 --positions 200",
    "libraries.py": "--rounds 1 --precision float32 --size 64 500 16",
    "fast_paths.py": "--rounds 1 --steps 1 --examples 40 --tokens 300 --layers 1 --vocabulary 500",
    "language_speed.py": (
        "--rounds 1 --steps 1 --tokens 300 --length 32 --layers 1 --vocabulary 500"
    ),
    "large_store.py": "--rounds 1 --positions 20000 --batches 3",
    "plan_accuracy.py": "--rounds 1 --steps 1",
    "shared_capture.py": "--rounds 1 --examples 80 --shard-tokens 500",
    "speed.py": "--rounds 1 --steps 2 --examples 80",
}


def test_every_script_is_tried() -> None:
    # timing.py is what they share; quality.py takes a real teacher, growth.py has sizes of its own
    others = {"quality.py", "growth.py", "timing.py"}
    assert {*SMALLEST, *others} == {path.name for path in BENCH.glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("script", SMALLEST)
def test_a_script_runs(script: str) -> None:
    command = [sys.executable, str(BENCH / script), *SMALLEST[script].split()]
    ended = subprocess.run(command, env=tiny.env(), capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


@pytest.mark.parametrize("script", [*SMALLEST, "quality.py", "growth.py"])
def test_a_script_finds_what_it_imports(script: str) -> None:
    import runpy

    sys.path.insert(0, str(BENCH))
    try:
        runpy.run_path(str(BENCH / script))
    finally:
        sys.path.remove(str(BENCH))
