"""Which classes a config may set up: an allow-list, that the command line alone makes longer.

A `_target_` is a call, and a recipe may be a stranger's. So a group takes the classes that our own
conf/GROUP/*.yaml name, an optimizer any class of torch.optim that is one, and nothing else:
neither what transformers, torch or Hydra can call, nor what our own modules import.
"""

import ast
import functools
import re
from collections.abc import Iterable
from pathlib import Path

from distillkit.config.paths import CONF
from distillkit.config.renamed import current
from distillkit.config.signatures import NotFound, definition, located
from distillkit.console.wording import closest, listed

SCHEDULES = tuple(
    f"distillkit.schedules.{name}" for name in ("Constant", "Linear", "Cosine", "WSD")
)
OPTIMIZERS = "torch.optim."
OURS = ("distillkit.", OPTIMIZERS)  # where a name that is not there is a slip of the pen
_TARGET = re.compile(r"^(.*?)_target_:[ \t]*([\w.]+)", re.MULTILINE)
_MOST_BASES = 8


@functools.cache
def classes_of(group: str) -> tuple[frozenset[str], frozenset[str]]:
    """The classes that a group's node may name, and those that nodes inside it may.

    Both are read from our own conf/GROUP/*.yaml. A loss may hold losses and schedules, too.
    """
    own: set[str] = set()
    parts_of_groups: set[str] = set()
    for path in sorted((CONF / group).glob("*.yaml")):
        for before, target in _TARGET.findall(path.read_text(encoding="utf-8")):
            if "#" not in before:  # an example in a comment allows nothing
                (parts_of_groups if before else own).add(target)
    if group == "loss":
        parts_of_groups |= {*own, *SCHEDULES}
    return frozenset(own), frozenset(parts_of_groups)


def is_trusted(target: str, trusted: Iterable[str]) -> bool:
    """Whether a name, or a package that it is in, is among those that a user trusts."""
    names = [str(name).rstrip(".") for name in trusted]
    return any(name and (target == name or target.startswith(f"{name}.")) for name in names)


def refusal(
    target: object, group: str, *, is_part: bool, trusted: Iterable[str] = ()
) -> str | None:
    """Why a node of `group`, or one `is_part` it, may not name this class; None if it may."""
    own, parts = classes_of(group)
    allowed = parts if is_part else own
    text, target = target, current(target)
    if isinstance(target, str):
        if target in allowed or is_trusted(target, trusted):
            return None
        if group == "optimizer" and not is_part and is_optimizer(target):
            return None
        if target.startswith(OURS) and (missing := _missing(target)):
            slip = _of_like_name(target, allowed)
            return f"{target} does not exist ({missing}{slip and f'; did you mean {slip}?'})"
    if not isinstance(target, str) or not target:
        return f"{target!r} is no name of a class"
    former = f" ({text} before)" if text != target else ""
    hint = f" ({_place(target, allowed)})" if allowed and target.startswith(OURS) else ""
    return (
        f"{target}{former} is outside the classes that may stand here{hint}; add "
        f"'trusted=[{target}]' on the command line if you trust it"
    )


def _of_like_name(target: str, allowed: Iterable[str]) -> str:
    """The class whose own name is most like a target's; packages that are alike say nothing."""
    by_name = {name.rpartition(".")[2]: name for name in sorted(allowed)}
    close = closest(target.rpartition(".")[2], by_name)
    return by_name[close] if close else ""


def _place(target: str, allowed: Iterable[str]) -> str:
    """Where a class that exists belongs, or what may stand here: it is no slip of the pen."""
    groups = [path.name for path in sorted(CONF.iterdir()) if path.is_dir()]
    own = [group for group in groups if target in classes_of(group)[0]]
    if own:
        return f"it is for {' and '.join(own)}"
    suffix = [group for group in groups if target in classes_of(group)[1]]
    if suffix:
        return f"it is for nodes inside {' and '.join(suffix)}"
    return f"it takes {listed(sorted(allowed))}"


def is_optimizer(target: str) -> bool:
    """Whether a name of torch.optim is an optimizer's class, told from torch's source."""
    if not target.startswith(OPTIMIZERS) or not all(map(str.isidentifier, target.split("."))):
        return False
    try:
        return _derives(*located(target))
    except NotFound:
        return False


def _derives(path: Path, node: ast.stmt, depth: int = 0) -> bool:
    if not isinstance(node, ast.ClassDef) or depth > _MOST_BASES:
        return False
    bases = [ast.unparse(base) for base in node.bases]
    for name in bases:
        if name.isidentifier():
            file, base = definition(path, name)
            is_base = name == "Optimizer" and file.parts[-3:] == ("torch", "optim", "optimizer.py")
            if is_base or _derives(file, base, depth + 1):
                return True
    return False


def _missing(target: str) -> str:
    try:
        located(target)
    except NotFound as error:
        return str(error)
    return ""
