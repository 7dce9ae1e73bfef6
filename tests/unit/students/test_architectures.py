"""Students that transformers lacks: they are made, fed, saved and loaded as all others are."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForSequenceClassification

from distillkit.errors import ModelError
from distillkit.models.classifiers import load_tokenizer
from distillkit.models.saved import SavedModel
from distillkit.students import register_architectures
from distillkit.students.embeddings import principal_components, start_from_teacher
from distillkit.tasks import Classification, Regression
from distillkit.types import LabelSpace
from tests import tiny

SHAPES: dict[str, dict[str, Any]] = {
    "textcnn": {"model_type": "distillkit_textcnn", "embedding_size": 8, "feature_maps": 5},
    "bilstm": {"model_type": "distillkit_bilstm", "embedding_size": 8, "hidden_size": 6},
    "siamese": {"model_type": "distillkit_bilstm", "embedding_size": 8, "siamese": True},
}
LABELS = LabelSpace(("bad", "good", "mixed"))
each = pytest.mark.parametrize("kind", SHAPES)


@pytest.fixture(autouse=True, scope="module")
def _known() -> None:
    register_architectures()
    register_architectures()


@pytest.fixture(scope="module")
def tokenizer(body: Path) -> Any:
    return load_tokenizer(str(body), key="k")


def new(kind: str, tokenizer: Any, task: Any = None, labels: LabelSpace = LABELS) -> Any:
    torch.manual_seed(0)
    task = task or Classification()
    return task.new_model(SHAPES[kind], labels, tokenizer, key="student.config").eval()


def pairs(tokenizer: Any, count: int = 6, **how: Any) -> Any:
    texts = [text for text, _ in tiny.labelled(2 * count)]
    return tokenizer(texts[:count], texts[count:], padding=True, return_tensors="pt", **how)


@torch.no_grad()
def says(model: Any, inputs: Any) -> torch.Tensor:
    logits: torch.Tensor = model(**inputs).logits
    return logits


@each
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(kind: str, side: str, tokenizer: Any) -> None:
    model = new(kind, tokenizer)
    inputs = pairs(tokenizer)
    ends = (0, 3) if side == "right" else (3, 0)
    longer = {name: F.pad(values, ends) for name, values in inputs.items()}
    longer["input_ids"] = longer["input_ids"] + 7 * (1 - longer["attention_mask"])  # of any id
    torch.testing.assert_close(says(model, longer), says(model, inputs), rtol=1e-5, atol=1e-6)


@each
def test_a_text_says_alone_what_it_says_among_others(kind: str, tokenizer: Any) -> None:
    model = new(kind, tokenizer)
    inputs = pairs(tokenizer)
    whole = says(model, inputs)
    for row, length in enumerate(inputs["attention_mask"].sum(dim=1).tolist()):
        one = {name: values[row : row + 1, :length] for name, values in inputs.items()}
        torch.testing.assert_close(says(model, one)[0], whole[row], rtol=1e-5, atol=1e-6)
    assert whole.std(dim=0).min() > 1e-5


@each
def test_every_weight_learns(kind: str, tokenizer: Any) -> None:
    model = new(kind, tokenizer)
    loss = model(**pairs(tokenizer), labels=torch.tensor([0, 1, 2, 0, 1, 2])).loss
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@each
def test_its_loss_is_that_of_its_task(kind: str, tokenizer: Any) -> None:
    inputs = pairs(tokenizer)
    model = new(kind, tokenizer)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    expected = F.cross_entropy(model(**inputs).logits, labels)
    torch.testing.assert_close(model(**inputs, labels=labels).loss, expected)
    scorer = new(kind, tokenizer, Regression(), LabelSpace(()))
    values = torch.arange(6.0)
    expected = F.mse_loss(scorer(**inputs).logits[:, 0], values)
    torch.testing.assert_close(scorer(**inputs, labels=values).loss, expected)


@each
def test_the_same_seed_gives_the_same_weights(kind: str, tokenizer: Any) -> None:
    one, other = new(kind, tokenizer).state_dict(), new(kind, tokenizer).state_dict()
    assert all(torch.equal(values, other[name]) for name, values in one.items())


@each
def test_word_vectors_start_at_the_spread_of_their_source(kind: str, tokenizer: Any) -> None:
    table = new(kind, tokenizer).get_input_embeddings().weight.detach()
    assert 0.24 < float(table.abs().max()) <= 0.25


@each
def test_it_can_start_from_the_teachers_word_vectors(kind: str, tokenizer: Any) -> None:
    model, tokens = new(kind, tokenizer), len(tokenizer)
    teacher = torch.randn(tokens, 32, generator=torch.Generator().manual_seed(1))
    counts = torch.arange(tokens)
    start_from_teacher(model, teacher, counts=counts)
    found = model.get_input_embeddings().weight.detach()
    expected = principal_components(teacher, 8, counts).float()
    torch.testing.assert_close(found / found.std(), expected / expected.std(), atol=1e-5, rtol=1e-4)
    assert float(found.std()) == pytest.approx(0.25 / 3**0.5, rel=1e-3)


# folders


@each
@pytest.mark.parametrize("task", [Classification(), Regression()])
def test_it_is_saved_and_loads_as_every_other_student(
    kind: str, task: Any, tokenizer: Any, tmp_path: Path
) -> None:
    labels = LABELS if isinstance(task, Classification) else LabelSpace(())
    model = new(kind, tokenizer, task, labels)
    task.save(model, tokenizer, tmp_path)
    loaded = task.load(SavedModel(str(tmp_path), "student.path"), labels)
    weights = loaded.model.state_dict()
    assert all(torch.equal(values, weights[name]) for name, values in model.state_dict().items())
    torch.testing.assert_close(says(loaded.model, pairs(tokenizer)), says(model, pairs(tokenizer)))
    assert type(loaded.model) is type(model)


@each
def test_its_body_takes_a_new_head(kind: str, tokenizer: Any, tmp_path: Path) -> None:
    model = new(kind, tokenizer)
    Classification().save(model, tokenizer, tmp_path)
    two = LabelSpace(("no", "yes"))
    again = Classification().load_body(str(tmp_path), two, key="student.path")
    assert again.config.num_labels == 2
    body = again.base_model.state_dict()
    assert all(torch.equal(v, body[name]) for name, v in model.base_model.state_dict().items())


ELSEWHERE = """
import json, sys
sys.modules["distillkit"] = None  # as if it were not installed
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
found = {}
for folder in sys.argv[1:]:
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    logits = model(**tokenizer("a good film", "a bad story", return_tensors="pt")).logits
    found[folder] = logits.tolist()
