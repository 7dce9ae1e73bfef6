"""What a run made and from what, in figures for its report: stages, target store, data."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from distillkit.artifacts.workspace import MANIFEST, read_json
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.run import Run
from distillkit.targets import hidden_states
from distillkit.targets.manifest import StoreManifest

MOST_CLASSES = 20  # that are counted one by one
ORDER = ("data", "augmented", "transfer", "tokens", "teacher", "answers", "targets", "student")


def stages(contexts: Sequence[RunContext]) -> list[dict[str, Any]]:
    """Each artifact that the run made or used: how long it took, its size, and who made it.

    `seconds` is None for one that an earlier version made; `made` is whether this run made it. What
    a run that was ended before had spent on it is not counted.
    """
    rows, root = [], contexts[0].workspace.root
    artifacts: dict[str, bool] = {}
    for context in contexts:
        for name, is_made in context.record.artifacts.items():
            artifacts[name] = artifacts.get(name, False) or is_made
    for name, is_made in artifacts.items():
        try:
            manifest = read_json(root / name / MANIFEST)
        except (OSError, ValueError):  # removed meanwhile
            continue
        rows.append(
            {
                "stage": _stage(manifest),
                "artifact": name,
                "seconds": manifest.get("seconds", manifest["facts"].get("fit", {}).get("seconds")),
                "megabytes": sum(entry["size"] for entry in manifest.get("files", {}).values())
                / 1e6,
                "made": is_made,
            }
        )
    order = {kind: place for place, kind in enumerate(ORDER)}
    return sorted(
        rows, key=lambda entry: order.get(entry["artifact"].rpartition("-")[0], len(order))
    )


def _stage(manifest: dict[str, Any]) -> str:
    """What a reader calls it: a control is a student, and a table of tokens is of a split."""
    kind, inputs = str(manifest["kind"]), manifest["inputs"]
    if kind == "tokens":
        return f"tokens of {inputs.get('split')}"
    if kind == "student" and inputs.get("untrained"):
        return "student before training"
    if kind == "student" and inputs.get("targets") is None:
        return "control"
    return kind


def target_store(run: Run) -> dict[str, Any]:
    """Codec, size and measured quality of the store that the student learnt from; {} without one.

    What `quality` has is in `targets.quality.quality`.
    """
    if not run.context.stores_targets:
        return {}
    folder = run.target_store.folder
    manifest = StoreManifest.open(folder)
    parts = [StoreManifest.open(part) for part in hidden_states.parts_of(folder)]
    size = sum(entry["size"] for store in (manifest, *parts) for entry in store.records.values())
    return {
        "codec": manifest.codec,
        "examples": manifest.examples,
        "tokens": manifest.tokens,
        "positions": manifest.positions,
        "outputs": manifest.outputs,
        "megabytes": size / 1e6,
        "bytes_per_position": size / max(1, manifest.positions),
        "quality": manifest.quality,
    }


def data(run: Run) -> dict[str, Any]:
    """Rows of each split, what was dropped and why, and how often classes stand in the training."""
    facts = [run.text.labelled.facts()]
    facts += [run.text.transfer.facts()] if run.text.transfer else []
    rows: dict[str, Any] = {
        "rows": {name: n for entry in facts for name, n in entry["counts"].items()},
        "dropped": {name: n for entry in facts for name, n in entry.get("dropped", {}).items()},
    }
    space = run.text.corpus.labels
    if len(space.names) > 1:
        rows["classes"] = len(space.names)
        rows["class_counts"] = _class_counts(run)
    return rows


def _class_counts(run: Run) -> dict[str, int]:
    """How often each class stands in the training text; of many, the most and least frequent."""
    numbers = run.text.class_counts
    if numbers is None:
        return {}
    counts = dict(zip(run.text.corpus.labels.names, numbers.tolist(), strict=True))
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    if len(ordered) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        ordered = [*ordered[:half], *ordered[-half:]]
    return dict(ordered)


def published(cfg: DictConfig) -> list[dict[str, str]]:
    """What others measured with these settings, as the recipe has it; a field a key."""
    blocks: Any = OmegaConf.to_container(cfg, resolve=True)
    return [{k: str(v) for k, v in entry.items()} for entry in blocks.get("published") or []]
