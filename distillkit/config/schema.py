"""All that a composed run config shows to be wrong: one line for each fault, nothing imported."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from distillkit.config import classes, sweepers
from distillkit.config.architectures import architectures, fields_of
from distillkit.config.settings import GROUPS
from distillkit.config.signatures import NotFound, Signature, signature
from distillkit.console.wording import nearest

# what Hydra itself may set up: launchers, sweepers and callbacks, its own and its plugins'
HYDRA = (
    "hydra._internal.core_plugins.",
    "hydra.experimental.callbacks.",
    "hydra_plugins.",
    "optuna.samplers.",  # of its sweeper
)
SETTINGS = "distillkit.config.settings.RunSettings"
ROOT_SETTINGS = {  # keys at the root whose values are settings of their own
    "workspace": "distillkit.config.settings.WorkspaceSettings",
    "sweep": "distillkit.config.settings.SweepSettings",
    "quantization": "distillkit.compression.settings.QuantizationSettings",
}
RUNTIME = {"optimizer": {"params"}}  # parameters that the run itself gives
MISSING = "???"
SCRATCH = "ScratchStudent"
PUBLISHED = ("paper", "metric", "number", "source", "status")
STATUS = ("published, not run by us", "measured by us")


def problems(plain: Mapping[str, Any], *, trusted: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
    """(key, what is wrong and what to do) for each fault in a composed config, resolved."""
    trusted = tuple(trusted)
    root = {k: v for k, v in plain.items() if k not in GROUPS and k != "hydra"}
    yield from _settings(root, signature(SETTINGS), "", allowed_keys=[*GROUPS])
    for key, target in ROOT_SETTINGS.items():
        if isinstance(root.get(key), Mapping):
            yield from _settings(root[key], signature(target), key)
    if isinstance(root.get("sweep"), Mapping):
        yield from sweepers.problems(root["sweep"])
    yield from _published(root.get("published"))
    for group in GROUPS:
        node = plain.get(group)
        if node is None:
            yield group, f"no {group} is chosen; choose one with {group}=NAME"
        elif not isinstance(node, Mapping) or "_target_" not in node:
            yield f"{group}._target_", "missing; a group entry names the class that it sets up"
        else:
            yield from _target(node, group, trusted)
    yield from _shape(plain.get("student"))


def _shape(student: Any) -> Iterator[tuple[str, str]]:
    """The fields of a new student's config, which transformers itself takes under any name."""
    match student:
        case {"_target_": str(target), "config": {"model_type": str(kind), **settings}}:
            if target.rpartition(".")[2] != SCRATCH or kind == MISSING:
                return
        case _:
            return
    key, model_types = "student.config", architectures()
    if kind not in model_types:
        if model_types:
            yield (
                f"{key}.model_type = {kind}",
                f"no such architecture; {nearest(kind, model_types)}",
            )
        return
    fields = fields_of(kind)
    if fields is None:
        return
    for name, value in ((str(name), value) for name, value in settings.items()):
        at = f"{key}.{name}"
        if name not in fields.types:
            better = nearest(name, fields.types)
            yield at, f"no such field of {fields.name} (model_type {kind}); {better}"
        elif (fault := mismatch(value, fields.types[name])) and value != MISSING:
            yield f"{at} = {display(value)}", fault


def _published(blocks: Any) -> Iterator[tuple[str, str]]:
    """A figure without its source is worth nothing."""
    for place, block in enumerate(blocks if isinstance(blocks, list) else []):
        for field in PUBLISHED:
            if not (isinstance(block, Mapping) and str(block.get(field) or "").strip()):
                yield f"published.{place}.{field}", f"missing; a published figure says its {field}"
        status = block.get("status") if isinstance(block, Mapping) else None
        if status and not str(status).startswith(STATUS):
            yield f"published.{place}.status = {status}", f"must begin with {' or '.join(STATUS)}"


def _target(
    node: Mapping[str, Any], key: str, trusted: tuple[str, ...], *, anywhere: bool = False
) -> Iterator[tuple[str, str]]:
    """The faults of a node that names a class; `anywhere`: inside one whose class is trusted."""
    target = node["_target_"]
    if target == MISSING:
        yield f"{key}._target_", f"required, but not set; add {key}._target_=package.module.Name"
        return
    if refusal := class_refusal(target, key, trusted, anywhere=anywhere):
        yield f"{key}._target_", refusal
        return
    try:
        declared = signature(target)
    except NotFound as error:
        yield f"{key}._target_", f"{target} does not exist ({error})"
        return
    settings = {k: v for k, v in node.items() if k != "_target_"}
    yield from _settings(settings, declared, key, runtime=RUNTIME.get(key, set()), target=target)
    anywhere = anywhere or classes.is_trusted(target, trusted)
    for name, value in settings.items():
        yield from _nested(value, f"{key}.{name}", trusted, anywhere)


