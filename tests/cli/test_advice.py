"""Every `key=value` that a message advises can be typed: it composes and passes the check."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import distillkit
from distillkit.cli.settings import OF_DATA, OF_STUDENT, OF_TASK, read_words
from distillkit.config import overrides
from distillkit.config.build import build
from distillkit.config.paths import groups
from distillkit.config.settings import RunSettings
from distillkit.errors import ConfigError

PACKAGE = Path(distillkit.__file__).parent
KEYS = "|".join([*groups(), *RunSettings.__dataclass_fields__])
# a key at the root or in a group, and a value up to what ends it in a sentence
ADVICE = re.compile(rf"(?<![\w.\-={{\[])((?:{KEYS})(?:\.\w+)*)=((?:\[[^\]]*\]|[^\s,;:)`('\[])+)")
PLACEHOLDER = re.compile(r"[…{}]|\b[A-Z]+\b")
OF_TOOLS = {**OF_STUDENT, **OF_TASK, **OF_DATA}  # of commands that are no runs
# where an advice is given: the first of these in which it can be typed will do
CONTEXTS: list[list[str]] = [
    [],
    ["data=files", "data.train=my.csv"],
    ["task=causal_lm", "data=documents", "data.train=my.jsonl"],
    ["task=causal_lm", "data=conversations", "data.train=my.jsonl", "data.messages=messages"],
    ["task=token_classification", "data=tagged", "data.train=my.conll"],
    ["task=masked_lm", "data=documents", "data.train=my.jsonl"],
    ["student=from_teacher"],
    ["student=bilstm"],
    ["student=pretrained", "student.path=./small"],
    ["targets=top_k"],
    ["targets=sampled"],
    ["loss=relations"],
    ["loss=hidden_mse"],
    ["teacher=local", "teacher.body=./body"],
    ["teacher=local", "teacher.path=./ready"],
]


def texts(path: Path) -> Iterator[str]:
    """The strings of a module that are no docstrings; what is put in stands as {}."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in docstrings | inside:
            yield str(node.value)


def advised() -> dict[str, str]:
    """Each advice that has a value of its own -> a module that gives it."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for text in texts(path):
            for match in ADVICE.finditer(text):
                word = f"{match[1]}={match[2].rstrip('.')}"
                if not PLACEHOLDER.search(word):
                    found.setdefault(word, path.name)
    return found


def test_there_is_much_advice() -> None:
    found = advised()
    assert len(found) > 30
    assert {"loss=forward_kl", "loss.layers=[[-1,-1]]", "student.choose=uniform"} <= set(found)


@pytest.mark.parametrize("word", advised())
def test_what_a_message_advises_can_be_typed(word: str) -> None:
    faults = []
    key = word.partition("=")[0]
    for context in CONTEXTS:
        rest = [w for w in context if w.partition("=")[0] != key]
        try:
            cfg = overrides.check([*rest, word]).cfg
            if key.partition(".")[0] in groups():
                group = key.partition(".")[0]
                build(cfg[group], key=group, partial=group == "optimizer")
            return
        except ConfigError as error:
            faults.append(f"{context}: {error}")
    if key in OF_TOOLS:
        read_words([word, "student.path=./small"], OF_TOOLS, command="predict")
        return
    raise AssertionError("\n".join(faults))
