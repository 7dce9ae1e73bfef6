"""Every entry of every group: it composes, passes the check and builds."""

import functools
import importlib
import inspect
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from distillkit.config import overrides
from distillkit.config.build import build
from distillkit.config.paths import CONF, groups
from distillkit.config.settings import GROUPS
from distillkit.errors import ConfigError

TABLE = groups()
ENTRIES = [(group, choice) for group, choices in TABLE.items() for choice in choices]
NEEDED = {  # beside the settings that the entry marks with ???
    ("teacher", "local"): ["teacher.body=./body"],
    ("teacher", "fine_tuned"): ["teacher.body=./body"],
    ("teacher", "ensemble"): ["teacher.body=./body"],
    ("data", "conversations"): ["data.messages=messages"],
    ("student", "scratch"): ["student.config={model_type:bert}"],
    ("optimizer", "torch"): ["optimizer._target_=torch.optim.RMSprop"],
}

NOT_TEXT = ("_target_", "config")  # what a path does not fill

each_entry = pytest.mark.parametrize(("group", "choice"), ENTRIES)


def text(group: str, choice: str) -> str:
    return (CONF / group / f"{choice}.yaml").read_text(encoding="utf-8")


def written(group: str, choice: str) -> dict[str, Any]:
    """An entry as it stands in its file."""
    loaded = OmegaConf.to_container(OmegaConf.create(text(group, choice)), resolve=False)
    assert isinstance(loaded, dict)
    return {str(key): value for key, value in loaded.items()}


def needed(group: str, choice: str) -> list[str]:
    """Overrides for all that an entry leaves to its user."""
    settings = written(group, choice)
    open_ones = [key for key in settings if settings[key] == "???" and key not in NOT_TEXT]
    return [f"{group}.{key}=my.csv" for key in open_ones] + NEEDED.get((group, choice), [])


def target(group: str, choice: str) -> Any:
    given = [word.partition("=")[2] for word in needed(group, choice) if "_target_" in word]
    module, _, name = (given or [written(group, choice)["_target_"]])[0].rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_the_groups_on_disk_are_those_of_a_run() -> None:
    assert set(groups()) == set(GROUPS)


@functools.cache
def checked(number: int) -> DictConfig:
    """A run with the entry of this number of every group; a shorter group begins again."""
    entries = [(group, sorted(choices)[number % len(choices)]) for group, choices in TABLE.items()]
    chosen = [f"{group}={choice}" for group, choice in entries]
    return overrides.check([*chosen, *(word for entry in entries for word in needed(*entry))]).cfg


@each_entry
def test_it_composes_passes_the_check_and_builds(group: str, choice: str) -> None:
    cfg = checked(sorted(TABLE[group]).index(choice))
    built = build(cfg[group], key=group, partial=group == "optimizer")
    if group == "optimizer":
        built = built([torch.nn.Parameter(torch.zeros(2, 2))])
    assert isinstance(built, target(group, choice))


@each_entry
def test_every_setting_is_a_parameter_of_its_target(group: str, choice: str) -> None:
    takes = inspect.signature(target(group, choice)).parameters
    assert set(written(group, choice)) - {"_target_"} <= set(takes)


@each_entry
def test_it_says_what_it_is_and_names_its_target_first(group: str, choice: str) -> None:
    first, second = text(group, choice).splitlines()[:2]
    assert first.startswith("# ")
    assert second.startswith("_target_: ")


@each_entry
def test_it_reaches_into_no_other_group(group: str, choice: str) -> None:
    assert "${" not in text(group, choice).replace("${.", "")


@pytest.mark.parametrize(("group", "choice"), [e for e in ENTRIES if needed(*e)])
def test_what_it_leaves_open_is_asked_for(group: str, choice: str) -> None:
    words = needed(group, choice)
    for left_out in words:
        others = [word for word in words if word != left_out]
        with pytest.raises(ConfigError) as refused:
            cfg = overrides.check([f"{group}={choice}", *others]).cfg
            build(cfg[group], key=group)
        assert left_out.partition("=")[0] in str(refused.value)


def test_a_run_needs_no_word_at_all() -> None:
    cfg = overrides.check([]).cfg
    assert all("_target_" in cfg[group] for group in GROUPS)


def test_the_workspace_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert overrides.check([]).cfg.workspace.path == ".distillkit"
    monkeypatch.setenv("DISTILLKIT_WORKSPACE", "/shared/here")
    assert overrides.check([]).cfg.workspace.path == "/shared/here"
    for words in (["workspace=mine"], ["workspace.path=mine"], ["++workspace=mine"]):
        checked = overrides.check(words)
        assert dict(checked.cfg.workspace) == {"path": "mine", "verify": "once", "repair": False}
        assert checked.overrides == ["workspace.path=mine".rjust(len(checked.overrides[0]), "+")]
    both = overrides.check(["workspace={path:mine,verify:never}"])
    assert dict(both.cfg.workspace) == {"path": "mine", "verify": "never", "repair": False}
