"""Causal language models: loaded safely, made new, saved clean, GGUF files among them."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from distillkit.errors import ConfigError, ModelError
from distillkit.models.causal import (
    load_causal_lm,
    load_causal_tokenizer,
    new_causal_lm,
    save_causal_lm,
)
from distillkit.models.configs import config_of
from tests import tiny
from tests.unit.models.tiny_lms import (
    GROUPED,
    TEMPLATE,
    byte_tokenizer,
    language_model,
    tokens,
    write_gguf,
)

KEY = "teacher.path"
TALK = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "sat"}]


def llama(tied: bool = True) -> Any:
    size = max(byte_tokenizer().get_vocab().values()) + 1
    blocks = {"intermediate_size": 64}  # of 32: a GGUF file's
    return language_model("llama", vocab_size=size, tie_word_embeddings=tied, **blocks)


def tied(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def same(one: Any, other: Any) -> None:
    ids = tokens()
    with torch.no_grad():
        torch.testing.assert_close(
            one(input_ids=ids).logits, other(input_ids=ids).logits, rtol=0, atol=0
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_causal_lm(llama(), byte_tokenizer(), tmp_path / "it", max_length=64)
    return tmp_path / "it"


# folders


@pytest.mark.parametrize("is_tied", [True, False])
def test_a_saved_model_says_the_same_again(tmp_path: Path, is_tied: bool) -> None:
    from transformers import AutoModelForCausalLM

    model = llama(is_tied)
    save_causal_lm(model, byte_tokenizer(), tmp_path, max_length=64)
    for again in (
        load_causal_lm(str(tmp_path), key=KEY),
        AutoModelForCausalLM.from_pretrained(tmp_path),
    ):
        same(again, model)
        assert tied(again) == is_tied
        assert not again.training
    assert not list(tmp_path.glob("*.bin"))


def test_its_tokenizer_keeps_its_chat_template(folder: Path) -> None:
    again = load_causal_tokenizer(str(folder), key=KEY)
    assert again.chat_template == TEMPLATE
    assert again("the cat sat")["input_ids"] == byte_tokenizer()("the cat sat")["input_ids"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_weights_come_in_the_dtype_that_is_asked_for(folder: Path, dtype: str) -> None:
    assert load_causal_lm(str(folder), key=KEY, dtype=dtype).dtype == getattr(torch, dtype)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"teacher\.path = .*: its weights are pickled"):
        load_causal_lm(str(folder), key=KEY)


def test_a_model_without_a_head_is_refused_and_not_given_a_random_one(tmp_path: Path) -> None:
    llama(tied=False).base_model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"no weights for lm_head\.weight; .*LlamaForCausalLM"):
        load_causal_lm(str(tmp_path), key=KEY)


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "bert")
    with pytest.raises(ModelError, match="BertLMHeadModel"):
        load_causal_lm(str(folder), key=KEY)


@pytest.mark.parametrize("where", ["./nowhere", "./no.gguf", "some/where", "some/where/q.gguf"])
def test_what_is_not_there_is_one_line(where: str) -> None:
    for load in (load_causal_lm, load_causal_tokenizer):
        with pytest.raises(ModelError, match=r"^teacher\.path = \S+: its \w+ cannot") as caught:
            load(where, key=KEY)
        assert "\n" not in str(caught.value)


# quantization


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_quantization_without_bitsandbytes_names_the_way_out(
    folder: Path, bits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError,
        match=rf"teacher\.quantization = {bits}: .*pip install 'distillkit\[bitsandbytes\]'",
    ):
        load_causal_lm(str(folder), key=KEY, quantization=bits)


@pytest.mark.parametrize(("bits", "most"), [("8bit", 0.1), ("4bit", 0.3)])
def test_quantized_weights_say_about_the_same_where_they_can_be_had(
    folder: Path, bits: Any, most: float, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    model, whole = load_causal_lm(str(folder), key=KEY, quantization=bits), llama()
    with torch.no_grad():
        found, expected = model(input_ids=tokens()).logits, whole(input_ids=tokens()).logits
    assert 0 < (found.float() - expected).norm() < most * expected.norm()
    with pytest.raises(ModelError, match="load it without quantization"):
        save_causal_lm(model, byte_tokenizer(), tmp_path / "no", max_length=64)


def test_a_gguf_file_is_not_quantized_twice(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"teacher\.quantization = 8bit: .* set it to null"):
        load_causal_lm(str(tmp_path / "it.gguf"), key=KEY, quantization="8bit")


def test_quantized_weights_are_not_saved(tmp_path: Path) -> None:
    model = llama()
    model.hf_quantizer = object()
    model.lm_head.weight = torch.nn.Parameter(
        torch.zeros(2, 2, dtype=torch.int8), requires_grad=False
    )
    with pytest.raises(ModelError, match="load it without quantization"):
        save_causal_lm(model, byte_tokenizer(), tmp_path, max_length=64)


# GGUF


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf")
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", llama(), byte_tokenizer())


def test_a_gguf_file_says_what_the_model_said(gguf_file: Path) -> None:
    model, original = load_causal_lm(str(gguf_file), key=KEY), llama()
    assert model.dtype == torch.float32
    for (name, found), (_, expected) in zip(
        model.named_parameters(), original.named_parameters(), strict=True
    ):
        # Q8_0 rounds to whole numbers from -127 to 127 of a scale that is itself rounded to 11 bits
        most = (1 / 254 + 1 / 2048) * expected.abs().max()
        assert (found - expected).abs().max() <= most, name
    ids = tokens()
    with torch.no_grad():
        found, expected = model(input_ids=ids).logits, original(input_ids=ids).logits
    assert (found - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("block_count", 10**9, "its header has num_hidden_layers = 1,000,000,000: no model has"),
        ("embedding_length", 10**9, "its header has hidden_size = 1,000,000,000: no model has"),
        ("feed_forward_length", 2 * 10**9, "its header has intermediate_size = 2,000,000,000: no"),
        ("vocab_size", 2 * 10**9, "its header has vocab_size = 2,000,000,000: no model has more"),
        ("feed_forward_length", 10**8, "its header describes 12,8.* and its weights have"),
    ],
)
def test_a_gguf_file_of_sizes_that_cannot_be_meant_is_refused_before_they_are_made(
    field: str, value: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = pytest.importorskip("gguf")
    add = getattr(gguf.GGUFWriter, f"add_{field}")
    monkeypatch.setattr(gguf.GGUFWriter, f"add_{field}", lambda self, _: add(self, value))
    path = write_gguf(tmp_path / "bomb.gguf", llama(), byte_tokenizer())
    for load in (config_of, load_causal_lm):
        with pytest.raises(ModelError, match=rf"^teacher\.path = {path}: {words}"):
            load(str(path), key=KEY)


def test_a_gguf_file_that_was_damaged_is_refused_in_one_line(
    gguf_file: Path, tmp_path: Path
) -> None:
    whole, path = gguf_file.read_bytes(), tmp_path / "damaged.gguf"
    size = whole.index(b"llama.context_length") - 8  # where the length of the name stands
    for damaged in (
        whole[:size] + b"\xff" * 7 + b"\x7f" + whole[size + 8 :],
        whole[: size + 100],
        whole[:2],
        b"",
    ):
        path.write_bytes(damaged)
        for load in (config_of, load_causal_tokenizer, load_causal_lm):
            with pytest.raises(
                ModelError, match=r"^teacher\.path = .*damaged\.gguf: its "
            ) as caught:
                load(str(path), key=KEY)
            assert "\n" not in str(caught.value)
    first_token = whole.index(b"tokenizer.ggml.merges") + 60  # of a rule of merging two
    at = whole.index(b" ", first_token) - 1
    path.write_bytes(whole[:at] + b"\x01" + whole[at + 1 :])
    with pytest.raises(ModelError, match=r"its tokenizer cannot .* out of vocabulary"):
        load_causal_tokenizer(str(path), key=KEY)


def test_a_gguf_model_is_clean_and_tied_and_can_be_saved(gguf_file: Path, tmp_path: Path) -> None:
    model = load_causal_lm(str(gguf_file), key=KEY)
    assert tied(model)
    assert getattr(model, "hf_quantizer", None) is None
    assert not getattr(model, "is_quantized", False)
    assert all(p.requires_grad for p in model.parameters())
    save_causal_lm(model, load_causal_tokenizer(str(gguf_file), key=KEY), tmp_path, max_length=64)
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    again = load_causal_lm(str(tmp_path), key=KEY)
    same(again, model)
    assert tied(again)
    written = load_causal_tokenizer(str(tmp_path), key=KEY)
    assert written.get_vocab() == byte_tokenizer().get_vocab()


def test_what_transformers_makes_of_a_gguf_file_is_saved_clean_too(
    gguf_file: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    with pytest.raises(ValueError, match="not serializable"):
        model.save_pretrained(tmp_path)
    save_causal_lm(model, byte_tokenizer(), tmp_path, max_length=64)
    same(load_causal_lm(str(tmp_path), key=KEY), model)


def test_a_gguf_tokenizer_is_the_one_that_went_in(gguf_file: Path) -> None:
    read, original = load_causal_tokenizer(str(gguf_file), key=KEY), byte_tokenizer()
    assert read.get_vocab() == original.get_vocab()
    assert read.apply_chat_template(TALK, tokenize=False) == original.apply_chat_template(
        TALK, tokenize=False
    )
    for text in ("the cat sat on a mat", "Über 100 dogs\n"):
        assert read(text)["input_ids"] == original(text)["input_ids"]
    assert (read.bos_token, read.eos_token) == ("<s>", "</s>")


def test_reading_a_gguf_file_says_nothing(
    gguf_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load_causal_lm(str(gguf_file), key=KEY)
    load_causal_tokenizer(str(gguf_file), key=KEY)
    assert capfd.readouterr() == ("", "")


# new ones


def test_a_new_model_has_the_tokenizers_vocabulary_and_special_tokens() -> None:
    tokenizer = byte_tokenizer(["<extra>"], pad="<pad>")
    model = new_causal_lm({"model_type": "llama", **GROUPED}, tokenizer, key="student.config")
    assert model.config.vocab_size == max(tokenizer.get_vocab().values()) + 1
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.dtype == torch.float32


def test_a_pad_token_that_ends_the_text_is_still_learnt() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    shape = {"model_type": "llama", **GROUPED, "tie_word_embeddings": False}
    model = new_causal_lm(shape, tokenizer, key="student.config")
    ids = torch.tensor([[5, tokenizer.eos_token_id, 7]])
    model(input_ids=ids).logits[0, -1].square().sum().backward()
    assert model.get_input_embeddings().weight.grad[tokenizer.eos_token_id].abs().sum() > 0


def test_the_same_seed_gives_the_same_weights() -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(4)
        shape = {"model_type": "gpt2", "n_layer": 1}
        made.append(new_causal_lm(shape, byte_tokenizer(), key="k").eval())
    same(*made)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": None}, r"student\.config\.model_type: not set"),
        ({"model_type": "lama"}, r"student\.config = lama"),
        ({"vocab_size": 5}, r"student\.config\.vocab_size = 5: the tokenizer has ids up to \d+"),
        ({"num_attention_heads": 3}, r"config cannot be made ready \(The hidden size \(32\)"),
        ({"is_causal": False}, r"student\.config\.model_type = llama: .* sees the tokens after"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    shape = {"model_type": "llama", **GROUPED, **change}
    with pytest.raises(ModelError, match=said) as caught:
        new_causal_lm(shape, byte_tokenizer(), key="student.config")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "setting", [{"temperature": 0.6}, {"top_p": 0.9, "max_length": -1}, {"num_beams": 1}]
)
def test_generation_settings_never_stop_a_save(tmp_path: Path, setting: dict[str, Any]) -> None:
    model = llama()
    for name, value in setting.items():
        setattr(model.generation_config, name, value)
    save_causal_lm(model, byte_tokenizer(), tmp_path, max_length=64)
    same(load_causal_lm(str(tmp_path), key=KEY).eval(), model.eval())


def test_a_saved_tokenizer_gives_no_segments_which_the_model_never_had(tmp_path: Path) -> None:
    """GPT-2's kind takes those of a whole text for as many words of its own."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = byte_tokenizer()
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    model = language_model("gpt2", vocab_size=len(tokenizer))
    ids = torch.tensor([tokenizer("the cat sat")["input_ids"]])
    save_causal_lm(model, tokenizer, tmp_path, max_length=64)
    encoded = AutoTokenizer.from_pretrained(tmp_path)("the cat sat", return_tensors="pt")
    with torch.no_grad():
        found = AutoModelForCausalLM.from_pretrained(tmp_path)(**encoded).logits
        assert torch.equal(found, model(input_ids=ids).logits)
