"""The phases of a run: each is the run's config with overrides of its own."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from distillkit.config import overrides
from distillkit.config.paths import groups
from distillkit.console.wording import nearest
from distillkit.errors import ConfigError

NEW = "new"  # start: from no phase
OF_PHASE = re.compile(r"\+*phases\.([\w-]+)\.([^=]+=.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Phase:
    """One training of several. `start` is the phase whose student it starts from; None: it is new.

    `overrides` are the run's and the phase's own.
    """

    name: str
    cfg: DictConfig
    start: str | None
    overrides: list[str]


def gathered(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """A command line's words without those of one phase (phases.NAME.KEY=VALUE), and these."""
    words_left: list[str] = []
    of_phase: dict[str, list[str]] = {}
    for word in words:
        match = OF_PHASE.fullmatch(word)
        if match:
            of_phase.setdefault(match[1], []).append(match[2])
        else:
            words_left.append(word)
    return words_left, of_phase


def settled(
    words: list[str],
    declared: dict[str, list[str]],
    *,
    user_folder: Path | None = None,
    sweeps: bool = True,
) -> list[Phase]:
    """The phases that a run declares, each with its whole config, checked as any other.

    `words` are the run's overrides. What they set below a group that a phase chooses anew is meant
    for the phases that keep the run's choice. Raises `ConfigError` with all that is wrong.
    """
    faults: list[str] = []
    phases_found: list[Phase] = []
    names: set[str] = set()
    for name, own in declared.items():
        words_of_phase = _merged(words, own)
        names |= set(words_of_phase)
        try:
            _check_single(own)
            checked = overrides.check(words_of_phase, user_folder=user_folder, sweeps=sweeps)
            start = _start(name, checked.cfg, own, [phase.name for phase in phases_found])
            phases_found.append(Phase(name, checked.cfg, start, words_of_phase))
        except ConfigError as error:
            faults += [f"phases.{name}: {line}" for line in error.problems]
    for word in words:
        group, dot, _ = _key(word).partition(".")
        if word not in names and dot and group != "phases":
            faults.append(
                f"{_key(word)}: every phase chooses its own {group}; set it in one of them, as in "
                f"phases.{next(iter(declared))}.{_key(word)}=…"
            )
    if faults:
        raise ConfigError(faults)
    return phases_found


def _check_single(own: list[str]) -> None:
    """A phase's own settings have one value each; raises `ConfigError` for a sweep among them."""
    for word in own:
        try:
            swept = OverridesParser.create().parse_override(word).is_sweep_override()
        except HydraException:
            continue  # the check of all overrides says what is wrong with it
        if swept:
            raise ConfigError(f"{word}: only settings of the whole run can be swept")


def _merged(words: list[str], own: list[str]) -> list[str]:
    """The run's overrides, but for what a phase sets itself, and the phase's."""
    keys = {_key(word) for word in own}
    groups_chosen = tuple(f"{key}." for key in keys & groups().keys())
    words_left = [w for w in words if _key(w) not in keys and not _key(w).startswith(groups_chosen)]
    # the phases themselves are none of a phase's business
    return [*(w for w in words_left if not _key(w).startswith("phases")), "phases=null", *own]


def _start(name: str, cfg: DictConfig, own: list[str], before: list[str]) -> str | None:
    """The phase whose student this one starts from."""
    start = cfg.start
    if start == NEW or (start is None and not before):
        return None
    if start is not None and start not in before:
        names = [*before, NEW]
        raise ConfigError(f"start = {start}: no such phase before it; {nearest(str(start), names)}")
    for word in own:
        if _key(word).partition(".")[0] == "student":
            raise ConfigError(
                f"{word}: the phase starts from the student of phase {start or before[-1]}; set "
                f"the student for the whole run, or start={NEW}"
            )
    return str(start or before[-1])


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def declared(
    cfg: DictConfig, of_phases: dict[str, list[str]] | None = None
) -> dict[str, list[str]]:
    """The phases of a config and their overrides, the command line's for one of them at the end.

    Raises `ConfigError` for overrides of a phase that is not there.
    """
    phases: Any = cfg.get("phases") or {}
    words_by_name = {str(name): [*map(str, words or [])] for name, words in phases.items()}
    for name, words in (of_phases or {}).items():
        if name not in words_by_name:
            hint = nearest(name, list(words_by_name)) if words_by_name else "this run has none"
            raise ConfigError(f"phases.{name}: no such phase; {hint}")
        keys = {_key(word) for word in words}
        words_by_name[name] = [*(w for w in words_by_name[name] if _key(w) not in keys), *words]
    if cfg.get("start") is not None:
        raise ConfigError(
            f"start = {cfg.start}: only a phase starts from another; to start from a folder choose "
            "student=pretrained student.path=…"
        )
    return words_by_name


def as_words(declared: dict[str, list[str]], of_phases: dict[str, list[str]]) -> list[str]:
    """The overrides that tell Hydra of phases which the command line changed."""
    lines = []
    for name in of_phases:
        escaped = (word.replace("\\", "\\\\").replace("'", "\\'") for word in declared[name])
        lines.append(f"phases.{name}=[" + ",".join(f"'{word}'" for word in escaped) + "]")
    return lines
