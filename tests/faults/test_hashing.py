"""Bytes are hashed once as they are written and once when they are opened."""

from pathlib import Path

from distillkit.artifacts import digests
from tests import tiny
from tests.cli.runs import QUICK, run, with_overrides
from tests.faults.hashing import Spent, counted


def measured(folder: Path, words: list[str]) -> Spent:
    """What the digests of a run take, in a process that has read nothing yet."""
    digests._READ.clear()
    digests._VERIFIED.clear()
    with counted() as spent:
        done = run(folder, "train", *words)
    assert done.code == 0, done.err
    return spent


def test_no_file_is_read_twice_as_it_is_made_nor_as_it_is_opened(
    body: Path, tmp_path: Path
) -> None:
    texts = tiny.write_reviews(tmp_path, 120, 60)
    words = with_overrides(tiny.small(body, *texts, tmp_path / "w"), *QUICK)
    made = measured(tmp_path, words)
    files = {
        (path.stat().st_dev, path.stat().st_ino): path
        for path in tmp_path.glob("w/*-*/**/*")
        if path.is_file() and path.name != "manifest.json"  # which holds a digest of itself
    }
    assert files.keys() <= made.reads.keys()
    # a model's folder is asked for by each stage whose name hangs on it, and read once. What was
    # written within a tick of the clock could change unseen, and is read again
    assert max(made.reads.values()) <= 2
    sizes = {key: path.stat().st_size for key, path in files.items()}
    assert sum(made.reads[key] * size for key, size in sizes.items()) < 1.5 * sum(sizes.values())
    assert made.seconds > 0

    opened = measured(tmp_path, words)
    assert set(opened.reads.values()) == {1}
    used = {files[it].relative_to(tmp_path / "w").parts[0] for it in opened.reads if it in files}
    kinds = {name.rpartition("-")[0] for name in used}
    assert kinds == {"data", "transfer", "teacher", "targets", "student", "evaluation"}
    own = opened.reads.keys() & files.keys()
    assert not measured(tmp_path, words).reads.keys() & files.keys()  # it remembers what was whole
    always = measured(tmp_path, [*words, "workspace.verify=always"])
    assert always.reads.keys() & files.keys() == own
