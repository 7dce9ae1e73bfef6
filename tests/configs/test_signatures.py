"""What `signatures` reads from the source is what Python itself says of the class."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from distillkit.config.compose import load_yaml
from distillkit.config.paths import CONF
from distillkit.config.schema import mismatch
from distillkit.config.signatures import NotFound, signature

OPTIMIZERS = {"torch.optim.AdamW", "torch.optim.SGD"}
WRITTEN = {load_yaml(path)["_target_"] for path in CONF.glob("*/*.yaml")} - {"???"}
TARGETS = sorted(OPTIMIZERS | WRITTEN)
NO_VALUE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

FORMS = '''
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal, Optional, Union

from distillkit.losses import ForwardKL
from distillkit.metrics import EvaluationSettings


def function(text, size: int, ratio: float = 0.5, *, flag: bool = False, name: str) -> None: ...


class Size(Enum):
    SMALL = 1


def choices(size: Literal[Size.SMALL, "any"] = "any", level: Literal["low", 3] = "low"): ...


class Plain:
    def __init__(self, a: "int", b: Optional[str] = None, *rest, c: Union[int, str] = 3, **x): ...


class Inherits(ForwardKL):
    """No __init__ of its own."""


class Narrow(ForwardKL):
    def __init__(self, alpha: float = 0.1) -> None: ...


@dataclass(frozen=True)
class Fields:
    first: str
    second: list[int] = field(default_factory=list)
    shared: ClassVar[int] = 1


@dataclass(frozen=True)
class Wider(EvaluationSettings):
    mine: str = "x"
'''


def real(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def required(target: Any) -> dict[str, bool]:
    """Each parameter's name -> whether it must be given, as Python says."""
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p.default is p.empty for p in parameters if p.kind not in NO_VALUE}


def is_open(target: Any) -> bool:
    kinds = {p.kind for p in inspect.signature(target).parameters.values()}
    return inspect.Parameter.VAR_KEYWORD in kinds


@pytest.mark.parametrize("target", TARGETS)
def test_names_and_what_is_required_agree_with_inspect(target: str) -> None:
    found = signature(target)
    assert {p.name: p.required for p in found.parameters.values()} == required(real(target))
    assert list(found.parameters) == list(required(real(target)))
    assert found.open == is_open(real(target))


@pytest.mark.parametrize(
    "name", ["function", "choices", "Plain", "Inherits", "Narrow", "Fields", "Wider"]
)
def test_every_form_of_a_users_own_target_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"forms_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(FORMS)
    monkeypatch.syspath_prepend(tmp_path)
    found, target = signature(f"{module}.{name}"), real(f"{module}.{name}")
    assert {p.name: p.required for p in found.parameters.values()} == required(target)
    assert found.open == is_open(target)


@pytest.mark.parametrize(
    ("target", "missing"),
    [
        ("no_such_package.Thing", "no module no_such_package"),
        ("distillkit.no_such.Thing", "no module distillkit.no_such"),
        ("distillkit.losses.Thing", "no Thing in losses"),
        ("distillkit.losses.distillation.torch.load", "no module"),
        ("distillkit", "no module"),
    ],
)
def test_what_does_not_exist_is_said(target: str, missing: str) -> None:
    with pytest.raises(NotFound, match=missing):
        signature(target)


LOSS, TRAINER = "distillkit.losses.ForwardKL", "distillkit.training.TrainSettings"
DATA, TEACHER = "distillkit.data.TextData", "distillkit.teachers.LocalTeacher"
SCHEDULE, ADAMW = "distillkit.schedules.WSDLR", "torch.optim.AdamW"


@pytest.mark.parametrize(
    ("target", "setting", "value"),
    [
        (LOSS, "temperature", 2),  # a whole number is a number
        (LOSS, "temperature", 1e-9),
        (LOSS, "hard_weight", 0.0),
        (LOSS, "reduction", "mean"),
        (LOSS, "scale_by_t2", False),
        (SCHEDULE, "warmup", 0),
        (SCHEDULE, "decay", 1.0),
        (TRAINER, "steps", None),
        (TRAINER, "micro_batch_size", 1),
        (TRAINER, "max_grad_norm", None),
        (TRAINER, "keep", "last"),
        (DATA, "label_names", ["a", "b"]),
        (DATA, "label_names", []),
        (DATA, "where", {"source": ["imdb", 3]}),
        (DATA, "transfer_size", 0),
        (TEACHER, "epochs", 0.5),
        (ADAMW, "betas", [0.9, 0.99]),
        (ADAMW, "fused", None),
        (ADAMW, "weight_decay", 0),
    ],
)
def test_a_good_value_is_taken(target: str, setting: str, value: Any) -> None:
    assert mismatch(value, signature(target).parameters[setting].type) is None


@pytest.mark.parametrize(
    ("target", "setting", "value", "fault"),
    [
        (LOSS, "temperature", 0, "must be greater than 0"),
        (LOSS, "temperature", -1.0, "must be greater than 0"),
        (LOSS, "temperature", "warm", "must be a number"),
        (LOSS, "temperature", "2.0", "must be a number"),
        (LOSS, "temperature", True, "must be a number"),
        (LOSS, "temperature", None, "must be a number"),
        (LOSS, "temperature", [1, 2], "must be a number"),
        (LOSS, "hard_weight", -0.1, "must be greater than or equal to 0"),
        (LOSS, "reduction", "sum", "must be 'batchmean' or 'mean'"),
        (LOSS, "reduction", None, "must be 'batchmean' or 'mean'"),
        (LOSS, "scale_by_t2", 1, "must be a boolean"),
        (LOSS, "scale_by_t2", "true", "must be a boolean"),
        (SCHEDULE, "warmup", 1, "must be less than 1"),
        (SCHEDULE, "warmup", 1.0, "must be less than 1"),
        (SCHEDULE, "decay", 1.01, "must be less than or equal to 1"),
        (TRAINER, "steps", 0, "must be greater than 0"),
        (TRAINER, "steps", 1.5, "must be an integer"),
        (TRAINER, "steps", True, "must be an integer"),
        (TRAINER, "batch_size", None, "must be an integer"),
        (TRAINER, "batch_size", 32.0, "must be an integer"),
        (TRAINER, "precision", "float16", "must be 'auto', 'float32' or 'bfloat16'"),
        (DATA, "train", 3, "must be a string"),
        (DATA, "text", None, "must be a string"),
        (DATA, "label_names", "good", "must be a list"),
        (DATA, "label_names", ["good", 1], "must be a string"),
        (DATA, "where", "imdb", "must be a mapping"),
        (DATA, "where", ["imdb"], "must be a mapping"),
        (DATA, "transfer_size", -1, "must be greater than or equal to 0"),
        (DATA, "test_fraction", 1, "must be less than 1"),
        (TEACHER, "labels", {"a": 1}, "must be a list"),
        (ADAMW, "betas", 0.9, "must be a list"),
        (ADAMW, "amsgrad", 3, "must be a boolean"),
    ],
)
def test_a_bad_value_is_told_why(target: str, setting: str, value: Any, fault: str) -> None:
    said = mismatch(value, signature(target).parameters[setting].type)
    assert said is not None
    assert fault in said
