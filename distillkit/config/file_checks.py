"""What a recipe or a group entry may say: it is data of anybody's, and only data.

A file chooses entries of groups and gives settings values. It sets up nothing of Hydra's, grants no
trust, does not say where outputs go, reads no environment and names no class outside of a group.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from distillkit.config.settings import COMMAND_LINE_ONLY, GROUPS
from distillkit.config.words import parse_word
from distillkit.console.wording import brief, listed

REFERENCE = re.compile(r"\$\{\s*\.*[\w-]+(?:\.[\w-]+|\[[\w-]+\])*\s*\}")
_START = re.compile(r"(\\*)\$\{")
Fault = tuple[str, str]  # (key, what is wrong and what to do)

TRUST = "a file cannot grant itself trust; give it on the command line"
REFUSED = {
    "hydra": "a file sets up nothing of Hydra's; give it on the command line, as "
    "hydra.run.dir=FOLDER",
    "workspace": "a file does not say where artifacts go; give it on the command line, or set "
    "DISTILLKIT_WORKSPACE",
    **dict.fromkeys(COMMAND_LINE_ONLY, TRUST),
}
OF_PHASES = (*GROUPS, "seed", "control", "start")  # what words of a phase may set
HARNESS = "evaluation.harness_path"
NAME = re.compile(r"(?=.*\w)[\w.+-]+")  # of an entry: a file's name without its end
RUN_NAME = re.compile(r"(?=.*\w)[\w.+ -]{1,120}")
_SETTING = re.compile(r"[\w-]+")
_DEFAULT = re.compile(rf"(?:override )?/({'|'.join(GROUPS)})")
_KERNEL = re.compile(r"(?:paged\|)?\w*")


def of_recipe(content: Mapping[Any, Any]) -> Iterator[Fault]:
    """What a recipe may not say."""
    for name, value in content.items():
        top = str(name).partition(".")[0]
        if top in REFUSED:
            yield _display(top, value), REFUSED[top]
        elif name == "defaults":
            yield from _defaults(value)
        elif name == "phases":
            yield from _phases(value)
        elif name == "run_name" and not is_run_name(value):
            yield _display("run_name", value), NO_RUN_NAME
        elif name in GROUPS:
            yield from _group(value, str(name))
        else:
            yield from _named(name, value, "", classes=False)


def of_entry(content: Mapping[Any, Any], group: str) -> Iterator[Fault]:
    """What an entry of a group may not say."""
    if "defaults" in content:
        yield from _defaults(content["defaults"], group)
    yield from _group({k: v for k, v in content.items() if k != "defaults"}, group)


NO_RUN_NAME = (
    "a file gives a run a name of letters, digits, blanks and . + - _, for it is that of a folder; "
    "any other comes from the command line"
)


def is_run_name(value: Any) -> bool:
    """Whether a run's name is a plain name, or refers to one that is looked at once it is known."""
    return not isinstance(value, str) or "${" in value or bool(RUN_NAME.fullmatch(value))


def _group(value: Any, group: str) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield from _value(value, group, classes=True)
        return
    for name, inner in value.items():
        if f"{group}.{name}" == HARNESS and inner is not None:
            yield _display(HARNESS, inner), _NO_HARNESS
        yield from _named(name, inner, group, classes=True)


_NO_HARNESS = "tasks of lm-eval may run code; name their folder on the command line"


def _named(name: Any, value: Any, key: str, *, classes: bool) -> Iterator[Fault]:
    """A setting at the root of a file or of a group, whose name is an identifier."""
    at = f"{key}.{name}" if key else str(name)
    if not isinstance(name, str) or not _SETTING.fullmatch(name):
        yield brief(at, 80), "no such setting; a name has letters, digits and _ alone"
    else:
        yield from _key(name, value, at, classes=classes)


def _key(name: Any, value: Any, at: str, *, classes: bool) -> Iterator[Fault]:
    """A key at any depth, and what it holds."""
    if name is None or isinstance(name, bytes | tuple):
        yield brief(at, 80), "no name of a setting; write it in quotes"
    elif name in COMMAND_LINE_ONLY:
        yield _display(at, value), TRUST
    elif name == "_target_" and not classes:
        yield at, "names a class, where none is set up; a group alone has one"
    elif name == "_target_" and (not isinstance(value, str) or "${" in value):
        yield _display(at, value), "must be the name of a class, written out"
    elif isinstance(name, str) and re.fullmatch(r"_\w+_", name) and name != "_target_":
        yield at, "no such setting; of Hydra's own words a file has _target_ alone"
    elif isinstance(name, str) and name.endswith("_implementation"):
        yield from _implementation(value, at)
    else:
        yield from _value(value, at, classes=classes)


