"""The one way to EleutherAI's lm-evaluation-harness: models on its tasks, or on the user's own."""

import contextlib
import copy
import difflib
import functools
import hashlib
import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

from distillkit.artifacts.digests import sha256_as_it_stands
from distillkit.artifacts.homes import expanded
from distillkit.console.progress import say
from distillkit.errors import ConfigError, DataError

# the metric of a task that is told, the first that it has; accuracy by normalised length first,
# since that is what tables of language models give (hellaswag, arc)
METRICS = ("acc_norm", "acc", "exact_match", "f1")
STDERR = " stderr"
_RESAMPLES = 1000  # for the standard errors of metrics that are no mean


def fingerprint_fields(tasks: Sequence[str] | None, path: str | None) -> dict[str, Any]:
    """What decides the scores beside the settings: the version, and what the user's tasks say."""
    if not tasks:
        return {}
    own = _content(expanded(path)) if path else None
    return {"harness": {"lm_eval": version("lm_eval"), "own_tasks": own}}


def _content(folder: Path) -> str:
    """One sha256 of the files under a folder; Python's own caches come and go."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if not any(part.startswith(".") or part == "__pycache__" for part in name.parts):
            digest.update(f"{name.as_posix()}\0{sha256_as_it_stands(path)}\n".encode())
    return digest.hexdigest()


def conditions(limit: int | None) -> dict[str, Any]:
    """What a reader of the scores has to know."""
    return {"lm_eval": version("lm_eval"), "limit": limit}


def check_tasks(tasks: Sequence[str], path: str | None = None) -> None:
    """Raise `ConfigError` for a name that no task, group or tag has, or a folder that is not there.

    Reads the index of all tasks, which takes some seconds; no data and no torch.
    """
    if path and not expanded(path).is_dir():
        raise ConfigError(f"evaluation.harness_path = {path}: no such folder")
    say("evaluation: reading lm-eval's index of tasks")
    names = _manager(path).all_tasks
    unknown = [name for name in tasks if name not in names]
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=4, cutoff=0.6)
        way_out = f"near ones are {', '.join(near)}" if near else "`lm-eval ls tasks` lists them"
        raise ConfigError(
            f"evaluation.harness = {list(tasks)}: lm-eval has no task {unknown[0]}; {way_out}"
        )


def harness_scores(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[str],
    batch_size: int,
    limit: int | None = None,
    path: str | None = None,
) -> dict[str, float]:
    """`{"hellaswag acc_norm": 0.41, "hellaswag acc_norm stderr": 0.005, …}`, one metric a task.

    A group without a score of its own, and a tag, give the scores of their tasks. The number of
    examples shown to the model is each task's own; no chat template is put around them. Raises
    `ConfigError` for tasks that run code which the model wrote, `DataError` where a task's data
    cannot be had.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    manager = _manager(path)
    with _quiet():
        members = {name: _loaded(manager, name) for name in tasks}
        # it gives a tokenizer without a pad token one
        wrapped = HFLM(pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=batch_size)
        results = simple_evaluate(
            model=wrapped,
            tasks=list(tasks),
            task_manager=manager,
            batch_size=batch_size,
            limit=limit,
            bootstrap_iters=_RESAMPLES,
            log_samples=False,
        )
    groups = members | results["group_subtasks"]
    return dict(pair for name in tasks for pair in _main_metric(name, results["results"], groups))


def _main_metric(
    name: str, results: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, float]]:
    """(column, value) of a task or group: its first metric of `METRICS`, or else its first one."""
    results_of_task = results.get(name, {})
    numbers = {k: v for k, v in results_of_task.items() if isinstance(v, (int, float))}
    values = {k: v for k, v in numbers.items() if "," in k and "_stderr," not in k}
    if not values:
        for member in groups.get(name, ()):
            if member != name:
                yield from _main_metric(member, results, groups)
        return
    keys = (key for metric in METRICS for key in values if key.split(",")[0] == metric)
    key = next(keys, next(iter(values)))
    metric, _, rule = key.partition(",")
    column = f"{name} {metric}" + ("" if rule == "none" else f" ({rule})")
    yield column, float(values[key])
    error = results_of_task.get(f"{metric}_stderr,{rule}")
    if isinstance(error, (int, float)):
        yield column + STDERR, float(error)


def _loaded(manager: Any, name: str) -> list[str]:
    """The tasks behind a name, after loading them once with their data."""
    try:
        tasks = manager.load([name])["tasks"]
    except Exception as error:  # whatever data sets, the network or a task's own code raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"evaluation.harness: {name} cannot be loaded ({reason}); its data takes the network "
            "once; leave it out, or try again"
        ) from error
    unsafe = [task for task, loaded in tasks.items() if getattr(loaded, "UNSAFE_CODE", False)]
    if unsafe:
        raise ConfigError(
            f"evaluation.harness = {name}: {unsafe[0]} runs the code that a model writes, which "
            "is not done here; leave it out"
        )
    return list(tasks)


@functools.cache
def _manager(path: str | None) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(expanded(path)) if path else None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Errors alone, and bars on a terminal; one process, and no call of git."""
    log = logging.getLogger("lm_eval")
    was = log.level
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, DISABLE_MULTIPROC="1"))
        # outside a repository git says "fatal", which nothing is
        no_hash = mock.patch("lm_eval.evaluator.get_git_commit_hash", lambda: None, create=True)
        stack.enter_context(no_hash)
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.callback(log.setLevel, was)
        log.setLevel(logging.ERROR)
        yield
