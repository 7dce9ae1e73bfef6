"""Which channels, neurons and heads a narrower student keeps."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from distillkit.errors import ConfigError
from distillkit.models.layouts import layout_of
from distillkit.students.pruning.importance import WidthScores
from distillkit.students.pruning.projection import Projection
from distillkit.students.pruning.settings import CutSettings


@dataclass(frozen=True, slots=True)
class Widths:
    """What is kept of the teacher, as ascending indices; None: all of it.

    `hidden` [hidden] is one choice for the whole model, and so is a `projection` in its place;
    `neurons` [layers, neurons], `heads` [layers, heads] and `kv_heads` [layers, heads] are those of
    each of the teacher's layers.
    """

    hidden: Tensor | None = None
    neurons: Tensor | None = None
    heads: Tensor | None = None
    kv_heads: Tensor | None = None
    projection: Projection | None = None

    @property
    def hidden_size(self) -> int | None:
        """The number of hidden channels that is left; None: all."""
        if self.projection is not None:
            return self.projection.axes.shape[1]
        return None if self.hidden is None else len(self.hidden)


@dataclass(frozen=True, slots=True)
class _Sizes:
    hidden: int
    neurons: int
    heads: int
    kv_heads: int

    @property
    def group(self) -> int:
        """Query heads that share a key-value head."""
        return self.heads // self.kv_heads


def _teachers(model: Any) -> _Sizes:
    config, layout = model.config, layout_of(model)
    return _Sizes(
        hidden=config.hidden_size,
        neurons=getattr(config, layout.intermediate) or 4 * config.hidden_size,  # GPT-2's null
        heads=config.num_attention_heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
    )


def _students(student: CutSettings, teacher: _Sizes) -> _Sizes:
    """Heads that are not given follow from those that are."""
    heads, kv_heads = student.num_attention_heads, student.num_key_value_heads
    if kv_heads is None:
        shared = teacher.group > 1
        kv_heads = teacher.kv_heads if shared or heads is None else heads
    elif heads is None:
        heads = kv_heads * teacher.group
    return _Sizes(
        hidden=student.hidden_size or teacher.hidden,
        neurons=student.intermediate_size or teacher.neurons,
        heads=heads or teacher.heads,
        kv_heads=kv_heads,
    )


def head_width(model: Any) -> int:
    """The width of one attention head."""
    own = getattr(model.config, "head_dim", None) if layout_of(model).free_heads else None
    return int(own or model.config.hidden_size // model.config.num_attention_heads)


def check_widths(student: CutSettings, model: Any) -> None:
    """Raise `ConfigError` for widths that the teacher does not have or that do not fit together."""
    teacher = _teachers(model)
    for name, limit in (
        ("hidden_size", teacher.hidden),
        ("intermediate_size", teacher.neurons),
        ("num_attention_heads", teacher.heads),
        ("num_key_value_heads", teacher.kv_heads),
    ):
        size = getattr(student, name)
        if size is not None and size > limit:
            raise ConfigError(f"student.{name} = {size}: the teacher has {limit}")
    if student.num_key_value_heads and not hasattr(model.config, "num_key_value_heads"):
        raise ConfigError(
            f"student.num_key_value_heads = {student.num_key_value_heads}: {_kind(model)} has no "
            "such heads; set it to null"
        )
    size = _students(student, teacher)
    if size.heads % size.kv_heads or size.group > teacher.group:
        raise ConfigError(
            f"student.num_attention_heads = {size.heads}: must be 1 to {teacher.group} for each "
            f"of the {size.kv_heads} key-value heads, the same number for all"
        )
    width = head_width(model)
    if not layout_of(model).free_heads and size.hidden != size.heads * width:
        raise ConfigError(
            f"student.hidden_size = {size.hidden}: a {_kind(model)} of {size.heads} heads has "
            f"{size.heads * width} (the teacher's heads are {width} wide); set hidden_size and "
            "num_attention_heads to fit each other"
        )


def _kind(model: Any) -> str:
    return str(model.config.model_type)


def kept_widths(student: CutSettings, model: Any, scores: WidthScores) -> Widths:
    """What scores highest; key-value heads by the sum of the query heads that would stay."""
    teacher = _teachers(model)
    sizes = _students(student, teacher)
    heads = kv_heads = None
    if (sizes.heads, sizes.kv_heads) != (teacher.heads, teacher.kv_heads):
        grouped = scores.heads.unflatten(-1, (teacher.kv_heads, teacher.group))
        within = _best(grouped, sizes.group)  # [layers, kv_heads, group]
        kv_heads = _best(grouped.gather(-1, within).sum(dim=-1), sizes.kv_heads)
        indices = within.gather(1, kv_heads.unsqueeze(-1).expand(-1, -1, sizes.group))
        heads = (kv_heads.unsqueeze(-1) * teacher.group + indices).flatten(1)
    return Widths(
        hidden=_best(scores.hidden, sizes.hidden) if sizes.hidden < teacher.hidden else None,
        neurons=_best(scores.neurons, sizes.neurons) if sizes.neurons < teacher.neurons else None,
        heads=heads,
        kv_heads=kv_heads,
    )


def _best(scores: Tensor, count: int) -> Tensor:
    """The indices of the highest scores along the last dimension, ascending; of ties the first."""
    order = scores.argsort(dim=-1, descending=True, stable=True)[..., :count]
    return order.sort(dim=-1).values
