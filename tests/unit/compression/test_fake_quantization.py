"""A student in 8 bits: its weights are those of ONNX Runtime's file, its logits nearly so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from distillkit.compression.compress import compress
from distillkit.compression.fake_quantization import (
    check_quantizable,
    fake_quantized,
    int8_rows,
    uint8,
)
from distillkit.compression.formats import FORMATS
from distillkit.compression.onnx_int8 import TOLERANCE
from distillkit.compression.student import TrainedStudent
from distillkit.errors import ModelError
from tests.unit.compression.models import make, save

KINDS = (
    "SequenceClassification",
    "textcnn",
    pytest.param("TokenClassification", marks=pytest.mark.slow),
    pytest.param("QuestionAnswering", marks=pytest.mark.slow),
)


def dynamically_quantized(values: torch.Tensor) -> torch.Tensor:
    """What ONNX Runtime's DynamicQuantizeLinear makes of values, as numbers again."""
    names = ["steps", "scale", "zero"]
    node = helper.make_node("DynamicQuantizeLinear", ["x"], names)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(values.shape))
    types = (TensorProto.UINT8, TensorProto.FLOAT, TensorProto.UINT8)
    outputs = [
        helper.make_tensor_value_info(name, type_, shape)
        for name, type_, shape in zip(names, types, (list(values.shape), [], []), strict=True)
    ]
    graph = helper.make_graph([node], "g", [x], outputs)
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    steps, scale, zero = session.run(None, {"x": values.numpy()})
    return torch.from_numpy((steps.astype(np.float32) - np.float32(zero)) * scale)


@pytest.mark.parametrize("shift", [-3.0, 0.0, 0.3, 5.0])
def test_activations_are_those_of_the_runtime(shift: float) -> None:
    values = torch.randn(4, 9, 33, generator=torch.Generator().manual_seed(0)) + shift
    found, expected = uint8(values), dynamically_quantized(values)
    step = float(values.max().clamp(min=0) - values.min().clamp(max=0)) / 255
    gaps = (found - expected).abs()
    assert float(gaps.max()) < 1.01 * step  # on the border of two steps either is right
    assert float((gaps > 0.5 * step).float().mean()) < 0.002
    assert len(found.round(decimals=5).unique()) <= 256


def test_nothing_but_zeros_stays_zero() -> None:
    assert uint8(torch.zeros(2, 3)).eq(0).all()
    assert int8_rows(torch.zeros(2, 3)).eq(0).all()


def test_value_by_hand() -> None:
    weight = torch.tensor([[127.0, -63.4, 0.4], [0.0, 1.0, -2.0]])
    expected = torch.tensor([[127.0, -63.0, 0.0], [0.0, 64 * 2 / 127, -2.0]])  # 63.5 is even at 64
    torch.testing.assert_close(int8_rows(weight), expected)
    torch.testing.assert_close(
        uint8(torch.tensor([-1.0, 0.0, 0.2, 1.55])), torch.tensor([-1.0, 0.0, 0.2, 1.55])
    )


def test_gradients_pass_as_they_come() -> None:
    layer = nn.Linear(5, 3)
    values = torch.randn(2, 5, requires_grad=True)
    with fake_quantized(layer):
        layer(values).sum().backward()
    torch.testing.assert_close(values.grad, int8_rows(layer.weight).sum(dim=0).expand(2, 5))
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, uint8(values).sum(dim=0).expand(3, 5))


def test_a_model_is_as_before_afterwards() -> None:
    model = make("SequenceClassification")
    ids = torch.arange(12).reshape(2, 6)
    names = [*model.state_dict()]
    with torch.no_grad():
        before = model(ids).logits
        with fake_quantized(model):
            assert [*model.state_dict()] == names
            assert not torch.equal(model(ids).logits, before)
        assert torch.equal(model(ids).logits, before)


@pytest.fixture(scope="module", params=KINDS)
def distilled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(model, its onnx_int8_distilled folder, facts)."""
    folder = tmp_path_factory.mktemp(request.param)
    model = save(request.param, folder / "student")
    of_folder: Callable[[Path], TrainedStudent] = lambda path: TrainedStudent(  # noqa: E731
        path, lambda: model, lambda: iter(texts(model)), "student.path = x"
    )
    compress(FORMATS["onnx"], of_folder(folder / "student"), folder / "onnx")
    out = folder / "int8"
    facts = compress(FORMATS["onnx_int8_distilled"], of_folder(folder / "onnx"), out)
    return model, out, facts


def texts(model: Any) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    ids = [torch.randint(1, model.config.vocab_size, (1, n), generator=generator) for n in (3, 9)]
    return [{"input_ids": it, "attention_mask": torch.ones_like(it)} for it in ids]


def numbers_in(folder: Path) -> list[np.ndarray]:
    """The tensors in 8 bits of a folder's file, as numbers."""
    graph = onnx.load(folder / "model.onnx").graph
    stored = {it.name: numpy_helper.to_array(it).astype(np.float32) for it in graph.initializer}
    names = [it.removesuffix("_quantized") for it in stored if it.endswith("_quantized")]
    return [
        (stored[f"{it}_quantized"] - stored[f"{it}_zero_point"]) * stored[f"{it}_scale"]
        for it in names
    ]


def test_the_weights_of_the_file_are_those_of_the_trained_model(distilled: Any) -> None:
    model, folder, _ = distilled
    stored = numbers_in(folder)
    expected = [
        int8_rows(it.weight).T if isinstance(it, nn.Linear) else uint8(it.weight)
        for it in model.modules()
        if isinstance(it, (nn.Linear, nn.Embedding))
    ]
    for weight in expected:
        array = weight.detach().numpy()
        of_shape = [it for it in stored if it.shape == array.shape]
        assert any(np.allclose(it, array, atol=1e-6) for it in of_shape), array.shape


def test_the_runtime_computes_what_was_trained(distilled: Any) -> None:
    model, folder, facts = distilled
    assert facts["difference"] <= TOLERANCE, facts
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    gaps, plain = [], []
    for text in texts(model):
        zeros = torch.zeros_like(text["input_ids"])
        given = {it.name: text.get(it.name, zeros).numpy() for it in session.get_inputs()}
        found = torch.from_numpy(session.run(None, given)[0])
        with torch.no_grad():
            before = next(iter(model(**text).values()))
            with fake_quantized(model):
                expected = next(iter(model(**text).values()))
        gaps.append(float((found - expected).abs().mean()))
        plain.append(float((found - before).abs().mean()))
    assert sum(gaps) < 0.5 * sum(plain), (gaps, plain)  # far nearer than what was not quantised


def test_autocast_changes_nothing() -> None:
    model = make("SequenceClassification")
    ids = torch.arange(12).reshape(2, 6)
    with torch.no_grad(), fake_quantized(model):
        layer, values = model.classifier, torch.randn(2, 16)
        exact = layer(values)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer(values), exact)
            assert model(ids).logits.dtype == torch.float32


def test_layers_that_are_not_trained_in_int8_are_refused() -> None:
    from transformers.pytorch_utils import Conv1D

    with pytest.raises(ModelError, match="x: layers of the class LSTM are not trained"):
        check_quantizable(make("bilstm"), at="x")
    with pytest.raises(ModelError, match="x: layers of the class Conv1D are not trained"):
        check_quantizable(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), Conv1D(3, 3)), at="x")
    for kind in ("SequenceClassification", "textcnn"):
        check_quantizable(make(kind), at="x")
