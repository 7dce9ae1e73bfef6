"""`distillkit targets inspect|verify|merge|convert|export`, and targets.path."""

import json
import shutil
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import Finished, artifact_kinds, assert_refused, with_overrides
from tests.conftest import Distillkit


@pytest.fixture
def store(finished: Finished, tmp_path: Path) -> Path:
    """A copy of a whole store."""
    return shutil.copytree(finished.artifact("targets"), tmp_path / "store")


def shard(store: Path) -> Path:
    return sorted(store.glob("*.arrow"))[0]


def test_inspect_tells_what_a_store_holds(distillkit: Distillkit, store: Path) -> None:
    result = distillkit("targets", "inspect", store)
    assert (result.code, result.err) == (0, "")
    manifest = json.loads((store / "targets.json").read_text())
    rows = dict(
        [part.strip() for part in line.split("│")[1:3]]
        for line in result.out.splitlines()
        if "│" in line
    )
    assert rows["examples"] == str(manifest["examples"])
    assert rows["outputs"] == "2: bad, good"
    assert rows["codec"] == "name dense, dtype float32"
    assert 0 < float(rows["mean entropy"].split()[0]) <= 0.6932
    assert rows["temperatures"] == "any"
    assert float(rows["kept mass"]) == 1.0
    assert float(rows["KL(said || decoded)"].split()[0]) < 1e-6
    for part in ("teacher", "tokenizer", "data"):
        assert rows[part] == manifest["origin"][part]["fingerprint"]


def test_verify_says_that_a_store_is_whole(distillkit: Distillkit, store: Path) -> None:
    result = distillkit("targets", "verify", store)
    count = len(list(store.glob("*.arrow")))
    assert (result.code, result.err) == (0, "")
    assert result.out == f"{store}: all {count} shards are whole\n"


@pytest.mark.parametrize("how", ["truncated", "altered", "missing"])
@pytest.mark.parametrize("action", ["verify", "inspect"])
def test_a_damaged_shard_is_named(
    distillkit: Distillkit, store: Path, how: str, action: str
) -> None:
    path = shard(store)
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[:-8])
    elif how == "altered":
        path.write_bytes(content[:-300] + bytes([content[-300] ^ 1]) + content[-299:])
    else:
        path.unlink()
    said = {"truncated": f"not {len(content):,}", "altered": "altered", "missing": "missing"}
    assert_refused(distillkit("targets", action, store), str(store), path.name, said[how])


def test_a_store_without_a_manifest_is_not_complete(distillkit: Distillkit, store: Path) -> None:
    (store / "targets.json").unlink()
    for folder in (store, store / "nowhere"):
        for action in ("inspect", "verify"):
            assert_refused(
                distillkit("targets", action, folder), f"{folder}: no targets.json in it"
            )


def test_a_manifest_that_is_no_json_is_refused(distillkit: Distillkit, store: Path) -> None:
    (store / "targets.json").write_text('{"schema": 1, "exam')
    assert_refused(distillkit("targets", "verify", store), str(store))


def test_a_store_of_a_newer_distillkit_is_refused(distillkit: Distillkit, store: Path) -> None:
    manifest = json.loads((store / "targets.json").read_text())
    (store / "targets.json").write_text(json.dumps(manifest | {"schema": 99}))
    assert_refused(distillkit("targets", "verify", store), "schema 99")


# targets.path


@pytest.mark.slow
def test_a_store_of_this_run_is_taken_as_it_is(
    distillkit: Distillkit, fresh: list[str], store: Path, tmp_path: Path
) -> None:
    result = distillkit("train-student", *fresh, f"targets.path={store}")
    assert result.code == 0, result.err
    assert not {"teacher", "targets"} & set(artifact_kinds(tmp_path / "workspace"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("teacher.lr=1e-5", ["another teacher", "teacher.lr"]),
        ("seed=1", ["another teacher", "teacher.seed"]),
        ("data.test_fraction=0.2", ["another", "test_fraction"]),
        ("data.transfer_size=10", ["another data", "transfer_size"]),
    ],
)
def test_a_store_of_another_teacher_or_data_is_refused(
    distillkit: Distillkit, fresh: list[str], store: Path, word: str, said: list[str]
) -> None:
    words = with_overrides(fresh, word, f"targets.path={store}")
    assert_refused(distillkit("train-student", *words), f"targets.path = {store}", "made by", *said)


