"""What the facts of an artifact must hold for those who read them; more may be in them.

A manifest whose digest is right may still have been written by somebody else.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError


class Counted(BaseModel):
    """Of text: the examples of each split."""

    counts: dict[str, int]


class Fit(BaseModel):
    """How a training went."""

    steps: int
    seconds: float
    best_score: float
    planned_steps: int | None = None


class Trained(BaseModel):
    """Of a model that was trained."""

    fit: Fit
    examples: int
    weights_sha256: str
    layer_maps: dict[str, str] | None = None


class Gain(BaseModel):
    """A difference with its interval."""

    difference: float
    low: float
    high: float


class Comparison(BaseModel):
    """The rows of an evaluation against each other."""

    kept: float | None = None
    smaller: float | None = None
    faster: float | None = None
    faster_batched: float | None = None
    student_minus_control: Gain | None = None
    student_minus_untrained: Gain | None = None
    columns_minus_control: dict[str, Gain] | None = None
    samples: list[dict[str, str]] | None = None


class Evaluated(BaseModel):
    """Of an evaluation: what a report is made of."""

    rows: dict[str, dict[str, Any]]
    headline: str
    examples: int
    comparison: Comparison
    level: float
    batch_size: int
    device: str
    environment: dict[str, str]
    ece_bins: int | None = None
    metrics: dict[str, dict[str, Any]] | None = None
    higher_is_better: bool | None = None


_SHAPES: dict[str, type[BaseModel]] = {
    "data": Counted,
    "transfer": Counted,
    "student": Trained,
    "teacher": Trained,
    "evaluation": Evaluated,
}


def fault_of_facts(kind: str, facts: Mapping[str, Any]) -> str:
    """What is missing in the facts of an artifact, or of another kind; empty if nothing is."""
    try:
        if kind in _SHAPES:
            _SHAPES[kind].model_validate(facts, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if kind != "evaluation":
        return ""
    faults = [
        row
        for row, values in facts["rows"].items()
        if not _is_number(values.get(facts["headline"]))
    ]
    if faults or ("student" not in facts["rows"] and "reference" not in facts):
        return f"rows.{(faults or ['student'])[0]}: has no {facts['headline']}"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
