"""A loss that looks inside models is tried on their outlines before anything is trained."""

from copy import deepcopy
from typing import TYPE_CHECKING

from distillkit.console.progress import say
from distillkit.errors import ConfigError
from distillkit.losses import Loss
from distillkit.models.shapes import dimensions_of
from distillkit.pipeline.meta_models import Outlines

FROM_THE_LEFT = ("xlnet",)  # padded on the left, its states tokens first

if TYPE_CHECKING:
    from distillkit.pipeline.road import Road


def check_inside(road: "Road") -> None:
    """Say which layers learn from which; raises `ConfigError` for what the models do not have.

    Nothing happens if the student is there already, or if the loss looks at logits alone.
    """
    if not road.loss.looks_inside or road.find(road.student_role):
        return
    for term, drawn in bound(road).drawings.items():
        say(f"{term}: layers of the student under those of the teacher\n{drawn}")


def bound(road: "Road") -> Loss:
    """The loss, with what it compares of these models settled; the run's own is left as it is."""
    outlines = Outlines(road)
    for model in (outlines.student, outlines.teacher):
        if model.config.model_type in FROM_THE_LEFT:
            raise ConfigError(
                f"loss = {type(road.loss).__name__}: looks inside the models, and "
                f"{type(model).__name__} has its texts at the other end of a row; choose a loss on "
                "logits"
            )
    loss: Loss = deepcopy(road.loss)
    loss.bind(dimensions_of(outlines.student), dimensions_of(outlines.teacher))
    return loss
