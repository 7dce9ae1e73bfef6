"""Files of settings that stand for more than may be built: refused before they are."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from distillkit.config import entries, overrides
from distillkit.config.compose import composing, load_yaml
from distillkit.config.yaml_files import MOST_BYTES, read_yaml
from distillkit.errors import ConfigError

DOUBLED = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 10))
BOMBS = {
    "aliases": ("x0: &x0 [a, b]\n" + DOUBLED, "stands for more than 5,000 values once its aliases"),
    "merges": (
        "a0: &a0 {k: 1}\n"
        + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)),
        "stands for more than 5,000 values",
    ),
    "itself": ("a: &a [*a]\n", r"\*a stands inside itself"),
    "depth": ("a: " + "[" * 40 + "]" * 40 + "\n", "nested more than 32 levels deep"),
    "great depth": ("a: " + "{b: " * 50_000, "nested more than 32 levels deep|not valid YAML"),
    "length": ("a: " + "x" * MOST_BYTES + "\n", "has 256,004 bytes, and a file of settings"),
    "values": ("a: [" + "1," * 6_000 + "]\n", "stands for more than 5,000 values"),
    "references": ("a: [" + "'${b}'," * 101 + "]\n", r"has more than 100 \$\{"),
    "a long reference": (
        "a: '" + "x" * 2_000 + "${b}'\n",
        r"has 2,004 characters, and may have 2,",
    ),
    "a date that is none": ("a: !!timestamp 2020-99-99\n", "not valid YAML"),
    "a word for a date": ("a: !!timestamp soon\n", "not valid YAML"),
    "a word for a truth": ("a: !!bool maybe\n", "not valid YAML"),
    "an endless integer": ("a: " + "9" * 5_000 + "\n", "not valid YAML"),
    "an object": ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
    "no mapping": ("- a\n", "must be a mapping of keys"),
    "open": ("a: [1\n", "not valid YAML"),
    "bytes": ("a: \x07\n", "not valid YAML"),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("read", [read_yaml, load_yaml])
def test_a_file_that_may_not_be_built_is_refused_in_one_line(
    name: str, read: object, tmp_path: Path
) -> None:
    text, words = BOMBS[name]
    path = tmp_path / "evil.yaml"
    path.write_text(text, encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with pytest.raises(ConfigError, match=words) as refused:
        read(path)  # type: ignore[operator]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 2
    assert len(refused.value.problems) == 1
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        lambda size: "a: " + "x" * (256_000 - 4 + size) + "\n",
        lambda size: "a: [" + "1," * (5_000 - 3 + size) + "]\n",  # a mapping, a key and a list
        lambda size: "a: " + "[" * (31 + size) + "]" * (31 + size) + "\n",
        lambda size: "a: [" + "'${b}'," * (100 + size) + "]\n",
    ],
    ids=["bytes", "values", "depth", "references"],
)
def test_a_file_at_a_limit_is_read_and_one_beyond_it_is_not(
    text: Callable[[int], str], tmp_path: Path
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text(0), encoding="utf-8")
    assert set(read_yaml(path)) == {"a"}
    path.write_text(text(1), encoding="utf-8")
    with pytest.raises(ConfigError):
        read_yaml(path)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    for name in ("pipe.yaml", "endless.yaml"):
        with pytest.raises(ConfigError, match="no regular file"):
            read_yaml(tmp_path / name)


def test_aliases_and_merges_of_a_common_size_are_read(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("a: &a {lr: 1, steps: 2}\nb: {<<: *a, lr: 3}\nc: [*a, *a]\n", encoding="utf-8")
    one, other = {"lr": 1, "steps": 2}, {"lr": 3, "steps": 2}
    expected = {"a": one, "b": other, "c": [one, one]}
    assert read_yaml(path) == expected
    assert load_yaml(path) == expected


def user_folder(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / "conf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return tmp_path / "conf"


@pytest.mark.parametrize(
    ("name", "word"), [("recipes/evil.yaml", "recipe=evil"), ("loss/evil.yaml", "loss=evil")]
)
def test_a_bomb_in_a_recipe_or_a_group_file_is_named_by_the_check(
    name: str, word: str, tmp_path: Path
) -> None:
    folder = user_folder(tmp_path, name, BOMBS["aliases"][0])
    with pytest.raises(ConfigError, match=f"{name}: stands for more than 5,000 values"):
        overrides.check([word], user_folder=folder)


def test_a_bomb_that_another_file_leads_to_is_not_built(tmp_path: Path) -> None:
    folder = user_folder(tmp_path, "loss/first.yaml", "defaults: [second]\n")
    user_folder(tmp_path, "loss/second.yaml", BOMBS["aliases"][0])
    with pytest.raises(ConfigError, match=r"second\.yaml: stands for more than 5,000 values"):
        overrides.check(["loss=first"], user_folder=folder)


@pytest.mark.parametrize(
    "lines",
    [
        [f"  x{n}: '${{about.x{n + 1}}}${{about.x{n + 1}}}'" for n in range(40)] + ["  x40: y"],
        [f"  x{n}: ['${{about.x{n + 1}}}', '${{about.x{n + 1}}}']" for n in range(40)]
        + ["  x40: y"],
        ["  x0: [" + ",".join(["'${about.x1}'"] * 90) + "]", f"  x1: [{'1,' * 4_000}]"],
        ["  x0: '" + "${about.x1}" * 90 + "'", f"  x1: '{'y' * 240_000}'"],
    ],
    ids=["words", "lists", "a long list", "a long word"],
)
def test_references_that_stand_for_too_much_are_not_resolved(
    lines: list[str], tmp_path: Path
) -> None:
    folder = user_folder(tmp_path, "recipes/evil.yaml", "about:\n" + "\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match="stand for too much"):
        overrides.check(["recipe=evil"], user_folder=folder)


def test_references_are_resolved_where_they_stand_for_little() -> None:
    entries.register(None, [])
    with composing(None) as composer:
        cfg, _ = composer.compose(["run_name=a-${seed}", "seed=3"])
        assert cfg.run_name == "a-3"
