"""The fields of a student's own config, read from transformers' source: nothing is imported.

transformers takes any name for a config and says nothing of those that no model reads.
"""

import ast
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.config.signatures import (
    NotFound,
    annotated_type,
    definition,
    module_file,
    signature,
)

OWN = {
    "distillkit_bilstm": "distillkit.students.architectures.bilstm.BiLSTMConfig",
    "distillkit_textcnn": "distillkit.students.architectures.textcnn.TextCNNConfig",
}
NAMES = "transformers.models.auto.auto_mappings"
BASE = ("transformers.configuration_utils", "PreTrainedConfig")
# taken by every architecture, or under names that the source does not spell out
EVERYWHERE = (
    "attn_implementation",
    "torch_dtype",
    "num_labels",
    "output_attentions",
    "tie_word_embeddings",
)
READ_BY = ("__init__", "__post_init__", "convert_rope_params_to_dict")
ROTARY = ("rope_theta", "rope_scaling", "partial_rotary_factor")
MOST_BASES = 8


@dataclass(frozen=True, slots=True)
class Fields:
    """What a config class takes: name -> type, Any where the source does not say."""

    name: str
    types: Mapping[str, Any]


@functools.cache
def architectures() -> dict[str, str]:
    """Every architecture that transformers or distillkit has: its name -> its config's class."""
    fields = _pairs("CONFIG_MAPPING_NAMES")
    return (
        {**fields, **{kind: path.rpartition(".")[2] for kind, path in OWN.items()}}
        if fields
        else {}
    )


@functools.cache
def fields_of(model_type: str) -> Fields | None:
    """The fields of an architecture's config; None where the source cannot be read."""
    try:
        if model_type in OWN:
            parameters = signature(OWN[model_type])
            own = {name: parameter.type for name, parameter in parameters.parameters.items()}
            return Fields(architectures().get(model_type, model_type), own | _of_base())
        name = architectures()[model_type]
        modules = _pairs("SPECIAL_MODEL_TYPE_TO_MODULE_NAME")
        module = modules.get(model_type, model_type.replace("-", "_"))
        package = module_file(f"transformers.models.{module}")
        if package is None:
            return None
        for path in sorted(package.parent.glob("configuration_*.py")):
            if f"class {name}(" in path.read_text(encoding="utf-8"):
                return Fields(name, _of_class(path, name))
        return None
    except (NotFound, KeyError, OSError, SyntaxError):
        return None


def _of_base() -> dict[str, Any]:
    path = module_file(BASE[0])
    fields = {} if path is None else _of_class(path, BASE[1])
    plain = {name: parameter for name, parameter in fields.items() if name not in ROTARY}
    return {**plain, **dict.fromkeys(EVERYWHERE, Any)}


def _of_class(path: Path, name: str, depth: int = 0) -> dict[str, Any]:
    """The annotated fields of a config class and its bases, and the older names that it reads."""
    file, node = definition(path, name)
    if not isinstance(node, ast.ClassDef) or depth > MOST_BASES:
        return {}
    fields: dict[str, Any] = {}
    for base in reversed(node.bases):
        inherited = ast.unparse(base)
        if inherited == BASE[1]:
            fields |= _of_base()
        elif inherited.isidentifier() and name != BASE[1]:
            fields |= _of_class(file, inherited, depth + 1)
    for statement in node.body:
        fields |= dict(_assigned(file, statement))
    if "rope_parameters" in fields:
        fields |= {older: Any for older in ROTARY if older not in fields}
    return fields


def _assigned(path: Path, statement: ast.stmt) -> Iterator[tuple[str, Any]]:
    """What one statement of a config class lets a user set."""
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=written):
            if "ClassVar" not in ast.unparse(written) and not name.startswith("_"):
                yield name, annotated_type(path, written)
        case ast.Assign(targets=[ast.Name(id="attribute_map")], value=ast.Dict(keys=keys)):
            yield from ((str(k.value), Any) for k in keys if isinstance(k, ast.Constant))
        case ast.FunctionDef():
            for decorator in statement.decorator_list:
                if isinstance(decorator, ast.Attribute) and decorator.attr == "setter":
                    yield statement.name, Any
            arguments = [*statement.args.args, *statement.args.kwonlyargs]
            if statement.name == "__init__":
                yield from ((a.arg, Any) for a in arguments if a.arg != "self")
            if statement.name in READ_BY:
                yield from ((name, Any) for name in _older_names(statement))


def _older_names(function: ast.FunctionDef) -> Iterator[str]:
    """The names that a config reads out of **kwargs, as those of older versions."""
    for node in ast.walk(function):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="kwargs"), attr="pop" | "get" | "setdefault"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


@functools.cache
def _pairs(variable: str) -> dict[str, str]:
    """A table of transformers' own that its source spells out."""
    path = module_file(NAMES)
    if path is None:
        return {}
    try:
        _, node = definition(path, variable)
        assert isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        pairs = ast.literal_eval(node.value.args[0])
    except (NotFound, AssertionError, ValueError, IndexError):
        return {}
    return {str(key): str(value) for key, value in pairs}
