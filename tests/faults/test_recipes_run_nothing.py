"""Files of a stranger's are data: whatever they say, nothing of it runs, and nothing is written."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from distillkit.config import overrides
from distillkit.config.build import build
from tests.conftest import Distillkit, Result
from tests.faults.hostile import CASES, COMMAND_LINES, NO_YAML, SAVE, Case

HUBCONF = """
import pathlib
pathlib.Path("PWN").write_text("ran")
class Evil:
    pass
def evil(*args, **settings):
    return Evil()
"""
SOME_BY_DEFAULT = [
    pytest.param(name, marks=pytest.mark.slow if number % 60 else ())
    for number, name in enumerate(CASES)
]
VIEWS = (["--cfg", "job"], ["--cfg", "all", "--resolve"], ["--info"], ["--info", "defaults"])


@pytest.fixture(autouse=True)
def _store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's store is one for the whole process."""
    monkeypatch.setattr(ConfigStore.instance(), "repo", {**ConfigStore.instance().repo})


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """`--info` has Hydra log to the streams of a test; a command of a user has its own process."""
    root = logging.getLogger()
    level, handlers = root.level, [*root.handlers]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a stranger, beside the current one."""
    path = tmp_path / "strangers"
    path.mkdir()
    return path


def laid_out(folder: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write a case's files; return its words."""
    files, words = case
    put = {"PWN": str(folder.parent / "pwned"), "DIR": str(folder)}
    for name, text in {**files, "hubconf.py": HUBCONF}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(filled(text, put), encoding="utf-8")
    current = folder.parent / "current"
    current.mkdir(exist_ok=True)
    monkeypatch.chdir(current)
    monkeypatch.syspath_prepend(folder)  # more than a stranger has
    return [filled(word, put) for word in words]


def filled(text: str, put: dict[str, str]) -> str:
    for name, value in put.items():
        text = text.replace(name, value)
    return text


def there(folder: Path) -> set[str]:
    """All that lies in and beside the folder."""
    return {str(path) for path in folder.parent.rglob("*") if "__pycache__" not in path.parts}


def assert_refused_in_lines(result: Result) -> None:
    """One line, or one each, and the code of errors in settings; never a traceback."""
    assert result.code == 2, result
    assert "Traceback" not in result.err
    first, *rest = result.err.splitlines()
    assert first.startswith("distillkit: ")
    assert bool(rest) == first.endswith(" problems:")
    assert all(line.startswith("  - ") for line in rest)


@pytest.mark.parametrize("name", CASES)
def test_nothing_of_a_strangers_files_runs(
    name: str, folder: Path, distillkit: Distillkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = laid_out(folder, CASES[name], monkeypatch)
    before = there(folder)
    result = distillkit("train", "--config-dir", folder, *words)
    assert_refused_in_lines(result)
    assert there(folder) == before
    # the file is refused for what it says, not for how it is written
    assert ("not valid YAML" in result.err) == name.endswith(NO_YAML)


@pytest.mark.parametrize("name", SOME_BY_DEFAULT)
def test_nothing_runs_where_it_is_only_looked_at(
    name: str, folder: Path, distillkit: Distillkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = laid_out(folder, CASES[name], monkeypatch)
    before = there(folder)
    own = ["--config-dir", folder]
    assert_refused_in_lines(distillkit("plan", *own, *words))
    for view in VIEWS:
        result = distillkit("train", *view, *own, *(word for word in words if word != "-m"))
        if result.code:
            assert_refused_in_lines(result)
    for chosen in ([], ["evil"]):
        result = distillkit("recipes", *chosen, *own)
        if result.code:
            assert_refused_in_lines(result)
    assert there(folder) == before


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_words_that_cannot_be_run_are_one_line(
    name: str, folder: Path, distillkit: Distillkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = laid_out(folder, ({}, COMMAND_LINES[name]), monkeypatch)
    before = there(folder)
    assert_refused_in_lines(distillkit("train", *words))
    assert there(folder) == before


def test_what_a_test_watches_for_comes_into_being_where_the_command_line_trusts_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"loss: {{hard_weight: {SAVE}}}"
    words = laid_out(folder, ({"recipes/evil.yaml": text}, ["recipe=evil"]), monkeypatch)
    cfg = overrides.check([*words, "trusted=[torch.save]"], user_folder=folder).cfg
    before = there(folder)
    with pytest.raises(Exception, match="hard_weight"):
        build(cfg.loss, key="loss")
    assert there(folder) - before == {str(folder.parent / "pwned")}


def test_what_is_data_is_taken_as_it_is(
    folder: Path, distillkit: Distillkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "about: {what: 'a \\${HOME}, $HOME and {{ text }}', who: '${run_name}'}\n"
        "defaults: [{override /loss: own}, _self_]\n"
        "data: {train: /data/a.csv, where: {a b: [1, 2]}}\n"
        "student: {config: {id2label: {0: bad, 1: good}, attn_implementation: sdpa}}\n"
        "phases: {a: [loss=jsd, optimizer.lr=1e-3, 'data.text=x', start=new], b: []}\n"
    )
    loss = "defaults: [forward_kl, _self_]\ntemperature: 3.0\nhard_weight: ${.temperature}\n"
    files = {"recipes/good.yaml": text, "loss/own.yaml": loss}
    words = laid_out(folder, (files, ["+recipe=good", "seed=${oc.decode:'7'}"]), monkeypatch)
    cfg = overrides.check(words, user_folder=folder).cfg
    assert overrides.plain(cfg)["about"] == {
        "what": "a ${HOME}, $HOME and {{ text }}",
        "who": "good",
    }
    assert (cfg.loss.temperature, cfg.loss.hard_weight, cfg.seed) == (3.0, 3.0, 7)
    assert cfg.student.config.id2label == {0: "bad", 1: "good"}
    assert build(cfg.loss, key="loss").weights == {"soft": 1.0, "hard": 3.0}
    shown = distillkit("train", "--config-dir", folder, "--cfg", "job", *words)
    assert (shown.code, shown.err) == (0, "")
    assert "what: a \\${HOME}, $HOME and {{ text }}" in shown.out
