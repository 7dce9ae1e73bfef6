"""The keys that older readers look for in a saved student."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.errors import ModelError
from distillkit.models.legacy import legacy_config, legacy_tokenizer
from distillkit.tasks import CausalLM, Classification
from distillkit.types import LabelSpace
from tests import tiny
from tests.network.test_old_reader import CAUSAL, CLASSIFIERS, LABELS, LINEAR, LLAMA3, LONGROPE
from tests.unit.models.tiny_lms import SHAPES, byte_tokenizer

LINEAR_SCALING = {"rope_type": "linear", "factor": 4.0}


def saved(folder: Path, kind: str, changes: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A new language model of a kind, and the config.json that a run writes of it."""
    task = CausalLM(max_length=48)
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    shape = {"model_type": kind, **SHAPES[kind], **changes}
    model = task.new_model(shape, LABELS, tokenizer, key="student.config").eval()
    task.save(model, tokenizer, folder)
    return model, json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama", {"rope_theta": 1e6}),
        ("llama-linear", {"rope_theta": 1e6, "rope_scaling": LINEAR_SCALING}),
        (
            "llama-llama3",
            {
                "rope_theta": 5e5,
                "rope_scaling": {k: v for k, v in LLAMA3.items() if k != "rope_theta"},
            },
        ),
        ("qwen2", {"rope_theta": 1e6}),
        (
            "gemma3",
            {
                "rope_theta": 1e6,
                "rope_local_base_freq": 2e4,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
                "sliding_window_pattern": 6,
            },
        ),
        ("phi", {"rope_theta": 1e5, "partial_rotary_factor": 0.25}),
        (
            "phi3-longrope",
            {
                "rope_theta": 1e5,
                "rope_scaling": {
                    "type": "longrope",
                    "short_factor": LONGROPE["short_factor"],
                    "long_factor": LONGROPE["long_factor"],
                },
                "original_max_position_embeddings": 32,
            },
        ),
        ("gpt_neox", {"rotary_emb_base": 30000, "rotary_pct": 0.5}),
        ("cohere2", {"rope_theta": 5e4, "sliding_window_pattern": 4}),
        ("gpt2", {}),
    ],
)
def test_a_config_has_the_older_keys_and_is_read_as_before(
    tmp_path: Path, name: str, expected: dict[str, Any]
) -> None:
    from transformers import AutoModelForCausalLM

    kind, changes = CAUSAL[name]
    model, config = saved(tmp_path, kind, changes)
    assert {key: config.get(key) for key in expected} == expected
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert ("rope_scaling" in config) == ("rope_scaling" in expected)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ours, theirs = (getattr(it.config, "rope_parameters", None) for it in (model, again))
    assert (
        ours == {k: v for k, v in (theirs or {}).items() if k != "type"} or ours is theirs is None
    )
    ids = torch.randint(5, 40, (2, 48), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=0, atol=0)


def test_the_two_bases_of_modernbert_have_their_names(tmp_path: Path) -> None:
    tiny.write_tokenizer(tmp_path / "words")
    task = Classification(max_length=20)
    tokenizer = task.load_tokenizer(str(tmp_path / "words"), key="k")
    shape = {"model_type": "modernbert", **CLASSIFIERS["modernbert"]}
    task.save(task.new_model(shape, LABELS, tokenizer, key="k"), tokenizer, tmp_path / "it")
    config = json.loads((tmp_path / "it" / "config.json").read_text())
    assert (config["global_rope_theta"], config["local_rope_theta"]) == (9e4, 2e4)
    assert config["global_attn_every_n_layers"] == 2
    assert "rope_theta" not in config


