"""What a loss on activations compares of teacher and student, settled on their meta models."""

from copy import deepcopy
from functools import cached_property

from distillkit.errors import ConfigError
from distillkit.losses import Loss
from distillkit.models.shapes import dimensions_of
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.meta_models import MetaModels
from distillkit.pipeline.text import TextArtifacts
from distillkit.types import StoredLayers

FROM_THE_LEFT = ("xlnet",)  # padded on the left, its states tokens first


class LayerComparison:
    """Which layers of teacher and student a loss compares; none where it looks at logits alone."""

    def __init__(self, context: RunContext, text: TextArtifacts) -> None:
        self.context, self.text = context, text

    @cached_property
    def stored(self) -> StoredLayers:
        """The hidden states of the teacher that its store keeps, for a loss that looks at them."""
        if not self.context.stores_targets or not self.context.loss.needs_activations:
            return StoredLayers()
        return self.bound_loss().states

    def bound_loss(self) -> Loss:
        """A copy of the loss, with the layers and widths that it compares settled.

        Raises `ConfigError` for a layer that a model does not have, and for models that pad on the
        left.
        """
        models = MetaModels(self.context, self.text)
        for model in (models.student, models.teacher):
            if model.config.model_type in FROM_THE_LEFT:
                raise ConfigError(
                    f"loss = {type(self.context.loss).__name__}: looks inside the models, and "
                    f"{type(model).__name__} has its texts at the other end of a row; choose a "
                    "loss on logits"
                )
        loss: Loss = deepcopy(self.context.loss)
        loss.bind(dimensions_of(models.student), dimensions_of(models.teacher))
        return loss
