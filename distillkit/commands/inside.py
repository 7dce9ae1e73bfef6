"""A loss that looks inside models is tried on their outlines before anything is trained."""

from copy import deepcopy

from distillkit.commands.outlines import Outlines
from distillkit.commands.road import Road
from distillkit.progress import say
from distillkit.tasks.shapes import dimensions_of


def check_inside(road: Road) -> None:
    """Say which layers learn from which; raises `ConfigError` for what the models do not have.

    Nothing happens if the student is there already, or if the loss looks at logits alone.
    """
    if not road.loss.looks_inside or road.find(road.student_role):
        return
    outlines = Outlines(road)
    loss = deepcopy(road.loss)
    loss.bind(dimensions_of(outlines.student), dimensions_of(outlines.teacher))
    for term, drawn in loss.drawings.items():
        say(f"{term}: layers of the student under those of the teacher\n{drawn}")
