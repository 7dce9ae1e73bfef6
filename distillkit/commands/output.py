"""What a run writes for people: outputs/<recipe>/<timestamp>/."""

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from distillkit.artifacts import write_json
from distillkit.progress import rank, say, stdout

PREDICTIONS = "predictions.csv"
PACKAGES = ("distillkit", "torch", "transformers", "datasets", "accelerate", "hydra-core", "numpy")


def run_folder() -> Path:
    """This run's own folder."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_run(cfg: DictConfig) -> Path:
    """Write config.yaml and environment.json; return the run's folder."""
    folder = run_folder()
    OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
    record = {
        "command": [*sys.argv[0].split(), *sys.argv[1:]],
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in PACKAGES},
    }
    write_json(folder / "environment.json", record)
    return folder


def overrides() -> dict[str, str]:
    """The keys that this run's command line set, without those that only say where things go."""
    pairs = (word.lstrip("+").partition("=") for word in HydraConfig.get().overrides.task)
    return {
        key: value
        for key, _, value in pairs
        if key != "recipe" and key.partition(".")[0] != "workspace"
    }


def recipe() -> str:
    """The recipe that this run's command line chose; empty if none."""
    pairs = (str(word).lstrip("+").partition("=") for word in HydraConfig.get().overrides.task)
    return next((value for key, _, value in pairs if key == "recipe"), "")


def write_metrics(folder: Path, metrics: dict[str, list[dict[str, float]]]) -> None:
    """Write metrics.jsonl: a row a logged step, `model` naming whose."""
    lines = [json.dumps({"model": name, **row}) for name, rows in metrics.items() for row in rows]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def copy_model(source: Path, folder: Path, card: str) -> None:
    """Copy a trained model out of the workspace and put its card beside it.

    A copy, not a link: whoever saves over the files must not alter the artifact.
    """
    shutil.copytree(source, folder, dirs_exist_ok=True)
    (folder / "README.md").write_text(card, encoding="utf-8")


def copy_predictions(evaluation: Path, folder: Path) -> None:
    """Copy what each model said about the held-out rows, where it is written for people."""
    if (evaluation / PREDICTIONS).exists():
        shutil.copy(evaluation / PREDICTIONS, folder / PREDICTIONS)


def show(results: dict[str, Any], title: str) -> None:
    """Print the table and what it says to stdout."""
    from distillkit.stages.report import sentences, terminal_table

    if rank():
        return
    console = stdout()
    console.print(terminal_table(results, title, console.width))
    for line in sentences(results):
        console.print(line)


def relative(path: Path) -> str:
    """A path as short as it can be said."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def say_where(path: Path, what: str) -> None:
    """Say where something was written."""
    say(f"{what}: {relative(path)}")
