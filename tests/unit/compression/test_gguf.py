"""GGUF files: read again they are the student, its tokenizer and its chat template."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from distillkit.compression.compress import compress
from distillkit.compression.formats import FORMATS
from distillkit.compression.gguf_architectures import architecture_of
from distillkit.compression.gguf_tokenizer import word_splitting
from distillkit.compression.student import TrainedStudent
from distillkit.errors import ModelError
from distillkit.models.runtimes import llama_cpp
from distillkit.models.saved import SavedModel
from distillkit.tasks import CausalLM
from distillkit.types import LabelSpace
from tests import tiny_language
from tests.tiny_language import TEMPLATE
from tests.unit.compression.language import SHAPES, save

SCALED: dict[str, Any] = {"rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = SCALED | {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = SCALED | {"rope_type": "yarn"}
LINEAR = {"rope_theta": 1e4, "rope_type": "linear", "factor": 2.0}
AT = "compression = gguf_f16: student.path = x"


def write(kind: str, form: str, folder: Path, **changes: Any) -> tuple[Any, Path]:
    """(model, the folder of its GGUF file)."""
    model = save(kind, folder / "student", **changes)
    student = TrainedStudent(folder / "student", lambda: model, lambda: iter(()), AT)
    compress(FORMATS[form], student, folder / form)
    return model, folder / form


def field(reader: gguf.GGUFReader, name: str) -> Any:
    return reader.fields[name].contents()


@torch.no_grad()
def logits(model: Any, seed: int = 0) -> torch.Tensor:
    ids = torch.randint(0, 290, (2, 30), generator=torch.Generator().manual_seed(seed))
    found: torch.Tensor = model(ids).logits.float()
    return found


@pytest.fixture
def in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are run by PyTorch, whether llama.cpp is installed or not."""
    monkeypatch.setattr(llama_cpp, "library", lambda: None)


@pytest.mark.usefixtures("in_pytorch")
@pytest.mark.parametrize("kind", SHAPES)
def test_read_again_it_is_the_student(kind: str, tmp_path: Path) -> None:
    model, folder = write(kind, "gguf_f16", tmp_path)
    expected = logits(model)
    for path in (folder, folder / "model.gguf"):
        loaded = SavedModel(str(path), "student.path").open(CausalLM(), LabelSpace(()))
        gap = (logits(loaded.model) - expected).abs().max()
        assert gap < 2e-3 * expected.abs().max()
        text = "the film 12 was good, isn't it"
        source = AutoTokenizer.from_pretrained(tmp_path / "student")
        assert loaded.tokenizer(text)["input_ids"] == source(text)["input_ids"]
        assert loaded.tokenizer.chat_template == TEMPLATE


@pytest.mark.usefixtures("in_pytorch")
@pytest.mark.parametrize(("form", "bits", "share"), [("q8_0", 8.5, 0.03), ("q4_0", 4.5, 0.5)])
def test_blocks_of_weights_have_a_scale(
    form: str, bits: float, share: float, tmp_path: Path
) -> None:
    model, folder = write("qwen2", f"gguf_{form}", tmp_path)
    reader = gguf.GGUFReader(folder / "model.gguf")
    tensors = {it.name: it for it in reader.tensors}
    matrix = tensors["blk.0.ffn_up.weight"]
    weights = model.state_dict()["model.layers.0.mlp.up_proj.weight"].numpy()
    assert matrix.n_bytes * 8 == weights.size * bits
    found = gguf.quants.dequantize(matrix.data, matrix.tensor_type)
    steps, slack = (127, 0.57) if form == "q8_0" else (8, 1.02)  # the scale is rounded, too
    blocks = np.abs(weights).reshape(-1, 32).max(axis=1)
    error = np.abs(found - weights).reshape(-1, 32).max(axis=1)
    assert (error <= blocks / steps * slack + 1e-6).all()
    assert tensors["token_embd.weight"].tensor_type.name == "Q8_0"
    assert tensors["output_norm.weight"].tensor_type.name == "F32"
    loaded = SavedModel(str(folder), "student.path").open(CausalLM(), LabelSpace(()))
    expected = logits(model)
    assert (logits(loaded.model) - expected).abs().max() < share * expected.abs().max()


def test_rows_that_are_no_whole_blocks_are_kept_in_float16(tmp_path: Path) -> None:
    _, folder = write("llama", "gguf_q8_0", tmp_path)
    reader = gguf.GGUFReader(folder / "model.gguf")
    kinds = {it.name: it.tensor_type.name for it in reader.tensors}
    assert kinds["blk.2.attn_q.weight"] == "F16"  # rows of 72
    assert kinds["blk.2.ffn_down.weight"] == "Q8_0"  # rows of 96
    assert "output.weight" not in kinds
    assert field(reader, "llama.block_count") == 3
    assert field(reader, "llama.attention.key_length") == 16
    assert field(reader, "llama.rope.freq_base") == 5000.0


