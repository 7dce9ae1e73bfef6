"""Models under their ids on the hub: real architectures, layers and heads, narrow weights."""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from distillkit.models.classifiers import quiet
from tests.hub import tokenizers
from tests.hub.repositories import Repository, read_folder

Files = dict[str, bytes]
BERTS = {  # layers, heads, and our width of a head
    "google-bert/bert-base-uncased": (12, 12, 8),
    "google-bert/bert-base-cased": (12, 12, 8),
    "google-bert/bert-base-chinese": (12, 12, 4),
    "google-bert/bert-large-uncased": (24, 16, 4),
}
MINIATURES = {  # layers, heads
    "google/bert_uncased_L-2_H-128_A-2": (2, 2),
    "google/bert_uncased_L-4_H-256_A-4": (4, 4),
    "google/bert_uncased_L-4_H-512_A-8": (4, 8),
    "google/bert_uncased_L-8_H-512_A-8": (8, 8),
    "google/bert_uncased_L-6_H-768_A-12": (6, 12),
}


def _weights(model: Any, *, rename: Callable[[str], str] = str, **more: Any) -> Files:
    """model.safetensors, its names as an old checkpoint of the hub has them."""
    from safetensors.torch import save

    shared = getattr(model, "_tied_weights_keys", None) or {}
    held = {n: p.contiguous() for n, p in model.state_dict().items() if n not in shared}
    held |= more
    return {"model.safetensors": save({rename(n): p for n, p in held.items()}, {"format": "pt"})}


def _config(model: Any, *, without: tuple[str, ...] = (), **changes: Any) -> Files:
    """config.json, with what the hub's own has and without what it lacks."""
    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        held = json.loads((Path(folder) / "config.json").read_text())
    held = {name: value for name, value in held.items() if name not in without} | changes
    return {"config.json": json.dumps(held, indent=2).encode()}


def _seeded(make: Callable[..., Any], config: Any, name: str) -> Any:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sum(name.encode()))
        return make(config).eval()


def _bert(name: str, layers: int, heads: int, width: int, vocabulary: Files) -> Any:
    from transformers import BertConfig, BertForPreTraining

    shape = BertConfig(
        vocab_size=len(vocabulary["vocab.txt"].split()),
        hidden_size=heads * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * heads * width,
        max_position_embeddings=512,
    )
    return _seeded(BertForPreTraining, shape, name)


def bert(name: str, repository: Repository) -> None:
    """google-bert/*: gamma and beta for weight and bias, heads of its pre-training."""
    words = tokenizers.wordpiece(
        cased=not name.endswith("uncased"), chinese=name.endswith("chinese")
    )
    model = _bert(name, *BERTS[name], words)
    files = _weights(model, rename=_old_norms) | words
    files |= _config(model, architectures=["BertForMaskedLM"])
    repository.commit(files | {"pytorch_model.bin": b"not to be unpickled", **_readme(name)})


def _old_norms(name: str) -> str:
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        name = name.replace(new, old)
    return name


def miniature(name: str, repository: Repository) -> None:
    """google/bert_uncased_*: config, weights and vocab.txt; no settings of a tokenizer."""
    words = tokenizers.wordpiece(cased=False)
    layers, heads = MINIATURES[name]
    model = _bert(name, layers, heads, 8, words)
    files = _config(model, without=("architectures",)) | _weights(model)
    repository.commit(files | {"vocab.txt": words["vocab.txt"], **_readme(name)})


def distilbert(name: str, repository: Repository) -> None:
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    words = tokenizers.wordpiece(cased=False)
    size = len(words["vocab.txt"].split())
    shape = DistilBertConfig(vocab_size=size, dim=96, n_heads=12, n_layers=6, hidden_dim=192)
    model = _seeded(DistilBertForMaskedLM, shape, name)
    files = _weights(model) | _config(model) | words
    repository.commit(files | _readme(name))


