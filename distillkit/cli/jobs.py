"""What Hydra calls: a single run, or one job of a sweep, in this process or in one of its own.

A job that fails leaves a record of why in its folder, and the rest of the sweep goes on.
"""

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from distillkit import stopping
from distillkit.cli.tables import REPORTS, RUNS
from distillkit.console import masking
from distillkit.console.wording import brief
from distillkit.errors import ConfigError, DistillkitError

LONGEST_LINE = 900  # characters of a message
Value = float | tuple[float, ...] | None  # what a sweeper goes by; None: the job failed


def load(place: str) -> Callable[..., Any]:
    """The function of a "module:name", its module loaded now."""
    module, name = place.split(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def lines(error: DistillkitError) -> list[str]:
    """Each fault that an error tells of."""
    return error.problems if isinstance(error, ConfigError) else [str(error)]


def remove_empty_output() -> None:
    """A run that wrote nothing leaves no empty folder behind."""
    folder = _folder()
    for path in (folder, folder.parent, folder.parent.parent):
        try:
            path.rmdir()
        except OSError:
            return


def _folder() -> Path:
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir)


class JobFunction:
    """A command as a function of its config. Pickled, it runs in a process of a launcher's.

    `failed` are the faults of the runs of this process, a line each; `has_folder` says that one of
    which the folder was made is under way.
    """

    def __init__(
        self, command: str, words: list[str], swept: Mapping[str, int], folder: Path | None
    ) -> None:
        self.command, self.swept, self.user_folder = command, dict(swept), folder
        self.names = masking.names_of(words)
        self.failed: list[str] = []
        self.has_folder = False

    def __call__(self, cfg: Any) -> Value:
        """What a sweeper goes by."""
        from distillkit.config import entries
        from distillkit.console.progress import mask_with, say

        self.has_folder = True
        if "RANK" in os.environ:
            load("distillkit.ranks:before_end")(remove_empty_output)
        mask_with(lambda text: masking.masked(text, self.names))
        entries.use_folder(self.user_folder)  # a launcher may have started this process anew
        title = load("distillkit.pipeline.sweep:job_title")(self.swept)
        if title:
            say(title)
        job = load("distillkit.pipeline.sweep:record")(title, self.names) if title else None
        if job:
            job.write(_folder())
        try:
            metric = self._run(cfg)
            self._settle(job, "done", metric)  # a stage alone leaves an artifact, and no report
        except KeyboardInterrupt:
            self._settle(job, "stopped")
            raise
        except Exception as error:
            if stopping.is_cause(error) or (stopping.requested() and job):
                self._settle(job, "stopped")
                raise
            metric = self._failed(error, title, job)
        finally:
            load("distillkit.artifacts.run_records:close_all")()
        self.has_folder = False  # the next job of a sweep has none yet
        return metric

    def _run(self, cfg: Any) -> Value:
        from distillkit.console.progress import heartbeat, working

        command = self.command
        with heartbeat(), working(command):
            if command in REPORTS:
                load("distillkit.pipeline.run_folder:check_writable")(cfg)
            with working(f"{command}: loading PyTorch and transformers"):
                function = load(RUNS[command])
            metric: Value = function(cfg)
        return metric

    def _settle(self, job: Any, state: str, metric: Value = None) -> None:
        """Say in its record how a job ended; a folder that has nothing else in it goes."""
        from distillkit.artifacts.sweep_records import JOB

        record = _folder() / JOB
        if job and any(path != record for path in _folder().iterdir()):
            values = metric if isinstance(metric, tuple) else (metric,)
            job.ended(state, values=[it for it in values if it is not None]).write(_folder())
        else:
            record.unlink(missing_ok=True)
        remove_empty_output()

    def _failed(self, error: Exception, title: str, job: Any) -> Value:
        """Tell of a run that cannot be done; raises it where nobody else would be told."""
        from distillkit.console.progress import say

        if not isinstance(error, DistillkitError) and not title:
            raise error
        if isinstance(error, DistillkitError):
            faults = lines(error)
        else:  # a fault of the program, which a launcher's process would not show
            sys.stderr.write(masking.masked(traceback.format_exc(), self.names))
            faults = [f"{type(error).__name__}: {error}"]
        faults = [brief(masking.masked(line, self.names), LONGEST_LINE) for line in faults]
        is_told = bool(job) and job.ended("failed", "; ".join(faults)).write(_folder())
        remove_empty_output()
        if not is_told and not _runs_in_this_process():
            raise error
        # kept for the end: Hydra would print its own words, and the rest of a sweep goes on
        for line in faults:
            if not is_told:
                self.failed.append(f"{title}: {line}" if title else line)
            if title:
                say(f"{title}: failed, {line}")
        return None


def _runs_in_this_process() -> bool:
    """Whether this is a single run, or a job of Hydra's own launcher."""
    from hydra.core.hydra_config import HydraConfig

    launcher = HydraConfig.get().launcher["_target_"]
    return not load("distillkit.pipeline.sweep:is_job")() or "BasicLauncher" in launcher
