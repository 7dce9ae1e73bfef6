"""`distillkit targets inspect|verify|merge|convert|export`: look into stores, and make others."""

import argparse
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from distillkit.cli.arguments import Arguments
from distillkit.console.progress import stdout
from distillkit.console.wording import first_line
from distillkit.errors import ConfigError, TargetsError

if TYPE_CHECKING:
    from distillkit.targets.codecs.codec import Codec
    from distillkit.targets.manifest import StoreManifest

TRUSTED = ("trusted=", "+trusted=", "++trusted=")  # classes of the user's own, as in every command
EXAMPLES = """\
A store is a folder: <workspace>/targets-… or what merge wrote; targets.path=FOLDER takes one.

examples
  # what a store holds, and how far it is from what the teacher said
  distillkit targets inspect .distillkit/targets-0123456789abcdef
  # whether every shard is still as it was written
  distillkit targets verify .distillkit/targets-0123456789abcdef
  # the teacher was asked about more text: one store with all of it
  distillkit targets merge ./both ./first ./second
  # two teachers over the same text, both with all logits kept: the mean of their probabilities
  distillkit targets merge ./average ./large ./small --weights 0.7,0.3
  # asked once, all logits kept (targets=last_hidden); then any codec, without the teacher
  distillkit targets convert ./top-12 .distillkit/targets-0123456789abcdef targets=top_k \\
      targets.codec.k=12
  # for other programs
  distillkit targets export ./both both.parquet
  # a store of a codec of your own
  distillkit targets inspect ./mine 'trusted=[my_package.]'
"""
MERGE = """\
Stores of one teacher, tokenizer and codec are joined: all their examples, shard by shard. Stores of
several teachers over the same examples, of a codec that keeps all logits (dense, last_hidden), are
averaged: the weighted mean of their probabilities (of real values: of these), kept as the logits of
temperature 1. Anything else is refused. OUT appears when it is whole.
"""
CONVERT = """\
A store of a codec that keeps all logits (dense, last_hidden) as one of another codec, which serves
the same runs by targets.path=OUT. The settings are those of every command: targets=top_k
targets.codec.k=12. Draws are those of a capture with the same targets.seed. OUT appears when it is
whole.
"""
EXPORT = """\
One row for each counted position: key (16 bytes, of the example), position (from 0), and logits, or
the ids that are kept and their probabilities at temperature 1 (of drawn ids: estimates, at the
temperature of the codec). A row group at a time is in memory.
"""


def main(words: list[str]) -> None:
    """Print what a store holds, check all its shards, merge stores, convert or export one."""
    trusted = [word for word in words if word.startswith(TRUSTED)]
    arguments = _parser().parse_args([word for word in words if word not in trusted])
    paths = arguments.paths if arguments.action == "merge" else [arguments.path]
    _register_codecs(paths, trusted)
    if arguments.action == "merge":
        return merge(arguments.out, arguments.paths, arguments.weights)
    if arguments.action == "convert":
        return convert(arguments.out, arguments.path, [*arguments.settings, *trusted])
    if arguments.action == "export":
        return export(arguments.path, arguments.out)
    from distillkit.targets.manifest import StoreManifest

    manifest = StoreManifest.open(arguments.path)
    return (inspect if arguments.action == "inspect" else verify)(arguments.path, manifest)


def _register_codecs(paths: Iterable[Path], trusted: list[str]) -> None:
    """Let stores of codecs from outside be read, of classes that the command line trusts."""
    if not trusted:
        return
    from distillkit.config import overrides
    from distillkit.config.build import granted
    from distillkit.config.classes import is_trusted
    from distillkit.targets.codecs.registry import register
    from distillkit.targets.manifest import StoreManifest

    if str(Path.cwd()) not in sys.path:  # a module beside, after all that is installed
        sys.path.append(str(Path.cwd()))
    names = granted(overrides.check(trusted).cfg)
    for path in paths:
        name = StoreManifest.open(path).codec.get("class")
        if isinstance(name, str) and is_trusted(name, names):
            register(_codec_class(name))


