"""What a run writes for people: outputs/<recipe>/<timestamp>/.

A report is whole or not there: it is written into a draft inside the run's folder, and moved to its
place when all of it is on disk, `results.json` last.
"""

import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from distillkit.artifacts import run_records
from distillkit.artifacts.homes import workspace_folder
from distillkit.artifacts.inside import check_outside
from distillkit.artifacts.leftovers import marked, remove_left
from distillkit.artifacts.workspace import write_json
from distillkit.console import masking
from distillkit.console.progress import rank, say, stdout
from distillkit.errors import OutputError
from distillkit.pipeline.sweep import is_job

PREDICTIONS = "predictions.csv"
PACKAGES = ("distillkit", "torch", "transformers", "datasets", "accelerate", "hydra-core", "numpy")


TEXTS = (".json", ".jsonl", ".md", ".yaml", ".html", ".csv", ".svg")
YAML: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "default_flow_style": False}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LAST = ("report.md", "report.html", "results.json")  # of a report: who finds these finds the rest
LONGEST_NAME = 64  # characters of the path of a file in a report


def check_writable(cfg: DictConfig) -> None:
    """Raise `OutputError` now, rather than after the work, where no report can be written."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    key = "hydra.sweep.dir" if is_job() else "hydra.run.dir"
    check_outside(folder, f"{key} = {relative(folder)}", workspace_folder(cfg.workspace.path))
    with guard(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}-".ljust(LONGEST_NAME, "x")
        probe.write_text("distillkit")
        probe.unlink()
        if HydraConfig.get().output_subdir:  # Hydra's own record, where it was asked for one
            _mask(folder / str(HydraConfig.get().output_subdir))


@contextmanager
def new_report() -> Iterator[Path]:
    """A draft of this run's report, which becomes the content of the run's folder at the end.

    Raises `OutputError`, with nothing of the report left, if the disk has no room for it.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    draft = folder / f".draft-{os.getpid()}"
    with guard(folder):
        try:
            remove_left(folder, ".draft-")
            draft.mkdir(parents=True)  # where the folder was removed in the meantime, it is made
            with marked(draft):
                yield draft
                _mask(draft)
                _publish(draft, folder)
            run_records.reported(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _mask(draft: Path) -> None:
    """Name what came from the environment, and hide credentials, in the texts of a report."""
    names = masking.names_of(words())
    for path in sorted(p for p in draft.rglob("*") if p.is_file() and p.suffix in TEXTS):
        if path.suffix == ".json" and path.parent != draft:
            continue  # of the student: its vocabulary
        masking.mask_file(path, names)


def current() -> Path:
    """This run's own folder, where its report is when it is written."""
    return Path(HydraConfig.get().runtime.output_dir)


def _publish(draft: Path, folder: Path) -> None:
    """Move what was written to its place; what an earlier run had there gives way."""
    for path in draft.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())  # a network disk says here that it is full
    old = draft / ".old"
    old.mkdir()
    for path in sorted(draft.iterdir(), key=lambda entry: (entry.name in LAST, entry.name)):
        place = folder / path.name
        if path == old:
            continue
        if place.is_dir() or place.is_symlink():
            place.rename(old / place.name)
        path.replace(place)


@contextmanager
def guard(folder: Path) -> Iterator[None]:
    """Turn a full disk or a closed folder into one line that names the folder for reports."""
    try:
        yield
    except OSError as error:
        # of a copy the second name is that of what was written
        if error.errno is None or _is_elsewhere(error.filename2 or error.filename, folder):
            raise
        key = "hydra.sweep.dir" if is_job() else "hydra.run.dir"
        why = error.strerror or str(error)
        if error.errno in FULL:
            why += " (the disk or quota is full); free some space, or"
        else:
            why += ";"
        raise OutputError(
            f"{key} = {relative(folder)}: no report can be written there: {why} set {key}=FOLDER "
            "to another place. What was computed is kept in the workspace: the same command goes "
            "on from there"
        ) from error


