"""Folders that are no models: said so before anything is loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from distillkit.errors import ModelError
from distillkit.models.classifiers import load_tokenizer
from distillkit.models.folders import check_folder, check_tokenizer_files
from distillkit.models.saved import SavedModel
from distillkit.tasks import Classification
from distillkit.types import LabelSpace
from tests import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("model") / "it", labels=("0", "1"))


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model, tmp_path / "copy")


def fault(folder: Path, key: str = "teacher.path") -> str:
    with pytest.raises(ModelError) as caught:
        check_folder(str(folder), key=key)
    assert str(caught.value).startswith(f"{key} = {folder}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize("with_config", [True, False])
def test_an_adapter_is_named_with_its_base_and_how_to_merge_it(
    folder: Path, with_config: bool
) -> None:
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "owner/base"}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    if not with_config:
        (folder / "config.json").unlink()
    said = fault(folder)
    assert "an adapter (LORA, of owner/base), not a model" in said
    assert "merge_and_unload().save_pretrained(FOLDER)" in said


def test_a_missing_shard_is_named(folder: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    loaded = AutoModelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    loaded.save_pretrained(folder, max_shard_size="20KB")
    check_folder(str(folder), key="teacher.path")  # whole
    shards = sorted(folder.glob("model-*.safetensors"))
    shards[1].unlink()
    assert f"1 of the {len(shards)} files of its weights are missing ({shards[1].name})" in fault(
        folder
    )
    (folder / "model.safetensors.index.json").unlink()
    assert "model.safetensors.index.json is missing" in fault(folder)


@pytest.mark.parametrize(
    "weight_map",
    [
        {"a": "../model.safetensors"},
        {"a": "ABSOLUTE"},
        {"a": "model.safetensors", "b": "model.bin"},
        {"a": ".hidden.safetensors"},
        {"a": "parts/../../model.safetensors"},
        ["model.safetensors"],
        None,
    ],
)
def test_an_index_names_weights_inside_its_folder(folder: Path, weight_map: Any) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for place in (folder.parent / "model.safetensors", *map(folder.joinpath, ("model.bin", "x"))):
        place.write_bytes(whole)
    (folder / ".hidden.safetensors").write_bytes(whole)
    text = json.dumps({"weight_map": weight_map})
    text = text.replace("ABSOLUTE", str(folder.parent / "model.safetensors"))
    (folder / "model.safetensors.index.json").write_text(text)
    said = fault(folder)
    assert "its model.safetensors.index.json names " in said
    assert said.endswith("which is no *.safetensors file inside the folder; download it anew")


@pytest.mark.parametrize("name", ["chat_template.jinja", "additional_chat_templates/a.jinja"])
def test_no_file_of_a_model_is_what_the_system_shows(folder: Path, name: str) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / name).symlink_to("/proc/self/environ")
    assert fault(folder).endswith(f"{Path(name).name} in it leads to /proc/self/environ")
    with pytest.raises(ModelError, match="leads to /proc/self/environ"):
        check_tokenizer_files(str(folder), key="teacher.path")


@pytest.mark.parametrize(
    "fields",
    [
        {"attn_implementation": "evil/kernel"},
        {"_attn_implementation": "evil/kernel@main:run"},
        {"text_config": {"_experts_implementation": "evil/kernel"}},
        {"attn_implementation": {"text_config": "evil/kernel"}},
    ],
)
def test_code_of_a_repository_in_a_config_is_refused(folder: Path, fields: dict[str, Any]) -> None:
    change(folder / "config.json", **fields)
    assert " = evil/kernel" in fault(folder)
    for name in ("sdpa", "eager", "flash_attention_2", "paged|sdpa", None):
        change(folder / "config.json", **{**dict.fromkeys(fields), "_attn_implementation": name})
        check_folder(str(folder), key="teacher.path")


@pytest.mark.parametrize("named", ["a/x.safetensors.index.json", "adapter_model.bin", 3])
def test_a_config_names_no_other_weights(folder: Path, named: Any) -> None:
    """Its index could lead out of the folder, and nothing would have looked at it."""
    change(folder / "config.json", transformers_weights=named)
    assert f"transformers_weights = {named}, and weights of another name" in fault(folder)
    for usual in (None, "model.safetensors"):
        change(folder / "config.json", transformers_weights=usual)
        check_folder(str(folder), key="teacher.path")


def test_weights_that_were_cut_short_are_counted(folder: Path) -> None:
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    assert f"has {len(whole) - 100:,} bytes of {len(whole):,}" in fault(folder)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "a pointer of Git LFS" in fault(folder)
    file.write_bytes(b"not a model")
    assert "no safetensors file" in fault(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tf_model.h5", "its weights are TensorFlow's"),
        ("flax_model.msgpack", "its weights are Flax's"),
        ("pytorch_model-00001-of-00002.bin", "its weights are pickled"),
        ("other.safetensors", r"no model.safetensors in it (only other.safetensors)"),
    ],
)
def test_weights_of_another_kind_are_named(folder: Path, name: str, said: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    assert said in fault(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [("it.Q4_K.gguf", "name one of them, as"), ("params.json", "their maker's own format")],
)
def test_a_folder_of_another_program_is_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"{}")
    assert said in fault(tmp_path)


@pytest.mark.parametrize("content", ["{ no", "[1]", "\xff"])
def test_a_config_that_is_none_is_named(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, encoding="latin-1")
    assert "config.json" in fault(folder)


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "compressed-tensors"])
def test_quantized_weights_are_no_start_of_a_student_and_need_their_package(
    folder: Path, method: str
) -> None:
    change(folder / "config.json", quantization_config={"quant_method": method, "bits": 4})
    assert f"its weights are quantized ({method}), and a student" in fault(folder, "student.path")
    assert f"its weights are quantized ({method}), which needs" in fault(folder)


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    """transformers would make one of five tokens."""
    for file in [*folder.glob("tokenizer*"), folder / "vocab.txt"]:
        file.unlink()
    with pytest.raises(ModelError, match="it has no tokenizer"):
        load_tokenizer(str(folder), key="teacher.path")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(ModelError, match="it has no tokenizer"):
        load_tokenizer(str(folder), key="teacher.path")
    # of bytes there is no vocabulary to be missing
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    check_tokenizer_files(str(folder), key="teacher.path")
    assert len(load_tokenizer(str(folder), key="teacher.path")) > 256


def test_a_vocabulary_of_special_tokens_alone_is_refused(folder: Path) -> None:
    from transformers import BertTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").unlink()
    BertTokenizerFast(vocab={w: i for i, w in enumerate(special)}).save_pretrained(folder)
    with pytest.raises(ModelError, match="its tokenizer knows no word, only the 5 special tokens"):
        load_tokenizer(str(folder), key="student.tokenizer")


def test_an_encoder_decoder_is_refused_where_it_is_loaded(tmp_path: Path) -> None:
    """As `student.path` of an evaluation."""
    from transformers import T5Config, T5ForSequenceClassification

    shape = T5Config(
        vocab_size=100, d_model=16, num_layers=1, num_heads=2, d_kv=8, decoder_start_token_id=0
    )
    tiny.write_tokenizer(tmp_path)
    T5ForSequenceClassification(shape).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"student\.path = .*: an encoder-decoder \(t5\)"):
        Classification().load(
            SavedModel(str(tmp_path), "student.path"), LabelSpace(("0", "1"), numeric=True)
        )


def test_a_body_is_no_ready_teacher(tmp_path: Path) -> None:
    """Its head would be random, and its labels 0 and 1 those of the data."""
    body = tiny.write_model(tmp_path / "body")
    with pytest.raises(ModelError, match="no weights for classifier") as caught:
        Classification().load(
            SavedModel(str(body), "teacher.path"), LabelSpace(("0", "1"), numeric=True)
        )
    assert "teacher.body=" in str(caught.value)


def test_a_ready_teacher_without_a_part_of_its_body_is_not_told_to_be_fitted(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.1.attention.self.query.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"no weights for bert\.encoder\.layer\.1\.") as caught:
        Classification().load(
            SavedModel(str(folder), "teacher.path"), LabelSpace(("0", "1"), numeric=True)
        )
    assert "download or save it anew" in str(caught.value)
    assert "teacher.body" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"num_hidden_layers": 3}, "no weights for bert"), ({"hidden_size": 48}, "others for bert")],
)
def test_a_body_of_another_config_is_refused(
    folder: Path, fields: dict[str, Any], said: str
) -> None:
    """transformers would fill the gaps with random weights."""
    change(folder / "config.json", **fields)
    with pytest.raises(ModelError, match="do not belong together") as caught:
        Classification().load_body(str(folder), LabelSpace(("a", "b")), key="teacher.body")
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["model_quantized.onnx", "onnx/model.onnx"])
def test_onnx_under_another_name_is_refused_with_the_name_that_is_read(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match=f"its weights are {name}, and ONNX is read as model.onnx"):
        check_folder(str(tmp_path), key="student.path")
