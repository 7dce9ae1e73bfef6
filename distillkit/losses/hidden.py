"""Losses of the student's hidden states against the teacher's: one value a token, or a text.

Hidden states are [*batch, hidden]; what they are compared with has the same shape.
"""

from jaxtyping import Float
from torch import Tensor

from distillkit.losses.reduction import Reduction, at_least_float32, per_position, unit

Hidden = Float[Tensor, "*batch hidden"]
Values = Float[Tensor, "*batch"]


def hidden_mse(student: Hidden, teacher: Hidden, *, reduction: Reduction = "mean") -> Values:
    """The squared difference of two hidden states.

    Jiao et al. 2020 (TinyBERT), https://arxiv.org/abs/1909.10351, equations 8 and 9; "mean" as in
    its official code, which counts padded tokens too.
    """
    difference = at_least_float32(student) - at_least_float32(teacher)
    return per_position(difference.square(), reduction=reduction)


def hidden_cosine(student: Hidden, teacher: Hidden) -> Values:
    """1 - cos of the angle between two hidden states, between 0 and 2; 1 where one of them is 0.

    Sanh et al. 2019 (DistilBERT), https://arxiv.org/abs/1910.01108, section 3, and its code.
    """
    return 1 - (unit(student) * unit(teacher)).sum(dim=-1)


def patience(
    student: Hidden, teacher: Hidden, *, normalise: bool = True, reduction: Reduction = "batchmean"
) -> Values:
    """The squared difference of two [CLS] states, scaled to length 1 unless told otherwise.

    Sun et al. 2019 (PKD), https://arxiv.org/abs/1908.09355, equation 7: "batchmean". Its official
    code takes the mean over the hidden channels and over the pairs of layers as well.
    """
    ready = unit if normalise else at_least_float32
    return per_position((ready(student) - ready(teacher)).square(), reduction=reduction)