def class_refusal(
    target: Any, key: str, trusted: Iterable[str], *, anywhere: bool = False
) -> str | None:
    """Why the node at a key may not name this class; None if it may."""
    group, member, _ = key.partition(".")
    refused = classes.refusal(target, group, is_part=bool(member), trusted=trusted)
    if (
        refused
        and anywhere
        and any(
            target in classes_of_group for g in GROUPS for classes_of_group in classes.classes_of(g)
        )
    ):
        return None
    return refused


def node_problems(node: Mapping[str, Any], key: str) -> list[str]:
    """The faults of one node with a `_target_` of our own, a line each."""
    return [f"{at}: {fault}" for at, fault in _target(node, key, ())]


def _nested(
    value: Any, key: str, trusted: tuple[str, ...], anywhere: bool
) -> Iterator[tuple[str, str]]:
    """Targets at any depth: all are set up."""
    if _is_target(value):
        yield from _target(value, key, trusted, anywhere=anywhere)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _nested(inner, f"{key}.{name}", trusted, anywhere)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _nested(inner, f"{key}.{place}", trusted, anywhere)


def setup_problems(hydra: Any, *, trusted: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
    """What a word would have Hydra itself set up (callbacks, launchers) from outside."""
    inner: Iterable[Any] = ()
    if isinstance(hydra, Mapping):
        target = hydra.get("_target_", HYDRA[0])
        if not str(target).startswith(HYDRA) and not classes.is_trusted(str(target), trusted):
            yield (
                "hydra",
                f"{target} is no launcher, sweeper or callback of Hydra's or of its plugins; add "
                f"'trusted=[{target}]' on the command line if you trust it",
            )
        inner = hydra.values()
    elif isinstance(hydra, list):
        inner = hydra
    for value in inner:
        yield from setup_problems(value, trusted=trusted)


def _settings(
    settings: Mapping[str, Any],
    declared: Signature,
    key: str,
    *,
    allowed_keys: Iterable[str] = (),
    runtime: Iterable[str] = (),
    target: str = "",
) -> Iterator[tuple[str, str]]:
    """Check names, presence and types of settings against a signature."""
    of = f" of {target}" if target else ""
    names = [name for name in declared.parameters if name not in runtime]
    for name, value in settings.items():
        at = f"{key}.{name}" if key else name
        if name not in names:
            if not declared.open:
                yield at, f"no such setting{of}; {nearest(name, [*names, *allowed_keys])}"
        elif value == MISSING:
            yield at, f"required, but not set; add {at}=…"
        else:
            fault = mismatch(value, declared.parameters[name].type)
            if fault:
                yield f"{at} = {display(value)}", fault
    for name in names:
        if declared.parameters[name].required and name not in settings:
            at = f"{key}.{name}" if key else name
            yield at, f"required, but not set; add {at}=…"


def mismatch(value: Any, kind: Any) -> str | None:
    """Why `value` is not of the type `kind`, or None if it is."""
    if kind is Any or _is_target(value):
        return None
    try:
        TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(_without_targets(value))
    except ValidationError as error:
        is_mapping = get_origin(kind) is dict
        reasons = dict.fromkeys(
            (f"{e['loc'][0]} " if is_mapping and e["loc"] else "")
            + e["msg"].replace("Input should be", "must be").replace("a valid ", "a ")
            for e in error.errors()
        )
        text = " or ".join(reasons).replace(" or must be", " or")
        text = text.replace("a dictionary", "a mapping").replace("a integer", "an integer")
        if isinstance(value, Mapping) and "mapping" not in text and not is_mapping:
            return f"{text}, or a mapping with the _target_ that it sets up"
        if text == "must be a list" and isinstance(value, str):
            return f"{text}, as [{value}]"
        if text == "must be a string" and isinstance(value, list):
            first = next((v for v in value if not isinstance(v, str)), None)
            return f"{text}; write each in quotes, as ['{first}']"
        return text
    return None


def _without_targets(value: Any) -> Any:
    """A value less the objects inside it that are yet to be built: what they are is not known."""
    if isinstance(value, Mapping):
        return {k: _without_targets(v) for k, v in value.items() if not _is_target(v)}
    if isinstance(value, list):
        return [_without_targets(v) for v in value if not _is_target(v)]
    return value


def _is_target(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def display(value: Any) -> str:
    """A value as a user writes it."""
    text = "null" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "…"
