"""Arguments of the commands that are no runs: what is wrong with them is one line, as elsewhere."""

import argparse
from typing import NoReturn

from distillkit.errors import ConfigError


class Arguments(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `ConfigError` and points to its help."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong."""
        command = self.prog.removeprefix("distillkit ")
        raise ConfigError(f"{command}: {message}; `{self.prog} --help` shows how")


def count(text: str) -> int:
    """A whole number above 0, out of a word."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)
