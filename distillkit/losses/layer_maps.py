"""Layer maps: which layer of the student learns from which of the teacher."""

from collections.abc import Sequence
from typing import Literal

from distillkit.errors import ConfigError
from distillkit.types import Dimensions

LayerMap = Literal["uniform", "skip", "last", "first"] | list[list[int]]


def layer_pairs(
    layer_map: LayerMap, student: Dimensions, teacher: Dimensions, *, key: str, lowest: int = 1
) -> list[tuple[int, int]]:
    """(student's layer, teacher's layer) of every pair, both from 1; 0 is the embeddings.

    Of a student with M layers and a teacher with N, M <= N:
    `uniform` takes layer m to N m / M, rounded down (TinyBERT: Jiao et al. 2020,
    https://arxiv.org/abs/1909.10351, section 3.1);
    `skip` does, but for the last layer, whose output the soft targets speak of (PKD-Skip: Sun et
    al. 2019, https://arxiv.org/abs/1908.09355, section 3.2);
    `last` takes layers 1 to M - 1 to the teacher's last before its final one (PKD-Last);
    `first` takes layer m to m.
    Pairs are taken as they are, -1 the last layer. `lowest` is 0 where embeddings may be compared.
    Raises `ConfigError` for a layer that a model does not have.
    """
    if not isinstance(layer_map, str):
        return [_pair(pair, student, teacher, key=key, lowest=lowest) for pair in layer_map]
    student_layers, teacher_layers = student.layers, teacher.layers
    for model, owner in ((student, "student"), (teacher, "teacher")):
        if not model.layers:
            raise ConfigError(
                f"{key} = {layer_map}: the {owner}, a {model.name}, has no layers to compare; "
                "choose a loss on logits"
            )
    if student_layers > teacher_layers:
        raise ConfigError(
            f"{key} = {layer_map}: the student has {student_layers} layers and the teacher "
            f"{teacher_layers}; write the pairs of layers, as in [[1,1],[2,1]]"
        )
    if student_layers == 1 and layer_map in ("skip", "last"):
        raise ConfigError(
            f"{key} = {layer_map}: leaves the last layer out, and the student has no other; choose "
            "uniform or first"
        )
    if layer_map == "uniform":
        return [(m, m * teacher_layers // student_layers) for m in range(1, student_layers + 1)]
    if layer_map == "skip":
        return [(m, m * teacher_layers // student_layers) for m in range(1, student_layers)]
    if layer_map == "last":
        return [(m, teacher_layers - student_layers + m) for m in range(1, student_layers)]
    return [(m, m) for m in range(1, student_layers + 1)]


def _pair(
    pair: Sequence[int], student: Dimensions, teacher: Dimensions, *, key: str, lowest: int
) -> tuple[int, int]:
    if len(pair) != 2:
        raise ConfigError(
            f"{key} = {list(pair)}: a pair is a layer of the student and one of the teacher, as in "
            "[[1,3],[2,6]]"
        )
    layers = []
    for layer, model, owner in zip(pair, (student, teacher), ("student", "teacher"), strict=True):
        counted = layer + model.layers + 1 if layer < 0 else layer
        if not lowest <= counted <= model.layers:
            raise ConfigError(
                f"{key} = {list(pair)}: the {owner} has layers {lowest} to {model.layers}, or "
                f"-1 for the last; it has no {layer}"
            )
        layers.append(counted)
    return layers[0], layers[1]


def drawing(pairs: Sequence[tuple[int, int]], teacher: Dimensions) -> str:
    """Three lines: the teacher's layers, which are compared, and the student's layers under them.

    0 is the embeddings.
    """
    under = {
        t: ",".join(str(m) for m, teacher_layer in pairs if teacher_layer == t) for _, t in pairs
    }
    layers = range(0 if 0 in under else 1, teacher.layers + 1)
    width = max(len(text) for text in [*map(str, layers), *under.values()]) + 2
    rows = {
        "teacher": [str(layer) for layer in layers],
        "": ["│" if layer in under else "" for layer in layers],
        "student": [under.get(layer, "") for layer in layers],
    }
    return "\n".join(
        f"{name:>9}{''.join(cell.rjust(width) for cell in cells)}".rstrip()
        for name, cells in rows.items()
    )
