"""Students in torchao's int8, in an environment that has it: made, read again, not trained."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny

pytestmark = pytest.mark.network
PACKAGE = "torchao==0.18.0"
COMPARE = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification as Auto
before, after = (Auto.from_pretrained(path).eval() for path in sys.argv[1:])
ids = torch.arange(5, 45).reshape(2, 20)
with torch.no_grad():
    expected, found = before(ids).logits, after(ids).logits
weight = after.bert.encoder.layer[0].output.dense.weight
gap = float((found - expected).abs().max())
print(json.dumps([type(weight).__name__, gap, float(expected.std())]))
"""


@pytest.fixture(scope="module")
def torchao(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with torchao in it: each import of transformers would take seconds more with it."""
    folder = tmp_path_factory.mktemp("torchao")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, PACKAGE], check=True)
    return folder


def run(folder: Path, torchao: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(__file__).parents[2]}{os.pathsep}{torchao}"
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_int8_is_a_folder_of_transformers(torchao: Path, tmp_path: Path) -> None:
    student = tiny.write_model(tmp_path / "student", labels=("bad", "good"), hidden=64)
    words = (f"student.path={student}", "compression=[int8]", "workspace=w")
    made = run(tmp_path, torchao, "-m", "distillkit", "compress", *words)
    assert made.returncode == 0, made.stderr
    assert "Failed to load" not in made.stderr
    assert "_pytree" not in made.stderr
    (folder,) = tmp_path.glob("outputs/*/*/student-int8")
    assert json.loads((folder / "config.json").read_text())["id2label"] == {"0": "bad", "1": "good"}
    assert not [path for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]
    sizes = [(it / "model.safetensors").stat().st_size for it in (student, folder)]
    assert sizes[1] < 0.5 * sizes[0]

    read = run(tmp_path, torchao, "-c", COMPARE, str(student), str(folder))
    assert read.returncode == 0, read.stderr
    kind, gap, spread = json.loads(read.stdout.splitlines()[-1])
    assert "Int8" in kind
    assert 0 < gap < 0.2 * spread

    train, _ = tiny.write_reviews(tmp_path, 60, 10)
    overrides = tiny.small(student, train, None, tmp_path / "w")
    words = (*overrides, "student=pretrained", f"student.path={folder}")
    kept = [word for word in words if not word.startswith("student.config")]
    refused = run(tmp_path, torchao, "-m", "distillkit", "train", *kept)
    assert refused.returncode == 2, refused.stderr
    assert "its weights are quantized, and a student is trained in plain ones" in refused.stderr