def _is_elsewhere(name: Any, folder: Path) -> bool:
    """Whether an error names a file that is not of the report: one that it reads."""
    if not isinstance(name, str):
        return False
    path, folder = Path(name).absolute(), folder.absolute()
    return not (path.is_relative_to(folder) or folder.is_relative_to(path))


def write_run(cfg: DictConfig, folder: Path) -> None:
    """Write config.yaml and environment.json."""
    as_written = OmegaConf.to_container(cfg, resolve=False)
    named = _named(as_written, OmegaConf.to_container(cfg, resolve=True))
    (folder / "config.yaml").write_text(yaml.safe_dump(named, **YAML), encoding="utf-8")
    record = {
        "command": [*sys.argv[0].split(), *sys.argv[1:]],
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in PACKAGES},
    }
    write_json(folder / "environment.json", record)


def _named(as_written: Any, resolved: Any) -> Any:
    """A config with its references resolved, but for those to the environment: they stay."""
    if isinstance(as_written, dict) and isinstance(resolved, dict):
        return {key: _named(value, resolved[key]) for key, value in as_written.items()}
    if isinstance(as_written, list) and isinstance(resolved, list):
        return [_named(*pair) for pair in zip(as_written, resolved, strict=True)]
    return as_written if isinstance(as_written, str) and "${oc.env:" in as_written else resolved


def words() -> list[str]:
    """This run's overrides as they were given: what they take from the environment is not there."""
    task_overrides: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return [str(word) for word in task_overrides]


def overrides() -> dict[str, str]:
    """The keys that this run's command line set, without those that only say where things go."""
    pairs = (word.lstrip("+").partition("=") for word in words())
    return {
        key: value
        for key, _, value in pairs
        if key != "recipe" and key.partition(".")[0] != "workspace"
    }


def shown() -> dict[str, str]:
    """The same, with what is secret named in its place, as others may see it."""
    names = masking.names_of(words())
    return {key: masking.masked(value, names) for key, value in overrides().items()}


def recipe() -> str:
    """The recipe that this run's command line chose; empty if none."""
    pairs = (word.lstrip("+").partition("=") for word in words())
    return next((value for key, _, value in pairs if key == "recipe"), "")


def names_data() -> bool:
    """Whether this run's command line chose its data, by itself, a recipe or a config file."""
    is_own_file = HydraConfig.get().job.config_name != "run"
    keys = (key.partition(".")[0] for key in overrides())
    return is_own_file or bool(recipe()) or "data" in keys


def write_metrics(folder: Path, metrics: dict[str, list[dict[str, float]]]) -> None:
    """Write metrics.jsonl: a row a logged step, `model` naming the model."""
    lines = [json.dumps({"model": name, **row}) for name, rows in metrics.items() for row in rows]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def copy_model(source: Path, folder: Path, card: str) -> None:
    """Copy a trained model out of the workspace and put its card beside it.

    A copy, not a link: whoever saves over the files must not alter the artifact.
    """
    folder.mkdir()
    for path in sorted(source.rglob("*")):  # parents come before what is in them
        target = folder / path.relative_to(source)
        if path.is_dir():
            target.mkdir()
        else:
            shutil.copyfile(path, target)
    (folder / "README.md").write_text(card, encoding="utf-8")


def copy_predictions(evaluation: Path, folder: Path) -> None:
    """Copy each model's predictions of the held-out rows, where it wrote them."""
    if (evaluation / PREDICTIONS).exists():
        shutil.copyfile(evaluation / PREDICTIONS, folder / PREDICTIONS)


def show(results: dict[str, Any], title: str) -> None:
    """Print the table and what it says to stdout."""
    from distillkit.reporting.report import sentences, terminal_table

    if rank():
        return
    console = stdout()
    console.print(terminal_table(results, title, console.width))
    for line in sentences(results):
        console.print(line)


def relative(path: Path) -> str:
    """A path, relative to the working folder where it lies within."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def say_where(path: Path, label: str) -> None:
    """Say where something was written."""
    say(f"{label}: {relative(path)}")