print(json.dumps(found))
"""


@pytest.mark.slow
def test_it_loads_where_distillkit_is_not_installed(tokenizer: Any, tmp_path: Path) -> None:
    expected = {}
    for kind in SHAPES:
        model, folder = new(kind, tokenizer), tmp_path / kind
        Classification().save(model, tokenizer, folder)
        inputs = tokenizer("a good film", "a bad story", return_tensors="pt")
        expected[str(folder)] = says(model, inputs)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *expected],
        capture_output=True,
        text=True,
        timeout=120,
        env=tiny.env(HF_MODULES_CACHE=str(tmp_path / "modules")),
    )
    assert done.returncode == 0, done.stderr[-500:]
    for folder, logits in json.loads(done.stdout).items():
        torch.testing.assert_close(torch.tensor(logits), expected[folder], rtol=1e-5, atol=1e-6)


# refusals


def test_a_shape_that_cannot_be_is_one_line(tokenizer: Any) -> None:
    shape = SHAPES["textcnn"] | {"filter_widths": [0]}
    with pytest.raises(ModelError, match=r"^student\.config = distillkit_textcnn: .*\[0\]") as said:
        Classification().new_model(shape, LABELS, tokenizer, key="student.config")
    assert "\n" not in str(said.value)


@each
def test_once_registered_the_code_in_the_folder_is_not_run(
    kind: str, tokenizer: Any, tmp_path: Path
) -> None:
    new(kind, tokenizer).save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.glob("*.py")}
    own = "textcnn.py" if kind == "textcnn" else "bilstm.py"
    assert names == {own, "word_vectors.py"}
    for name in names:
        (tmp_path / name).write_text("raise SystemExit\n")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded).__module__.startswith("distillkit.")
