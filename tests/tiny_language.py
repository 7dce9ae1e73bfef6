"""Tiny language models, documents and conversations that the tests make for themselves."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests import tiny

WORDS = [*tiny.PLAIN, *tiny.GOOD, *tiny.BAD, "user", "assistant", "system", ".", ":", "?"]
SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>", "<|", "|>"]
TEMPLATE = (
    "{% for m in messages %}<| {{ m['role'] }} : {{ m['content'] }} |> {% endfor %}"
    "{% if add_generation_prompt %}<| assistant : {% endif %}"
)


def document(rng: random.Random, sentences: tuple[int, int] = (1, 6)) -> str:
    """A few sentences, each about good or bad films, which leaves something to predict."""
    label = rng.randrange(2)
    return " . ".join(tiny.sentence(rng, label) for _ in range(rng.randint(*sentences)))


def documents(count: int, seed: int = 0) -> list[str]:
    """Distinct documents."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found.setdefault(document(rng))
    return list(found)


def write_documents(folder: Path, count: int = 120) -> Path:
    """A jsonl file of documents."""
    path = folder / "documents.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents(count)))
    return path


def write_conversations(folder: Path, count: int = 80, seed: int = 0) -> Path:
    """A jsonl file of conversations, as messages and as prompt and response."""
    rng = random.Random(seed)
    path = folder / "conversations.jsonl"
    rows = []
    for _ in range(count):
        prompt, response = document(rng, (1, 2)), document(rng, (1, 2))
        messages = [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": response},
        ]
        rows.append({"messages": messages, "prompt": prompt, "response": response})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_tokenizer(folder: Path, *, template: str | None = TEMPLATE) -> Any:
    """A tokenizer of whole words, with a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(dict.fromkeys([*SPECIAL, *WORDS]))}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_model(
    folder: Path, *, layers: int = 4, hidden: int = 32, seed: int = 0, padded: int = 0
) -> Path:
    """A Llama with random weights and a tokenizer; `padded` rounds its vocabulary up by so many."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = write_tokenizer(folder)
    torch.manual_seed(seed)
    shape = LlamaConfig(
        vocab_size=len(tokenizer) + padded,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


def small(teacher: Path, documents: Path, workspace: Path, *more: str) -> list[str]:
    """Overrides of a language-model run that is over in seconds."""
    words: Sequence[str] = (
        "task=causal_lm",
        "task.max_length=32",
        "data=documents",
        f"data.train={documents}",
        "data.validation_fraction=0.15",
        "data.test_fraction=0.2",
        "teacher=local",
        f"teacher.path={teacher}",
        "student=from_teacher",
        "student.layers=2",
        "targets=sampled",
        "targets.batch_tokens=512",
        "targets.shard_tokens=1024",
        "loss.temperature=1.0",
        "trainer.epochs=2",
        "trainer.batch_size=4",
        "optimizer.lr=3e-3",
        "evaluation.latency_examples=3",
        "evaluation.throughput_batches=2",
        "evaluation.batch_size=4",
        "evaluation.resamples=50",
        "evaluation.samples=1",
        "evaluation.sample_tokens=4",
        f"workspace={workspace}",
    )
    return [*words, *more]