@pytest.mark.parametrize("kind", ["gemma4_text", "gemma4_unified_text"])
def test_a_rotation_that_no_older_reader_knows_has_no_older_name(kind: str, tmp_path: Path) -> None:
    """Gemma 4's "proportional", written as rope_scaling, would be read for all its rotations."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(kind)
    rope = config.rope_parameters["full_attention"]
    assert rope["rope_type"] == "proportional"
    written = config.to_dict() | legacy_config(config.to_dict())
    assert "rope_scaling" not in written
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == config.rope_parameters


def test_layers_without_a_pattern_have_no_older_name() -> None:
    layers = ["sliding_attention", "full_attention", "full_attention", "sliding_attention"]
    assert legacy_config({"model_type": "gemma3_text", "layer_types": layers}) == {}


def test_what_is_written_already_is_left_and_text_parts_have_theirs() -> None:
    rope = LINEAR | {"rope_theta": 7.0}
    assert legacy_config({"rope_parameters": rope, "rope_theta": 9.0}) == {
        "rope_scaling": LINEAR_SCALING
    }
    inner = {"model_type": "llama", "rope_parameters": rope}
    found = legacy_config({"model_type": "llava", "text_config": inner})
    assert found["text_config"]["rope_theta"] == 7.0
    assert found["text_config"]["rope_parameters"] == rope


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("TokenizersBackend", "PreTrainedTokenizerFast"),
        ("LlamaTokenizer", "PreTrainedTokenizerFast"),
        ("BertTokenizer", "BertTokenizer"),
    ],
)
def test_a_tokenizer_has_a_class_that_all_readers_know(kind: str, expected: str) -> None:
    given = {"tokenizer_class": kind, "extra_special_tokens": ["<|im_end|>"]}
    found = legacy_tokenizer(given, ("input_ids", "attention_mask"))
    assert found["tokenizer_class"] == expected
    assert found["model_input_names"] == ["input_ids", "attention_mask"]
    assert found["additional_special_tokens"] == ["<|im_end|>"]
    assert "extra_special_tokens" not in found


def test_a_saved_tokenizer_tells_the_length_that_was_trained(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = byte_tokenizer(["<|im_end|>"])
    task = CausalLM(max_length=48)
    shape = {"model_type": "llama", **SHAPES["llama"]}
    task.save(task.new_model(shape, LABELS, tokenizer, key="k"), tokenizer, tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.model_max_length == 48
    texts = ["the cat sat<|im_end|>", "no dog there"]
    assert again(texts)["input_ids"] == tokenizer(texts)["input_ids"]


def test_a_student_gets_no_segments_that_it_does_not_take(tmp_path: Path) -> None:
    """A DistilBERT that reads with a BERT's tokenizer; `model(**tokenizer(…))` is its use."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tiny.write_tokenizer(tmp_path / "words")
    task = Classification(max_length=20)
    tokenizer = task.load_tokenizer(str(tmp_path / "words"), key="k")
    shape = {"model_type": "distilbert", **CLASSIFIERS["distilbert"]}
    task.save(task.new_model(shape, LABELS, tokenizer, key="k"), tokenizer, tmp_path / "it")
    again = AutoTokenizer.from_pretrained(tmp_path / "it")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "it")
    assert model(**again("a film", "a plot", return_tensors="pt")).logits.shape == (1, 2)


def test_a_tokenizer_that_would_be_read_as_another_is_refused(tmp_path: Path) -> None:
    tiny.write_tokenizer(tmp_path / "words")
    task = Classification(max_length=20)
    tokenizer = task.load_tokenizer(str(tmp_path / "words"), key="k")
    with pytest.raises(ModelError, match=r"student\.config\.model_type = qwen2: .*Qwen2Tokenizer"):
        task.new_model(
            {"model_type": "qwen2", **SHAPES["qwen2"]}, LABELS, tokenizer, key="student.config"
        )
    task.new_model({"model_type": "qwen3", **SHAPES["qwen3"]}, LABELS, tokenizer, key="k")


def test_ids_with_gaps_all_have_a_row(tmp_path: Path) -> None:
    from transformers import BertTokenizerFast

    words = {w: 2 * i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film"])}
    tokenizer = BertTokenizerFast(vocab=words)
    task = Classification(max_length=20)
    shape = {"model_type": "distilbert", **CLASSIFIERS["distilbert"]}
    model = task.new_model(shape, LabelSpace(("a", "b")), tokenizer, key="k")
    assert model.config.vocab_size == 11
    task.agree_on_padding(model, tokenizer, key="k")
    said = model(torch.from_numpy(np.array([tokenizer("film")["input_ids"]])))
    assert said.logits.shape == (1, 2)
