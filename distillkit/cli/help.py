"""Help texts; imports nothing heavy."""

from pathlib import Path

from distillkit.artifacts.homes import expanded
from distillkit.console.wording import nearest
from distillkit.errors import ConfigError

OVERVIEW = """\
distillkit: a small language model out of a large one, from YAML

usage: distillkit COMMAND [+recipe=NAME] [group=choice] [key=value] [-m]

the stages of a run
  train              all of it: teacher -> targets -> student and control -> evaluation -> report
  generate-targets   the teacher, fitted if need be, answers for every example
  train-student      a student from targets that are there
  evaluate           a student against its teacher on the held-out split
  compress           a student in other formats: ONNX, int8, bfloat16, GGUF

use a student
  predict            labels, values, tags or answers for texts of yours
  generate           what a language model writes after prompts of yours
  publish            a student's folder on the Hugging Face hub; --dry-run shows what would go

look before, look after
  plan               what a run would find, make, compute and need; trains nothing
  recipes            what there is to choose from, and what it expects
  targets            inspect, verify, merge, convert or export target stores
  report             the leaderboard of a sweep
  workspace          list, verify, remove or size what runs have made

  completion         of bash, zsh or fish: eval "$(distillkit completion zsh)"
  COMMAND --help     groups, options and examples

begin with
  distillkit train +recipe=bert-tiny

exit status
  0 done   2 refused, in a line that says why   130 Ctrl-C
  75 ended by SIGTERM, SIGUSR1 or SIGHUP after its step; the same command goes on from there
"""

ABOUT = {
    "train": "Run all stages; what is there already is not made again.",
    "generate-targets": "Ask the teacher (fitted first, if need be) about every example, once.",
    "train-student": "Train a student from targets that are there.",
    "evaluate": "Hold a student against its teacher, and its control, on the held-out split.",
    "compress": "Write a trained student in each format of compression=[…]; no data is needed.",
    "plan": "Say what a run would find, make, compute and need; ask no teacher, train nothing.",
}
EXAMPLES = {
    "train": (
        ("the first run", "distillkit train +recipe=bert-tiny"),
        (
            "your own file",
            "distillkit train +recipe=classify data.train=my.csv data.text=text "
            "data.label=category",
        ),
        (
            "a ready teacher",
            "distillkit train +recipe=bert-tiny teacher=local teacher.path=./my-teacher",
        ),
        (
            "a sweep; the teacher runs once",
            "distillkit train -m +recipe=bert-tiny loss.temperature=1,2,4 optimizer.lr=3e-4,5e-4",
        ),
        ("look at the config, run nothing", "distillkit train +recipe=bert-tiny --cfg job"),
    ),
    "generate-targets": (
        ("the targets of a recipe", "distillkit generate-targets +recipe=bert-tiny"),
        (
            "in a shared workspace",
            "distillkit generate-targets +recipe=bert-tiny workspace=/shared/distillkit",
        ),
    ),
    "train-student": (
        ("from the targets of a recipe", "distillkit train-student +recipe=bert-tiny"),
        (
            "another loss on the same targets",
            "distillkit train-student +recipe=bert-tiny loss.temperature=4",
        ),
        ("several processes", "accelerate launch -m distillkit train-student +recipe=bert-tiny"),
    ),
    "evaluate": (
        ("the student of a recipe", "distillkit evaluate +recipe=bert-tiny"),
        (
            "any Hugging Face folder",
            "distillkit evaluate +recipe=bert-tiny student.path=./my-student",
        ),
        (
            "several, held against the first",
            "distillkit evaluate data=files data.train=my.csv models=[./large,owner/small]",
        ),
    ),
    "compress": (
        ("any trained folder", "distillkit compress student.path=./my-student compression=[onnx]"),
        ("the student of a recipe", "distillkit compress +recipe=bert-tiny compression=[bf16]"),
    ),
    "plan": (
        ("a recipe on this machine", "distillkit plan +recipe=bert-tiny"),
        ("on hardware by name", "distillkit plan +recipe=smollm2-mini hardware=h100"),
        ("another codec", "distillkit plan +recipe=smollm2-mini targets=top_k targets.codec.k=100"),
    ),
}
OPTIONS = """\
options
  key=value          override a setting; `distillkit COMMAND --cfg job` shows them all
  group=choice       choose a group's entry
  +recipe=NAME       take a recipe (recipe=NAME does the same)
  -m, --multirun     sweep: every combination of the comma-separated values
  --config-dir DIR   your own conf groups (DIR/loss/mine.yaml) and recipes (DIR/recipes/mine.yaml)
  --repair           make an artifact that is damaged again, instead of stopping at it
  --cfg job          print the composed config and stop
  workspace=DIR      where artifacts live (default .distillkit, or DISTILLKIT_WORKSPACE)
"""
REPAIR, REPAIRS = "--repair", "workspace.repair=true"  # the option, and what it is short for
WITH_VALUE = {
    "--config-dir": "--config-dir",
    "-cd": "--config-dir",
    "--config-name": "--config-name",
    "-cn": "--config-name",
    "--cfg": "--cfg",
    "-c": "--cfg",
    "--package": "--package",
    "-p": "--package",
}
WITHOUT_VALUE = {
    REPAIR: REPAIR,
    "--multirun": "--multirun",
    "-m": "--multirun",
    "--run": "--run",
    "-r": "--run",
    "--help": "--help",
    "-h": "--help",
    "--hydra-help": "--hydra-help",
    "--resolve": "--resolve",
    "--info": "--info",
    "-i": "--info",
}
VALUES = {  # of which an option takes one
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--config-name": ("run",),
}
ONE_OF = ("--run", "--multirun", "--cfg", "--info", "--hydra-help")
OF_CFG = ("--resolve", "--package")


