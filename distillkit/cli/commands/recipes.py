"""`distillkit recipes [NAME]`: what there is to choose from, what it expects, and who says so."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distillkit.cli.arguments import Arguments
from distillkit.config.paths import recipe_files
from distillkit.config.yaml_files import read_yaml
from distillkit.console.wording import nearest
from distillkit.errors import ConfigError

FIELDS = ("teacher", "student", "data", "expects", "source")
FAMILIES = {  # by the task that a recipe chooses
    "classification": "text classification",
    "multi_label": "several labels a text",
    "regression": "regression",
    "token_classification": "words with tags",
    "question_answering": "question answering",
    "masked_lm": "encoders, to be fine-tuned later",
    "causal_lm": "language models",
}
MEASURED = "measured by us"
TASK = re.compile(r"(?:override )?/?task")


def main(words: list[str]) -> None:
    """Print a line for each recipe, or all about one."""
    parser = Arguments(prog="distillkit recipes", description=__doc__)
    parser.add_argument("name", nargs="?", help="a recipe, to see all of it")
    parser.add_argument("--config-dir", type=Path, help="a folder with `recipes/` of your own")
    arguments = parser.parse_args(words)
    folder = arguments.config_dir
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--config-dir {folder}: no such folder")
    files = recipe_files(folder)
    if arguments.name is None:
        _list({name: read_yaml(path) for name, path in files.items()})
        return
    name = arguments.name.removeprefix("+").removeprefix("recipe=")
    if name not in files:
        hint = nearest(name, files, hint="`distillkit recipes` lists them")
        raise ConfigError(f"{name}: no such recipe; {hint}")
    _tell(name, files[name])


def _list(recipes: dict[str, dict[str, Any]]) -> None:
    from distillkit.console.progress import stdout

    console = stdout()
    edge = console.width if console.is_terminal else 10_000
    families: dict[str, list[str]] = {}
    for name, settings in recipes.items():
        families.setdefault(family(settings), []).append(name)
    column = max(map(len, recipes), default=0)
    for title in sorted(families, key=_rank):
        console.print(title, style="bold")
        # what was measured here stands first
        for name in sorted(
            families[title],
            key=lambda recipe_name: (not _measured(recipes[recipe_name]), recipe_name),
        ):
            line = f"{'*' if _measured(recipes[name]) else ' '} {name:<{column}}  "
            line += _models(recipes[name])
            short = line if len(line) <= edge else f"{line[: edge - 1]}…"
            console.print(short, soft_wrap=True)
    console.print("* measured by us. `distillkit recipes NAME` tells all of one.")


def family(settings: dict[str, Any]) -> str:
    """What a recipe's students are for, by the task that it chooses."""
    group = "classification"
    for default in settings.get("defaults") or []:
        if isinstance(default, dict):
            for key, value in default.items():
                group = str(value) if TASK.fullmatch(key) else group
    return FAMILIES.get(group, group)


def _rank(title: str) -> tuple[int, str]:
    order = [*FAMILIES.values()]
    return (order.index(title) if title in order else len(order), title)


def _description(settings: dict[str, Any]) -> dict[str, str]:
    settings_about = settings.get("about")
    return (
        {str(k): str(v) for k, v in settings_about.items()}
        if isinstance(settings_about, dict)
        else {}
    )


def _measured(settings: dict[str, Any]) -> bool:
    return _description(settings).get("source", "").startswith(MEASURED)


def _models(settings: dict[str, Any]) -> str:
    """ "teacher -> student | data" as far as the recipe says them."""
    settings_about = _description(settings)
    teacher, student = settings_about.get("teacher", ""), settings_about.get("student", "")
    models = f"{teacher} -> {student}" if teacher or student else settings_about.get("expects", "")
    if teacher == "none":
        models = f"{student}, without a teacher"
    return f"{models} | {settings_about['data']}" if settings_about.get("data") else models


def _tell(name: str, path: Path) -> None:
    from distillkit.console.progress import stdout

    console = stdout()
    settings = read_yaml(path)
    lines = [f"{name} ({family(settings)})", ""]
    lines += [f"  {field:<8} {value}" for field, value in _description(settings).items()]
    for block in settings.get("published") or []:
        lines += ["", "  published", *_published(block)]
    lines += ["", f"  run it   distillkit train +recipe={name}"]
    lines += [f"  plan it  distillkit plan +recipe={name}", "", f"{path}:", ""]
    lines += [f"  {line}" for line in _comments(path)]
    for line in lines:
        console.print(line, soft_wrap=True)


def _published(block: Any) -> Iterator[str]:
    if not isinstance(block, dict):
        return
    for key, value in block.items():
        yield f"    {key}: {' '.join(str(value).split())}"


def _comments(path: Path) -> Iterator[str]:
    """The settings of a recipe as its file has them, without what was told above."""
    has_comment = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line[0].isspace() and line[0] not in "#-":
            has_comment = line.partition(":")[0] in ("about", "published")
        if not has_comment:
            yield line
