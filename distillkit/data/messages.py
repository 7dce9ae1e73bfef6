"""What messages about columns name."""

from collections.abc import Collection, Mapping

from distillkit.console.wording import brief, listed, nearest
from distillkit.errors import DataError

SHOWN = 8  # names and values that a message lists


def check_columns(
    columns: Collection[str], settings: Mapping[str, str | None], *, spec: object, hint: str = ""
) -> None:
    """Raise `DataError` that names every missing column, and those that there are."""
    missing = [(key, name) for key, name in settings.items() if name and name not in columns]
    if missing:
        names = ", ".join(f"{key} = {brief(name, 60)}" for key, name in missing)
        key, name = missing[0]
        near = nearest(str(name), map(str, columns), always=False)
        close = (
            near.replace("did you mean ", f"; did you mean {key}=") if "you mean" in near else ""
        )
        has = f"its columns are {listed(columns, limit=SHOWN)}" if columns else "it has none"
        raise DataError(f"{names}: no such column in {spec}; {has}{brief(close, 99)}{hint}")
