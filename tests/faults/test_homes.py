"""Folders of a user who is not known here, and users without a home: a line, never a traceback."""

import os
import pwd
from pathlib import Path

import pytest

from distillkit.artifacts.homes import users_cache
from tests import tiny
from tests.cli.runs import QUICK, assert_refused, run, with_overrides

STRANGER = "~nobody-of-this-name/x"


@pytest.mark.parametrize("command", ["train", "plan"])
@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            f"workspace={STRANGER}",
            f"workspace = {STRANGER}: ~nobody-of-this-name has no home here; write the folder out",
        ),
        (f"targets.path={STRANGER}", f"targets.path = {STRANGER}: no such folder"),
        (f"data.train={STRANGER}.csv", f"data.train = {STRANGER}.csv: "),
        (f"teacher.body={STRANGER}", f"teacher.body = {STRANGER}: "),
    ],
)
def test_a_home_that_is_not_known_is_named(
    command: str, word: str, line: str, body: Path, tmp_path: Path
) -> None:
    texts = tiny.write_reviews(tmp_path, 20, 10)
    words = with_overrides(tiny.small(body, *texts, tmp_path / "w"), *QUICK, word)
    assert_refused(run(tmp_path, command, *words), line)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith("~")]


def test_a_workspace_and_a_folder_of_configs_in_no_home(tmp_path: Path) -> None:
    for action in ("list", "size", "verify"):
        assert_refused(
            run(tmp_path, "workspace", action, f"workspace={STRANGER}"),
            f"workspace = {STRANGER}: no such folder",
        )
    assert_refused(
        run(tmp_path, "train", "--config-dir", STRANGER),
        f"--config-dir {STRANGER}: no such folder",
    )


def test_a_user_without_a_home_has_no_folder_for_what_was_read(
    tmp_path: Path, body: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert users_cache() == [tmp_path / "distillkit" / "verified"]
    monkeypatch.setenv("XDG_CACHE_HOME", "beside")  # which is to be ignored
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert users_cache() == [tmp_path / "home" / ".cache" / "distillkit" / "verified"]
    monkeypatch.delenv("HOME")

    def nobody(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert users_cache() == []
    texts = tiny.write_reviews(tmp_path, 120, 10)
    words = with_overrides(tiny.small(body, *texts, tmp_path / "w"), *QUICK, "control=false")
    done = run(tmp_path, "train", *words)
    assert done.code == 0, done.err
    assert not os.path.lexists(tmp_path / "~")
