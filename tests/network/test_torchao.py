"""Students in torchao's int8, in an environment that has it: made, read again, not trained."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny
from tests.unit.compression import language
from tests.unit.compression.models import save

pytestmark = pytest.mark.network
PACKAGE = "torchao==0.18.0"
COMPARE = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification as Auto
from distillkit.models.classifiers import load_complete
before, after = (Auto.from_pretrained(path).eval() for path in sys.argv[1:])
own = load_complete(sys.argv[2], key="x", auto_class="AutoModelForSequenceClassification").eval()
ids = torch.arange(5, 45).reshape(2, 20)
with torch.no_grad():
    expected, found, ours = (it(ids).logits for it in (before, after, own))
parts = (after.bert.encoder.layer[0].output.dense, after.bert.embeddings.word_embeddings)
gap, own_gap = (float((it - found).abs().max()) for it in (expected, ours))
kinds = [type(it.weight).__name__ for it in parts]
print(json.dumps([kinds, gap, float(expected.std()), own_gap, own.runtime]))
"""

OTHERS = """
import json, sys, torch
from distillkit.models.classifiers import load_complete
from distillkit.students.architectures import register_architectures
register_architectures()
before, after = (
    load_complete(it, key="x", auto_class=sys.argv[3]).eval() for it in sys.argv[1:3]
)
ids = torch.arange(5, 45).reshape(2, 20)
with torch.no_grad():
    outputs = [it(ids) for it in (before, after)]
expected, found = ((it.logits if "logits" in it else it.start_logits) for it in outputs)
print(json.dumps([float((found - expected).abs().mean()), float(expected.std())]))
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
    assert sizes[1] < 0.4 * sizes[0]

    read = run(tmp_path, torchao, "-c", COMPARE, str(student), str(folder))
    assert read.returncode == 0, read.stderr
    kinds, gap, spread, own_gap, runtime = json.loads(read.stdout.splitlines()[-1])
    assert all("Int8" in kind for kind in kinds)
    assert 0 < gap < 0.2 * spread
    assert own_gap < 1e-6  # row by row it says what torchao does
    assert runtime == "PyTorch with torchao 0.18.0"

    train, _ = tiny.write_reviews(tmp_path, 60, 10)
    overrides = tiny.small(student, train, None, tmp_path / "w")
    words = (*overrides, "student=pretrained", f"student.path={folder}")
    kept = [word for word in words if not word.startswith("student.config")]
    refused = run(tmp_path, torchao, "-m", "distillkit", "train", *kept)
    assert refused.returncode == 2, refused.stderr
    assert "its weights are quantized, and a student is trained in plain ones" in refused.stderr


@pytest.mark.parametrize("kind", ["QuestionAnswering", "bilstm"])
def test_other_models_of_labels(torchao: Path, tmp_path: Path, kind: str) -> None:
    student = tmp_path / "student"
    model = save(kind, student)
    words = (f"student.path={student}", "compression=[int8]", "workspace=w")
    made = run(tmp_path, torchao, "-m", "distillkit", "compress", *words)
    assert made.returncode == 0, made.stderr
    (folder,) = tmp_path.glob("outputs/*/*/student-int8")
    auto_class = f"AutoModelFor{kind if kind[0].isupper() else 'SequenceClassification'}"
    read = run(tmp_path, torchao, "-c", OTHERS, str(student), str(folder), auto_class)
    assert read.returncode == 0, read.stderr
    gap, spread = json.loads(read.stdout.splitlines()[-1])
    assert 0 < gap < 0.1 * spread
    assert model.num_parameters() > 0


def test_a_language_model_keeps_its_word_vectors(torchao: Path, tmp_path: Path) -> None:
    language.save("qwen2", tmp_path / "student", tie_word_embeddings=True)
    words = (f"student.path={tmp_path / 'student'}", "compression=[int8]", "workspace=w")
    made = run(tmp_path, torchao, "-m", "distillkit", "compress", *words)
    assert made.returncode == 0, made.stderr
    (folder,) = tmp_path.glob("outputs/*/*/student-int8")
    prompt = ("--prompt", "the film", "--max-new-tokens", "8")
    texts = [
        run(tmp_path, torchao, "-m", "distillkit", "generate", f"student.path={it}", *prompt)
        for it in (tmp_path / "student", folder)
    ]
    assert [it.returncode for it in texts] == [0, 0], texts[1].stderr
    assert texts[0].stdout[:12] == texts[1].stdout[:12]
