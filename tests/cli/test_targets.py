"""`distillkit targets inspect|verify`, and targets.path."""

import json
import shutil
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import Finished, but, kinds, refused
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
    assert 0.5 <= float(rows["mean confidence"]) <= 1
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
    refused(distillkit("targets", action, store), str(store), path.name, said[how])


def test_a_store_without_a_manifest_is_not_complete(distillkit: Distillkit, store: Path) -> None:
    (store / "targets.json").unlink()
    for folder in (store, store / "nowhere"):
        for action in ("inspect", "verify"):
            refused(distillkit("targets", action, folder), f"{folder}: no targets.json in it")


def test_a_manifest_that_is_no_json_is_refused(distillkit: Distillkit, store: Path) -> None:
    (store / "targets.json").write_text('{"schema": 1, "exam')
    refused(distillkit("targets", "verify", store), str(store))


def test_a_store_of_a_newer_distillkit_is_refused(distillkit: Distillkit, store: Path) -> None:
    manifest = json.loads((store / "targets.json").read_text())
    (store / "targets.json").write_text(json.dumps(manifest | {"schema": 99}))
    refused(distillkit("targets", "verify", store), "schema 99")


# targets.path


def test_a_store_of_this_run_is_taken_as_it_is(
    distillkit: Distillkit, fresh: list[str], store: Path, tmp_path: Path
) -> None:
    result = distillkit("train-student", *fresh, f"targets.path={store}")
    assert result.code == 0, result.err
    assert not {"teacher", "targets"} & set(kinds(tmp_path / "workspace"))


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
    words = but(fresh, word, f"targets.path={store}")
    refused(distillkit("train-student", *words), f"targets.path = {store}", "made by", *said)


def test_a_store_of_another_tokenizer_is_refused(
    distillkit: Distillkit, fresh: list[str], body: Path, store: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(body, tmp_path / "other")
    tiny.write_tokenizer(other, extra=["extraordinary"])
    words = but(fresh, f"teacher.body={other}", f"targets.path={store}")
    refused(distillkit("train-student", *words), f"targets.path = {store}", "made by another")


def test_a_damaged_store_is_not_learnt_from(
    distillkit: Distillkit, fresh: list[str], store: Path
) -> None:
    path = shard(store)
    path.write_bytes(path.read_bytes()[:-8])
    refused(distillkit("train-student", *fresh, f"targets.path={store}"), str(store), path.name)
