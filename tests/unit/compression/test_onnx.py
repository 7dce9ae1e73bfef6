"""ONNX folders: the logits are PyTorch's, the folder is complete, and what differs is refused."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx as onnx_package
import onnxruntime
import pytest
import torch
from omegaconf import OmegaConf
from onnx import numpy_helper
from torch import Tensor, nn

from distillkit.compression import onnx_export, onnx_forms
from distillkit.compression.checks import formats_of
from distillkit.compression.compress import compress
from distillkit.compression.formats import FORMATS
from distillkit.compression.student import TrainedStudent
from distillkit.errors import ConfigError, ModelError
from distillkit.models.classifiers import load_complete
from distillkit.models.configs import usable_positions
from distillkit.models.runtimes.packages import check_installed
from distillkit.models.saved import SavedModel
from distillkit.tasks import Classification, QuestionAnswering, TokenClassification
from distillkit.types import LabelSpace
from tests.unit.compression.models import make, save

KINDS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "textcnn", "siamese")
LONG = 40


def student(folder: Path, model: Any) -> TrainedStudent:
    return TrainedStudent(folder, lambda: model, lambda: iter(()), f"student.path = {folder}")


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A kind -> (kind, PyTorch model, its folder, its ONNX folder), exported once."""

    @functools.cache
    def of_kind(kind: str) -> Any:
        folder = tmp_path_factory.mktemp(kind)
        model = save(kind, folder / "student")
        compress(FORMATS["onnx"], student(folder / "student", model), folder / "onnx")
        return kind, model, folder / "student", folder / "onnx"

    return of_kind


@pytest.fixture(scope="module", params=KINDS)
def exported(request: pytest.FixtureRequest, export: Callable[[str], Any]) -> Any:
    """What was exported of each kind."""
    return export(request.param)


def texts(batch: int, tokens: int, words: int) -> dict[str, Tensor]:
    """Ids [batch, tokens] that are padded to several lengths, in two segments."""
    generator = torch.Generator().manual_seed(100 * batch + tokens)
    lengths = torch.randint(1, tokens + 1, (batch, 1), generator=generator)
    lengths[-1] = tokens
    places = torch.arange(tokens).expand(batch, tokens)
    ids = torch.randint(1, words, (batch, tokens), generator=generator)
    real = places < lengths
    segments = (places >= torch.div(lengths, 2, rounding_mode="floor")) & real
    return {
        "input_ids": ids.masked_fill(~real, 0),
        "attention_mask": real.long(),
        "token_type_ids": segments.long(),
    }


def names(output: Any) -> list[str]:
    return ["logits"] if "logits" in output else ["start_logits", "end_logits"]


@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (1, 2), (1, LONG), (4, 1), (5, 17)])
def test_its_logits_are_those_of_pytorch(exported: Any, batch: int, tokens: int) -> None:
    kind, model, _, folder = exported
    inputs = texts(batch, tokens, model.config.vocab_size)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    given = {it.name: inputs[it.name].numpy() for it in session.get_inputs()}
    with torch.no_grad():
        expected = model(**inputs)
    assert [it.name for it in session.get_outputs()] == names(expected)
    for name, values in zip(names(expected), session.run(None, given), strict=True):
        torch.testing.assert_close(torch.from_numpy(values), expected[name], rtol=0, atol=1e-4)
    assert kind in KINDS


def test_its_folder_is_complete_and_names_the_labels(exported: Any) -> None:
    kind, model, source, folder = exported
    beside = {path.name for path in source.iterdir()} - {"model.safetensors"}
    assert {path.name for path in folder.iterdir()} == beside | {"model.onnx", "README.md"}
    config = json.loads((folder / "config.json").read_text())
    if kind != "QuestionAnswering":
        assert config["id2label"] == {"0": "bad", "1": "good", "2": "odd"}
    record = {"format": "onnx", "parameters": model.num_parameters()}
    assert config["distillkit_compression"] == record | {"positions": usable_positions(model)}


def test_its_file_names_no_place_of_this_machine(exported: Any) -> None:
    content = (exported[3] / "model.onnx").read_bytes()
    assert b"/lib/python" not in content
    assert str(Path(__file__).parents[3]).encode() not in content


