"""Models that keep examples of a shared row apart, and those that do not."""

from typing import Any

import pytest
import torch

from distillkit.models.packing import keeps_packed_apart
from tests.unit.models.tiny_configs import tiny_config

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
WINDOW = {"sliding_window": 4, "head_dim": 8, "query_pre_attn_scalar": 8}


def model(kind: str, attention: str = "sdpa", **changes: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **(SMALL | changes))
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "mistral", "gpt_neox"])
def test_attention_is_masked_by_example(kind: str, attention: str) -> None:
    assert keeps_packed_apart(model(kind, attention))


def test_a_sliding_window_stays_inside_its_example() -> None:
    assert keeps_packed_apart(model("gemma2", "eager", **WINDOW))


def test_a_model_that_takes_no_positions_is_not_packed(capsys: pytest.CaptureFixture[str]) -> None:
    assert not keeps_packed_apart(model("bloom", "eager", n_head=4))
    assert "each has a row of its own" in capsys.readouterr().err


def test_a_model_whose_body_takes_no_positions_is_not_packed() -> None:
    """Whisper's decoder takes them with all else that it is given, and passes them to nobody."""
    shape = {
        "d_model": 32,
        "decoder_layers": 1,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 32,
    }
    small = {"vocab_size": 50, "max_target_positions": 64, "pad_token_id": 0, "eos_token_id": 1}
    from transformers import WhisperConfig, WhisperForCausalLM

    torch.manual_seed(0)
    found = WhisperForCausalLM(WhisperConfig(**shape, **small, bos_token_id=1))
    assert not keeps_packed_apart(found)


def test_a_model_with_a_state_is_not_packed() -> None:
    assert not keeps_packed_apart(model("mamba", "eager", state_size=4, time_step_rank=4))


def test_the_training_mode_is_put_back() -> None:
    for training in (True, False):
        found = model("llama").train(training)
        keeps_packed_apart(found)
        assert found.training is training


@pytest.mark.parametrize("kind", ["falcon_h1", "inkling_text", "inkling2_text", "hy_v4"])
def test_a_faint_leak_between_examples_is_one(kind: str) -> None:
    """Of new weights a state, or a choice among all tokens of a row, moves answers by 1 % or less.

    So they were packed, and what a model learnt of a text hung on the texts beside it.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(kind, vocab_size=120, **special, **tiny_config(kind))
    assert not keeps_packed_apart(AutoModelForCausalLM.from_config(config))


def test_half_precision_is_packed_where_attention_is_masked() -> None:
    assert keeps_packed_apart(model("llama").bfloat16())
    assert keeps_packed_apart(model("mixtral", num_local_experts=4).bfloat16())
    assert not keeps_packed_apart(model("mamba", "eager", state_size=4, time_step_rank=4))
