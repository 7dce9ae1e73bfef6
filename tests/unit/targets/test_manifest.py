"""What a store says of itself: whose it is, and whether every byte is still there."""

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from distillkit.artifacts.digests import file_sha256
from distillkit.artifacts.workspace import fingerprint
from distillkit.errors import TargetsError
from distillkit.targets.manifest import FILE, SCHEMA, Shard, SharedFile, StoreManifest


def part(**fields: Any) -> dict[str, Any]:
    return {"fingerprint": fingerprint(fields), **fields}


ORIGIN = {
    "teacher": part(body="folder:1", lr=5e-5, epochs=3, labels=None),
    "tokenizer": part(source="tokenizer:1"),
    "data": part(labelled={"sources": {"train": "file:1"}, "text": "text"}),
}


def manifest(folder: Path, **other: Any) -> StoreManifest:
    """The manifest of a store of two shards that hold nothing readable."""
    shards = []
    for number, content in enumerate((b"first shard", b"second shard")):
        path = folder / f"shard-{number:05d}.arrow"
        path.write_bytes(content)
        shards.append(Shard(path.name, 3, len(content), file_sha256(path)))
    usual: dict[str, Any] = {
        "codec": {"name": "dense", "dtype": "float32"},
        "outputs": 2,
        "labels": ["bad", "good"],
        "examples": 6,
        "positions": 40,
        "tokens": 60,
        "origin": ORIGIN,
        "shards": shards,
    }
    return StoreManifest(**usual | other)


# saved and opened


def test_a_manifest_is_opened_as_it_was_saved(tmp_path: Path) -> None:
    saved = manifest(tmp_path)
    saved.save(tmp_path)
    assert StoreManifest.open(tmp_path) == saved
    assert json.loads((tmp_path / FILE).read_text())["schema"] == SCHEMA


def test_what_was_measured_and_what_is_shared_are_there_again(tmp_path: Path) -> None:
    shared = SharedFile("head.safetensors", 5, "0" * 64)
    quality = {"positions": 40, "entropy": 2.9, "kept_mass": 0.86}
    saved = manifest(tmp_path, files=[shared], quality=quality)
    saved.save(tmp_path)
    again = StoreManifest.open(tmp_path)
    assert again == saved
    assert (again.files, again.quality) == ([shared], quality)


def test_a_folder_without_manifest_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(TargetsError, match=f"{tmp_path}: no targets.json in it"):
        StoreManifest.open(tmp_path)


@pytest.mark.parametrize("schema", [SCHEMA + 1, SCHEMA - 2, None])
def test_another_schema_is_refused_with_the_way_out(tmp_path: Path, schema: int | None) -> None:
    manifest(tmp_path, schema=schema).save(tmp_path)
    with pytest.raises(TargetsError, match=f"schema {schema}; .* reads schema {SCHEMA}. Use the"):
        StoreManifest.open(tmp_path)


def test_a_newer_schema_is_refused_though_its_fields_are_unknown(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"schema": SCHEMA + 1, "blocks": []}))
    with pytest.raises(TargetsError, match=f"schema {SCHEMA + 1}"):
        StoreManifest.open(tmp_path)


@pytest.mark.parametrize(
    "content", ["", '{"schema": 3, "codec": {"na', "[]", '{"schema": 3}', '{"schema": 2}']
)
def test_a_damaged_manifest_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(TargetsError) as caught:
        StoreManifest.open(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}")
    assert "\n" not in str(caught.value)