def test_the_example_of_its_card_runs(exported: Any) -> None:
    folder = exported[3]
    (code,) = (folder / "README.md").read_text().split("```python\n")[1].split("```")[:1]
    scope: dict[str, Any] = {}
    exec(code.replace("PATH", str(folder)), scope)
    assert all(len(it) == 2 for it in scope["outputs"])


def task_of(kind: str) -> Any:
    if kind == "QuestionAnswering":
        return QuestionAnswering(max_length=32, stride=8)
    return (TokenClassification if kind == "TokenClassification" else Classification)(max_length=32)


def test_it_opens_like_the_student_with_labels_by_name(exported: Any) -> None:
    kind, model, source, folder = exported
    space = LabelSpace(("odd", "bad", "good"))
    opened = [
        SavedModel(str(it), "student.path").open(task_of(kind), space) for it in (source, folder)
    ]
    order = None if kind == "QuestionAnswering" else [2, 0, 1]
    for it in opened:
        assert it.order is order or list(it.order) == order
    inputs = texts(3, 9, model.config.vocab_size)
    with torch.no_grad():
        expected, found = (it.model(**inputs) for it in opened)
    for name in names(expected):
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-4)
    assert opened[1].model.num_parameters() == opened[0].model.num_parameters()


def test_an_input_that_is_not_given_is_as_with_pytorch(exported: Any) -> None:
    kind, model, _, folder = exported
    if kind == "siamese":
        pytest.skip("it refuses texts without segments")
    auto_class = task_of(kind).auto_class
    opened = load_complete(str(folder), key="student.path", auto_class=auto_class)
    ids = texts(2, 6, model.config.vocab_size)["input_ids"]
    with torch.no_grad():
        expected = model(input_ids=ids)
    for name in names(expected):
        torch.testing.assert_close(opened(ids)[name], expected[name], rtol=0, atol=1e-4)


def test_for_another_task_it_is_refused(exported: Any) -> None:
    kind, _, _, folder = exported
    other = "AutoModelFor" + ("TokenC" if kind != "TokenClassification" else "SequenceC")
    with pytest.raises(ModelError, match=r"model\.onnx gives .* choose another task"):
        load_complete(str(folder), key="student.path", auto_class=f"{other}lassification")
    with pytest.raises(ModelError, match="is not a masked language model"):
        load_complete(str(folder), key="student.path", auto_class="AutoModelForMaskedLM")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    save("SequenceClassification", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"its model\.onnx is no model that ONNX Runtime can run"):
        load_complete(
            str(tmp_path), key="student.path", auto_class="AutoModelForSequenceClassification"
        )


def test_where_the_logits_differ_nothing_is_written_and_the_model_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_forms, "GATES", (0, 1, 2, 3))  # the wrong order for ONNX
    model = make("bilstm").train()
    before = {name: it.clone() for name, it in model.state_dict().items()}
    with pytest.raises(ModelError, match="x: its ONNX form says something else than PyTorch's"):
        onnx_export.export(model, tmp_path, at="x", opset=18)
    assert not list(tmp_path.iterdir())
    assert model.training
    assert "_read" not in vars(model.bilstm)
    assert all(torch.equal(before[name], it) for name, it in model.state_dict().items())


class Sampling(nn.Module):
    """A layer that no export can follow: how far it goes depends on the numbers."""

    def forward(self, states: Tensor) -> Tensor:
        while float(states.abs().max()) > 1e-3:
            states = states / 2
        return states


def test_what_onnx_lacks_is_refused_in_a_line(tmp_path: Path) -> None:
    model = make("textcnn")
    model.dropout = Sampling()
    with pytest.raises(ModelError, match=r"^x: cannot be exported to ONNX") as raised:
        onnx_export.export(model, tmp_path, at="x", opset=18)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_names_its_extra() -> None:
    with pytest.raises(
        ConfigError, match=r"a = b: needs no_such_package, which is not installed; "
    ):
        check_installed("numpy", "no_such_package", extra="export", at="a = b")


