"""Manifests that somebody wrote anew, digest and all: one line, and what it advises mends it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distillkit.artifacts.digests import sealed
from distillkit.artifacts.facts import fault_of_facts
from tests.cli.conftest import finished  # noqa: F401
from tests.cli.runs import Finished, assert_refused, results, run
from tests.faults.repairs import TIMES
from tests.faults.test_damage import contents, fresh  # noqa: F401

Change = Callable[[dict[str, Any]], object]
KINDS = ("data", "transfer", "student", "evaluation")  # whose facts a run reads


def reseal(folder: Path, change: Change) -> None:
    """Change a manifest, and give it the digest of what it holds now."""
    path = folder / "manifest.json"
    record = json.loads(path.read_text())
    del record["digest"]
    change(record)
    path.write_text(json.dumps(sealed(record)))


def figures(folder: Path) -> dict[str, dict[str, Any]]:
    """What the newest report says, but for times."""
    return {
        row: {name: value for name, value in it.items() if not name.endswith(TIMES)}
        for row, it in results(folder)["rows"].items()
    }


def numbers(record: dict[str, Any]) -> None:
    """Text in place of each fact."""
    record["facts"] = dict.fromkeys(record["facts"], "1")


FACTS: dict[str, Change] = {
    "gone": lambda record: record.update(facts={}),
    "text": numbers,
    "lists": lambda record: record.update(facts={name: [None] for name in record["facts"]}),
}


@pytest.mark.parametrize("change", FACTS)
def test_facts_of_another_shape_are_one_line_with_a_way_out(
    change: str,
    fresh: Finished,  # noqa: F811
) -> None:
    expected = contents(fresh.workspace)
    for kind in KINDS:
        folder = sorted(fresh.workspace.glob(f"{kind}-*"))[0]
        whole = shutil.copytree(folder, fresh.folder / "whole")
        reseal(folder, FACTS[change])
        line = assert_refused(run(fresh.folder, "train", *fresh.words))
        assert f"{folder}: damaged: manifest.json: facts." in line
        advised = re.search(r"`distillkit (workspace remove [^`]*)`", line)
        assert advised, line
        words = [*advised[1].split(), "--yes", f"workspace={fresh.workspace}"]
        assert run(fresh.folder, *words).code == 0
        assert not folder.exists()
        if kind == "data":  # the quickest to be made again
            assert run(fresh.folder, "train", *fresh.words).code == 0
            assert contents(fresh.workspace) == expected
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)


FILES: dict[str, tuple[Change, str]] = {
    "one less": (
        lambda record: record["files"].pop("model/model.safetensors"),
        "model/model.safetensors: is not in its manifest.json",
    ),
    "none": (lambda record: record.update(files={}), "is not in its manifest.json"),
    "one more": (
        lambda record: record["files"].update(zz={"size": 10**30, "sha256": "0"}),
        "zz: missing",
    ),
    "outside": (
        lambda record: record["files"].update({"../x": {"size": 1, "sha256": "0"}}),
        "lists its files in a way that cannot be read",
    ),
    "no version": (lambda record: record.pop("version"), "has no version"),
    "another kind": (lambda record: record.update(kind="teacher"), "is that of teacher-"),
    "other inputs": (lambda record: record["inputs"].update(seed=9), "do not give its fingerprint"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_of_another_list_are_named(case: str, fresh: Finished) -> None:  # noqa: F811
    change, told = FILES[case]
    folder = sorted(fresh.workspace.glob("student-*"))[0]
    reseal(folder, change)
    line = assert_refused(run(fresh.folder, "train", *fresh.words), told)
    assert f"{folder}: damaged: " in line


def test_of_a_key_that_stands_twice_the_last_counts_for_digest_and_use(
    fresh: Finished,  # noqa: F811
) -> None:
    before = figures(fresh.folder) if list(fresh.folder.glob("outputs")) else None
    path = fresh.artifact("evaluation") / "manifest.json"
    whole = path.read_text()
    path.write_text(whole.replace("{", '{"facts": {"rows": {}}, "files": {},', 1))
    done = run(fresh.folder, "train", *fresh.words)
    assert done.code == 0, done.err
    assert before is None or figures(fresh.folder) == before
    path.write_text(f'{whole.rstrip()[:-1]}, "facts": {{"rows": {{}}}}}}')
    assert_refused(run(fresh.folder, "train", *fresh.words), "its digest is not that of its")


EVALUATED: dict[str, Any] = {
    "rows": {"student": {"accuracy": 0.5}},
    "headline": "accuracy",
    "examples": 3,
    "comparison": {"kept": None},
    "level": 0.95,
    "batch_size": 8,
    "device": "cpu",
    "environment": {"threads": "1"},
}
GAIN = {"difference": 0.0, "low": 0.0}


@pytest.mark.parametrize(
    ("kind", "facts", "told"),
    [
        ("data", {"counts": {"train": 3}}, ""),
        ("data", {"counts": {"train": "3"}}, "counts.train"),
        ("tokens", {}, ""),
        ("student", {"fit": {"steps": 1}}, "fit.seconds"),
        ("evaluation", EVALUATED, ""),
        ("evaluation", EVALUATED | {"more": 1}, ""),
        ("evaluation", EVALUATED | {"rows": {}}, "rows.student"),
        ("evaluation", EVALUATED | {"headline": "nll"}, "rows.student: has no nll"),
        ("evaluation", EVALUATED | {"examples": 1.5}, "examples"),
        (
            "evaluation",
            EVALUATED | {"comparison": {"student_minus_control": GAIN}},
            "comparison.student_minus_control.high",
        ),
    ],
)
def test_what_is_wrong_in_facts_is_named(kind: str, facts: dict[str, Any], told: str) -> None:
    found = fault_of_facts(kind, facts)
    assert found.startswith(told) and bool(found) == bool(told)
