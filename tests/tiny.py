"""Tiny models, texts and folders that the tests make for themselves."""

import csv
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def _words(text: str) -> list[str]:
    return text.split()


GOOD = _words("good great fine lovely bright warm clever funny moving rich")
BAD = _words("bad poor dull bleak cold slow silly weak empty loud")
PLAIN = _words(
    "the film story plot actor scene music camera ending dialogue a an is was and but very"
)
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def sentence(rng: random.Random, label: int, words: tuple[int, int] = (4, 12)) -> str:
    """A sentence whose words tell its label, with a little noise."""
    own, other = (GOOD, BAD) if label else (BAD, GOOD)
    chosen = []
    for _ in range(rng.randint(*words)):
        pool = rng.choices((own, other, PLAIN), weights=(4, 1, 5))[0]
        chosen.append(rng.choice(pool))
    return " ".join([*chosen, rng.choice(own)])


def labelled(count: int, seed: int = 0) -> list[tuple[str, int]]:
    """Distinct labelled sentences, balanced."""
    rng = random.Random(seed)
    rows: dict[str, int] = {}
    while len(rows) < count:
        label = len(rows) % 2
        rows.setdefault(sentence(rng, label), label)
    return list(rows.items())


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """A csv file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_reviews(folder: Path, count: int = 400, transfer: int = 600) -> tuple[Path, Path]:
    """(labelled csv, transfer csv) in a folder."""
    train = write_csv(folder / "reviews.csv", ("text", "label"), labelled(count))
    texts = [(text,) for text, _ in labelled(transfer, seed=1)]
    return train, write_csv(folder / "transfer.csv", ("text",), texts)


def tagged(count: int, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """(words, tags) of distinct sentences: runs of good or of bad words are entities."""
    found = []
    for text, _ in labelled(count, seed):
        words = text.split()
        kinds = ["GOOD" if w in GOOD else "BAD" if w in BAD else "" for w in words]
        tags = [
            f"{'I' if place and kinds[place - 1] == kind else 'B'}-{kind}" if kind else "O"
            for place, kind in enumerate(kinds)
        ]
        found.append((words, tags))
    return found


def write_several(folder: Path, count: int = 160) -> Path:
    """A csv of texts with several labels in one string: long, and good or bad, or both."""
    rows = []
    for text, _ in labelled(count):
        words = text.split()
        holds = {"good": set(GOOD) & set(words), "bad": set(BAD) & set(words), "any": words}
        rows.append((text, "|".join(name for name, found in holds.items() if found)))
    return write_csv(folder / "several.csv", ("text", "labels"), rows)


def write_questions(folder: Path, count: int = 60) -> Path:
    """A jsonl file: which word of the passage is the good one?"""
    path = folder / "questions.jsonl"
    rng = random.Random(0)
    rows = []
    for number in range(count):
        words = [rng.choice(PLAIN) for _ in range(rng.randint(8, 30))]
        place = rng.randrange(len(words))
        words[place] = rng.choice(GOOD)
        start = len(" ".join(words[:place])) + bool(place)
        answers = {"text": [words[place]], "answer_start": [start]}
        question = f"the {PLAIN[number % len(PLAIN)]} {number}"
        rows.append({"question": question, "context": " ".join(words), "answers": answers})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_tagged(folder: Path, count: int = 160) -> Path:
    """A column file of tagged words, with a third column that nobody needs."""
    path = folder / "words.conll"
    sentences = ["".join(f"{w} {t} 0\n" for w, t in zip(*s, strict=True)) for s in tagged(count)]
    path.write_text("-DOCSTART- -X- O\n\n" + "\n".join(sentences))
    return path


def write_tokenizer(folder: Path, extra: Sequence[str] = ()) -> None:
    """A word-piece tokenizer over the words of the tiny texts."""
    from transformers import BertTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*ALPHABET, *(f"##{c}" for c in ALPHABET)]
    words = dict.fromkeys([*special, *pieces, *PLAIN, *GOOD, *BAD, *extra])
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(words) + "\n")
    BertTokenizerFast(vocab={w: i for i, w in enumerate(words)}).save_pretrained(folder)


def write_model(
    folder: Path, *, labels: Sequence[str] = (), hidden: int = 32, seed: int = 0
) -> Path:
    """A BERT of two layers with random weights: a body, or with `labels` a classifier."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    write_tokenizer(folder)
    torch.manual_seed(seed)
    shape = BertConfig(
        vocab_size=len((folder / "vocab.txt").read_text().splitlines()),
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
    )
    if labels:
        shape.num_labels = len(labels)
        shape.id2label = dict(enumerate(labels))
        shape.label2id = {name: i for i, name in enumerate(labels)}
    model = BertForSequenceClassification(shape) if labels else BertModel(shape)
    model.save_pretrained(folder)
    return folder


def small(body: Path, train: Path, transfer: Path | None, workspace: Path) -> list[str]:
    """Overrides of a run on tiny models and texts that is over in seconds."""
    words = [
        "data=files",
        f"data.train={train}",
        "data.label_names=[bad,good]",
        "teacher=local",
        f"teacher.body={body}",
        "teacher.epochs=2",
        "teacher.lr=3e-3",
        "teacher.check=off",
        "student.config.hidden_size=16",
        "student.config.num_hidden_layers=1",
        "student.config.intermediate_size=32",
        "task.max_length=24",
        "trainer.epochs=2",
        "trainer.batch_size=16",
        "optimizer.lr=3e-3",
        "targets.batch_tokens=512",
        "targets.shard_tokens=1024",
        "evaluation.latency_examples=5",
        "evaluation.throughput_batches=2",
        "evaluation.resamples=50",
        f"workspace={workspace}",
    ]
    return words + ([f"data.transfer={transfer}"] if transfer else [])


def command(*words: str) -> list[str]:
    """The command line of distillkit in this interpreter."""
    return [sys.executable, "-m", "distillkit", *words]


def run(
    *words: str, cwd: Path, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run distillkit as a user does; the hub is out of reach."""
    return subprocess.run(
        command(*words),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=env(**environment),
    )


def env(**more: str) -> dict[str, str]:
    """The environment of a child: no hub, one thread, no workspace of the user's."""
    kept = {k: v for k, v in os.environ.items() if k != "DISTILLKIT_WORKSPACE"}
    fixed = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**kept, **fixed, **more}
