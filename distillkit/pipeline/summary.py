"""What a run is made of, in a line each: for the screen before it, its report and model card."""

import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from omegaconf import DictConfig, OmegaConf

from distillkit.config import entries
from distillkit.console.wording import brief, listed
from distillkit.data import hub
from distillkit.data.hub import HubSource
from distillkit.data.sources import parse
from distillkit.errors import DataError
from distillkit.pipeline import run_folder
from distillkit.pipeline.context import RunContext

SPLITS = ("train", "validation", "test", "transfer")


def parts(context: RunContext) -> dict[str, str]:
    """Teacher, student, data, loss, targets, optimizer and schedule of a run, in words."""
    cfg = context.cfg
    return {
        "teacher": _teacher(context),
        "student": _student(context),
        "data": sources(context),
        "loss": settings(cfg.loss),
        "targets": _targets(context),
        "optimizer": f"{settings(cfg.optimizer)}; schedule {settings(cfg.scheduler)}",
    }


def command(name: str) -> str:
    """The command line that makes this run, or this job of a sweep, again."""
    words = run_folder.words()
    words = [word for word in words if word != "workspace.repair=true"]  # --repair, done by then
    if folder := entries.user_folder():
        words = ["--config-dir", str(folder), *words]
    return f"distillkit {name} {shlex.join(words)}".rstrip()


def settings(node: Any) -> str:
    """A node as its class and what it is set up with, on one line."""
    plain: Any = OmegaConf.to_container(node) if isinstance(node, DictConfig) else node
    name = str(plain.get("_target_", "")).rpartition(".")[2]
    listing = ", ".join(
        _setting(k, v) for k, v in plain.items() if not k.startswith("_") and v is not None
    )
    return brief(f"{name} ({listing})" if listing else name, 300)


def _setting(name: str, value: Any) -> str:
    if isinstance(value, Mapping) and "_target_" in value:
        return f"{name} {settings(value)}"
    if isinstance(value, Mapping):
        return f"{name} [{', '.join(_setting(str(k), v) for k, v in value.items())}]"
    return f"{name} {str(value).lower() if isinstance(value, bool) else value}"


def sources(context: RunContext) -> str:
    """Where the text comes from."""
    lines = []
    for split in SPLITS:
        source = getattr(context.data, split, None)
        if source:
            members = source if isinstance(source, list | tuple) else [source]
            lines.append(
                f"{split}: {listed((short(str(item), 'dataset') for item in members), limit=4)}"
            )
    return "; ".join(lines)


def short(spec: str, repo_type: hub.RepoType = "model") -> str:
    """A source without its digest; one of the hub with the commit that it stands for."""
    with suppress(DataError):
        source = parse(spec, key="")
        if isinstance(source, HubSource):
            return f"{spec} at {hub.commit(source, key='', spec=spec, repo_type=repo_type)[:7]}"
    return spec.partition("#sha256=")[0]


def _teacher(context: RunContext) -> str:
    if not context.loss.needs_teacher:
        return "none: the loss looks at the labels alone"
    members = context.teacher.members
    way = "as it is" if context.teacher.is_ready else "fitted on the labelled text first"
    named = listed((short(item.source) for item in members), limit=4)
    count = f"{len(members)} whose answers are averaged: " if len(members) > 1 else ""
    return f"{count}{named}, {way}"


def _student(context: RunContext) -> str:
    node: Any = OmegaConf.to_container(context.cfg.student, resolve=True)
    if node.get("adapter") is None:
        node = {name: value for name, value in node.items() if name != "lora"}
    return context.student.describe(settings(node), short)


def _targets(context: RunContext) -> str:
    if not context.loss.needs_teacher:
        return "none"
    return context.targets.describe()


def counts(names: Iterable[str], numbers: Iterable[int]) -> str:
    """How often each class stands in the training text; of many, the most and the least frequent.

    Shares are of all labels.
    """
    rows = sorted(zip(names, numbers, strict=True), key=lambda row: (-row[1], row[0]))
    total = sum(count for _, count in rows) or 1
    if len(rows) <= 8:
        return ", ".join(f"{brief(n, 30)} {c:,} ({c / total:.0%})" for n, c in rows)
    listing = ", ".join(f"{brief(n, 30)} {c:,}" for n, c in rows[:4])
    name, fewest = rows[-1]
    return f"{listing} … {brief(name, 30)} {fewest:,}"
