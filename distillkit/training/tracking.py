"""What training logs, in a tracker beside metrics.jsonl: TensorBoard, W&B, MLflow or Trackio.

By Accelerate's trackers, on the first process alone, and offline: files in the run's own folder,
unless variables of the tracker's say where else (WANDB_MODE, MLFLOW_TRACKING_URI, …).
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from distillkit.console.progress import rank, say, warn
from distillkit.console.wording import first_line
from distillkit.errors import TrainingError
from distillkit.models.runtimes.packages import check_installed
from distillkit.training.distributed import end_trackers, new_trackers, own_steps

FOLDER = "tracker"  # in a run's folder
EVALUATION, STEP = "evaluation", "step"  # labels of the table's scores, and of a model's steps
PACKAGES = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "trackio": "trackio",
}

_current: "Tracker | None" = None


class Tracker:
    """The tracker of a run, with its files in `folder`.

    Raises `TrainingError` where it cannot begin. One that fails later is given up with a warning:
    metrics.jsonl has all figures.
    """

    def __init__(self, name: str, run_name: str, folder: Path, facts: Mapping[str, str]) -> None:
        self.name = name
        self._accelerator: Any = None
        self._logged: dict[str, set[int]] = {}  # label -> steps
        folder.mkdir(parents=True, exist_ok=True)
        self._variables = _set_offline(name, folder)
        try:
            with redirect_stdout(io.StringIO()):  # which is for what a command was asked for
                self._accelerator = new_trackers(name, run_name, folder, dict(facts))
        except Exception as error:  # trackers raise whatever they like
            raise TrainingError(
                f"tracker = {name}: it cannot begin ({first_line(error)}); mend that, or set "
                "tracker=none"
            ) from error
        self.folder = _own_folder(name, folder)

    def log(self, label: str, row: Mapping[str, float]) -> None:
        """Log a row of a model's training, once: each figure under `label/name`, at its step."""
        step = int(row["step"])
        if self._accelerator is None or step in self._logged.setdefault(label, set()):
            return
        is_first = not self._logged[label]
        self._logged[label].add(step)
        values = {f"{label}/{name}": value for name, value in row.items() if name != "step"}
        try:
            if (
                self.name == "wandb"
            ):  # whose own steps only rise, and each model begins at the first
                values[f"{label}/{STEP}"] = step
                if is_first:
                    own_steps(self._accelerator, f"{label}/*", f"{label}/{STEP}")
            self._accelerator.log(values, step=None if self.name == "wandb" else step)
        except Exception as error:
            warn(f"tracker = {self.name}: it logs no more ({first_line(error)})")
            self._accelerator = None

    def log_scores(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Log the numbers of an evaluation's table, each under `evaluation/row/column`."""
        numbers = {
            f"{row}/{column}": value
            for row, columns in rows.items()
            for column, value in columns.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        self.log(EVALUATION, {"step": 0, **numbers})

    def close(self) -> None:
        """End it, with all on disk, and the environment as it was."""
        if self._accelerator is not None:
            try:
                with redirect_stdout(io.StringIO()):
                    end_trackers(self._accelerator)
            except Exception as error:
                warn(f"tracker = {self.name}: it does not end as it should ({first_line(error)})")
            self._accelerator = None
        for variable in self._variables:
            os.environ.pop(variable, None)


def check_tracker(name: str) -> None:
    """Raise `ConfigError` that names the extra where a tracker is not installed."""
    if name in PACKAGES:
        check_installed(PACKAGES[name], extra=name, at=f"tracker = {name}")


@contextmanager
def tracked(name: str, run_name: str, folder: Path, facts: Mapping[str, str]) -> Iterator[None]:
    """Log what is trained within to the tracker of this name; none: to metrics.jsonl alone."""
    global _current
    if name == "none" or rank():
        yield
        return
    _current = Tracker(name, run_name, folder / FOLDER, facts)
    try:
        yield
    finally:
        tracker, _current = _current, None
        tracker.close()
        say(f"tracker: {name}, in {tracker.folder}")


def log_rows(label: str, rows: Sequence[Mapping[str, float]]) -> None:
    """Log the rows of a model's training that the tracker has not yet; nothing without one."""
    if _current is not None:
        for row in rows:
            _current.log(label, row)


def log_scores(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Log the table of the evaluation; nothing without a tracker."""
    if _current is not None:
        _current.log_scores(rows)


def _own_folder(name: str, folder: Path) -> Path:
    """Where a tracker keeps its files: Trackio in the folder of a process's first run."""
    if name != "trackio":
        return folder
    own = Path(import_module("trackio.utils").TRACKIO_DIR)
    if own != folder.absolute() and not any(folder.iterdir()):
        folder.rmdir()
    return own


def _set_offline(name: str, folder: Path) -> list[str]:
    """Have a tracker keep its files in a folder, unless its own variables say otherwise.

    Returns the variables that were set; they are read whenever something is logged.
    """
    path = str(folder.absolute())
    defaults = {
        "wandb": {
            "WANDB_MODE": "offline",
            "WANDB_DIR": path,
            "WANDB_DATA_DIR": path,
            "WANDB_CACHE_DIR": path,
            "WANDB_SILENT": "true",
        },
        "mlflow": {"MLFLOW_TRACKING_URI": f"sqlite:///{path}/mlflow.db"},
        "trackio": {"TRACKIO_DIR": path},
    }.get(name, {})
    added = {key: value for key, value in defaults.items() if key not in os.environ}
    os.environ.update(added)
    return [*added]
