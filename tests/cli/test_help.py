"""Help, version, unknown commands and the table of recipes."""

import shlex
from importlib.metadata import version
from pathlib import Path

import pytest

from distillkit.cli import RUNS, TOOLS
from distillkit.commands.recipes import FIELDS
from distillkit.config import overrides
from distillkit.config.compose import load_yaml
from distillkit.config.paths import groups, recipe_files
from distillkit.usage import EXAMPLES, split_options
from tests.cli.runs import refused
from tests.conftest import Distillkit


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_names_every_command(distillkit: Distillkit, words: list[str]) -> None:
    result = distillkit(*words)
    assert (result.code, result.err) == (0, "")
    assert all(f"\n  {command} " in result.out for command in [*RUNS, *TOOLS, "completion"])
    assert "distillkit train +recipe=bert-tiny" in result.out


@pytest.mark.parametrize("command", RUNS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_of_a_run_shows_groups_recipes_options_and_examples(
    distillkit: Distillkit, command: str, option: str
) -> None:
    result = distillkit(command, "loss=forward_kl", option)
    assert (result.code, result.err) == (0, "")
    assert f"usage: distillkit {command} " in result.out
    for group, choices in groups().items():
        assert any(
            line.split(maxsplit=1) == [group, ", ".join(choices)]
            for line in result.out.splitlines()
        )
    shown = [*recipe_files(), "--config-dir", "--cfg job", *(line for _, line in EXAMPLES[command])]
    assert all(part in result.out for part in shown)


@pytest.mark.parametrize("line", sorted({line for row in EXAMPLES.values() for _, line in row}))
def test_every_example_passes_the_check(line: str) -> None:
    command, *words = shlex.split(line.partition("distillkit ")[2])
    assert command in RUNS
    overrides.check(split_options(words)[1])


@pytest.mark.parametrize("command", TOOLS)
def test_help_of_a_tool_is_its_usage(distillkit: Distillkit, command: str) -> None:
    result = distillkit(command, "--help")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"usage: distillkit {command}")


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_the_packages(distillkit: Distillkit, option: str) -> None:
    assert distillkit(option).out == f"distillkit {version('distillkit')}\n"


def test_an_unknown_command_is_told_the_nearest(distillkit: Distillkit) -> None:
    refused(distillkit("trian"), "trian: no such command; did you mean train?")
    refused(distillkit("xyz"), "xyz: no such command; there are ", *RUNS, *TOOLS)


@pytest.mark.slow
def test_the_table_of_recipes_shows_all_they_say(distillkit: Distillkit) -> None:
    result = distillkit("recipes")
    assert result.code == 0
    shown = " ".join(result.out.replace("│", " ").split())
    for name, path in recipe_files().items():
        about = load_yaml(path)["about"]
        assert name in shown
        assert all(word in shown for field in FIELDS for word in about[field].split())


@pytest.mark.slow
def test_a_users_recipes_stand_in_the_table(distillkit: Distillkit, tmp_path: Path) -> None:
    (tmp_path / "mine" / "recipes").mkdir(parents=True)
    (tmp_path / "mine" / "recipes" / "own.yaml").write_text("about: {expects: accuracy 0.99}\n")
    result = distillkit("recipes", "--config-dir", tmp_path / "mine")
    assert "own" in result.out
    assert "accuracy 0.99" in result.out


@pytest.mark.parametrize("command", ["recipes", "train"])
def test_a_config_dir_that_is_not_there_is_refused(distillkit: Distillkit, command: str) -> None:
    refused(distillkit(command, "--config-dir", "nowhere"), "--config-dir nowhere: no such folder")
