"""`distillkit plan`: what a run would find, make, compute and need, before it does."""

import math

from omegaconf import DictConfig

from distillkit.console.progress import stdout
from distillkit.pipeline.inside import check_inside
from distillkit.pipeline.model_checks import check_shapes
from distillkit.pipeline.phases import roads
from distillkit.pipeline.reading import check_tokenizers
from distillkit.pipeline.road import Road
from distillkit.planning.estimator import Forecast
from distillkit.students import FromTeacher, ScratchStudent


def plan(cfg: DictConfig) -> float:
    """Print the plan of a run; return its expected seconds, NaN where they cannot be told."""
    # nothing that costs: no teacher is fitted or asked, nobody learns
    line = roads(cfg, makes=())
    for road in line:
        road.record.leave()
    seconds = 0.0
    for road in line:
        if isinstance(road.student, FromTeacher | ScratchStudent) and not road.before:
            road.student.check_is_new()
        if road.phase:
            stdout().print(f"phase {road.phase}", style="bold")
        seconds += _show(road, cfg)
    return seconds


def _show(road: Road, cfg: DictConfig) -> float:
    """Print what one training would find, make, compute and need; its expected seconds or NaN."""
    outlook = Forecast(road, hardware=cfg.hardware).look(lambda: _check(road))

    console = stdout()
    for line in outlook.problems():
        console.print(f"does not fit: {line}", style="red", soft_wrap=True)
    for table in outlook.tables(boxed=console.is_terminal):
        console.print(table)
        console.print()
    for line in outlook.sentences():
        console.print(line)
    return float("nan") if outlook.seconds is None else outlook.seconds


def _check(road: Road) -> None:
    """Raise for what training would refuse, in the same order."""
    check_shapes(road, memory=math.inf)  # what does not fit is told beside the rest
    check_tokenizers(road)
    check_inside(road)
