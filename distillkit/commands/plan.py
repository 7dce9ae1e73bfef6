"""`distillkit plan`: what a run would find, make, compute and need, before it does."""

from omegaconf import DictConfig

from distillkit.commands.forecast import Forecast
from distillkit.commands.road import Road
from distillkit.progress import stdout
from distillkit.students import ScratchStudent


def plan(cfg: DictConfig) -> float:
    """Print the plan of a run; return its expected seconds, NaN where they cannot be told."""
    road = Road(cfg, makes=())  # nothing that costs: no teacher is fitted or asked, nobody learns
    if isinstance(road.student, ScratchStudent):
        road.student.check_is_new()

    outlook = Forecast(road, hardware=cfg.hardware).look()

    console = stdout()
    for line in outlook.problems():
        console.print(f"does not fit: {line}", style="red", markup=False, soft_wrap=True)
    for table in outlook.tables(boxed=console.is_terminal):
        console.print(table)
        console.print()
    for line in outlook.sentences():
        console.print(line, markup=False)
    return float("nan") if outlook.seconds is None else outlook.seconds
