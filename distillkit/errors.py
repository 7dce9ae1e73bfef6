"""The errors a user can mend.

DistillkitError             base: the command line prints it in one line, without a traceback
  ConfigError               the run config cannot be used as it is; holds every problem found
  DataError                 a file, column, label or download is not what the config says
  ModelError                a model folder cannot be loaded, or does not fit the data
  WorkspaceError            the workspace cannot be read or written
  OutputError               the folder for reports cannot be written
  TargetsError              a target store is damaged, or belongs to another run
  TrainingError             training cannot go on
"""

from collections.abc import Sequence


class DistillkitError(Exception):
    """Base of every error that a user can mend; printed in one line, exit code 2."""


class ConfigError(DistillkitError):
    """The run config cannot be used as it is. `problems` holds one line for each fault."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(DistillkitError):
    """A file, column, label or download is not what the config says."""


class ModelError(DistillkitError):
    """A model folder cannot be loaded, or does not fit the data."""


class WorkspaceError(DistillkitError):
    """The workspace cannot be read or written."""


class OutputError(DistillkitError):
    """The folder for reports, or another file that was asked for, cannot be written."""


class TargetsError(DistillkitError):
    """A target store is damaged, or was made by another teacher, tokenizer or data."""


class TrainingError(DistillkitError):
    """Training cannot go on."""
