"""YAML files of recipes and groups, bounded before they are built; hydra is not imported here.

A few lines of YAML can stand for more than any memory holds (aliases of aliases), and nesting
exhausts the stack. A file is looked at as a stream of events, of which none is built, first.
"""

from pathlib import Path
from typing import Any

from distillkit.errors import ConfigError

MOST_BYTES = 256_000
MOST_NODES = 5_000  # values and keys, with each alias as all that it stands for
MOST_DEPTH = 32
MOST_REFERENCES = 100  # ${…} in one file
LONGEST_REFERENCE = 2_000  # characters of a value that has ${…}: reading one takes long


def read_text(path: Path) -> str:
    """The text of a YAML file that may be built; raises `ConfigError` for one that may not."""
    import yaml

    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: no regular file; a file of settings is one")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(
                f"{path}: has {path.stat().st_size:,} bytes, and a file of settings at most "
                f"{MOST_BYTES:,}; lists that are so long belong into a file of data"
            )
        text = path.read_text(encoding="utf-8")
        _check(text, path)
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise not_yaml(path, error) from error
    return text


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain data, interpolations as they are written; without importing hydra.

    Raises `ConfigError` that names the place of a syntax error.
    """
    import yaml

    # libyaml reads the same in a tenth of the time; not every build of PyYAML has it
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = read_text(path)
    try:
        loaded = yaml.load(text, loader) or {}
    except Exception as error:  # a bad date, truth or number raises whatever it likes
        raise not_yaml(path, error) from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: must be a mapping of keys")
    return {str(key): value for key, value in loaded.items()}


def not_yaml(path: Path, error: Exception) -> ConfigError:
    """That a file cannot be read, with the parser's words."""
    return ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})")


def _check(text: str, path: Path) -> None:
    """Count nodes and depth of a YAML text; an alias counts as what it stands for."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    total, references, sizes = 0, 0, dict[str, int]()
    opened: list[tuple[str | None, int]] = []  # (anchor, nodes before it)
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.AliasEvent):
            name = str(event.anchor)
            if any(name == anchor for anchor, _ in opened):
                raise ConfigError(f"{path}: *{name} stands inside itself; write its value out")
            total += sizes.get(name, 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            references += _references(event.value, path)
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, total))
            total += 1
            if len(opened) > MOST_DEPTH:
                raise ConfigError(f"{path}: nested more than {MOST_DEPTH} levels deep; write less")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = total - before
        if references > MOST_REFERENCES:
            raise ConfigError(f"{path}: has more than {MOST_REFERENCES} ${{…}}; write values out")
        if total > MOST_NODES:
            raise ConfigError(
                f"{path}: stands for more than {MOST_NODES:,} values once its aliases are written "
                "out; lists that are so long belong into a file of data"
            )


def _references(value: str, path: Path) -> int:
    """How many ${…} stand in a value; raises `ConfigError` where it is too long to have any."""
    count = value.count("${")
    if count and len(value) > LONGEST_REFERENCE:
        raise ConfigError(
            f"{path}: a value with ${{…}} has {len(value):,} characters, and may have "
            f"{LONGEST_REFERENCE:,}; write it out"
        )
    return count
