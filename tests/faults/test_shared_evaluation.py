"""The ranks of a run share an evaluation's forward passes; its figures are those of one process."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from distillkit.artifacts.digests import file_sha256
from tests import slow_teacher, tiny, tiny_language
from tests.cli.runs import QUICK, run, with_overrides
from tests.processes import ROOT, Ranks

COST = ("latency", "per_second")  # what differs from run to run


def figures(workspace: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """(every row's figures but those of cost, the sha256 of all other files) of an evaluation."""
    (folder,) = workspace.glob("evaluation-*")
    facts = json.loads((folder / "manifest.json").read_text())["facts"]
    rows = {
        row: {k: v for k, v in of_row.items() if not any(word in k for word in COST)}
        for row, of_row in facts["rows"].items()
    }
    files = [path for path in folder.iterdir() if path.name != "manifest.json"]
    return rows, {path.name: file_sha256(path) for path in files}


def shared(folder: Path, words: list[str], world: int) -> Counter[str]:
    """Evaluate by so many ranks in the workspace `ranks`; how often each piece was worked out."""
    left_out = shutil.ignore_patterns("evaluation-*", ".partial", ".locks")
    shutil.copytree(folder / "alone", folder / "ranks", ignore=left_out)
    captured = folder / "captured"
    environment = tiny.env(CAPTURED=str(captured), PYTHONPATH=str(ROOT))
    command = slow_teacher.command(0, "evaluate", *words)
    ranks = Ranks(command, folder, world=world, **environment)
    results = ranks.end()
    assert [it.code for it in results] == [0] * world, results
    assert [(it.out, it.err) for it in results[1:]] == [("", "")] * (world - 1)
    lines = [line.split() for line in captured.read_text().splitlines()]
    assert {pid for pid, _ in lines} - {str(ranks.children[0].pid)}
    assert not list(folder.glob("ranks/.partial/*"))
    return Counter(piece for _, piece in lines)


def test_a_classifier_s_evaluation_is_shared(body: Path, tmp_path: Path) -> None:
    texts = tiny.write_reviews(tmp_path, 300, 60)
    more = ["evaluation.robustness=[typos]", "control=false", "task.max_length=24"]
    alone, ranks = (
        with_overrides(tiny.small(body, *texts, tmp_path / name), *QUICK, *more)
        for name in ("alone", "ranks")
    )
    assert run(tmp_path, "train", *alone).code == 0
    pieces = shared(tmp_path, ranks, 2)
    assert set(pieces.values()) == {1}
    assert {name.rpartition("_1_on_cpu,")[0] for name in pieces} == {
        *("the_teacher", "the_student"),
        *("teacher,_typos", "student,_typos"),
    }
    assert figures(tmp_path / "ranks") == figures(tmp_path / "alone")


@pytest.mark.slow
def test_a_language_model_s_evaluation_is_shared(tmp_path: Path) -> None:
    model = tiny_language.write_model(tmp_path / "model")
    documents = tiny_language.write_documents(tmp_path, 1500)
    alone, ranks = (
        [*tiny_language.small(model, documents, tmp_path / name), "control=false"]
        for name in ("alone", "ranks")
    )
    assert run(tmp_path, "train", *alone).code == 0
    pieces = shared(tmp_path, ranks, 3)
    assert len(pieces) > 3 and set(pieces.values()) == {1}
    assert figures(tmp_path / "ranks") == figures(tmp_path / "alone")