def _codec_class(name: str) -> "type[Codec]":
    """The class of this full name; raises `TargetsError` where it is none, or no codec."""
    from distillkit.targets.codecs.codec import Codec

    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise TargetsError(
            f"targets.codec: {name} cannot be imported ({first_line(error)}); put the folder of "
            "its package into PYTHONPATH"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Codec)):
        raise TargetsError(f"targets.codec: {name} is no codec")
    return kind


def _parser() -> Arguments:
    raw = argparse.RawDescriptionHelpFormatter
    parser = Arguments(
        prog="distillkit targets", description=__doc__, epilog=EXAMPLES, formatter_class=raw
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    store = "a store's folder: <workspace>/targets-…"
    for name, text in (
        ("inspect", "print what a store holds, and how far it is from what the teacher said"),
        ("verify", "check every shard, and that it holds what the manifest says"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("path", type=Path, help=store)
    action = actions.add_parser(
        "merge", help="several stores as one", description=MERGE, formatter_class=raw
    )
    action.add_argument("out", metavar="OUT", type=Path, help="the new store's folder")
    action.add_argument("paths", metavar="PATH", type=Path, nargs="+", help=store)
    action.add_argument(
        "--weights", type=_numbers, metavar="W,W", help="of the average, one a store; equal if none"
    )
    action = actions.add_parser(
        "convert", help="a store under another codec", description=CONVERT, formatter_class=raw
    )
    action.add_argument("out", metavar="OUT", type=Path, help="the new store's folder")
    action.add_argument("path", metavar="PATH", type=Path, help=store)
    action.add_argument(
        "settings", metavar="SETTING", nargs="+", help="targets=CODEC, targets.codec.…=VALUE"
    )
    action = actions.add_parser(
        "export", help="a store as a Parquet file", description=EXPORT, formatter_class=raw
    )
    action.add_argument("path", type=Path, help=store)
    action.add_argument("out", metavar="OUT.parquet", type=Path, help="the file to write")
    return parser


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise TargetsError(
            f"--weights {text}: must be numbers with commas between them, as 0.5,0.5"
        ) from None


def merge(out: Path, paths: list[Path], weights: list[float] | None) -> None:
    """Write several stores as one to `out`."""
    from distillkit.targets.merge import merge as merged

    manifest = merged(paths, out, weights=weights)
    way = "the average of" if "weights" in manifest.origin["teacher"] else "all of"
    stdout().print(
        f"{out}: {way} {len(paths)} stores, {manifest.examples:,} examples, "
        f"{manifest.positions:,} positions in {len(manifest.shards)} shards",
        soft_wrap=True,
    )


def convert(out: Path, path: Path, words: list[str]) -> None:
    """Write a store to `out` under the codec that the words choose."""
    from distillkit.config import overrides
    from distillkit.config.build import build

    for word in words:
        key = word.partition("=")[0]
        if key not in ("targets", "trusted") and not key.startswith("targets."):
            raise ConfigError(
                f"{word}: converting takes settings of targets alone, as targets=top_k "
                "targets.codec.k=12"
            )
    if not any(word.startswith("targets=") for word in words):
        words = ["targets=stored", *words]  # of a store all logits can be kept, whatever the task
    settings = build(overrides.check(words).cfg.targets, key="targets")
    if settings.path:
        raise ConfigError(f"targets.path = {settings.path}: the store to convert is PATH; unset it")

    from distillkit.targets.convert import convert as converted
    from distillkit.training.distributed import compute_device

    manifest = converted(path, out, settings, device=compute_device())
    size = sum(s.bytes for s in manifest.shards) + sum(f.bytes for f in manifest.files)
    stdout().print(
        f"{out}: {manifest.examples:,} examples, {manifest.positions:,} positions under "
        f"{manifest.codec['name']}, {size / 1e6:,.1f} MB in {len(manifest.shards)} shards",
        soft_wrap=True,
    )


def export(folder: Path, out: Path) -> None:
    """Write a store to a Parquet file."""
    from distillkit.targets.export import export as exported

    rows = exported(folder, out)
    stdout().print(f"{out}: {rows:,} positions", soft_wrap=True)


def inspect(folder: Path, manifest: "StoreManifest") -> None:
    """Print the manifest, and how far what is kept is from what the teacher said."""
    from distillkit.targets.hidden_states import parts_of
    from distillkit.targets.manifest import StoreManifest
    from distillkit.targets.quality import described
    from distillkit.targets.reader import TargetStore

    store = TargetStore.open(folder, verifies_all=True)
    size = sum(s.bytes for s in manifest.shards) + sum(f.bytes for f in manifest.files)
    table = Table(show_header=False, title=str(folder), title_justify="left")
    table.add_row("examples", f"{manifest.examples:,}")
    table.add_row("tokens", f"{manifest.tokens:,}, {manifest.positions:,} of them with targets")
    settings = {k: v for k, v in manifest.codec.items() if k != "sources"}
    table.add_row("codec", ", ".join(f"{k} {v}" for k, v in settings.items()))
    if "converted" in manifest.origin:
        table.add_row("converted from", str(manifest.origin["converted"]["name"]))
    names = ", ".join(manifest.labels)
    table.add_row("outputs", f"{manifest.outputs:,}" + (f": {names}" if names else ""))
    bytes_each = size / max(1, manifest.positions)
    table.add_row(
        "size",
        f"{size / 1e6:.2f} MB in {len(manifest.shards)} shards, {bytes_each:.1f} bytes a position",
    )
    for states in parts_of(folder):
        states_manifest = StoreManifest.open(states)
        layers = ", ".join(map(str, states_manifest.origin["states"]["layers"]))
        tokens = "the first token" if states.name == "first" else "all tokens"
        bytes_of_states = sum(shard.bytes for shard in states_manifest.shards)
        table.add_row(
            "hidden states",
            f"of {tokens}, layers {layers}: {bytes_of_states / 1e6:.2f} MB in {states.name}/",
        )
    captured = store.codec.supported_temperatures
    if manifest.outputs > 1:
        at = ", ".join(f"{t:g}" for t in captured) if captured else "any"
        table.add_row("temperatures", at)
    if manifest.quality:
        for name, value in described(manifest.quality):
            table.add_row(name, value)
    for part in ("teacher", "tokenizer", "data"):
        table.add_row(part, str(manifest.origin[part]["fingerprint"]))
    stdout().print(table)


def verify(folder: Path, manifest: "StoreManifest") -> None:
    """Check size and sha256 of every shard, and that what is in them is what the manifest says.

    Raises `TargetsError` that names each damaged shard, or what does not fit.
    """
    from distillkit.targets.hidden_states import parts_of
    from distillkit.targets.manifest import StoreManifest
    from distillkit.targets.reader import TargetStore
    from distillkit.targets.validity import problems

    stores = [("", folder, manifest)]
    stores += [(f"{part.name}/", part, StoreManifest.open(part)) for part in parts_of(folder)]
    damaged = [f"{at}{line}" for at, path, store in stores for line in store.damaged(path)]
    count = sum(len(store.shards) for _, _, store in stores)
    if damaged:
        raise TargetsError(
            f"{folder}: {len(damaged)} of {count} shards are damaged: {'; '.join(damaged)}"
        )
    faults = [
        f"{at}{line}" for at, path, store in stores for line in problems(TargetStore(path, store))
    ]
    if faults:
        raise TargetsError(
            f"{folder}: every shard is as its manifest says, but it is no store that can be used: "
            f"{'; '.join(faults)}"
        )
    stdout().print(f"{folder}: all {count} shards are whole", soft_wrap=True)
