"""`distillkit plan`: what a run would find, make, compute and need, before it does."""

import math

from omegaconf import DictConfig

from distillkit.console.progress import stdout
from distillkit.pipeline.model_checks import check_models
from distillkit.pipeline.phases import runs
from distillkit.pipeline.run import Run
from distillkit.planning.estimator import Forecast


def plan(cfg: DictConfig) -> float:
    """Print the plan of a run; return its expected seconds, NaN where they cannot be told."""
    # nothing that costs: no teacher is fitted or asked, nobody learns
    phases = runs(cfg, makes=())
    for run in phases:
        run.context.record.leave()
    seconds = 0.0
    for run in phases:
        if not run.before:
            run.context.student.check_is_new()
        if run.context.phase:
            stdout().print(f"phase {run.context.phase}", style="bold")
        seconds += _show(run, cfg)
    return seconds


def _show(run: Run, cfg: DictConfig) -> float:
    """Print what one training would find, make, compute and need; its expected seconds or NaN."""
    outlook = Forecast(run, hardware=cfg.hardware).look(
        # what does not fit into memory is said beside the rest
        lambda: check_models(run, memory=math.inf)
    )

    console = stdout()
    for line in outlook.problems():
        console.print(f"does not fit: {line}", style="red", soft_wrap=True)
    for table in outlook.tables(boxed=console.is_terminal):
        console.print(table)
        console.print()
    for line in outlook.sentences():
        console.print(line)
    return float("nan") if outlook.seconds is None else outlook.seconds
