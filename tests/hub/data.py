"""Data sets under their ids on the hub: real columns, splits, label orders; tiny made-up rows."""

import io
import json
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tests import tiny, tiny_language
from tests.hub.repositories import Repository

Row = dict[str, Any]
ROWS = {"train": 240, "validation": 48, "test": 24}
ENTAILED = ["entailment", "neutral", "contradiction"]
# the columns of each task of GLUE, and the names of its labels in their order; none: real values
GLUE: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "cola": (("sentence",), ["unacceptable", "acceptable"]),
    "sst2": (("sentence",), ["negative", "positive"]),
    "mrpc": (("sentence1", "sentence2"), ["not_equivalent", "equivalent"]),
    "qqp": (("question1", "question2"), ["not_duplicate", "duplicate"]),
    "stsb": (("sentence1", "sentence2"), []),
    "mnli": (("premise", "hypothesis"), ENTAILED),
    "qnli": (("question", "sentence"), ["entailment", "not_entailment"]),
    "rte": (("sentence1", "sentence2"), ["entailment", "not_entailment"]),
    "wnli": (("sentence1", "sentence2"), ["not_entailment", "entailment"]),
}
MNLI_SPLITS = {
    "train": "train",
    "validation_matched": "validation",
    "validation_mismatched": "validation",
    "test_matched": "test",
    "test_mismatched": "test",
}
FINEWEB = {"sample-10BT": "sample/10BT", "sample-100BT": "sample/100BT", "default": "data/CC-MAIN"}
TAGS = {
    "pos_tags": ["NN", "VB", "DT"],
    "chunk_tags": ["O", "B-NP", "I-NP"],
    # the nine of CoNLL-2003, in the order of its numbers
    "ner_tags": ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"],
}


def parquet(rows: Sequence[Row], kinds: dict[str, Any]) -> bytes:
    """A parquet file as `datasets` pushes it, which knows the names of its labels."""
    from datasets import Dataset, Features
    from pyarrow.parquet import write_table

    columns = {name: [row[name] for row in rows] for name in kinds}
    written = io.BytesIO()
    write_table(Dataset.from_dict(columns, features=Features(kinds)).data.table, written)
    return written.getvalue()


def card(configs: dict[str, dict[str, str]], kinds: dict[str, dict[str, Any]], first: str) -> bytes:
    """A README whose head says which files a configuration's splits have, and their columns."""
    import yaml
    from datasets import Features

    infos = [
        {"config_name": name, "features": Features(kind)._to_yaml_list()}
        for name, kind in kinds.items()
    ]
    listed: list[dict[str, Any]] = []
    for name, splits in configs.items():
        files = [{"split": split, "path": path} for split, path in splits.items()]
        listed.append({"config_name": name, "data_files": files})
        if name == first:
            listed[-1]["default"] = True
    head = yaml.safe_dump({"dataset_info": infos, "configs": listed}, sort_keys=False)
    return f"---\n{head}---\n# A stand-in\n".encode()


def glue(repository: Repository) -> None:
    """nyu-mll/glue: nine tasks; the labels of test splits are hidden behind -1."""
    from datasets import ClassLabel, Value

    files: dict[str, bytes] = {}
    configs: dict[str, dict[str, str]] = {}
    kinds: dict[str, dict[str, Any]] = {}
    for task, (columns, names) in GLUE.items():
        label = ClassLabel(names=names) if names else Value("float32")
        kinds[task] = {name: Value("string") for name in columns}
        kinds[task] |= {"label": label, "idx": Value("int32")}
        plain = {split: split for split in ("train", "validation", "test")}
        splits = MNLI_SPLITS if task == "mnli" else plain
        configs[task] = {split: f"{task}/{split}-*" for split in splits}
        for number, (split, kind) in enumerate(splits.items()):
            rows = list(_glue_rows(task, columns, len(names), kind, seed=number))
            files[f"{task}/{split}-00000-of-00001.parquet"] = parquet(rows, kinds[task])
    files["README.md"] = card(configs, kinds, "")
    repository.commit(files)


def _glue_rows(
    task: str, columns: Sequence[str], classes: int, kind: str, seed: int
) -> Iterable[Row]:
    rng = random.Random(f"{task} {seed}")
    for number in range(ROWS[kind]):
        label = number % (classes or 2)
        if len(columns) == 1:
            texts = [tiny.sentence(rng, label)]
        else:
            first = tiny.sentence(rng, rng.randrange(2))
            other = {0: first, 1: tiny.sentence(rng, 1), 2: tiny.sentence(rng, 0)}[label]
            texts = [first, other + " " + rng.choice(tiny.PLAIN)]
        row: Row = dict(zip(columns, texts, strict=True))
        value: Any = label if classes else round(5 * label * rng.random(), 1)
        hidden: Any = -1 if classes else -1.0
        yield row | {"label": hidden if kind == "test" else value, "idx": number}


def squad(repository: Repository) -> None:
    """rajpurkar/squad: train and validation, several answers in the second."""
    from datasets import List, Value

    kinds: dict[str, Any] = {name: Value("string") for name in ("id", "title", "context")}
    kinds["question"] = Value("string")
    kinds["answers"] = {"text": List(Value("string")), "answer_start": List(Value("int32"))}
    files = {}
    for split, count, copies in (("train", 160, 1), ("validation", 30, 3)):
        rng, rows = random.Random(split), []
        for number in range(count):
            words = [rng.choice(tiny.PLAIN) for _ in range(rng.randint(8, 40))]
            place = rng.randrange(len(words))
            words[place] = rng.choice(tiny.GOOD)
            start = len(" ".join(words[:place])) + bool(place)
            answers = {"text": [words[place]] * copies, "answer_start": [start] * copies}
            question = f"what of the {tiny.PLAIN[number % len(tiny.PLAIN)]} is {number}"
            row = {"id": f"{split}{number}", "title": "Films", "context": " ".join(words)}
            rows.append(row | {"question": question, "answers": answers})
        files[f"plain_text/{split}-00000-of-00001.parquet"] = parquet(rows, kinds)
    splits = {split: f"plain_text/{split}-*" for split in ("train", "validation")}
    files["README.md"] = card({"plain_text": splits}, {"plain_text": kinds}, "plain_text")
    repository.commit(files)


