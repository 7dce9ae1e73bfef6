"""Random settings, sizes, spreads, classes that are ruled out and dtypes, against the reference."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.contract.listing import Loss, every, soft
from tests.contract.test_corners import DTYPES, OUT, rounding, tied

ROUNDS = 300
RANGES = {"alpha": (0, 2), "beta": (0, 1), "skew": (0, 0.9), "head_mass": (0, 1), "t": (0, 1)}


def settings_of(loss: Loss, rng: np.random.Generator) -> dict[str, Any]:
    """Random settings, often at the ends of their ranges."""
    found: dict[str, Any] = {
        name: float(rng.choice([low, high, rng.uniform(low, high)]))
        for name, (low, high) in RANGES.items()
        if loss.takes(name) and rng.random() < 0.6
    }
    if loss.takes("temperature"):
        found["temperature"] = float(np.exp(rng.uniform(np.log(0.05), np.log(50))))
    if loss.takes("top"):
        found["top"] = int(rng.integers(2, 13))
    if loss.takes("reduction"):
        found["reduction"] = str(rng.choice(["mean", "batchmean"]))
    nothing = found.get("alpha", 1.0) + found.get("beta", 1.0) == 0
    return settings_of(loss, rng) if nothing else found


def pair_of(loss: Loss, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [positions, classes] of any spread and place; of each row one class is allowed."""
    shape = int(rng.integers(1, 9)), loss.classes
    spread = np.exp(rng.uniform(np.log(0.01), np.log(1000)))
    student, teacher = spread * rng.normal(size=(2, *shape))
    student += rng.choice([0, 50, 1000])
    out = rng.random(shape) < rng.choice([0, 0.3, 0.9])
    out[np.arange(shape[0]), rng.integers(loss.classes, size=shape[0])] = False
    if rng.random() < 0.5:
        student[out] = OUT
    if rng.random() < 0.7:
        teacher[out] = OUT
    dtype = DTYPES[rng.integers(len(DTYPES))]
    return torch.from_numpy(student).to(dtype), torch.from_numpy(teacher).to(dtype)


@pytest.mark.slow
@every(where=soft)
def test_random_pairs_have_the_references_values_and_finite_gradients(loss: Loss) -> None:
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(ROUNDS):
        sized = replace(loss, classes=int(rng.choice([2, 3, 10, 11, 50, 400])))
        settings = settings_of(sized, rng)
        student, teacher = pair_of(sized, rng)
        wide = student.double().clone(), teacher.double().clone()
        with np.errstate(all="ignore"):
            expected = sized.expected(*wide, **settings)
        student.requires_grad_()
        value = sized.values(student, teacher, **settings)
        (gradient,) = torch.autograd.grad(value.sum(), student)
        value, finite = value.detach().double(), expected.isfinite()
        assert value[finite].isfinite().all(), settings
        assert not gradient[finite].isnan().any(), settings
        assert (gradient[finite][wide[0][finite] == OUT] == 0).all(), settings
        eps = torch.finfo(torch.promote_types(student.dtype, torch.float32)).eps
        terms = sized.classes**2 if loss.name == "rank_net" else 1 + math.log(sized.classes)
        slack = rounding(*wide, settings, 100 * eps * terms) + 100 * eps * expected.abs()
        clear = finite & ~tied(wide[1]) if sized.takes("top") else finite
        assert ((value - expected).abs() <= slack)[clear].all(), settings
        told += int(clear.sum())
    assert told > ROUNDS
