"""Whether what is left of a teacher runs, told from its shapes: no weight is made or read."""

import copy
from typing import Any

import torch

from distillkit.errors import ModelError
from distillkit.models.modes import evaluating

TOKENS = 8  # of the trial


def check_runs(student: Any, teacher: Any) -> None:
    """Raise `ModelError` where a student that was cut out cannot run, though its teacher can.

    Both are on the meta device. What fails there as its teacher fails is left open: some
    operations need numbers to run.
    """
    fault = _fault(student)
    if fault is None or isinstance(fault, (NotImplementedError, RuntimeError)):
        return
    if type(_fault(copy.deepcopy(teacher))) is type(fault):  # others look at its shapes, too
        return
    raise cannot_run(teacher, student.config.num_hidden_layers, fault)


def cannot_run(teacher: Any, layers: int, fault: Exception) -> ModelError:
    """What to say where a student of some of the teacher's layers ends in `fault`."""
    reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
    return ModelError(
        f"student.layers: what is left of {type(teacher).__name__} ({teacher.config.model_type}) "
        f"with {layers} of its layers does not run ({reason[:200]}); keep more of "
        "them, or others (student.layers=[…])"
    )


def _fault(model: Any) -> Exception | None:
    """What ends a model's start and a forward pass on the meta device; None: nothing."""
    ids = torch.zeros(1, TOKENS, dtype=torch.long, device="meta")
    with torch.no_grad(), torch.random.fork_rng(devices=[]), evaluating(model):
        try:
            model.init_weights()  # passed over while the meta device is the default
            with torch.device("meta"):
                model.base_model(input_ids=ids)
        except Exception as error:
            return error
    return None
