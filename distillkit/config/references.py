"""How much the references (${…}) of a config may come to: each may stand for several others."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import Container, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from distillkit.console.wording import brief, nearest

_UNSET = re.compile(r"Environment variable '([^']*)' not found")
_PLACE = re.compile(r"\s*(?:full_key: (\S*))?\s*(?:object_type=\w+)?\s*$")
_NO_ENTRY = re.compile(
    r"Could not find '(hydra/\w+)/([^']*)'"
    r"(?:\s+Available options in '[^']*':(.*?))?Config search path",
    re.DOTALL,
)
PLUGINS = {  # an entry of Hydra's that a package brings -> our extra with that package
    "joblib": "sweep",
    "optuna": "sweep",
    "submitit_local": "slurm",
    "submitit_slurm": "slurm",
}

MOST = 20_000  # of what all references of a config stand for: nodes, and thousands of characters
EACH = 20  # that a reference counts itself: resolving one takes as long
CHARACTERS = 1_000


@contextmanager
def bounded_references() -> Iterator[Callable[[], None]]:
    """Raise OmegaConf's error inside where references come to more than `MOST`.

    OmegaConf resolves a reference anew wherever it stands, so twenty lines that each name the one
    before twice are a million. What is yielded begins to count anew.
    """
    base: Any = Container
    original, total = base.resolve_parse_tree, 0

    def resolve(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal total
        total += EACH
        if total <= MOST:
            value = original(self, *args, **kwargs)
            total += _weight(value, MOST - total)
        if total > MOST:
            raise InterpolationResolutionError(
                "its references ${…} stand for too much; write the values out"
            )
        return value

    def count_anew() -> None:
        nonlocal total
        total = 0

    base.resolve_parse_tree = resolve
    try:
        yield count_anew
    finally:
        base.resolve_parse_tree = original


def _weight(value: Any, limit: int) -> int:
    """How much a value counts; no more of it is looked at than decides."""
    if isinstance(value, str):
        return len(value) // CHARACTERS
    if not isinstance(value, Container):
        return 0
    total = 0
    waiting: list[Any] = [value]
    while waiting and total <= limit:
        node = waiting.pop()
        if node._is_interpolation() or node._is_none() or node._is_missing():
            continue
        keys = list(node.keys()) if OmegaConf.is_dict(node) else range(len(node))
        total += len(keys)
        for inner in map(node._get_node, keys):
            if isinstance(inner, Container):
                waiting.append(inner)
            elif isinstance(raw := inner._value(), str):
                total += len(raw) // CHARACTERS
    return total


def fault(error: BaseException) -> tuple[str, str]:
    """(key, what is wrong) of an error of Hydra's or OmegaConf's; "config" if it names no key."""
    text = " ".join(str(error).split())
    entry = _NO_ENTRY.search(str(error))
    if entry:
        group, name, names = entry[1], entry[2], (entry[3] or "").split()
        extra = PLUGINS.get(name)
        advice = f"pip install 'distillkit[{extra}]' brings it" if extra else nearest(name, names)
        return f"{group} = {name}", f"no such entry; {advice}"
    place = _PLACE.search(text)
    key = (place and place[1]) or getattr(error, "full_key", None) or "config"
    unset = _UNSET.search(text)
    if unset:
        name, at = unset[1], "" if key == "config" else f"{key} = "
        return f"{at}${{oc.env:{name}}}", (
            f"the environment has no {name}; set it, or say what stands in its place, as "
            f"'${{oc.env:{name},VALUE}}'"
        )
    return str(key), brief(_PLACE.sub("", text) or type(error).__name__, 400)
