"""A student cut out of its teacher: fewer layers, or narrower ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from distillkit.constraints import PositiveInt
from distillkit.errors import ConfigError
from distillkit.progress import working

if TYPE_CHECKING:
    from torch import Tensor

How = Literal[
    "uniform", "every_kth", "first", "last", "drop_middle", "block_influence", "importance"
]


@dataclass(frozen=True)
class FromTeacher:
    """A copy of the teacher with fewer layers, or narrower.

    `layers` is how many are kept, chosen by `choose` (see `kept_layers`), or which (0-based); null
    keeps all. Widths are null or smaller than the teacher's; what matters most is kept, measured on
    `calibration_examples` of the training text as in Minitron, https://arxiv.org/abs/2407.14679,
    section 2: hidden channels and neurons by mean |activation|, heads by the norm of their output.
    With `narrow_by: pca` the hidden channels, word embeddings included, become the principal
    components of the teacher's (see `hidden_projection`). `path` is for `evaluate`.
    """

    layers: int | list[int] | None = None
    choose: Literal[
        "uniform", "every_kth", "first", "last", "drop_middle", "block_influence", "importance"
    ] = "uniform"
    hidden_size: PositiveInt | None = None
    intermediate_size: PositiveInt | None = None
    num_attention_heads: PositiveInt | None = None
    num_key_value_heads: PositiveInt | None = None
    narrow_by: Literal["importance", "pca"] = "importance"
    calibration_examples: PositiveInt = 64
    path: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.layers, int):
            if self.layers < 1:
                raise ConfigError(f"student.layers = {self.layers}: must be 1 or more; null: all")
        elif self.layers is not None and not _ascends(self.layers):
            raise ConfigError(
                f"student.layers = {self.layers}: must name layers in ascending order, from 0, "
                "each once"
            )
        if self.narrow_by == "pca" and self.hidden_size is None:
            raise ConfigError(
                "student.narrow_by = pca: it makes fewer hidden channels; set student.hidden_size, "
                "or student.narrow_by=importance"
            )

    @property
    def is_narrower(self) -> bool:
        """Whether any width is to be cut."""
        widths = (
            self.hidden_size,
            self.intermediate_size,
            self.num_attention_heads,
            self.num_key_value_heads,
        )
        return any(width is not None for width in widths)

    @property
    def measures_layers(self) -> bool:
        """Whether text decides which layers are kept."""
        return isinstance(self.layers, int) and self.choose in ("block_influence", "importance")

    @property
    def needs_text(self) -> bool:
        """Whether anything is measured: otherwise no calibration text is read."""
        return self.is_narrower or self.measures_layers

    def check_is_new(self) -> None:
        """Raise `ConfigError` if a finished student is named where one is to be trained."""
        if self.path:
            raise ConfigError(
                f"student.path = {self.path}: this student is cut out of the teacher; to start "
                "from a folder choose student=pretrained (student.path alone is for "
                "`distillkit evaluate`)"
            )

    def check_layers(self, teacher_layers: int) -> None:
        """Raise `ConfigError` for layers that the teacher does not have."""
        count = self.layers if isinstance(self.layers, int) else 1
        if count > teacher_layers:
            raise ConfigError(
                f"student.layers = {self.layers}: the teacher has {teacher_layers} layers"
            )
        if self.choose == "every_kth" and teacher_layers % count:
            raise ConfigError(
                f"student.layers = {self.layers}: with student.choose=every_kth it must divide the "
                f"teacher's {teacher_layers}; choose uniform, or name the layers"
            )
        if isinstance(self.layers, list) and self.layers[-1] >= teacher_layers:
            raise ConfigError(
                f"student.layers = {self.layers}: the teacher has layers 0 to {teacher_layers - 1}"
            )


def _ascends(layers: Sequence[int]) -> bool:
    return bool(layers) and layers[0] >= 0 and all(a < b for a, b in pairwise(layers))


def kept_layers(
    teacher_layers: int, count: int, how: How, scores: Sequence[float] | None = None
) -> list[int]:
    """Which of the teacher's layers a student of `count` layers keeps, 0-based, ascending.

    `uniform` keeps the first and the last and spaces the others evenly: 6 of 12 are
    [0, 2, 4, 7, 9, 11], the layers of DistilBERT (Sanh et al. 2019,
    https://arxiv.org/abs/1910.01108, in its `extract_distilbert.py`). `every_kth` keeps the last of
    each k = teacher_layers / count: 6 of 12 are [1, 3, 5, 7, 9, 11], those that TinyBERT's uniform
    map is to (Jiao et al. 2020, https://arxiv.org/abs/1909.10351). `drop_middle` drops one block
    in the middle (of an odd `count`, one more is kept in front). `block_influence` and `importance`
    keep the layers of the highest `scores` [teacher_layers]; of equal ones, the earlier.
    """
    match how:
        case "first":
            return list(range(count))
        case "every_kth":
            k = teacher_layers // count
            return list(range(k - 1, teacher_layers, k))
        case "last":
            return list(range(teacher_layers - count, teacher_layers))
        case "drop_middle":
            front = (count + 1) // 2
            return [*range(front), *range(teacher_layers - (count - front), teacher_layers)]
        case "uniform":
            gaps = max(1, count - 1)
            # rounded half up in whole numbers: round() would go to the even neighbour
            return [(2 * i * (teacher_layers - 1) + gaps) // (2 * gaps) for i in range(count)]
        case _:
            assert scores is not None and len(scores) == teacher_layers
            best = sorted(range(teacher_layers), key=lambda i: -scores[i])
            return sorted(best[:count])


def make(
    student: FromTeacher, teacher_model: Any, batches: "Iterable[Mapping[str, Tensor]]"
) -> Any:
    """The student before training: a new float32 model of the teacher's class, on the CPU.

    `batches` are a model's inputs, of which `calibration_examples` rows are read, and none unless
    the student `needs_text`. Raises `ConfigError` for what the teacher does not have, `ModelError`
    for an architecture that cannot be cut.
    """
    from distillkit.students.anatomy import layer_stack
    from distillkit.students.projection import hidden_projection
    from distillkit.students.pruning import prune
    from distillkit.students.scores import first_examples, layer_scores, width_scores
    from distillkit.students.widths import check_widths, kept_widths

    teacher_layers = len(layer_stack(teacher_model)[1])
    student.check_layers(teacher_layers)
    if student.is_narrower:
        check_widths(student, teacher_model)
    text = first_examples(batches, student.calibration_examples) if student.needs_text else []
    widths = None
    if student.is_narrower:
        with working("student: how much each channel of the teacher matters"):
            widths = kept_widths(student, teacher_model, width_scores(teacher_model, text))
        if student.narrow_by == "pca":
            assert student.hidden_size is not None
            projection = hidden_projection(teacher_model, text, student.hidden_size)
            widths = replace(widths, hidden=None, projection=projection)
    if not isinstance(student.layers, int):
        return prune(teacher_model, layers=student.layers, widths=widths)
    scores = None
    if student.measures_layers:
        with working("student: how much each layer of the teacher matters"):
            scores = layer_scores(teacher_model, text, student.choose).tolist()
    layers = kept_layers(teacher_layers, student.layers, student.choose, scores)
    return prune(teacher_model, layers=layers, widths=widths)


def outline(student: FromTeacher, teacher_model: Any) -> Any:
    """The student on the meta device; which layers and channels would stay is left open.

    Only the teacher's shapes are looked at. Raises as `make` does.
    """
    import torch

    from distillkit.students.anatomy import layer_stack, layout_of
    from distillkit.students.pruning import check_cut, cut_config
    from distillkit.students.scores import WidthScores
    from distillkit.students.widths import check_widths, kept_widths

    count = len(layer_stack(teacher_model)[1])
    student.check_layers(count)
    layers = student.layers
    if not isinstance(layers, list):
        layers = list(range(count)) if layers is None else kept_layers(count, layers, "uniform")
    widths = None
    if student.is_narrower:
        check_widths(student, teacher_model)
        config = teacher_model.config
        neurons = getattr(config, layout_of(teacher_model).intermediate) or 4 * config.hidden_size
        same = WidthScores(
            hidden=torch.zeros(config.hidden_size),
            neurons=torch.zeros(count, neurons),
            heads=torch.zeros(count, config.num_attention_heads),
        )
        widths = kept_widths(student, teacher_model, same)
    config = cut_config(teacher_model, layers, widths)
    with torch.device("meta"):
        outlined = type(teacher_model)(config)
    if widths is None and len(layers) < count and not student.measures_layers:
        check_cut(outlined, teacher_model, layers)
    return outlined
