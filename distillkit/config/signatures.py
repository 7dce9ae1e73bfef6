"""What a `_target_` takes, read from its source: nothing is imported, so a check costs no torch.

The parameters of a class are those of its `__init__`, or its fields if it is a dataclass; of a
function, its own. Annotations are understood as far as settings need them; the rest is unchecked.
"""

import ast
import functools
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

from distillkit import setting_types as constraints
from distillkit.config.renamed import current
from distillkit.console.wording import brief

_SIMPLE: dict[str, Any] = {
    "Any": Any,
    "None": None,
    "bool": bool,
    "dict": dict,
    "float": float,
    "int": int,
    "list": list,
    "str": str,
    "Tuple": list,
    "tuple": list,
} | {name: value for name, value in vars(constraints).items() if name[0].isupper()}
_WITHOUT_FIELDS = ("ABC", "Protocol")  # bases that say how a class may be used
_NESTING = 12  # imports followed from one name


class NotFound(LookupError):
    """There is no such module or name."""


class _Unknown:
    """An annotation that settings do not need."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting: `type` is Any where the annotation says nothing that can be checked."""

    name: str
    type: Any
    required: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """The settings of a target, in order; `open` if it takes others too (**kwargs)."""

    parameters: dict[str, Parameter]
    open: bool = False


@functools.cache
def signature(target: str) -> Signature:
    """The settings of `package.module.Name`; raises `NotFound` that says what is missing."""
    return _signature(*located(current(target)))


@functools.cache
def located(target: str) -> tuple[Path, ast.stmt]:
    """The file and the statement that define `package.module.Name`; raises `NotFound`."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        path = module_file(".".join(parts[:length]))
        if path is not None:
            if length != len(parts) - 1:
                raise NotFound(f"no module {'.'.join(parts[: length + 1])}")
            return definition(path, parts[-1])
    raise NotFound(f"no module {parts[0]}")


def module_file(dotted: str) -> Path | None:
    """The source file of a module, found without importing any package."""
    top, *parts = dotted.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not spec.submodule_search_locations:
        path = Path(spec.origin or "")
        return path if path.is_file() and not parts else None
    for folder in spec.submodule_search_locations:
        base = Path(folder).joinpath(*parts)
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path.is_file():
                return path
    return None


@functools.cache
def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())  # in whatever encoding its first lines name
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # also of what is compiled: a module may take its names from such a one
        raise NotFound(f"{path.name} is no Python that can be read: {brief(error, 80)}") from error


def definition(path: Path, name: str, depth: int = 0) -> tuple[Path, ast.stmt]:
    """The class, function or assignment behind a name, followed through imports."""
    if depth > _NESTING:
        raise NotFound(f"{name} cannot be traced")
    result: tuple[Path, ast.stmt] | None = None
    for node in _statements(_tree(path).body):
        match node:
            case ast.ClassDef(name=defined) | ast.FunctionDef(name=defined) if defined == name:
                result = (path, node)
            case ast.Assign(targets=[ast.Name(id=defined)]) if defined == name:
                result = (path, node)
            case ast.ImportFrom():
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        source = _imported(path, node)
                        if source is not None:
                            return definition(source, alias.name, depth + 1)
    if result is None:
        raise NotFound(f"no {name} in {path.stem if path.stem != '__init__' else path.parent.name}")
    return result


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            yield from _statements(node.body)


def _imported(path: Path, node: ast.ImportFrom) -> Path | None:
    if not node.level:
        return module_file(node.module or "")
    base = path.parent
    for _ in range(node.level - 1):
        base = base.parent
    if node.module:
        base = base.joinpath(*node.module.split("."))
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _signature(path: Path, node: ast.stmt) -> Signature:
    if isinstance(node, ast.FunctionDef):
        return _arguments(path, node.args, skip=0)
    if not isinstance(node, ast.ClassDef):
        raise NotFound("it is neither a class nor a function")
    if _is_dataclass(node):
        return Signature(_fields(path, node))
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _arguments(path, statement.args, skip=1)
    for base in node.bases:
        name = ast.unparse(base)
        if name.isidentifier():
            return _signature(*definition(path, name))
    return Signature({}, open=True)


def _fields(path: Path, node: ast.ClassDef) -> dict[str, Parameter]:
    """The fields of a dataclass, those of its bases first."""
    result: dict[str, Parameter] = {}
    for base in reversed(node.bases):
        name = ast.unparse(base)
        if name.isidentifier() and name not in _WITHOUT_FIELDS:
            file, inherited = definition(path, name)
            if isinstance(inherited, ast.ClassDef):
                result |= _fields(file, inherited)
    for statement in node.body if _is_dataclass(node) else ():
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                if "ClassVar" not in ast.unparse(annotation) and not _is_set_later(value):
                    result[name] = Parameter(name, annotated_type(path, annotation), value is None)
    return result


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(d) for d in node.decorator_list)


def _is_set_later(value: ast.expr | None) -> bool:
    return value is not None and "init=False" in ast.unparse(value)


def _arguments(path: Path, arguments: ast.arguments, *, skip: int) -> Signature:
    positional = [*arguments.posonlyargs, *arguments.args]
    first_default = len(positional) - len(arguments.defaults)
    result = [(a, i < first_default) for i, a in enumerate(positional)][skip:]
    result += [
        (a, d is None) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return Signature(
        {
            a.arg: Parameter(a.arg, annotated_type(path, a.annotation), required)
            for a, required in result
        },
        open=arguments.kwarg is not None,
    )


def annotated_type(path: Path, node: ast.expr | None) -> Any:
    """The annotation as a type, Any where it cannot be told."""
    result = _Unknown if node is None else _type_of(path, node)
    return Any if result is _Unknown else result


def _type_of(path: Path, node: ast.expr, depth: int = 0) -> Any:
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str(text)):
            return _type_of(path, ast.parse(text, mode="eval").body, depth)
        case ast.Name(id=name) if name in _SIMPLE:
            return _SIMPLE[name]
        case ast.Name(id=name) if depth < _NESTING:
            return _alias(path, name, depth)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([_type_of(path, left, depth), _type_of(path, right, depth)])
        case ast.Subscript(value=ast.Name(id=name), slice=argument):
            return _subscript(path, name, argument, depth)
    return _Unknown


def _alias(path: Path, name: str, depth: int) -> Any:
    try:
        file, node = definition(path, name)
    except NotFound:
        return _Unknown
    return _type_of(file, node.value, depth + 1) if isinstance(node, ast.Assign) else _Unknown


def _subscript(path: Path, name: str, argument: ast.expr, depth: int) -> Any:
    items = argument.elts if isinstance(argument, ast.Tuple) else [argument]
    if name == "Literal":
        values = tuple(item.value for item in items if isinstance(item, ast.Constant))
        return Literal[values] if len(values) == len(items) else _Unknown  # a member of an enum
    parts = [_type_of(path, item, depth) for item in items]
    if name == "Union":
        return _union(parts)
    if name == "Optional":
        return _union([*parts, None])
    kinds = [Any if part is _Unknown else part for part in parts]
    if name in ("list", "List", "Sequence"):
        return list[kinds[0]]  # type: ignore[valid-type]
    if name in ("dict", "Dict", "Mapping"):
        return dict[kinds[0], kinds[1]]  # type: ignore[valid-type]
    if name in ("tuple", "Tuple"):
        return list
    return _Unknown


def _union(parts: list[Any]) -> Any:
    kinds = [part for part in parts if part is not _Unknown]
    return Union[tuple(kinds)] if kinds and kinds != [None] else _Unknown  # noqa: UP007