def test_no_bit_of_a_manifest_changes_unseen(tmp_path: Path) -> None:
    saved = manifest(tmp_path)
    saved.save(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    unseen = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 7
        (tmp_path / FILE).write_bytes(changed)
        try:
            assert StoreManifest.open(tmp_path) == saved  # white space between two values
            unseen += 1
        except TargetsError:
            pass
    assert unseen == 0


def test_the_manifest_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    saved = manifest(tmp_path)
    (tmp_path / FILE).write_text(json.dumps(asdict(saved) | {"schema": 2}))
    assert StoreManifest.open(tmp_path) == saved


# whose it is


def test_the_same_origin_passes(tmp_path: Path) -> None:
    manifest(tmp_path).check_origin(copy.deepcopy(ORIGIN), at="targets.path = here")
    saved = manifest(tmp_path)
    saved.save(tmp_path)
    StoreManifest.open(tmp_path).check_origin(ORIGIN, at="targets.path = here")


@pytest.mark.parametrize(
    ("name", "other", "field", "there", "here"),
    [
        ("teacher", {"lr": 1e-5}, "lr", "5e-05", "1e-05"),
        ("teacher", {"lr": 1e-5, "body": "folder:2"}, "body", "'folder:1'", "'folder:2'"),
        ("teacher", {"labels": ["a"]}, "labels", "None", r"\['a'\]"),
        ("tokenizer", {"source": "hub:x"}, "source", "'tokenizer:1'", "'hub:x'"),
        (
            "data",
            {"labelled": {"sources": {"train": "file:2"}, "text": "text"}},
            "labelled.sources.train",
            "'file:1'",
            "'file:2'",
        ),
        ("data", {"transfer": {"source": "file:3"}}, "transfer", "None", "{'source': 'file:3'}"),
    ],
)
def test_another_origin_names_both_fingerprints_and_the_first_field(
    tmp_path: Path, name: str, other: dict[str, Any], field: str, there: str, here: str
) -> None:
    fields = {k: v for k, v in ORIGIN[name].items() if k != "fingerprint"}
    expected = ORIGIN | {name: part(**fields | other)}
    told = (
        f"targets.path = here: made by another {name}: its fingerprint is "
        f"{ORIGIN[name]['fingerprint']}, this run's is {expected[name]['fingerprint']}; the first "
        rf"field that differs is {name}\.{field} \({there} there, {here} here\)"
    )
    with pytest.raises(TargetsError, match=told):
        manifest(tmp_path).check_origin(expected, at="targets.path = here")


def test_an_origin_that_says_nothing_is_another_one(tmp_path: Path) -> None:
    with pytest.raises(TargetsError, match="made by another data: its fingerprint is None"):
        manifest(tmp_path, origin={}).check_origin(ORIGIN, at="targets.path = here")


# whether it is whole


def test_a_whole_store_has_no_damage(tmp_path: Path) -> None:
    assert manifest(tmp_path).damaged(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "shard-00001.arrow: missing"),
        (b"second", "shard-00001.arrow: 6 bytes, not 12"),
        (b"", "shard-00001.arrow: 0 bytes, not 12"),
        (b"second shard and more", "shard-00001.arrow: 21 bytes, not 12"),
        (b"second shurd", "shard-00001.arrow: altered (its sha256 is not the one recorded)"),
    ],
)
def test_a_damaged_shard_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    whole = manifest(tmp_path)
    shard = tmp_path / "shard-00001.arrow"
    if content is None:
        shard.unlink()
    else:
        shard.write_bytes(content)
    assert whole.damaged(tmp_path) == [told]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "head.safetensors: missing"),
        (b"a he", "head.safetensors: 4 bytes, not 6"),
        (b"a hoad", "head.safetensors: altered (its sha256 is not the one recorded)"),
    ],
)
def test_a_damaged_shared_file_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(b"a head")
    whole = manifest(tmp_path, files=[SharedFile(path.name, 6, file_sha256(path))])
    assert whole.damaged(tmp_path) == []
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert whole.damaged(tmp_path) == [told]


def test_every_damaged_shard_is_named(tmp_path: Path) -> None:
    whole = manifest(tmp_path)
    for shard in whole.shards:
        (tmp_path / shard.file).unlink()
    assert whole.damaged(tmp_path) == ["shard-00000.arrow: missing", "shard-00001.arrow: missing"]