@pytest.mark.slow
def test_a_store_of_another_tokenizer_is_refused(
    distillkit: Distillkit, fresh: list[str], body: Path, store: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(body, tmp_path / "other")
    tiny.write_tokenizer(other, extra=["extraordinary"])
    words = with_overrides(fresh, f"teacher.body={other}", f"targets.path={store}")
    assert_refused(
        distillkit("train-student", *words), f"targets.path = {store}", "made by another"
    )


def test_a_damaged_store_is_not_learnt_from(
    distillkit: Distillkit, fresh: list[str], store: Path
) -> None:
    path = shard(store)
    path.write_bytes(path.read_bytes()[:-8])
    assert_refused(
        distillkit("train-student", *fresh, f"targets.path={store}"), str(store), path.name
    )


# merge and export


@pytest.mark.slow
def test_merged_stores_are_one_that_a_run_takes(
    distillkit: Distillkit, fresh: list[str], store: Path, tmp_path: Path
) -> None:
    result = distillkit("targets", "merge", "both", store, store)
    manifest = json.loads((store / "targets.json").read_text())
    examples, shards = 2 * manifest["examples"], 2 * len(manifest["shards"])
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        f"both: all of 2 stores, {examples} examples, {examples} positions in {shards} shards\n"
    )
    assert distillkit("targets", "verify", "both").code == 0
    learnt = distillkit("train-student", *fresh, f"targets.path={tmp_path / 'both'}")
    assert learnt.code == 0, learnt.err


@pytest.mark.slow
def test_the_average_of_two_teachers_teaches_another_student(
    distillkit: Distillkit, again: list[str], store: Path, tmp_path: Path
) -> None:
    assert distillkit("generate-targets", *with_overrides(again, "seed=1")).code == 0
    (other,) = (
        path
        for path in (tmp_path / "workspace").glob("targets-*")
        if json.loads((path / "targets.json").read_text())["origin"]["teacher"]
        != json.loads((store / "targets.json").read_text())["origin"]["teacher"]
    )
    result = distillkit("targets", "merge", "mean", store, other, "--weights", "3,1")
    assert result.out.startswith("mean: the average of 2 stores, "), result.err
    found = set()
    for path in (store, tmp_path / "mean"):
        learnt = distillkit("train-student", *again, f"targets.path={path}")
        assert learnt.code == 0, learnt.err
        found.add(learnt.out)
    assert len(found) == 2, "the student of one store was taken for that of the other"


@pytest.mark.slow
def test_a_store_under_another_codec_serves_the_same_run(
    distillkit: Distillkit, fresh: list[str], store: Path, tmp_path: Path
) -> None:
    result = distillkit(
        "targets", "convert", "drawn", store, "targets=sampled", "targets.codec.draws=9"
    )
    examples = json.loads((store / "targets.json").read_text())["examples"]
    start = f"drawn: {examples} examples, {examples} positions under sampled, "
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(start)
    assert "converted from" in distillkit("targets", "inspect", "drawn").out
    words = [*fresh, f"targets.path={tmp_path / 'drawn'}", "loss.temperature=1.0"]
    learnt = distillkit("train-student", *words)
    assert learnt.code == 0, learnt.err
    assert "targets" not in artifact_kinds(tmp_path / "workspace")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["merge", "out", "{store}"], "out: merge takes two stores or more"),
        (["merge", "{store}", "{store}", "{store}"], "already there"),
        (["merge", "out", "{store}", "{store}", "--weights", "1,x"], "--weights 1,x: must be"),
        (["merge", "out", "{store}", "{store}", "--weights", "1,1"], "of one teacher"),
        (["merge", "out", "{store}", "nowhere"], "nowhere: no targets.json in it"),
        (["convert", "out", "nowhere", "targets=top_k"], "nowhere: no targets.json in it"),
        (["convert", "out", "{store}", "targets=top_x"], "no such targets; did you mean top_p?"),
        (["convert", "out", "{store}", "targets=top_k"], "codec.k = 50: the teacher has only 2"),
        (["convert", "out", "{store}", "loss=jsd"], "loss=jsd: converting takes settings of"),
        (["convert", "out", "{store}", "targets.path=x"], "targets.path = x: the store to convert"),
        (["export", "nowhere", "out.parquet"], "nowhere: no targets.json in it"),
        (["export", "{store}", "{store}"], "already there"),
    ],
)
def test_what_cannot_be_made_of_stores_is_one_line(
    distillkit: Distillkit, store: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    assert_refused(distillkit("targets", *(word.format(store=store) for word in words)), said)
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


def test_a_store_is_exported_with_a_row_a_position(
    distillkit: Distillkit, store: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    result = distillkit("targets", "export", store, "out.parquet")
    manifest = json.loads((store / "targets.json").read_text())
    assert result.out == f"out.parquet: {manifest['positions']} positions\n"
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.schema.names == ["key", "position", "logits"]
    assert found.num_rows == manifest["positions"]


@pytest.mark.parametrize("action", ["inspect", "verify", "merge", "convert", "export"])
def test_every_action_has_a_help_of_its_own(distillkit: Distillkit, action: str) -> None:
    result = distillkit("targets", action, "--help")
    assert result.code == 0
    assert result.out.startswith(f"usage: distillkit targets {action}")
    assert f"distillkit targets {action} " in distillkit("targets", "--help").out
