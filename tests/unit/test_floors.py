"""The floors of the architecture: who may import whom, and how large a file may grow."""

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import distillkit
from distillkit.config.paths import CONF

PACKAGE = Path(distillkit.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}
NAMED = {
    ".".join(["distillkit", *name.removesuffix("__init__").rstrip(".").split(".")]): path
    for name, path in MODULES.items()
}
ENTRY = "__main__"  # `python -m distillkit`: above all floors
TRAVELLERS = PACKAGE / "students" / "architectures"  # saved beside a student's weights
LONGEST_MODULE, LONGEST_CHOICE = 450, 25  # lines


def floors() -> dict[str, int]:
    """The map in the package's docstring: the top name of a module -> its floor."""
    line = re.compile(r"^ {3,4}(\d+)  (\w+(?:  \w+)*)(?: {3}|$)", re.MULTILINE)
    found = line.findall(distillkit.__doc__ or "")
    return {name: int(floor) for floor, names in found for name in names.split()}


def full_name(node: ast.ImportFrom, path: Path) -> str:
    """The module of `from module import …`; only files that go with a saved model say `.module`."""
    if not node.level:
        return node.module or ""
    assert node.level == 1 and path.parent == TRAVELLERS, f"{path}: write imports in full"
    return f"distillkit.students.architectures.{node.module}"


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, those inside functions and TYPE_CHECKING included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield full_name(node, path)
            if node.module == "distillkit":
                yield from (f"distillkit.{alias.name}" for alias in node.names)


def own(path: Path) -> set[str]:
    """The top names of our own modules that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("distillkit.")}


def others(path: Path) -> set[str]:
    """The packages of others that a file imports."""
    return {name.split(".")[0] for name in imports(path)} - {"distillkit"} - sys.stdlib_module_names


def targets(path: Path) -> set[str]:
    """Our own modules that a file imports: the modules themselves where these are imported."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = full_name(node, path)
            names = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name if name in NAMED else module for name in names}
    return found & NAMED.keys()


def importers(*packages: str) -> set[str]:
    """The top names of our modules that import one of these packages."""
    return {
        name.split(".")[0]
        for name, path in MODULES.items()
        if not others(path).isdisjoint(packages)
    }


def test_the_map_has_eleven_floors() -> None:
    assert set(floors().values()) == set(range(11))


def test_every_module_stands_on_a_floor() -> None:
    tops = {name.split(".")[0] for name in MODULES} - {ENTRY}
    assert tops == set(floors()), "the map in distillkit/__init__.py and the modules differ"


def test_a_module_imports_lower_floors_and_its_own_package() -> None:
    floor = floors()
    wrong = {}
    for module, path in MODULES.items():
        top = module.split(".")[0]
        mine = floor.get(top, max(floor.values()) + 1)
        higher = {name for name in own(path) - {top} if floor.get(name, mine) >= mine}
        if higher:
            wrong[module] = higher
    assert not wrong


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions and under TYPE_CHECKING are counted, within packages and between."""
    graph = {module: targets(path) for module, path in NAMED.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_context_of_a_run_imports_no_other_file_of_its_package() -> None:
    pipeline = {name for name in targets(MODULES["pipeline.context"]) if ".pipeline" in name}
    assert not pipeline


def test_hydra_stays_in_config_pipeline_and_cli() -> None:
    assert importers("hydra", "omegaconf") <= {"config", "pipeline", "cli"}


def test_transformers_stays_where_models_are_made_and_texts_are_read() -> None:
    assert importers("transformers") <= {"models", "chat", "students", "tasks", "data"}


def test_accelerate_stays_where_processes_and_devices_are_found() -> None:
    found = {name for name, path in MODULES.items() if "accelerate" in others(path)}
    assert found == {"training.distributed", "models.device"}


def test_losses_import_torch_and_lower_floors_only() -> None:
    ground = {name for name, floor in floors().items() if floor < floors()["losses"]}
    for module, path in MODULES.items():
        if module.startswith("losses"):
            assert others(path) <= {"torch", "jaxtyping"}, module
            assert own(path) <= ground | {"losses"}, module


def test_each_package_says_what_it_is_for_and_what_belongs_elsewhere() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert text.count(".") >= 2, f"{path}: two sentences"


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_is_too_long() -> None:
    assert not [path for path in MODULES.values() if lines(path) > LONGEST_MODULE]


def test_no_choice_of_a_group_is_too_long() -> None:
    assert not [path for path in CONF.glob("*/*.yaml") if lines(path) > LONGEST_CHOICE]


def test_no_module_is_a_drawer_for_everything() -> None:
    names = {part for module in MODULES for part in module.split(".")}
    assert names.isdisjoint({"util", "utils", "helper", "helpers", "common", "misc"})
    assert not [name for name in names if name.startswith("base_")]
