"""The columns by which held-out text is sliced, read again from where it came from."""

from collections.abc import Sequence
from typing import Any

from distillkit.data.corpus import Split
from distillkit.data.tables import read_table
from distillkit.errors import ConfigError
from distillkit.evaluation.slices import LENGTH
from distillkit.pipeline.context import RunContext


def check(context: RunContext) -> None:
    """Raise `ConfigError` or `DataError` for slices that cannot be, before any work."""
    settings = context.evaluation
    for key, names in (("slices", settings.slices), ("robustness", settings.robustness)):
        task = context.task
        if names and (task.family == "language" or task.distribution == "choice"):
            raise ConfigError(
                f"evaluation.{key} = {[*names]}: is for tasks with labels of a text, and "
                f"{type(task).__name__} has none; set it to []"
            )
        if names and key == "robustness" and context.data.kind != "files":
            raise ConfigError(
                f"evaluation.robustness = {[*names]}: changes the letters of a text, and data is "
                f"{type(context.data).__name__}; set it to []"
            )
    columns = _columns(context)
    if columns:
        _read(context, columns)


def values(context: RunContext, split: Split) -> dict[str, list[Any]]:
    """Column -> its value for each text of the held-out split."""
    columns = _columns(context)
    if not columns:
        return {}
    assert split.numbers is not None, "rows of files have numbers"
    table = _read(context, columns)
    places = [int(number) - 1 for number in split.numbers]
    return {name: [table[name][place] for place in places] for name in columns.values()}


def _columns(context: RunContext) -> dict[str, str]:
    """Setting -> column, without the slices by length."""
    names: Sequence[str] = context.evaluation.slices
    return {f"evaluation.slices[{i}]": name for i, name in enumerate(names) if name != LENGTH}


def _read(context: RunContext, columns: dict[str, str]) -> Any:
    data: Any = context.data
    if data.kind != "files":
        raise ConfigError(
            f"evaluation.slices = {[*context.evaluation.slices]}: names columns, which data=files "
            f"has, and data is {type(data).__name__}; slices=[length] is for all"
        )
    role = "test" if data.test is not None else "train"
    return read_table(
        getattr(data, role),
        key=f"data.{role}",
        split=role,
        cache=context.workspace.assets,
        columns=columns,
        texts=[*columns],
        form=data.form,
    )
