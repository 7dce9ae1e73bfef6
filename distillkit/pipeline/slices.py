"""The columns by which held-out text is sliced, read again from where it came from."""

from collections.abc import Sequence
from typing import Any

from distillkit.data.corpus import Split
from distillkit.data.tables import Table
from distillkit.errors import ConfigError
from distillkit.evaluation.slices import lengths_of
from distillkit.pipeline.context import RunContext


def check(context: RunContext) -> None:
    """Raise `ConfigError` or `DataError` for slices that cannot be, before any work."""
    settings, task = context.evaluation, context.task
    if settings.robustness and task.family == "language":
        raise ConfigError(
            f"evaluation.robustness = {[*settings.robustness]}: changes the letters of a text that "
            f"has labels, and of {type(task).__name__} the letters are what is predicted; set it "
            "to []"
        )
    columns = _columns(context)
    if columns:
        _read(context, columns)


def values(context: RunContext, split: Split) -> dict[str, list[Any]]:
    """Column -> its value for each text of the held-out split."""
    columns = _columns(context)
    if not columns:
        return {}
    assert split.numbers is not None, "rows of a table have numbers"
    table = _read(context, columns)
    places = [int(number) - 1 for number in split.numbers]
    return {name: [table[name][place] for place in places] for name in columns.values()}


def _columns(context: RunContext) -> dict[str, str]:
    """Setting -> column, without the slices by length."""
    names: Sequence[str] = context.evaluation.slices
    lengths = lengths_of(context.task)
    return {f"evaluation.slices[{i}]": name for i, name in enumerate(names) if name not in lengths}


def _read(context: RunContext, columns: dict[str, str]) -> Table:
    sources = context.data.sources
    role = "test" if sources.get("test") is not None else "train"
    return context.data.columns_of(role, columns, cache=context.workspace.assets)
