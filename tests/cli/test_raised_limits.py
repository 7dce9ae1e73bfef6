"""A limit that a message advises to raise in the environment then takes what it refused."""

import gzip
import re
from pathlib import Path

import pytest

from distillkit import limits
from distillkit.pipeline import model_checks
from tests import tiny
from tests.cli.runs import QUICK, artifact_kinds, run, with_overrides
from tests.conftest import Result

ADVICE = re.compile(r" (\w+) in the environment, as (\w+)=(\S+)$")


def raised(refused: Result, monkeypatch: pytest.MonkeyPatch) -> str:
    """Do what the one line of a refusal advises; the variable's name and value."""
    assert refused.code == 2, refused.err
    (line,) = refused.err.splitlines()[-1:]
    advice = ADVICE.search(line)
    assert advice, line
    assert advice[1] == advice[2]
    monkeypatch.setenv(advice[2], advice[3])
    return f"{advice[2]}={advice[3]}"


def test_a_packed_file_that_unpacks_to_more_is_read(
    body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DEFAULT_UNPACKED", 3_000)
    train, transfer = tiny.write_reviews(tmp_path, 80, 20)
    packed = tmp_path / "reviews.csv.gz"
    packed.write_bytes(gzip.compress(train.read_bytes()))
    words = tiny.small(body, packed, transfer, tmp_path / "w")
    refused = run(tmp_path, "plan", *words)
    assert "unpacks to more than 3.0 kB, where 3.0 kB is the limit" in refused.err
    assert raised(refused, monkeypatch) == "DISTILLKIT_MAX_UNPACKED=20G"
    assert run(tmp_path, "plan", *words).code == 0


def test_a_student_that_is_larger_than_the_memory_is_trained(
    body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_checks, "_memory", lambda: 10_000)
    words = tiny.small(body, *tiny.write_reviews(tmp_path, 80, 20), tmp_path / "w")
    words = with_overrides(words, *QUICK, "control=false")
    refused = run(tmp_path, "train", *words)
    assert "(float32), and 10.0 kB is the limit; set smaller sizes, or if you" in refused.err
    assert artifact_kinds(tmp_path / "w") == ["data", "transfer"]
    assert raised(refused, monkeypatch) == "DISTILLKIT_MAX_MODEL=1G"
    done = run(tmp_path, "train", *words)
    assert done.code == 0, done.err
