"""`distillkit targets inspect|verify PATH`: look into a target store."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from distillkit.errors import TargetsError
from distillkit.progress import stdout

if TYPE_CHECKING:
    from distillkit.targets.manifest import StoreManifest


def main(words: list[str]) -> None:
    """Print what a store holds, or check all its shards."""
    parser = argparse.ArgumentParser(prog="distillkit targets", description=__doc__)
    parser.add_argument("action", choices=("inspect", "verify"))
    parser.add_argument("path", type=Path, help="a store's folder: <workspace>/targets-…")
    chosen = parser.parse_args(words)
    from distillkit.targets.manifest import StoreManifest

    manifest = StoreManifest.open(chosen.path)

    if chosen.action == "inspect":
        inspect(chosen.path, manifest)
    else:
        verify(chosen.path, manifest)


def inspect(folder: Path, manifest: "StoreManifest") -> None:
    """Print the manifest, and how sure the teacher is on average."""
    import numpy as np
    from scipy.special import entr, softmax

    from distillkit.targets.reader import TargetStore

    store = TargetStore.open(folder)
    size = sum(shard.bytes for shard in manifest.shards)
    table = Table(show_header=False, title=str(folder), title_justify="left")
    table.add_row("examples", f"{manifest.examples:,}")
    table.add_row("tokens", f"{manifest.tokens:,}")
    table.add_row("codec", ", ".join(f"{k} {v}" for k, v in manifest.codec.items()))
    table.add_row(
        "outputs", f"{manifest.outputs}: {', '.join(manifest.labels) or 'one real value'}"
    )
    each = size / max(1, manifest.examples)
    table.add_row(
        "size", f"{size / 1e6:.2f} MB in {len(manifest.shards)} shards, {each:.1f} bytes an example"
    )
    if manifest.outputs > 1:
        logits = store.logits(np.arange(manifest.examples)).numpy()
        p = softmax(logits, axis=-1)
        table.add_row(
            "mean entropy", f"{entr(p).sum(-1).mean():.4f} nats of {np.log(manifest.outputs):.4f}"
        )
        table.add_row("mean confidence", f"{p.max(-1).mean():.4f}")
    for part in ("teacher", "tokenizer", "data"):
        table.add_row(part, str(manifest.origin[part]["fingerprint"]))
    stdout().print(table)


def verify(folder: Path, manifest: "StoreManifest") -> None:
    """Check every shard's size and sha256; raises `TargetsError` that names each damaged one."""
    damaged = manifest.damaged(folder)
    if damaged:
        raise TargetsError(
            f"{folder}: {len(damaged)} of {len(manifest.shards)} shards are damaged: "
            f"{'; '.join(damaged)}"
        )
    stdout().print(f"{folder}: all {len(manifest.shards)} shards are whole", soft_wrap=True)
