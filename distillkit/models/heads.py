"""A classifier's outputs in the data's label order, under the data's names."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distillkit.errors import ModelError
from distillkit.models.modes import evaluating
from distillkit.types import LabelSpace

TOKENS = 4  # of the check


def order_outputs(model: Any, order: np.ndarray, labels: LabelSpace) -> None:
    """Let output i of a classifier be label i of the data, by moving rows of its last layer.

    `order` [classes] says where each label stands among the outputs now. A student that is a copy
    of its teacher has the teacher's order, but learns from targets in the data's. Raises
    `ModelError` for a head that is no linear layer.
    """
    if not labels.names:
        return
    index = torch.from_numpy(np.asarray(order))
    if not torch.equal(index, torch.arange(len(index))):
        expected = _logits(model)[..., index]
        last = _last_layer(model, len(index))
        with torch.no_grad():
            for rows in last.parameters():
                rows.copy_(rows[index.to(rows.device)])
        if not torch.allclose(_logits(model), expected, rtol=1e-4, atol=1e-5):
            raise _cannot(model)
    model.config.id2label = dict(enumerate(labels.names))
    model.config.label2id = {name: i for i, name in enumerate(labels.names)}


def with_new_head(model: Any) -> Any:
    """The same body with a head of new weights (seed torch before)."""
    fresh = type(model)(model.config)
    fresh.base_model.load_state_dict(model.base_model.state_dict())
    return fresh


def _last_layer(model: Any, outputs: int) -> nn.Module:
    body = {id(module) for module in model.base_model.modules()}
    candidates = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear)
        and module.out_features == outputs
        and id(module) not in body
    ]
    if not candidates:
        raise _cannot(model)
    return candidates[-1]


def _cannot(model: Any) -> ModelError:
    return ModelError(
        f"student: the outputs of {type(model).__name__} cannot be put in the data's label order; "
        "give the data the teacher's order with data.label_names=[…]"
    )


def _logits(model: Any) -> Tensor:
    """What the model says of a few tokens, [1, (tokens,) classes]."""
    table = model.get_input_embeddings().weight
    ids = torch.arange(TOKENS, device=table.device).unsqueeze(0) % len(table)
    with evaluating(model), torch.inference_mode():
        logits: Tensor = model(input_ids=ids).logits
    return logits
