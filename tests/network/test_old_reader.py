"""Saved students say the same in the oldest transformers that is named, with its own tokenizers."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.models.legacy import OLDEST_READER
from distillkit.students.architectures import register_architectures
from distillkit.tasks import CausalLM, Classification, MaskedLM, Task
from distillkit.types import LabelSpace
from tests import tiny
from tests.unit.models.tiny_lms import SHAPES, byte_tokenizer

READER = Path(__file__).parents[1] / "old_reader.py"
# the last patch of that line, and what it needs in other versions than ours
VERSIONS = ("transformers==4.51.3", "tokenizers==0.21.4", "huggingface-hub==0.36.0")
LABELS = LabelSpace(("bad", "good"))
TEXTS = ["the cat sat", "a dog sat on a mat and saw no cat there at all"]
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
    "rope_theta": 5e5,
}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 16,
    "rope_theta": 1e6,
}
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.5, 2.0, 2.5],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
    "original_max_position_embeddings": 32,
    "rope_theta": 1e5,
}
GEMMA3 = {
    "num_hidden_layers": 6,
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    },
}
CAUSAL: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"rope_theta": 1e6}),
    "llama-linear": ("llama", {"rope_parameters": LINEAR}),
    "llama-llama3": ("llama", {"rope_parameters": LLAMA3}),
    "llama-yarn": ("llama", {"rope_parameters": YARN}),
    "llama-dynamic": ("llama", {"rope_parameters": LINEAR | {"rope_type": "dynamic"}}),
    "qwen2": ("qwen2", {"rope_theta": 1e6}),
    "qwen3": ("qwen3", {"rope_theta": 1e6}),
    "mistral": ("mistral", {"rope_theta": 1e6}),
    "gemma2": ("gemma2", {"rope_theta": 5e4}),
    "gemma3": ("gemma3_text", GEMMA3),
    "phi": ("phi", {"rope_theta": 1e5, "partial_rotary_factor": 0.25}),
    "phi3": ("phi3", {"rope_theta": 1e5}),
    "phi3-longrope": (
        "phi3",
        {"rope_parameters": LONGROPE, "original_max_position_embeddings": 32},
    ),
    "gpt_neox": ("gpt_neox", {"rotary_pct": 0.5, "rotary_emb_base": 30000}),
    "stablelm": ("stablelm", {"rope_theta": 1e5, "partial_rotary_factor": 0.5}),
    "glm": ("glm", {"rope_theta": 1e5}),
    "granite": ("granite", {"rope_theta": 1e5}),
    "olmo2": ("olmo2", {"rope_theta": 5e5}),
    "cohere2": ("cohere2", {"rope_theta": 5e4, "num_hidden_layers": 4}),
    "gpt2": ("gpt2", {}),
    "opt": ("opt", {}),
    "bloom": ("bloom", {}),
}
ENCODER: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
}
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "bert": ENCODER,
    "roberta": ENCODER,
    "electra": ENCODER | {"embedding_size": 16},
    "albert": ENCODER | {"embedding_size": 16},
    "deberta-v2": ENCODER,
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "modernbert": ENCODER
    | {
        "num_hidden_layers": 4,
        "global_attn_every_n_layers": 2,
        "local_attention": 8,
        "global_rope_theta": 9e4,
        "local_rope_theta": 2e4,
        "cls_token_id": 2,
        "sep_token_id": 3,
    },
    "distillkit_textcnn": {"embedding_size": 16, "feature_maps": 4},
    "distillkit_bilstm": {"embedding_size": 16, "hidden_size": 8, "fc_size": 8},
}
DECODERS = {"llama": {"rope_theta": 1e6}, "qwen2": {"rope_theta": 1e6}, "gpt2": {}}
MESSAGES = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "sat"}]


def word_tokenizer(folder: Path) -> Any:
    tiny.write_tokenizer(folder / "words", extra=" ".join(TEXTS).split())
    return Classification().load_tokenizer(str(folder / "words"), key="k")


def class_tokenizers() -> dict[str, tuple[str, Any]]:
    """Tokenizers that put tokens around a text by rules of their class: name -> (for, it)."""
    import transformers

    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    pieces = [("▁", -3.0), *((letter, -5.0) for letter in letters), ("▁the", -2.0)]

    def unigrams(*special: str, last: str) -> Any:
        return [*((token, 0.0) for token in special), *pieces, (last, 0.0)]

    def merged(*special: str) -> dict[str, Any]:
        words = [*special, "▁", *letters, "▁t", "▁th", "▁the"]
        merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e")]
        return {"vocab": {word: i for i, word in enumerate(words)}, "merges": merges}

    llama = merged("<unk>", "<s>", "</s>")
    five = ("<s>", "<pad>", "</s>", "<unk>")
    return {
        "llama-class": ("llama", transformers.LlamaTokenizer(**llama)),
        "llama-class-ends": ("llama", transformers.LlamaTokenizer(**llama, add_eos_token=True)),
        "gemma-class": (
            "gemma",
            transformers.GemmaTokenizer(**merged("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")),
        ),
        "xlm-roberta-class": (
            "xlm-roberta",
            transformers.XLMRobertaTokenizer(vocab=unigrams(*five, last="<mask>")),
        ),
        "albert-class": (
            "albert",
            transformers.AlbertTokenizer(
                vocab=unigrams("<pad>", "<unk>", "[CLS]", "[SEP]", last="[MASK]")
            ),
        ),
        "more-special-tokens": ("gpt2", byte_tokenizer(["<|im_start|>"], pad="<pad>")),
    }


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind, as a run saves it."""
    home = tmp_path_factory.mktemp("students")
    register_architectures()
    words = word_tokenizer(home)
    found: dict[str, Path] = {}

    def save(name: str, task: Task, tokenizer: Any, config: dict[str, Any], **asked: Any) -> None:
        torch.manual_seed(0)
        model = task.new_model(config, LABELS, tokenizer, key="student.config").eval()
        task.agree_on_padding(model, tokenizer, key="k")
        found[name] = home / name
        task.save(model, tokenizer, found[name])
        drawn = torch.randint(5, 40, (2, 48), generator=torch.Generator().manual_seed(1))
        plain = {"ids": drawn.tolist(), "texts": TEXTS, "auto_class": task.auto_class}
        plain |= {"padded": task.family == "sequence", "model_type": config["model_type"]}
        (found[name] / "asked.json").write_text(json.dumps(plain | asked))

    for name, (kind, changes) in CAUSAL.items():
        shape = {"model_type": kind, **SHAPES[kind], **changes}
        pad = "<|endoftext|>" if kind == "qwen2" else None  # its class would add this one
        save(name, CausalLM(max_length=48), byte_tokenizer(pad=pad), shape, messages=MESSAGES)
    for kind, shape in CLASSIFIERS.items():
        own = kind.startswith("distillkit")
        task = Classification(max_length=48)
        save(f"{kind}-labels", task, words, {"model_type": kind, **shape}, own_code=own)
    for kind, changes in DECODERS.items():
        shape = {"model_type": kind, **SHAPES[kind], **changes}
        save(f"{kind}-labels", Classification(max_length=48), byte_tokenizer(), shape)
    for name, (kind, tokenizer) in class_tokenizers().items():
        shape = SHAPES.get(kind) or CLASSIFIERS.get(kind) or ENCODER
        shape = {"model_type": kind, **shape, "vocab_size": max(120, len(tokenizer))}
        save(name, Classification(max_length=48), tokenizer, shape)
    save("bert-masked", MaskedLM(max_length=48), words, {"model_type": "bert", **ENCODER})
    return found