def test_static_int8_has_its_ranges_from_the_texts(
    export: Callable[[str], Any], tmp_path: Path
) -> None:
    _, model, _, onnx = export("SequenceClassification")
    words = model.config.vocab_size
    seen = [texts(1, tokens, words) for tokens in (3, 9, 17, 24, 31)]
    for name, read in (("a", seen), ("b", seen), ("c", seen[:1])):
        source = TrainedStudent(onnx, lambda: model, lambda it=read: iter(it), "x")
        compress(FORMATS["onnx_int8_static"], source, tmp_path / name)
    files = [it / "model.onnx" for it in (onnx, *(tmp_path / name for name in "abc"))]
    assert files[1].read_bytes() == files[2].read_bytes()
    assert not list(tmp_path.glob("a/.*"))
    logits = []
    for file in (files[0], files[1], files[3]):
        session = onnxruntime.InferenceSession(file)
        given = [{name: it.numpy() for name, it in inputs.items()} for inputs in seen]
        logits.append(np.concatenate([session.run(None, it)[0] for it in given]))
    expected, found, of_one_text = logits
    error, of_one_text = np.abs(found - expected).mean(), np.abs(of_one_text - expected).mean()
    assert 0 < error < 0.05 * np.abs(expected).max()
    assert error < of_one_text  # whose ranges are too narrow for the others


def test_int8_is_smaller_and_says_nearly_the_same(
    export: Callable[[str], Any], tmp_path: Path
) -> None:
    _, model, _, onnx = export("SequenceClassification")
    compress(FORMATS["onnx_int8"], student(onnx, model), tmp_path / "int8")
    float_, int8 = (
        onnxruntime.InferenceSession(it / "model.onnx") for it in (onnx, tmp_path / "int8")
    )
    inputs = {k: v.numpy() for k, v in texts(8, 12, model.config.vocab_size).items()}
    expected, found = (it.run(None, inputs)[0] for it in (float_, int8))
    assert not np.array_equal(expected, found)
    assert np.abs(expected - found).max() < 0.1 * np.abs(expected).max()
    kinds = {str(it.type) for it in int8.get_inputs()}
    assert kinds == {"tensor(int64)"}
    record = json.loads((tmp_path / "int8/config.json").read_text())["distillkit_compression"]
    assert record["format"] == "onnx_int8"
    assert record["parameters"] == model.num_parameters()


def test_what_is_said_of_padding_is_not_compared(tmp_path: Path) -> None:
    model = make("modernbert")
    assert onnx_export.export(model, tmp_path, at="x", opset=18) < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    inputs = {name: it for name, it in texts(4, 31, 50).items() if name != "token_type_ids"}
    with torch.no_grad():
        expected = model(**inputs).logits
    (found,) = session.run(None, {name: it.numpy() for name, it in inputs.items()})
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(torch.from_numpy(found)[real], expected[real], rtol=0, atol=1e-4)


def test_ranges_by_histogram_are_within_those_of_all(
    export: Callable[[str], Any], tmp_path: Path
) -> None:
    """minmax takes in every activation; the others leave out what is far from most."""
    _, model, _, onnx = export("SequenceClassification")
    seen = [texts(1, 9, model.config.vocab_size) for _ in range(3)]
    seen += [
        texts(1, tokens, model.config.vocab_size) for tokens in range(3, 24)
    ]  # 24 of many lengths
    cfg = {"compression": ["onnx_int8_static"]}
    scales = {}
    for method in ("minmax", "percentile", "entropy"):
        (form,) = formats_of(OmegaConf.create(cfg | {"calibration": method}))
        source = TrainedStudent(onnx, lambda: model, lambda: iter(seen), "x")
        compress(form, source, tmp_path / method)
        graph = onnx_package.load(str(tmp_path / method / "model.onnx")).graph
        scales[method] = {
            it.name: float(numpy_helper.to_array(it))
            for it in graph.initializer
            if it.name.endswith("_scale") and not it.dims
        }
    assert len(scales["minmax"]) > 10
    for method in ("percentile", "entropy"):
        assert scales[method].keys() == scales["minmax"].keys()
        narrower = [scales[method][it] / scales["minmax"][it] for it in scales[method]]
        assert max(narrower) < 1.02
        assert min(narrower) < (1 if method == "percentile" else 0.99)
