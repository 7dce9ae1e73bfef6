"""A student cut out of its teacher: fewer layers, or narrower ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from distillkit.console.progress import working
from distillkit.errors import ConfigError, ModelError
from distillkit.models.heads import order_outputs
from distillkit.students.adapters import Adapted, Lora
from distillkit.students.pruning.settings import CutSettings, How
from distillkit.students.student import Student, StudentContext

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FromTeacher(CutSettings, Adapted, Student):
    """A copy of the teacher with fewer layers, or narrower; `path` is for `evaluate`.

    With an `adapter` what was cut stays as it is, and what `lora` says is trained beside it.
    """

    path: str | None = None
    labels: list[str] | None = None
    adapter: Literal["lora"] | None = None
    lora: Lora = field(default_factory=Lora)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_adapter()
        if self.adapter and self.lora.save == "both":
            raise ConfigError(
                "student.lora.save = both: an adapter is read with its base, and a student that is "
                "cut out of a teacher has none of its own; set it to merged"
            )

    is_cut: ClassVar = True
    origin: ClassVar = "cut out of the teacher"

    def describe(self, settings: str, short: Callable[[str], str]) -> str:
        """What of the teacher is kept."""
        return f"cut out of the teacher: {settings}{self.adapter_label()}"

    def make(self, context: StudentContext) -> Any:
        """The teacher with fewer layers or narrower ones, its outputs in the data's order."""
        loaded = context.teacher()
        text = context.calibration(loaded.tokenizer, self.calibration_examples)
        model = make(self, loaded.model, text)
        if loaded.order is not None:
            order_outputs(model, loaded.order, context.labels)
        return model

    def try_cut(self, teacher: Any, new_teacher: Callable[[], Any]) -> None:
        """Try what is cut on new weights, which show if layers hang on their place."""
        if may_depend_on_place(self, teacher):
            try_cut(self, new_teacher())

    def meta_model(self, context: StudentContext) -> Any:
        """The cut of a teacher on the meta device."""
        return outline(self, context.teacher().model)


def kept_layers(
    teacher_layers: int, count: int, strategy: How, scores: Sequence[float] | None = None
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
    match strategy:
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
    from distillkit.models.layouts import layer_stack
    from distillkit.students.pruning.cut import prune
    from distillkit.students.pruning.importance import first_examples, layer_scores, width_scores
    from distillkit.students.pruning.projection import hidden_projection
    from distillkit.students.pruning.widths import check_widths, kept_widths

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

    from distillkit.models.layouts import layer_stack, layout_of
    from distillkit.students.pruning.cut import check_cut, cut_config
    from distillkit.students.pruning.importance import WidthScores
    from distillkit.students.pruning.widths import check_widths, kept_widths

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
        scores_of_width = WidthScores(
            hidden=torch.zeros(config.hidden_size),
            neurons=torch.zeros(count, neurons),
            heads=torch.zeros(count, config.num_attention_heads),
        )
        widths = kept_widths(student, teacher_model, scores_of_width)
    config = cut_config(teacher_model, layers, widths)
    with torch.device("meta"):
        outlined = type(teacher_model)(config)
    if widths is None and len(layers) < count and not student.measures_layers:
        check_cut(outlined, teacher_model, layers)
    return outlined


def may_depend_on_place(student: FromTeacher, teacher_model: Any) -> bool:
    """Whether layers are cut out of an architecture that is not known to let each stand alone."""
    from distillkit.models.layouts import LAYOUTS, layer_stack

    count = len(layer_stack(teacher_model)[1])
    layers = count if student.layers is None else student.layers
    is_cut = (layers if isinstance(layers, int) else len(layers)) < count
    return is_cut and not student.is_narrower and teacher_model.config.model_type not in LAYOUTS


def try_cut(student: FromTeacher, teacher_model: Any) -> None:
    """Raise `ModelError` where layers depend on their place or number, told from new weights.

    `teacher_model` has the teacher's shapes. Where text is to choose the layers, those of both its
    ends must fail.
    """
    choices = [student]
    if student.measures_layers:
        choices = [replace(student, choose="first"), replace(student, choose="last")]
    faults: list[ModelError] = []
    for choice in choices:
        try:
            make(choice, teacher_model, ())
        except ModelError as error:
            faults.append(error)
    if len(faults) == len(choices):
        raise faults[0]
