"""`distillkit recipes`: what there is to choose from, what it expects, and who says so."""

import argparse
from pathlib import Path

from rich.table import Table

from distillkit.config.compose import load_yaml
from distillkit.config.paths import recipe_files
from distillkit.errors import ConfigError
from distillkit.progress import stdout

FIELDS = ("teacher", "student", "data", "expects", "source")


def main(words: list[str]) -> None:
    """Print the table of recipes."""
    parser = argparse.ArgumentParser(prog="distillkit recipes", description=__doc__)
    parser.add_argument("--config-dir", type=Path, help="a folder with `recipes/` of your own")
    folder = parser.parse_args(words).config_dir
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--config-dir {folder}: no such folder")

    table = Table(title="recipes", title_justify="left", show_lines=True)
    for name in ("name", "teacher -> student", "data", "expects", "where the figure is from"):
        table.add_column(name, overflow="fold")
    for name, path in recipe_files(folder).items():
        about = {
            field: str((load_yaml(path).get("about") or {}).get(field, "")) for field in FIELDS
        }
        models = f"{about['teacher']} -> {about['student']}"
        table.add_row(name, models, about["data"], about["expects"], about["source"])

    stdout().print(table)