def _implementation(value: Any, at: str) -> Iterator[Fault]:
    """Attention by name; that of a repository is code that transformers downloads and runs."""
    for inner in value.values() if isinstance(value, Mapping) else [value]:
        if inner is not None and not (isinstance(inner, str) and _KERNEL.fullmatch(inner)):
            yield _display(at, inner), "must be a name, as sdpa or eager; a repository's is code"


def _value(value: Any, at: str, *, classes: bool) -> Iterator[Fault]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _key(name, inner, f"{at}.{name}", classes=classes)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _value(inner, f"{at}.{place}", classes=classes)
    elif isinstance(value, str):
        if other_than_references(value):
            yield (
                _display(at, value),
                "in a file ${…} may only name another setting, as ${data.train}; what reads the "
                "environment or makes a value stands on the command line",
            )
    elif not isinstance(value, int | float | bool | None):
        yield _display(at, value), "must be text, a number, true, false, null, a list or a mapping"


def other_than_references(text: str) -> bool:
    """Whether text has an interpolation that is more than the name of another setting.

    OmegaConf's resolvers, as ${oc.env:NAME}, read the environment or make values.
    """
    return any(
        len(start[1]) % 2 == 0 and not REFERENCE.match(text, start.end(1))
        for start in _START.finditer(text)
    )


def _defaults(value: Any, group: str = "") -> Iterator[Fault]:
    """The entries that a file chooses: those of our groups, by their plain names."""
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if entry == "_self_":
            continue
        if isinstance(entry, str) and group and NAME.fullmatch(entry):
            continue
        if isinstance(entry, Mapping) and len(entry) == 1:
            ((key, choice),) = entry.items()
            if isinstance(key, str) and _DEFAULT.fullmatch(key) and _is_name(choice):
                continue
        yield _display("defaults", entry), _NO_DEFAULT


_NO_DEFAULT = (
    "must be `override /GROUP: NAME` with an entry's plain name; groups are "
    f"{listed(GROUPS, limit=20)}"
)


def _is_name(choice: Any) -> bool:
    return isinstance(choice, str) and bool(NAME.fullmatch(choice))


def choices_in(content: Mapping[Any, Any], group: str = "") -> Iterator[tuple[str, str]]:
    """(group, entry) of the defaults of a file without faults."""
    for entry in content.get("defaults") or []:
        if isinstance(entry, Mapping):
            for key, choice in entry.items():
                match = _DEFAULT.fullmatch(str(key))
                if match:
                    yield match[1], str(choice)
        elif group and entry != "_self_":
            yield group, str(entry)


def words_of_phases(content: Mapping[Any, Any]) -> Iterator[str]:
    """The words of all phases of a recipe."""
    phases = content.get("phases")
    for words in phases.values() if isinstance(phases, Mapping) else ():
        words_list = (
            words if isinstance(words, list) else ()
        )  # of an entry that has no business with it
        yield from (word for word in words_list if isinstance(word, str))


def _phases(value: Any) -> Iterator[Fault]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield _display("phases", value), "must be a mapping of names to lists of words key=value"
        return
    for name, words in value.items():
        at = f"phases.{name}"
        if not isinstance(name, str) or not _SETTING.fullmatch(name):
            yield brief(at, 80), "a phase has a name of letters, digits, - and _"
        elif not isinstance(words, list | None) or not all(isinstance(w, str) for w in words or ()):
            yield _display(at, words), "must be a list of words key=value"
        else:
            for word in words or ():
                yield from ((f"{at}: {key}", fault) for key, fault in _word(word))


def _word(word: str) -> Iterator[Fault]:
    """A word of a phase sets what a file may set; to be put into words, it refers to nothing."""
    if "${" in word:
        yield brief(word, 80), "words of a phase in a file have no ${…}"
        return
    override = parse_word(OverridesParser.create(), word, sweeps=False)
    if override is None:
        yield brief(word, 80), "cannot be read; quote the value: 'key=\"value\"'"
        return
    key = override.key_or_group
    top, _, suffix = key.partition(".")
    if top.partition("/")[0] in REFUSED:
        yield key, REFUSED[top.partition("/")[0]]
    elif top not in OF_PHASES or override.package is not None:
        yield key, f"a phase in a file sets {listed(OF_PHASES, limit=20)}, and nothing else"
    elif key == HARNESS:
        yield key, _NO_HARNESS
    elif override.is_delete() or (not suffix and override.key_or_group in GROUPS):
        return
    else:
        name = suffix.rpartition(".")[2] or top
        yield from _key(name, _plain(override.value()), key, classes=top in GROUPS)


def _plain(value: Any) -> Any:
    """What the grammar of words makes of a value, as plain data."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if isinstance(value, int | float | bool | None) else str(value)


def _display(key: str, value: Any) -> str:
    return f"{key} = {brief('null' if value is None else value, 80)}"
