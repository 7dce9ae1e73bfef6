"""Small language models with a byte-level tokenizer, as are written as GGUF."""

from pathlib import Path
from typing import Any

import torch

from tests.tiny_language import TEMPLATE, documents

ENDS = ("<|endoftext|>", "<|im_end|>")
SHAPES: dict[str, dict[str, Any]] = {
    # three layers of a width that is no multiple of 32, with heads of their own size
    "llama": {
        "hidden_size": 72,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
        "tie_word_embeddings": True,
    },
    "qwen2": {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": False,
    },
    "qwen3": {
        "hidden_size": 64,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 24,
        "tie_word_embeddings": True,
    },
    "mistral": {
        "hidden_size": 60,
        "intermediate_size": 77,
        "num_hidden_layers": 1,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "sliding_window": None,
    },
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64},
}


def byte_level(vocabulary: int = 300) -> Any:
    """A byte-level tokenizer as SmolLM's, trained on the tiny documents."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    digits, pieces = pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, pieces])
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[*ENDS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(documents(200), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=ENDS[0], eos_token=ENDS[0], pad_token=ENDS[0]
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def save(kind: str, folder: Path, **changes: Any) -> Any:
    """A language model with weights of some size, more rows than tokens, and its tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from distillkit.models.causal import save_causal_lm

    tokenizer = byte_level()
    torch.manual_seed(0)
    shape = SHAPES[kind] | {"initializer_range": 0.1} | changes
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer) + 4, **ids, **shape)
    model = AutoModelForCausalLM.from_config(config, dtype="float32")
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    model.generation_config.eos_token_id = [0, 1]
    save_causal_lm(model, tokenizer, folder, max_length=48)
    return model.eval()
