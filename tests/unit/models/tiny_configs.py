"""The smallest config that any architecture of transformers runs with, as settings of a student."""

from typing import Any

from tests.unit.models.tiny_lms import SHAPES

# what configs call their sizes -> a small one, set where an architecture's default config has it
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "d_model": 32,
    "n_embd": 32,
    "dim": 32,
    "emb_dim": 32,
    "embedding_size": 32,
    "embedding_dim": 32,
    "intermediate_size": 48,
    "ffn_dim": 48,
    "d_ff": 48,
    "d_inner": 48,
    "hidden_dim": 48,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "moe_shared_expert_intermediate_size": 16,
    "shared_intermediate_size": 16,
    "dense_intermediate_size": 48,
    "intermediate_size_mlp": 48,
    "num_hidden_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    "num_layers": 2,
    "num_blocks": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "num_attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "num_heads": 4,
    "num_key_value_heads": 2,
    "num_key_heads": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "head_dim": 8,
    "attention_head_dim": 8,
    "kv_channels": 8,
    "d_kv": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "q_lora_rank": 16,
    "kv_lora_rank": 8,
    "o_lora_rank": 8,
    "max_position_embeddings": 64,
    "n_positions": 64,
    "max_seq_len": 64,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_k": 2,
    "moe_topk": 2,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "state_size": 8,
    "mamba_d_state": 8,
    "mamba_d_head": 8,
    "mamba_n_heads": 8,
    "mamba_num_heads": 8,
    "mamba_head_dim": 8,
    "ssm_state_size": 8,
    "mamba_chunk_size": 8,
    "chunk_size": 8,
    "time_step_rank": 4,
    "mamba_dt_rank": 4,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "index_topk": 8,
    "sliding_window": 16,
    "attention_window": 16,
    "query_pre_attn_scalar": 8,
}
LATENT = ("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite")
LATENT += ("glm_moe_dsa", "longcat_flash", "youtu")
UNGROUPED: dict[str, Any] = {"num_key_value_heads": 4}  # keys and values from one latent, or alike
OWN: dict[str, dict[str, Any]] = dict.fromkeys((*LATENT, "dots3_note_text", "esmc"), UNGROUPED)


def tiny_config(kind: str) -> dict[str, Any]:
    """Settings of the smallest model of an architecture, without its vocabulary."""
    if kind in SHAPES:
        return SHAPES[kind]
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    has = CONFIG_MAPPING[kind]().to_dict()
    small = {name: size for name, size in SMALL.items() if has.get(name) is not None}
    return small | OWN.get(kind, {})


def is_of_text(kind: str) -> bool:
    """Whether an architecture has one config, with defaults that make one, and reads text alone."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        found = CONFIG_MAPPING[kind]()
    except Exception:
        return False
    return not type(found).sub_configs and not getattr(found, "is_encoder_decoder", False)
