"""A loss: squared Hellinger distance."""

from dataclasses import dataclass

from torch import Tensor

from distillkit.losses.distillation import Divergence


@dataclass(eq=False, repr=False, kw_only=True)
class Hellinger(Divergence):
    """sum of (sqrt p - sqrt q)^2 / 2 over the classes; of all logits, or of a few entries."""

    def by_class(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """The terms, of log-probabilities."""
        return ((log_p / 2).exp() - (log_q / 2).exp()) ** 2 / 2
