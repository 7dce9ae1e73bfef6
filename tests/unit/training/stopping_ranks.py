"""One process of two that train together, of which the second is signalled in a step.

`python -m tests.unit.training.stopping_ranks OUT STEP`; both must end after that step, and go on.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from distillkit import stopping
from distillkit.models.device import leave_process_group
from distillkit.types import Batch, LossTerms
from tests.unit.training.toy import STEPS, net, objective, train, weights


def trained(out: Path, signalled: int = 0) -> int:
    """Train, with a signal in that step to the second process; return the step that it ended at."""
    calls = 0

    def loss(model: nn.Module, batch: Batch) -> LossTerms:
        nonlocal calls
        calls += 1
        if calls == signalled and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGUSR1)
        return objective(model, batch)

    how: dict[str, Any] = {"checkpoint_seconds": 1e9, "objective": loss}
    model = net()
    try:
        with stopping.handled(), stopping.scope():
            train(out, model, **how)
    except stopping.Stopped:
        return calls
    save_file(weights(model), out / f"{os.environ['RANK']}.st")
    return STEPS


def main(folder: Path, step: int) -> None:
    """One run that a signal ends and that goes on, and one that nobody disturbs."""
    assert trained(folder / "cut", step) == step
    (newest,) = (folder / "cut").glob("checkpoint-*")
    assert int(newest.name.split("-")[1]) == step
    assert trained(folder / "cut") == STEPS
    assert trained(folder / "whole") == STEPS


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
    leave_process_group()  # or a thread of gloo may abort what ends
