"""The commands of the READMEs work as printed: each is run on tiny stand-ins, cut in length alone.

Files and ids are as they have them: a hub's id is a folder of that name in the current one,
and what comes out of wheels lies where a workspace keeps it.
"""

import csv
import json
import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from distillkit.cli.help import split_options
from distillkit.cli.main import RUNS, TOOLS
from distillkit.config import overrides
from distillkit.config.paths import ROOT
from distillkit.errors import ConfigError
from tests import tiny, tiny_language
from tests.cli.runs import run, with_overrides
from tests.conftest import Result
from tests.hub.local import wheel, write_wheels
from tests.readmes import blocks, commands

SHORT = [  # lengths, and how often a figure is measured
    "trainer.steps=3",
    "trainer.epochs=null",
    "trainer.batch_size=4",
    "teacher.epochs=1",
    "teacher.check=warn",  # after so short a fit a stand-in may have learnt nothing
    "evaluation.latency_examples=2",
    "evaluation.throughput_batches=1",
    "evaluation.batch_size=2",
    "evaluation.resamples=20",
    "evaluation.samples=1",
    "evaluation.sample_tokens=3",
]
SHORT_DATA = [
    "data.transfer_size=60",
    "data.train_size=60",
    "data.held_out_size=20",
]  # of a recipe's own text
TRAINED = "train data=files data.train=my.csv teacher.path=./my-teacher"
FAST = (  # one of a kind; the others are marked slow
    "data.train=my.csv data.text=text data.label=category",
    "teacher.path=./my-teacher",
    "data=conversations",
    "task=regression",
    "task=multi_label",
    "task=token_classification",
    "data.train=nyu-mll/glue:mrpc",
    "teacher=ensemble",
    "predict ",
)


def write_stand_ins(folder: Path) -> None:
    """All that the commands name, small."""
    rows = []
    for number, (text, label) in enumerate(tiny.labelled(120)):
        name = ("bad", "good")[label]
        topics = f"{name};long" if len(text.split()) > 8 else name
        rows.append((text, label, name, topics, number % 2, label))
    header = ("text", "label", "category", "topics", "toxic", "obscene")
    tiny.write_csv(folder / "my.csv", header, rows)
    tiny.write_csv(folder / "test.csv", header, [
        (text, label, ("bad", "good")[label], "", 0, 0) for text, label in tiny.labelled(30, 7)
    ])  # fmt: skip
    texts = [(text,) for text, _ in tiny.labelled(80, seed=8)]
    tiny.write_csv(folder / "unlabelled.csv", ("text",), texts)
    pairs = [text for text, _ in tiny.labelled(240, seed=9)]
    scored = [(a, b, goodness(f"{a} {b}")) for a, b in pairwise(pairs)]
    tiny.write_csv(folder / "sts.csv", ("text", "other", "score"), scored)
    tagged = [
        "".join(f"{w} NN O {t}\n" for w, t in zip(*sentence, strict=True))
        for sentence in tiny.tagged(80)
    ]
    (folder / "train.conll").write_text("\n".join(tagged))
    tiny_language.write_documents(folder, 60).rename(folder / "my.jsonl")
    tiny_language.write_conversations(folder, 60).rename(folder / "chats.jsonl")
    write_classifier(folder / "my-teacher")
    write_bert(folder / "student", layers=1, width=16, labels=("bad", "good"))
    tiny.write_csv(
        folder / "reviews.csv", ("id", "text"), enumerate(t for t, _ in tiny.labelled(9))
    )
    write_bert(folder / "my-small-bert", layers=2, width=32)
    write_bert(folder / "owner" / "encoder", layers=2, width=128)
    write_speaker(folder / "my-llm", layers=14)
    write_speaker(folder / "owner" / "teacher", layers=3)
    write_speaker(folder / "owner" / "small", layers=2)
    write_mrpc(folder / "nyu-mll" / "glue:mrpc")
    write_wheels(folder / ".distillkit")
    body = wheel("teacher/minilm", "body")  # as deep and wide as the real one
    assets = folder / ".distillkit" / "assets" / body.sha256[:16] / "files"
    write_bert(assets / body.path, layers=6, width=384)


def write_bert(folder: Path, *, layers: int, width: int, labels: Sequence[str] = ()) -> None:
    """A BERT over the tiny texts' words, of the usual length."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    tiny.write_tokenizer(folder)
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len((folder / "vocab.txt").read_text().splitlines()),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        **({"id2label": dict(enumerate(labels))} if labels else {}),
    )
    model = BertForSequenceClassification(shape) if labels else BertModel(shape)
    model.save_pretrained(folder)


def write_speaker(folder: Path, *, layers: int) -> None:
    """A language model of the usual length with more than 50 words."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny_language.write_model(folder, layers=layers, hidden=16)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"word{number}" for number in range(20)])
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.max_position_embeddings = 1024
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def goodness(text: str) -> float:
    """The share of good words among those that judge."""
    words = text.split()
    good, bad = (sum(word in pool for word in words) for pool in (tiny.GOOD, tiny.BAD))
    return round(good / (good + bad), 3)


