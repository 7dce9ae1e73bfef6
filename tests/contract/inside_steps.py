"""One optimizer step of a tiny language model that learns what its teacher has inside.

Run as a module by each process of a distributed step, it writes those of every case:
`python -m tests.contract.inside_steps TEACHER OUT`.
"""

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from distillkit.losses import ForwardKL, Mixture
from distillkit.losses.relation_losses import AttentionLoss
from distillkit.models.causal import load_causal_lm, load_causal_tokenizer
from distillkit.models.saved import Loaded
from distillkit.tasks import CausalLM
from distillkit.training.online_teacher import OnlineTeacher
from tests.contract.inside_listing import LOSSES, InsideLoss
from tests.contract.language_steps import BLOCK, CUTS, step_on
from tests.contract.steps import Step
from tests.processes import save_steps

# a Llama rotates its queries and keys, so attention scores are refused
INSIDE = tuple(loss for loss in LOSSES if not issubclass(loss.module, AttentionLoss))
NAMES = (*(loss.name for loss in INSIDE), "mixture")
FEW_TOKENS = 30  # of the teacher's forward pass: it takes a batch in pieces


def built(name: str) -> Any:
    """The loss: a listed one, or two of them beside one on logits."""
    if name == "mixture":
        terms = {
            "hidden": loss_of_row("hidden_mse"),
            "pairs": loss_of_row("relations"),
            "kl": ForwardKL(),
        }
        return Mixture(terms, {"hidden": 0.5, "pairs": 2.0, "kl": 1.0})
    return loss_of_row(name)


def loss_of_row(name: str) -> Any:
    """A listed loss with its settings there."""
    (found,) = (loss for loss in INSIDE if loss.name == name)
    settings: InsideLoss = found
    return settings.module(**settings.settings)


def step(name: str, folder: Path, cut: str) -> Step:
    """(loss, gradients by name) of one optimizer step; the teacher is the student, shaken."""
    tokenizer = load_causal_tokenizer(str(folder), key="")
    model: Any = load_causal_lm(str(folder), key="").eval()
    shaken = deepcopy(model)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in shaken.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter)).requires_grad_(False)
    loaded = Loaded(shaken, tokenizer)
    teacher = OnlineTeacher(loaded, CausalLM(max_length=BLOCK), "float32", FEW_TOKENS)
    return step_on(built(name), model, tokenizer, cut, teacher=teacher)


def every_case(folder: Path) -> dict[tuple[str, str], Step]:
    """The step of every loss and cut."""
    return {(name, cut): step(name, folder, cut) for name in NAMES for cut in CUTS}


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_steps(every_case(Path(sys.argv[1])), sys.argv[2])
