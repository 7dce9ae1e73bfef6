"""A line where a run makes anew what an earlier version of distillkit had made."""

from functools import cache
from pathlib import Path

from distillkit.artifacts.holdings import digests, inputs_of
from distillkit.artifacts.versions import is_earlier, with_what_needs_them
from distillkit.console.progress import say


@cache
def tell_earlier(root: Path) -> None:
    """Say once a process how many artifacts no run will use, since an earlier version made them."""
    count = len(earlier_in(root))
    if count:
        count_text = "1 artifact was" if count == 1 else f"{count:,} artifacts were"
        say(
            f"workspace = {root}: {count_text} made by an earlier version and will not be used; "
            f"`distillkit workspace remove --earlier workspace={root}` removes what it made"
        )


def earlier_in(root: Path) -> list[str]:
    """The names of the artifacts that no run will use, as an earlier version made them.

    Manifests alone are read; what needs what is looked at only where there is such a one.
    """
    inputs = inputs_of(root)
    kinds = {name: name.rpartition("-")[0] for name in inputs}
    own = [name for name in inputs if is_earlier(kinds[name], inputs[name])]
    if not own:
        return []
    names = {name.rpartition("-")[2]: name for name in inputs}
    needs = {digest: set(digests(inputs[name])) for digest, name in names.items()}
    damaged = with_what_needs_them([name.rpartition("-")[2] for name in own], needs)
    return sorted(names[digest] for digest in damaged)