def roberta(name: str, repository: Repository) -> None:
    from transformers import RobertaConfig, RobertaForMaskedLM

    files = {**tokenizers.roberta()}
    shape = RobertaConfig(
        vocab_size=len(json.loads(files["vocab.json"])),
        hidden_size=48,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=96,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    model = _seeded(RobertaForMaskedLM, shape, name)
    repository.commit(files | _weights(model) | _config(model) | _readme(name))


def gpt2(name: str, repository: Repository, *, layers: int, heads: int) -> None:
    """GPT-2: names without a prefix, and masks among the weights."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    files = {**tokenizers.gpt2()}
    end = json.loads(files["vocab.json"])["<|endoftext|>"]
    shape = GPT2Config(
        vocab_size=len(json.loads(files["vocab.json"])),
        n_positions=1024,
        n_embd=heads * 4,
        n_layer=layers,
        n_head=heads,
        bos_token_id=end,
        eos_token_id=end,
    )
    model = _seeded(GPT2LMHeadModel, shape, name)
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 4, 4) for i in range(layers)}
    files |= _weights(model, rename=lambda n: n.removeprefix("transformer."), **masks)
    settings = {"bos_token_id": end, "eos_token_id": end, "transformers_version": "4.26.0.dev0"}
    files["generation_config.json"] = json.dumps({"_from_model_config": True, **settings}).encode()
    repository.commit(files | _config(model, without=("dtype",)) | _readme(name))


def llama(
    name: str, repository: Repository, *, layers: int, heads: int, groups: int, tied: bool
) -> None:
    """Llama 3: bfloat16 in shards, stretched positions, behind a gate."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    files = {**tokenizers.llama3()}
    words = {t["content"]: t["id"] for t in json.loads(files["tokenizer.json"])["added_tokens"]}
    first, last = words["<|begin_of_text|>"], words["<|end_of_text|>"]
    shape = LlamaConfig(
        vocab_size=1 + max(words.values()),
        hidden_size=2 * heads,
        intermediate_size=4 * heads,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        tie_word_embeddings=tied,
        bos_token_id=first,
        eos_token_id=last,
    )
    scaling = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0}
    scaling |= {"original_max_position_embeddings": 8192, "rope_type": "llama3"}
    old = {"rope_theta": 500000.0, "rope_scaling": scaling, "torch_dtype": "bfloat16"}
    model = _seeded(LlamaForCausalLM, shape, name).to(torch.bfloat16)
    files |= _sharded(model) | _config(model, without=("rope_parameters", "dtype"), **old)
    generation = {"bos_token_id": first, "eos_token_id": last, "do_sample": True}
    generation |= {"temperature": 0.6, "top_p": 0.9}
    files["generation_config.json"] = json.dumps(generation).encode()
    files["original/params.json"] = b"{}"
    repository.gated = True
    repository.commit(files | _readme(name))


def gemma2(name: str, repository: Repository) -> None:
    """Gemma 2: capped logits, every other layer with a window, behind a gate."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    files = {**tokenizers.gemma()}
    size = len(json.loads(files["tokenizer.json"])["model"]["vocab"])
    shape = Gemma2Config(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=42,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=4,
        query_pre_attn_scalar=4,
        max_position_embeddings=8192,
        sliding_window=16,
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
    )
    model = _seeded(Gemma2ForCausalLM, shape, name)
    repository.gated = True
    repository.commit(files | _sharded(model) | _config(model) | _readme(name))


def glm(name: str, repository: Repository) -> None:
    """GLM-4 as transformers itself has it: half of each head rotates, several ends of text."""
    from transformers import GlmConfig, GlmForCausalLM

    files = {**tokenizers.glm()}
    words = {t["content"]: t["id"] for t in json.loads(files["tokenizer.json"])["added_tokens"]}
    shape = GlmConfig(
        vocab_size=16 * (-(-(1 + max(words.values())) // 16)),  # rounded up, as theirs is
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=40,
        num_attention_heads=32,
        num_key_value_heads=2,
        head_dim=4,
        attention_bias=True,
        max_position_embeddings=8192,
        pad_token_id=words["<|endoftext|>"],
        eos_token_id=[words["<|endoftext|>"], words["<|user|>"], words["<eop>"]],
    )
    model = _seeded(GlmForCausalLM, shape, name)
    repository.commit(files | _sharded(model) | _config(model) | _readme(name))


def _sharded(model: Any) -> Files:
    """The weights in several files, with their index."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        model.save_pretrained(folder, max_shard_size=f"{size // 2000 + 1}KB")
        held = read_folder(Path(folder))
    return {path: data for path, data in held.items() if "safetensors" in path}


def _readme(name: str) -> Files:
    return {"README.md": f"# {name}\nA stand-in with random weights.\n".encode()}


MODELS: dict[str, Callable[[Repository], None]] = {
    **{name: partial(bert, name) for name in BERTS},
    **{name: partial(miniature, name) for name in MINIATURES},
    "distilbert/distilbert-base-uncased": partial(distilbert, "distilbert-base-uncased"),
    "FacebookAI/roberta-base": partial(roberta, "roberta-base"),
    "openai-community/gpt2": partial(gpt2, "gpt2", layers=12, heads=12),
    "MiniLLM/teacher-gpt2-1.5B": partial(gpt2, "teacher-gpt2", layers=48, heads=25),
    "meta-llama/Llama-3.1-8B": partial(
        llama, "Llama-3.1-8B", layers=32, heads=32, groups=8, tied=False
    ),
    "meta-llama/Llama-3.2-3B": partial(
        llama, "Llama-3.2-3B", layers=28, heads=24, groups=8, tied=True
    ),
    "google/gemma-2-9b": partial(gemma2, "gemma-2-9b"),
    "zai-org/glm-4-9b-hf": partial(glm, "glm-4-9b-hf"),
}