def _documents(count: int, seed: int) -> list[str]:
    """Texts of a few paragraphs, of which some are longer than a context is."""
    rng, found = random.Random(seed), tiny_language.documents(count, seed)
    return [text + "\n\n" + " ".join(rng.choices(found, k=rng.randint(0, 2))) for text in found]


def wikipedia(repository: Repository) -> None:
    """wikimedia/wikipedia: a configuration a language and date, train alone."""
    from datasets import Value

    kinds = {name: Value("string") for name in ("id", "url", "title", "text")}
    files, configs, every = {}, {}, {}
    for config, seed in (("20231101.de", 5), ("20231101.en", 6)):
        rows = [
            {"id": str(i), "url": f"https://en.wikipedia.org/wiki/{i}", "title": str(i), "text": t}
            for i, t in enumerate(_documents(120, seed))
        ]
        files[f"{config}/train-00000-of-00041.parquet"] = parquet(rows[:60], kinds)
        files[f"{config}/train-00001-of-00041.parquet"] = parquet(rows[60:], kinds)
        configs[config], every[config] = {"train": f"{config}/train-*"}, kinds
    files["README.md"] = card(configs, every, "")
    repository.commit(files)


def openwebtext(repository: Repository) -> None:
    """Skylion007/openwebtext: one column, train alone."""
    from datasets import Value

    kinds = {"text": Value("string")}
    rows = [{"text": text} for text in _documents(160, 7)]
    files = {"plain_text/train-00000-of-00080.parquet": parquet(rows, kinds)}
    configs = {"plain_text": {"train": "plain_text/train-*"}}
    files["README.md"] = card(configs, {"plain_text": kinds}, "plain_text")
    repository.commit(files)


def fineweb(repository: Repository) -> None:
    """HuggingFaceFW/fineweb-edu: samples beside the whole, and what each page is worth."""
    from datasets import Value

    kinds = {name: Value("string") for name in ("text", "id", "dump", "url", "file_path")}
    kinds |= {"language": Value("string"), "language_score": Value("float64")}
    kinds |= {"token_count": Value("int64"), "score": Value("float64"), "int_score": Value("int64")}
    rows = [
        {"text": text, "id": f"<urn:uuid:{i}>", "dump": "CC-MAIN-2024-10", "url": "https://a.b"}
        | {"file_path": "s3://c", "language": "en", "language_score": 0.9, "token_count": 40}
        | {"score": 3.1, "int_score": 3}
        for i, text in enumerate(_documents(160, 8))
    ]
    files = {f"{path}/000_00000.parquet": parquet(rows, kinds) for path in FINEWEB.values()}
    configs = {config: {"train": f"{path}/*"} for config, path in FINEWEB.items()}
    files["README.md"] = card(configs, {}, "default")
    repository.commit(files)


def dolly(repository: Repository) -> None:
    """databricks/databricks-dolly-15k: a jsonl file; three rows of four have no context."""
    rows, texts = [], _documents(480, 9)
    for number, (asked, said) in enumerate(zip(texts[::2], texts[1::2], strict=True)):
        row = {"instruction": asked.split(" . ")[0], "context": "" if number % 4 else said[:80]}
        rows.append(row | {"response": said, "category": "open_qa"})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    readme = b"---\nlicense: cc-by-sa-3.0\nlanguage:\n- en\n---\n# A stand-in\n"
    repository.commit({"databricks-dolly-15k.jsonl": text.encode(), "README.md": readme})


def conll2003(repository: Repository) -> None:
    """eriktks/conll2003: a script on its main branch, the hub's own parquet copy beside it."""
    from datasets import ClassLabel, List, Value

    kinds: dict[str, Any] = {"id": Value("string"), "tokens": List(Value("string"))}
    kinds |= {name: List(ClassLabel(names=names)) for name, names in TAGS.items()}
    copy = {}
    for split, count, seed in (("train", 160, 0), ("validation", 40, 1), ("test", 40, 2)):
        rows = []
        for number, (words, tags) in enumerate(tiny.tagged(count, seed)):
            entities = [t.replace("GOOD", "PER").replace("BAD", "LOC") for t in tags]
            row = {"id": str(number), "tokens": words, "ner_tags": entities}
            rows.append(row | {"pos_tags": ["NN"] * len(words), "chunk_tags": ["O"] * len(words)})
        copy[f"conll2003/{split}/0000.parquet"] = parquet(rows, kinds)
    script = b"import datasets\n\nclass Conll2003(datasets.GeneratorBasedBuilder):\n    pass\n"
    repository.commit({"conll2003.py": script, "README.md": b"---\nlicense: other\n---\n"})
    repository.commit(copy, ref="refs/convert/parquet")


DATASETS: dict[str, Callable[[Repository], None]] = {
    "nyu-mll/glue": glue,
    "rajpurkar/squad": squad,
    "wikimedia/wikipedia": wikipedia,
    "Skylion007/openwebtext": openwebtext,
    "HuggingFaceFW/fineweb-edu": fineweb,
    "databricks/databricks-dolly-15k": dolly,
    "eriktks/conll2003": conll2003,
}
