"""What readers say of damaged files, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distillkit.console.wording import brief
from distillkit.errors import DistillkitError, WorkspaceError


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn whatever a reader says of damaged files into one line that names their folder.

    Such are met where nothing was verified: with `workspace.verify=never`, and in what an earlier
    version made.
    """
    try:
        yield
    except (DistillkitError, MemoryError, PermissionError):
        raise
    except Exception as error:
        raise WorkspaceError(
            f"{folder}: damaged: {type(error).__name__}: {brief(error)}; remove the folder, and "
            "the same command makes it again"
        ) from error
