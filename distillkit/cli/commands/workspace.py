"""`distillkit workspace list|verify|remove|size`: what artifacts there are, and tidying them up."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from distillkit.artifacts.digests import Verifier
from distillkit.artifacts.holdings import Held, Holdings, look
from distillkit.artifacts.homes import expanded
from distillkit.artifacts.removal import (
    Choice,
    free_locks,
    is_gone,
    named,
    remove,
    remove_locks,
    selection,
)
from distillkit.cli.arguments import Arguments
from distillkit.console.progress import say, stdout, working
from distillkit.console.wording import brief, listed
from distillkit.errors import ConfigError, WorkspaceError

ACTIONS = ("list", "verify", "remove", "size")
DAYS = 30.0  # in which a run counts as recent
EXAMPLES = """\
The workspace is .distillkit, or DISTILLKIT_WORKSPACE, or workspace=FOLDER after the action.

examples
  # what is there, what made it, what is damaged, what nothing needs
  distillkit workspace list
  # read every file, and hold it against its artifact's manifest
  distillkit workspace verify workspace=/shared/distillkit
  # what no other artifact and no run of the last 30 days names; asks before
  distillkit workspace remove --unused
  # one by its name (its beginning is enough), without a question
  distillkit workspace remove student-0123456789abcdef --yes
