"""Damage on the command line to workspaces of other kinds of runs: each file named, none used.

A language model whose store has drawn targets and hidden states, and a run over rewritten copies.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import tiny, tiny_language
from tests.cli.runs import QUICK, Finished, run, with_overrides
from tests.faults.damages import DAMAGES, damaged, kinds_of_files
from tests.faults.test_damage import contents, judged, whose

pytestmark = pytest.mark.slow

STATES = [
    "loss=distilbert",
    "loss.terms.kl.temperature=1.0",
    "targets.codec.draws=20",
    "targets.shard_tokens=256",
]
COPIES = ["augmentation=word_dropout", "augmentation.copies=2", "control=false"]


@pytest.fixture(scope="module", params=["language", "copies"])
def done(
    body: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """A complete workspace."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "language":
        model, texts = (
            tiny_language.write_model(folder / "llama"),
            tiny_language.write_documents(folder, 60),
        )
        small = tiny_language.small(model, texts, folder / "w")
        words = with_overrides(small, *STATES, without="loss.temperature")
    else:
        reviews = tiny.write_reviews(folder, 80, 20)
        words = with_overrides(tiny.small(body, *reviews, folder / "w"), *QUICK, *COPIES)
    result = run(folder, "train", *words)
    assert result.code == 0, result.err
    return Finished(words, folder / "w", folder, result)


def used_by(done: Finished, kind: str, number: int = 0) -> list[str]:
    """The words of a run that uses a file: one of which all is there reads no tokens or states."""
    needs = ("tokens", "targets/whole", "augmented")
    another = f"optimizer.lr={1e-3 + number * 1e-5}"
    return with_overrides(done.words, another) if kind.startswith(needs) else done.words


@contextmanager
def set_aside(done: Finished, kind: str) -> Iterator[None]:
    """Within, what is made of copies is not there, if that is what is damaged."""
    aside = [*done.workspace.glob("transfer-*")] if kind.startswith("augmented") else []
    for path in aside:
        path.rename(done.folder / path.name)
    try:
        yield
    finally:
        for path in aside:
            shutil.rmtree(path, ignore_errors=True)
            (done.folder / path.name).rename(path)


def test_every_damage_to_every_kind_of_file_ends_a_run_with_one_line(done: Finished) -> None:
    kinds, verdicts = kinds_of_files(done.workspace), dict[str, list[str]]()
    before = contents(done.workspace)
    found = {kind.partition("/")[0] for kind in kinds}
    assert found >= {"data", "tokens", "targets", "student", "evaluation"}
    assert ("targets/whole/shard-N.arrow" in kinds) != ("augmented" in found), sorted(kinds)
    for kind, (path, other) in kinds.items():
        for how in ("first byte", "a third", "half", "gone"):
            if kind.endswith("manifest.json") and kind.count("/") == 1 and how == "gone":
                continue  # counts as not there, and is made again
            with damaged(path, other, DAMAGES[how]), set_aside(done, kind):
                result = run(done.folder, "train", *used_by(done, kind))
            verdicts.setdefault(judged(result, path, done.workspace), []).append(f"{kind}, {how}")
    counts = {verdict: len(cases) for verdict, cases in verdicts.items()}
    print(f"{len(kinds)} kinds of files: {counts}")  # noqa: T201
    assert set(verdicts) == {"named"}, {k: v for k, v in verdicts.items() if k != "named"}
    assert contents(done.workspace) == before


def test_each_is_made_again_with_the_same_bits(done: Finished) -> None:
    before, firsts = contents(done.workspace), dict[str, str]()
    kinds = kinds_of_files(done.workspace)  # of what is made on the way nothing is damaged
    for kind in kinds:
        if not kind.endswith("manifest.json"):
            firsts.setdefault(kind.rpartition("/")[0], kind)
    for number, kind in enumerate(firsts.values()):
        path, other = kinds[kind]
        with set_aside(done, kind):
            DAMAGES["a third"](path, other)
            result = run(done.folder, "train", "--repair", *used_by(done, kind, number))
        assert result.code == 0, f"{kind}: {result.err}"
        line = f"{whose(path, done.workspace).path}: damaged: "
        assert result.err.count(line) == 1, f"{kind}: {result.err}"
        assert before.items() <= contents(done.workspace).items(), kind
        again = run(done.folder, "train", *used_by(done, kind, number))
        assert again.code == 0 and "damaged" not in again.err, f"{kind}: {again.err}"