def test_tokens_and_template_are_in_the_file(tmp_path: Path) -> None:
    model, folder = write("llama", "gguf_f16", tmp_path)
    reader = gguf.GGUFReader(folder / "model.gguf")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "student")
    tokens, kinds = (
        field(reader, "tokenizer.ggml.tokens"),
        field(reader, "tokenizer.ggml.token_type"),
    )
    rows = model.config.vocab_size
    assert len(tokens) == len(kinds) == rows == field(reader, "llama.vocab_size")
    size = len(tokenizer)
    assert tokens[:size] == tokenizer.convert_ids_to_tokens(range(size))
    assert kinds == [3, 3, *[1] * (size - 2), *[5] * (rows - size)]
    assert field(reader, "tokenizer.ggml.pre") == "smollm"
    assert field(reader, "tokenizer.chat_template") == TEMPLATE
    ends = [field(reader, f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot")]
    assert ends == [0, 1]
    assert not field(reader, "tokenizer.ggml.add_bos_token")


def test_a_tokenizer_of_words_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    teacher = tiny_language.write_model(tmp_path / "student")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(teacher)
    student = TrainedStudent(teacher, lambda: model, lambda: iter(()), AT)
    with pytest.raises(ModelError, match=f"^{AT}: its tokenizer is no byte-level BPE"):
        compress(FORMATS["gguf_f16"], student, tmp_path / "out")
    assert not (tmp_path / "out/model.gguf").exists()


@pytest.mark.parametrize(
    ("normalizer", "steps"),
    [
        ({"type": "Lowercase"}, [{"type": "ByteLevel", "use_regex": True}]),
        (None, [{"type": "ByteLevel", "use_regex": True, "add_prefix_space": True}]),
        (None, [{"type": "Punctuation"}, {"type": "ByteLevel", "use_regex": True}]),
    ],
)
def test_words_that_llama_cpp_would_cut_elsewhere_are_refused(
    normalizer: Any, steps: list[dict[str, Any]]
) -> None:
    steps = [{"add_prefix_space": False, **it} for it in steps]
    written = {
        "model": {"type": "BPE"},
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
    }
    with pytest.raises(ModelError, match="x: how its tokenizer cuts words has no name in llama"):
        word_splitting(written, at="x")


@pytest.mark.parametrize(
    ("kind", "changes", "fault"),
    [
        ("gpt_neo", {}, "gpt_neo models are not written as GGUF, only llama, mistral, qwen2"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "its places are scaled .rope_type dynamic., which is not written",
        ),
        ("qwen3", {"rope_parameters": LLAMA3}, "its places are scaled .rope_type llama3."),
        ("qwen2", {"rope_parameters": YARN | {"beta_fast": 8}}, "its rope_parameters have beta_f"),
        ("qwen2", {"use_sliding_window": True}, "its attention has a sliding window"),
        ("mistral", {"sliding_window": 16}, "its config.json has sliding_window = 16, and the mis"),
        ("llama", {"hidden_act": "gelu"}, "its config.json has hidden_act = gelu, and .* has silu"),
        ("qwen3", {"attention_bias": True}, "its config.json has attention_bias = True, and the q"),
        ("gpt2", {"activation_function": "relu"}, "its config.json has activation_function = relu"),
        ("gpt2", {"scale_attn_weights": False}, "its config.json has scale_attn_weights = False"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "its config.json has scale_attn_by_in"),
    ],
)
def test_an_architecture_that_cannot_be_written_is_refused(
    kind: str, changes: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ModelError, match=f"^x: {fault}"):
        architecture_of(AutoConfig.for_model(kind, **changes), at="x")


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        (LINEAR, {"type": "linear", "factor": 2.0}),
        (YARN, {"type": "yarn", "factor": 4.0, "original_context_length": 16}),
        (LLAMA3, {}),
    ],
    ids=lambda it: it.get("rope_type", ""),
)
def test_how_places_are_scaled_is_in_the_file(
    changes: dict[str, Any], keys: dict[str, Any], tmp_path: Path
) -> None:
    model, folder = write("llama", "gguf_f16", tmp_path, rope_parameters=changes)
    reader = gguf.GGUFReader(folder / "model.gguf")
    written = {it.rpartition(".")[2] for it in reader.fields if it.startswith("llama.rope.scaling")}
    assert written == {*keys}
    assert {it: field(reader, f"llama.rope.scaling.{it}") for it in keys} == keys
    tensors = {it.name: it for it in reader.tensors}
    assert ("rope_freqs.weight" in tensors) == (changes is LLAMA3)
    if changes is LLAMA3:
        plain = 1e4 ** -(np.arange(0, 16, 2) / 16)
        turned = model.model.rotary_emb.inv_freq.numpy()
        np.testing.assert_allclose(plain / tensors["rope_freqs.weight"].data, turned, rtol=1e-5)
        assert turned[-1] == pytest.approx(plain[-1] / 4)