"""
REMOVE = """\
What is removed is gone in one step, and the same command makes it again. What a running command
makes or uses is left alone. Of an artifact that others need that is said before; they stay, and can
be used. Removing what is unused may leave others unused: run it again.
"""


def main(words: list[str]) -> None:
    """Print what a workspace holds, check it, remove things from it, or print its size."""
    arguments = _arguments(words)
    root = _root(arguments)
    if arguments.action == "list":
        return show(look(root, days=arguments.days))
    if arguments.action == "size":
        return show_sizes(look(root, days=DAYS))
    if arguments.action == "verify":
        return verify(root, arguments.names)
    names = tuple(arguments.names)
    choice = Choice(
        names,
        unused=arguments.unused,
        partial=arguments.partial,
        damaged=arguments.damaged,
        earlier=arguments.earlier,
    )
    return removed(root, choice, days=arguments.days, is_sure=arguments.yes)


def _arguments(words: list[str]) -> argparse.Namespace:
    """What the words say; names may stand before, between and after options."""
    parser = _parser()
    arguments, rest_of_words = parser.parse_known_args(words)
    options = [word for word in rest_of_words if word.startswith("-")]
    if options:
        parser.error(f"unrecognized arguments: {' '.join(options)}")
    arguments.names += rest_of_words
    return arguments


def _parser() -> Arguments:
    raw = argparse.RawDescriptionHelpFormatter
    parser = Arguments(
        prog="distillkit workspace", description=__doc__, epilog=EXAMPLES, formatter_class=raw
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    default = "workspace=FOLDER; .distillkit, or DISTILLKIT_WORKSPACE, if it is not given"
    days = "a run counts as recent so long after it ended (30)"
    names = "an artifact, or what `list` names; its beginning is enough"
    for name, text in (
        ("list", "what is there, what made it, what is damaged, what nothing needs"),
        ("verify", "read every file, and hold it against its artifact's manifest"),
        ("remove", "remove things, by name or all of a sort"),
        ("size", "bytes in all, and of each kind"),
    ):
        action = actions.add_parser(
            name,
            help=text,
            description=f"{text}\n\n{REMOVE}" if name == "remove" else text,
            formatter_class=raw,
        )
        if name in ("verify", "remove"):
            action.add_argument("names", metavar="NAME", nargs="*", help=f"{names}; {default}")
        else:
            action.add_argument("names", metavar="workspace=FOLDER", nargs="*", help=default)
        if name in ("list", "remove"):
            action.add_argument("--days", type=_days, default=DAYS, metavar="N", help=days)
        if name == "remove":
            for option, help_text in (
                ("--unused", "what no complete artifact and no recent run names"),
                ("--partial", "what killed runs began, and what broken-off removals left"),
                ("--damaged", "what is not as it was made; every file is read"),
                ("--earlier", "what an earlier version made, and no run of this one uses"),
                ("--yes", "ask nothing"),
            ):
                action.add_argument(option, action="store_true", help=help_text)
    return parser


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < float("inf"):
        raise ConfigError(f"--days {text}: must be a number of days, 0 or more")
    return days


def _root(arguments: argparse.Namespace) -> Path:
    """The folder that the words choose; they are taken out of the names."""
    root = os.environ.get("DISTILLKIT_WORKSPACE") or ".distillkit"
    names = []
    for word in arguments.names:
        key, equals, value = word.partition("=")
        if key in ("workspace", "workspace.path") and equals:
            if not value:
                raise ConfigError(f"{word}: needs a folder after it, as workspace=FOLDER")
            root = value
        elif equals or arguments.action in ("list", "size"):
            raise ConfigError(
                f"workspace {arguments.action}: {word}: takes workspace=FOLDER"
                + (" and names" if arguments.action in ("verify", "remove") else "")
            )
        else:
            names.append(word)
    arguments.names = names
    folder = expanded(root)
    if not folder.is_dir():
        why = "is a file" if folder.exists() else "no such folder; no run has made one there"
        raise WorkspaceError(
            f"workspace = {folder}: {why}; set workspace=FOLDER, or DISTILLKIT_WORKSPACE"
        )
    return folder


# list and size


def show(holdings: Holdings) -> None:
    """Print all that is there, a line each."""
    console, edge = stdout(), 60
    table = Table(title=str(holdings.root), title_justify="left")
    for name in ("artifact", "size", "made", "run", "what", "state"):
        table.add_column(
            name, justify="right" if name == "size" else "left", no_wrap=name == "artifact"
        )
    for holding in holdings.of("artifact"):
        table.add_row(
            holding.name,
            _size(holding.size),
            _when(holding.changed_at),
            _maker(holdings, holding),
            holding.description,
            _state(holding),
        )
    if holdings.of("artifact"):
        console.print(table)
    for holding in holdings.entries:
        if holding.group != "artifact":
            users = f"; {_users(holding)}" if holding.used_by else ""
            unused = "; nothing needs it" if holding.is_unused else ""
            console.print(
                f"{brief(holding.name, edge)}: {_size(holding.size)}, {_age(holding.changed_at)} "
                f"old, {holding.description}{unused}{users}",
                soft_wrap=True,
            )
    idle = [path.stem for path in free_locks(holdings.root)]
    if idle:
        console.print(f"locks that nobody holds: {listed(idle, limit=5)}", soft_wrap=True)
    console.print(_summary(holdings), soft_wrap=True)


def _summary(holdings: Holdings) -> str:
    artifacts = holdings.of("artifact")
    total = sum(holding.size for holding in holdings.entries)
    parts = [f"{len(artifacts):,} artifacts, {_size(total)} in all"]
    for count, name in (
        (sum(bool(holding.damage) for holding in artifacts), "damaged (remove --damaged)"),
        (
            sum(holding.is_unused and not holding.damage for holding in holdings.entries),
            "that nothing needs (remove --unused)",
        ),
        (
            sum(holding.is_earlier for holding in artifacts),
            "of an earlier version (remove --earlier)",
        ),
        (len(holdings.of("partial")), "begun (remove --partial)"),
        (sum(record.is_under_way for record in holdings.records), "runs under way"),
        (len(free_locks(holdings.root)), "files of locks that nobody holds (remove --unused)"),
    ):
        if count:
            parts.append(f"{count:,} {name}")
    return "; ".join(parts)


def _maker(holdings: Holdings, holding: Held) -> str:
    """The run that made it, or the first one that used it; empty where no record says."""
    for names in ("outputs", "used"):
        for record in holdings.records:
            if holding.path.name in getattr(record, names):
                return brief(record.name or record.command, 40)
    return ""


def _state(holding: Held) -> str:
    if holding.damage:
        rest_of_words = (
            f" (and {len(holding.damage) - 1:,} more)" if len(holding.damage) > 1 else ""
        )
        return f"damaged: {brief(holding.damage[0], 80)}{rest_of_words}"
    if holding.is_under_way:
        return _users(holding)
    if holding.is_earlier:
        return "of an earlier version: no run will use it"
    if holding.is_unused:
        return "nothing needs it"
    kinds = sorted({name.rpartition("-")[0] for name in holding.needed_by})
    return f"needed by {', '.join(kinds)}" if kinds else _users(holding)


def _users(holding: Held) -> str:
    running = [record for record in holding.used_by if record.is_under_way]
    if running:
        return f"in use by {brief(running[0].name or running[0].command, 40)}"
    return "needed by a recent run"


def show_sizes(holdings: Holdings) -> None:
    """Print the bytes of each kind, the largest first, and of all."""
    kinds: dict[str, list[Held]] = {}
    names = {"partial": "begun", "asset": "assets", "rest": "left over", "foreign": "not ours"}
    for holding in holdings.entries:
        kinds.setdefault(names.get(holding.kind, holding.kind), []).append(holding)
    table = Table(title=str(holdings.root), title_justify="left")
    for name in ("kind", "number", "size"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    sizes = {kind: sum(holding.size for holding in users) for kind, users in kinds.items()}
    for kind in sorted(kinds, key=lambda kind: (-sizes[kind], kind)):
        table.add_row(kind, f"{len(kinds[kind]):,}", _size(sizes[kind]))
    table.add_row("in all", f"{len(holdings.entries):,}", _size(sum(sizes.values())))
    stdout().print(table)


def _size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count} B"


def _when(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):
        return "?"


def _age(seconds: float) -> str:
    age = max(0.0, time.time() - seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age >= length:
            return f"{age / length:,.0f} {unit}"
    return f"{age:.0f} s"


# verify and remove


def verify(root: Path, names: Sequence[str]) -> None:
    """Read all files; raises `WorkspaceError` that names each damaged artifact."""
    with working("workspace: reading all files"):
        holdings = look(root, days=DAYS, verifier=Verifier("always"))
    artifacts = holdings.of("artifact")
    if names:
        artifacts = [named(holdings, name) for name in names]
    damaged = [holding for holding in artifacts if holding.damage]
    if damaged:
        lines = "; ".join(
            f"{holding.name}: {brief('; '.join(holding.damage))}" for holding in damaged
        )
        raise WorkspaceError(
            f"{root}: {len(damaged)} of {len(artifacts)} artifacts are damaged: {lines}. A run "
            "with --repair makes what it needs of them again; `distillkit workspace remove "
            "--damaged` removes them"
        )
    count = "1 artifact is" if len(artifacts) == 1 else f"all {len(artifacts):,} artifacts are"
    stdout().print(f"{root}: {count} whole", soft_wrap=True)


def removed(root: Path, choice: Choice, *, days: float, is_sure: bool) -> None:
    """Say what will be removed, ask, and remove it."""
    if choice.is_empty:
        raise ConfigError(
            "workspace remove: needs a NAME, --unused, --partial, --damaged or --earlier; "
            "`distillkit workspace list` says what there is"
        )
    reader = Verifier("always") if choice.damaged else None
    with working("workspace: looking at what is there"):
        holdings = look(root, days=days, verifier=reader)
    gone = [name for name in choice.names if is_gone(holdings, name)]
    for name in gone:
        say(f"{name}: is gone already")
    names = tuple(name for name in choice.names if name not in gone)
    selected = selection(holdings, replace(choice, names=names))
    if not selected:
        stdout().print(f"{root}: nothing to remove{_cleared(root, choice)}", soft_wrap=True)
        return
    chosen = {holding.name for holding in selected}
    for holding in selected:
        needing = [name for name in holding.needed_by if name not in chosen]
        why = f"; needed by {listed(needing, limit=3)}, which stay" if needing else ""
        why += f"; {_users(holding)}" if holding.used_by else ""
        say(f"{holding.name}: {_size(holding.size)}, {holding.description or holding.group}{why}")
    total = sum(holding.size for holding in selected)
    if not is_sure:
        _ask(f"remove {len(selected):,} of them, {_size(total)}?")
    removals = [holding for holding in selected if remove(root, holding)]
    size = _size(sum(holding.size for holding in removals))
    line = f"{root}: {len(removals):,} removed, {size}"
    if len(removals) < len(selected):
        remaining = len(selected) - len(removals)
        line += f"; {remaining:,} left, which another command removed or began to use"
    stdout().print(f"{line}{_cleared(root, choice)}", soft_wrap=True)


def _cleared(root: Path, choice: Choice) -> str:
    """Remove the files of locks that nobody holds, where what is unused goes; say how many."""
    count = remove_locks(root) if choice.unused else 0
    return f"; {count:,} files of locks that nobody held" if count else ""


def _ask(question: str) -> None:
    """Return if the user says yes; raises `ConfigError` if not, and where nobody can be asked."""
    if not sys.stdin or not sys.stdin.isatty():
        raise ConfigError("workspace remove: nobody can be asked here; --yes removes all of these")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("workspace remove: nothing was removed")
