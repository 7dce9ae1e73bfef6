"""Tiny language models of many architectures, with random weights, and a tokenizer for them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

VOCABULARY = 120
WIDE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
GROUPED = WIDE | {"num_key_value_heads": 2}
GEMMA = GROUPED | {"head_dim": 8, "query_pre_attn_scalar": 8}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}

SHAPES: dict[str, dict[str, Any]] = {
    "apertus": GROUPED,
    "arcee": GROUPED,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "codegen": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 4},
    "cohere": GROUPED | {"logit_scale": 0.0625},
    "cohere2": GROUPED | {"logit_scale": 0.25},
    "ctrl": {"n_embd": 32, "n_layer": 2, "n_head": 4, "dff": 48, "n_positions": 64},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "falcon_h1": GROUPED
    | {
        "lm_head_multiplier": 0.5,
        "mamba_d_ssm": 32,
        "mamba_n_heads": 4,
        "mamba_d_head": 8,
        "mamba_d_state": 8,
        "mamba_chunk_size": 8,
    },
    "gemma": GROUPED | {"head_dim": 8},
    "gemma2": GEMMA | {"final_logit_softcapping": 30.0, "sliding_window": 16},
    "gemma3_text": GEMMA | {"final_logit_softcapping": 20.0, "sliding_window": 16},
    "glm": GROUPED | {"head_dim": 8, "pad_token_id": 0},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "max_position_embeddings": 64,
    },
    "gpt_neox": WIDE,
    "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 4},
    "granite": GROUPED | {"logits_scaling": 8.0, "embedding_multiplier": 12.0},
    "granitemoe": GROUPED | {"logits_scaling": 6.0} | EXPERTS,
    "helium": GROUPED | {"head_dim": 8},
    "hyperclovax": GROUPED | {"logits_scaling": 0.125},
    "llama": GROUPED,
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "time_step_rank": 4},
    "minicpm3": WIDE
    | {
        "dim_model_base": 8,  # the head reads the hidden states divided by 32 / 8
        "num_key_value_heads": 4,
        "q_lora_rank": 16,
        "kv_lora_rank": 8,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 8,
        "v_head_dim": 8,
    },
    "mistral": GROUPED,
    "mixtral": GROUPED | EXPERTS,
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
    "nanochat": GROUPED | {"final_logit_softcapping": 15.0},
    "nemotron": GROUPED | {"head_dim": 8},
    "olmo": GROUPED,
    "olmo2": GROUPED,
    "openai-gpt": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "opt": {
        "hidden_size": 32,
        "word_embed_proj_dim": 16,  # so the head is narrower than the layers
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 48,
        "max_position_embeddings": 64,
    },
    "persimmon": WIDE,
    "phi": WIDE,
    "phi3": GROUPED | {"pad_token_id": 0},
    "qwen2": GROUPED,
    "qwen3": GROUPED | {"head_dim": 8},
    "recurrent_gemma": GROUPED
    | {"num_hidden_layers": 3, "head_dim": 8, "lru_width": 32, "logits_soft_cap": 30.0},
    "rwkv": {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32},
    "smollm3": GROUPED | {"pad_token_id": 0},
    "stablelm": GROUPED,
    "starcoder2": GROUPED,
    "vaultgemma": GEMMA | {"final_logit_softcapping": 30.0, "sliding_window": 16},
}


def language_model(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A tiny causal language model in eval mode."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **{"vocab_size": VOCABULARY, **SHAPES[kind], **changes})
    return AutoModelForCausalLM.from_config(config).eval()


def tokens(batch: int = 2, length: int = 9, seed: int = 1) -> torch.Tensor:
    """Random token ids [batch, length]."""
    drawn = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (batch, length), generator=drawn)


WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "no", "dog", "there", "at", "all"]
TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


def byte_tokenizer(extra: Sequence[str] = (), *, pad: str | None = None) -> Any:
    """A byte-level BPE tokenizer: <unk>, <s>, </s>, all bytes' letters, a few merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*special, *letters])}
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        left = "Ġ"
        for letter in word:
            if left + letter not in vocabulary:
                vocabulary[left + letter] = len(vocabulary)
                merges.append((left, letter))
            left += letter
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    if pad:
        made.add_special_tokens({"pad_token": pad})
    made.add_tokens(list(extra))
    made.chat_template = TEMPLATE
    return made


def write_gguf(path: Path, model: Any, tokenizer: Any) -> Path:
    """A Llama and its tokenizer as llama.cpp would write them, matrices in Q8_0 blocks."""
    import gguf
    from gguf import GGMLQuantizationType as Kind

    config = model.config
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_block_count(config.num_hidden_layers)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_dimension_count(config.head_dim)
    out.add_rope_freq_base(config.rope_parameters["rope_theta"])
    out.add_vocab_size(config.vocab_size)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    out.add_tokenizer_model("gpt2")
    out.add_token_list([token for token, _ in vocabulary])
    out.add_token_types([3 if i < 3 else 1 for _, i in vocabulary])  # control, normal
    out.add_token_merges([" ".join(pair) for pair in merges])
    out.add_bos_token_id(tokenizer.bos_token_id)
    out.add_eos_token_id(tokenizer.eos_token_id)
    out.add_chat_template(tokenizer.chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.numpy()
        if ".q_proj." in name or ".k_proj." in name:  # llama.cpp pairs rotary dimensions otherwise
            heads = len(values) // config.head_dim
            halves = values.reshape(heads, 2, config.head_dim // 2, -1)
            values = halves.swapaxes(1, 2).reshape(values.shape)
        kind = Kind.Q8_0 if values.ndim == 2 else Kind.F32
        stored = gguf.quants.quantize(values, kind)
        out.add_tensor(names.get_name(name, try_suffixes=(".weight",)), stored, raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path