def write_classifier(folder: Path) -> None:
    """A teacher that has learnt the texts' labels: a worthless one ends a run."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    write_bert(folder, layers=2, width=32, labels=("0", "1"))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    texts, labels = zip(*tiny.labelled(120), strict=True)
    batch = AutoTokenizer.from_pretrained(folder)(list(texts), padding=True, return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(30):
        model(**batch, labels=torch.tensor(labels)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)


def write_mrpc(folder: Path) -> None:
    """Splits of pairs in a folder that bears the data set's id."""
    folder.mkdir(parents=True)
    for seed, (split, count) in enumerate({"train": 60, "validation": 20, "test": 20}.items()):
        texts = tiny.labelled(2 * count, seed=20 + seed)
        firsts, seconds = texts[:count], sorted(texts[count:])
        rows = [(a, b, int(x == y)) for (a, x), (b, y) in zip(firsts, seconds, strict=True)]
        tiny.write_csv(folder / f"{split}.csv", ("sentence1", "sentence2", "label"), rows)


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-ins, in which all commands run, over one workspace."""
    folder = tmp_path_factory.mktemp("desk")
    write_stand_ins(folder)
    return folder


def cut(line: str) -> list[str]:
    """A command's words, its lengths shortened where its config has such settings."""
    command, *words = shlex.split(line)
    options, given, _ = split_options(words)
    short = [word for word in SHORT if can_take(given, word)]
    if "data.train=" not in line:
        short += [word for word in SHORT_DATA if can_take(given, word)]
    if "smollm2" in line:  # thirty layers
        short = with_overrides(
            short, "data.train_size=16", "data.held_out_size=4", "task.max_length=64"
        )
    return [command, *options, *with_overrides(given, *short)]


def can_take(given: list[str], word: str) -> bool:
    if "trainer." in word:
        return True  # steps and epochs: one without the other is refused
    try:
        overrides.check(with_overrides(given, word))
    except ConfigError:
        return False
    return True


def results_after(desk: Path, before: set[Path]) -> list[dict[str, object]]:
    new = {*desk.glob("outputs/**/results.json")} - before
    return [json.loads(path.read_text()) for path in new]


def check(line: str, done: Result, found: list[dict[str, object]], desk: Path) -> None:
    """That a command ended well, and said and wrote what it is there for."""
    assert done.code == 0, done.err
    command = line.split()[0]
    if command == "plan":
        assert "expected time" in done.out
        assert not found
    elif command == "predict":
        assert_predicts(line, done, desk)
    elif command == "train-student":
        assert re.search(r"^student: \.distillkit/student-\w{16}/model$", done.out, re.MULTILINE)
    elif command == "train":
        sweep = 1
        for values in re.findall(r"=([\d.,e-]+,[\d.,e-]+)", line) if " -m " in line else ():
            sweep *= len(values.split(","))
        assert len(found) == sweep
        for results in found:
            assert {"teacher", "student", "control"} <= {*results["rows"]}  # type: ignore[misc]
        assert ("leaderboard.csv" in done.out) == (sweep > 1)
        assert done.out.count("report: outputs/") == sweep
    if "loss=hidden_mse" in line:
        assert drawing() in done.err


def assert_predicts(line: str, done: Result, desk: Path) -> None:
    """That each text has a prediction, in its place."""
    if "--out " in line:
        source, out = (read_table(desk / name) for name in ("reviews.csv", "labelled.csv"))
        assert [{name: row[name] for name in source[0]} for row in out] == source
        assert {row["prediction"] for row in out} <= {"bad", "good"}
        return
    (answer,) = map(json.loads, done.out.splitlines())
    assert answer["text"] == shlex.split(line)[-1]
    assert answer["prediction"] in answer["probabilities"]


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


def drawing() -> str:
    """The layer map that stands under the command that draws it."""
    (drawn,) = [block for block in blocks() if block.startswith("hidden: layers of the student")]
    return drawn.rstrip()


def named(line: str) -> object:
    fast = any(part in line for part in FAST)
    return pytest.param(line, marks=[] if fast else [pytest.mark.slow], id=line)


def test_the_readmes_have_their_commands() -> None:
    found = commands()
    assert len(found) >= 18
    assert {line.split()[0] for line in found} <= {*RUNS, *TOOLS}
    assert sum(line.startswith("train ") for line in found) > 12


@pytest.mark.parametrize("line", [named(line) for line in commands()])
def test_a_command_of_a_readme_works_as_printed(line: str, desk: Path) -> None:
    before = {*desk.glob("outputs/**/results.json")}
    words = shlex.split(line) if line.split()[0] in TOOLS else cut(line)
    if "outputs/bert-tiny/" in line:  # of the command before it
        assert run(desk, *cut(TRAINED), "run_name=bert-tiny").code == 0
    if words[0] == "train-student":  # it takes targets that are there
        assert run(desk, "generate-targets", *words[1:]).code == 0
    done = run(desk, *words)
    check(line, done, results_after(desk, before), desk)


def test_what_is_refused_is_said_as_printed(desk: Path) -> None:
    (block,) = [block for block in blocks() if block.startswith("$ distillkit ")]
    typed, _, said = block.partition("\n")
    done = run(desk, *shlex.split(typed.removeprefix("$ distillkit ")))
    assert (done.code, done.err) == (2, said)


def test_the_recipe_is_printed_as_it_is() -> None:
    (block,) = [block for block in blocks("yaml") if block.startswith("# recipes/bert-tiny.yaml")]
    recipe = (ROOT / "recipes" / "bert-tiny.yaml").read_text()
    assert block.partition("\n")[2] in recipe