def read_by(folder: Path, packages: Path | None, folders: list[Path]) -> dict[str, Any]:
    """What a transformers makes of the folders: ours, or that of `packages`."""
    out = folder / f"{'old' if packages else 'new'}.json"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "PYTHONPATH": str(packages or ""),
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(folder / "modules"),
    }
    done = subprocess.run(
        [sys.executable, str(READER), str(out), *map(str, folders)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.fixture(scope="module")
def both(
    students: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[dict[str, Any], dict[str, Any]]]:
    """name -> what our transformers makes of that student, and what the old one does."""
    home = tmp_path_factory.mktemp("readers")
    old = home / "packages"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(old)]
    subprocess.run([*install, *VERSIONS], check=True, capture_output=True, timeout=300)
    folders = list(students.values())
    ours, theirs = read_by(home, None, folders), read_by(home, old, folders)
    assert theirs["version"].startswith(OLDEST_READER.split()[-1])
    assert not ours["version"].startswith("4.")

    def of(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        return ours[str(students[name])], theirs[str(students[name])]

    return of


CLASSES = (
    "llama-class",
    "llama-class-ends",
    "gemma-class",
    "xlm-roberta-class",
    "albert-class",
    "more-special-tokens",
)
NAMES = [*CAUSAL, *(f"{k}-labels" for k in (*CLASSIFIERS, *DECODERS)), *CLASSES, "bert-masked"]


@pytest.mark.network
@pytest.mark.parametrize("name", NAMES)
def test_the_oldest_reader_says_the_same(both: Any, name: str) -> None:
    ours, theirs = both(name)
    assert "error" not in ours, ours["error"]
    assert "error" not in theirs, theirs["error"]
    np.testing.assert_allclose(theirs.pop("logits"), ours.pop("logits"), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(theirs.pop("texts"), ours.pop("texts"), rtol=1e-4, atol=1e-5)
    assert theirs == ours
    assert ours["model_max_length"] == 48
    assert ours["dtype"] == "torch.float32"
