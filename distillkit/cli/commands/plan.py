"""`distillkit plan`: what a run would find, make, compute and need, before it does."""

import math
from functools import partial

from omegaconf import DictConfig

from distillkit.console.progress import stdout
from distillkit.pipeline.checks import check_has_training
from distillkit.pipeline.model_checks import check_models
from distillkit.pipeline.phases import runs
from distillkit.planning.estimator import CostEstimator
from distillkit.planning.scale_tables import ScalePlan, at_scale
from distillkit.planning.tables import RunPlan


def plan(cfg: DictConfig) -> float:
    """Print the plan of a run; return its expected seconds, NaN where they cannot be told."""
    # nothing that costs: no teacher is fitted or asked, nobody learns
    phases = runs(cfg, makes=())
    for run in phases:
        run.context.record.leave()
        check_has_training(run.context)
    seconds, earlier = 0.0, set[str]()
    for run in phases:
        if not run.before:
            run.context.student.check_is_new()
        if run.context.phase:
            stdout().print(f"phase {run.context.phase}", style="bold")
        is_last = run is phases[-1]
        run_plan = CostEstimator(run, hardware=cfg.hardware, is_last=is_last, earlier=earlier).plan(
            # what does not fit into memory is said beside the rest
            partial(check_models, run, memory=math.inf)
        )
        earlier |= {artifact.detail for artifact in run_plan.artifacts}
        seconds += _show(run_plan, at_scale(run_plan, cfg.processes, cfg.tokens))
    return seconds


def _show(run_plan: RunPlan, scaled: ScalePlan | None) -> float:
    """Print what one training would find, make, compute and need; its expected seconds or NaN.

    Where the plan is `scaled`, to many processes or a larger corpus, of one process only what is
    there and the text are told.
    """
    console = stdout()
    estimate = scaled or run_plan
    for line in estimate.problems():
        console.print(f"does not fit: {line}", style="red", soft_wrap=True)
    tables = run_plan.tables(boxed=console.is_terminal)
    if scaled:
        tables = [*tables[:2], *scaled.tables(boxed=console.is_terminal)]
    for table in tables:
        console.print(table)
        console.print()
    for line in estimate.sentences():
        console.print(line)
    return float("nan") if estimate.seconds is None else estimate.seconds
