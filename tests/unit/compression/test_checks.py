"""Choices of formats that are refused before any work."""

import json
from pathlib import Path

import pytest

from distillkit.compression.checks import check_formats, check_plain
from distillkit.compression.formats import FORMATS
from distillkit.errors import ConfigError
from distillkit.models.configs import CAUSAL, MASKED

TEXTS = "AutoModelForSequenceClassification"


@pytest.mark.parametrize(
    ("name", "auto_class", "fault"),
    [
        ("onnx", CAUSAL, "a causal language model, which takes bf16, int8, gguf_f16"),
        ("onnx_int8", MASKED, "a masked language model, which takes bf16$"),
        ("gguf_q8_0", TEXTS, "a model of labels .an encoder., which takes bf16, int8, onnx"),
        ("int8", MASKED, "a masked language model"),
    ],
)
def test_a_format_of_other_models_is_refused(name: str, auto_class: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=f"^compression = {name}: is for .*{fault}"):
        check_formats([FORMATS[name]], auto_class)


@pytest.mark.parametrize(
    ("files", "form"),
    [
        ({"config.json": {"distillkit_compression": {"format": "onnx_int8"}}}, "onnx_int8"),
        ({"config.json": {"distillkit_compression": {"format": "int8"}}}, "int8"),
        ({"config.json": {}, "model.onnx": {}}, "ONNX"),
        ({"model.gguf": {}}, "GGUF"),
    ],
)
def test_what_is_compressed_is_not_compressed_again(
    files: dict[str, object], form: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=f"^x: is {form} already; name the folder that it was"):
        check_plain(str(tmp_path), at="x")


@pytest.mark.parametrize("record", [{}, {"distillkit_compression": {"format": "bf16"}}])
def test_plain_weights_are_compressed(record: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(record))
    (tmp_path / "model.safetensors").write_text("")
    (tmp_path / "model.onnx").write_text("")
    check_plain(str(tmp_path), at="x")
