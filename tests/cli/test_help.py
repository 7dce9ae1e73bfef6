"""Help, version, unknown commands and the table of recipes."""

import os
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest

from distillkit.cli.commands.recipes import FIELDS
from distillkit.cli.help import EXAMPLES, split_options
from distillkit.cli.main import RUNS, TOOLS
from distillkit.config import overrides
from distillkit.config.compose import load_yaml
from distillkit.config.paths import groups, recipe_files
from distillkit.errors import ConfigError
from tests import tiny
from tests.cli.runs import assert_refused
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
    assert_refused(distillkit("trian"), "trian: no such command; did you mean train?")
    every = len([*RUNS, *TOOLS, "completion"])
    assert_refused(distillkit("xyz"), "xyz: no such command; it takes train, ", f"{every} in all")


def test_the_list_of_recipes_has_a_line_each_under_its_family(distillkit: Distillkit) -> None:
    result = distillkit("recipes")
    assert (result.code, result.err) == (0, "")
    title, lines = "", {}
    for line in result.out.splitlines()[:-1]:
        if line[1] == " ":
            lines[line.split()[1 if line[0] == "*" else 0]] = (title, line)
        else:
            title = line
    assert set(lines) == set(recipe_files())
    assert lines["smollm2-mini"][0] == lines["distilgpt2"][0] == "language models"
    assert lines["bert-tiny"][0] == lines["tinybert-4"][0] == "text classification"
    assert lines["distilbert-squad"][0] == "question answering"
    assert lines["distilroberta"][0].startswith("encoders")
    for name, (_, line) in lines.items():
        about = load_yaml(recipe_files()[name])["about"]
        assert about["student"] in line
        assert about["data"] in line
        assert line.startswith("*") == about["source"].startswith("measured by us")
    assert "`distillkit recipes NAME`" in result.out.splitlines()[-1]


@pytest.mark.parametrize("name", ["pkd-3", "smollm2-mini", "tinybert-4"])
def test_a_recipe_is_told_in_full(distillkit: Distillkit, name: str) -> None:
    recipe = load_yaml(recipe_files()[name])
    result = distillkit("recipes", name)
    assert (result.code, result.err) == (0, "")
    shown = " ".join(result.out.split())
    for field in FIELDS:
        assert f"{field} {recipe['about'][field]}" in shown
    for block in recipe.get("published", []):
        assert all(f"{key}: {' '.join(str(v).split())}" in shown for key, v in block.items())
    settings = recipe_files()[name].read_text().partition("defaults:")[2]
    assert " ".join(settings.split()) in shown
    assert f"distillkit train +recipe={name}" in shown


def test_an_unknown_recipe_is_told_the_nearest(distillkit: Distillkit) -> None:
    assert_refused(
        distillkit("recipes", "bert-tyni"),
        "bert-tyni: no such recipe; did you mean bert-tiny? (`distillkit recipes` lists them)",
    )


def test_a_users_recipes_stand_in_the_list(distillkit: Distillkit, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "recipes"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("about: {expects: accuracy 0.99}\n")
    words = ("--config-dir", tmp_path / "mine")
    assert "  own " in distillkit("recipes", *words).out
    assert "accuracy 0.99" in distillkit("recipes", "own", *words).out
    (folder / "broken.yaml").write_text("about: {expects: [\n")
    assert_refused(distillkit("recipes", *words), "broken.yaml: not valid YAML", "line 2")


def test_the_list_of_recipes_costs_little(tmp_path: Path) -> None:
    """User and system time of the whole process."""
    before = os.times()
    done = tiny.run("recipes", cwd=tmp_path)
    after = os.times()
    assert done.returncode == 0
    spent = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    assert spent < 0.5


@pytest.mark.parametrize("command", ["recipes", "train"])
def test_a_config_dir_that_is_not_there_is_refused(distillkit: Distillkit, command: str) -> None:
    assert_refused(
        distillkit(command, "--config-dir", "nowhere"), "--config-dir nowhere: no such folder"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--multrun"], "--multrun: no such option; did you mean --multirun?"),
        (["train", "--xyzzy"], "--xyzzy: no such option; it takes "),
        (["train", "--cfg", "jop"], "--cfg jop: shows one of job, hydra, all"),
        (["train", "--config-dir"], "--config-dir: needs a value after it"),
        (["recipes", "a", "b"], "recipes: unrecognized arguments: b; `distillkit recipes --help`"),
        (["targets"], "targets: the following arguments are required: ACTION; `distillkit targets"),
        (["targets", "inspect"], "targets inspect: the following arguments are required: path; "),
        (["report"], "report: the following arguments are required: folder; `distillkit report "),
        (["train", "workspace=/dev/null/x"], "workspace = /dev/null/x: "),
        (["train", "workspace=/proc/x"], "workspace = /proc/x: no folder can be made there"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_read_or_written_is_one_line(
    distillkit: Distillkit, words: list[str], said: str
) -> None:
    assert assert_refused(distillkit(*words)).startswith(f"distillkit: {said}")


def test_the_longest_message_is_bounded(
    distillkit: Distillkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(words: list[str]) -> None:
        raise ConfigError("begins " + "a name, " * 2000 + "the way out")

    monkeypatch.setattr("distillkit.cli.commands.report.main", fail)
    line = assert_refused(distillkit("report", "x"), "distillkit: begins a name", "the way out")
    assert len(line) < 1000


@pytest.mark.parametrize("command", ["completion", "recipes", "targets", "report", "workspace"])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_tool_has_a_help(distillkit: Distillkit, command: str, option: str) -> None:
    done = distillkit(command, option)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: distillkit {command}")