def overview() -> str:
    """The text of `distillkit --help`."""
    return OVERVIEW


def command(name: str) -> str:
    """The text of `distillkit COMMAND --help`: groups with their choices, options, examples."""
    from distillkit.config.paths import groups, recipe_files

    lines = [f"usage: distillkit {name} [+recipe=NAME] [group=choice] [key=value] [-m]", ""]
    lines += [ABOUT[name], "", "groups"]
    lines += [f"  {group:<18} {', '.join(choices)}" for group, choices in groups().items()]
    lines += ["", "recipes", f"  {', '.join(recipe_files())}", "", OPTIONS, "examples"]
    for text, words in EXAMPLES[name]:
        lines += [f"  # {text}", f"  {words}"]
    return "\n".join(lines) + "\n"


def split_options(words: list[str]) -> tuple[list[str], list[str], Path | None]:
    """(options, overrides, the folder of --config-dir) of a command line.

    Options are written out, as --multirun and --cfg=job; there are these, and none of Hydra's else.
    """
    options: list[str] = []
    overrides: list[str] = []
    folder: Path | None = None
    words_left = list(words)
    while words_left:
        word = words_left.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        typed, equals, value = word.partition("=")
        name = {**WITH_VALUE, **WITHOUT_VALUE}.get(typed)
        if name is None or (equals and name not in VALUES and typed in WITHOUT_VALUE):
            hint = nearest(typed, (*WITH_VALUE, *WITHOUT_VALUE))
            raise ConfigError(f"{word if equals else typed}: no such option; {hint}")
        if typed in WITH_VALUE and not equals:
            value = words_left.pop(0) if words_left and not words_left[0].startswith("-") else ""
        if name == "--info" and not value:
            is_value = (
                words_left and "=" not in words_left[0] and not words_left[0].startswith(("-", "~"))
            )
            value = words_left.pop(0) if is_value else "all"
        _check_value(typed, name, value)
        if name == "--config-dir":
            folder = _folder(value)
        elif name != "--config-name":
            options.append(f"{name}={value}" if value else name)
    _check_together({option.partition("=")[0] for option in options})
    if {"--cfg=hydra", "--resolve"} <= {*options}:
        raise ConfigError("--resolve: Hydra's settings refer to the run's; add --cfg all")
    return options, overrides, folder


def _check_value(option: str, name: str, value: str) -> None:
    if option in WITH_VALUE and not value:
        raise ConfigError(f"{option}: needs a value after it")
    if name == "--config-name" and value != "run":
        raise ConfigError(
            f"{option} {value}: there is one config, run; what differs from it is a recipe "
            "(+recipe=NAME, with --config-dir for your own)"
        )
    if value not in VALUES.get(name, (value,)):
        raise ConfigError(f"{option} {value}: shows one of {', '.join(VALUES[name])}")


def _check_together(names: set[str]) -> None:
    several = [name for name in ONE_OF if name in names]
    if len(several) > 1:
        raise ConfigError(f"{' and '.join(several)}: only one of them at a time")
    for name in OF_CFG:
        if name in names and "--cfg" not in names:
            raise ConfigError(f"{name}: says how --cfg shows a config; add --cfg job")


def _folder(value: str) -> Path:
    folder = expanded(value).absolute()
    if not folder.is_dir():
        raise ConfigError(f"--config-dir {value}: no such folder")
    return folder
