"""Students whose PyTorch form has no counterpart in ONNX, in one that has."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.students.architectures.bilstm import BiLSTMModel

LSTM_VERSION = 14  # of the operator
GATES = (0, 3, 1, 2)  # PyTorch has input, forget, cell, output; ONNX input, output, forget, cell


@contextmanager
def exportable(model: nn.Module) -> Iterator[None]:
    """While entered, a model is such that it can be exported; what it computes is the same."""
    changed = [module for module in model.modules() if isinstance(module, BiLSTMModel)]
    for module in changed:
        module._read = MethodType(_read, module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in changed:
            del module._read


def _read(self: BiLSTMModel, words: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """`BiLSTMModel._read` by ONNX's own LSTM, which is told the lengths and so needs no packing."""
    lengths = real.sum(dim=1)
    after = lengths.unsqueeze(1) + (~real).long().cumsum(dim=1)
    back = torch.where(real, real.long().cumsum(dim=1), after) - 1  # real words to the front
    places = torch.arange(real.shape[1], device=real.device).expand_as(back)
    order = torch.zeros_like(back).scatter(1, back, places)
    states = words.gather(1, order.unsqueeze(-1).expand_as(words)).transpose(0, 1)
    last = states  # of the last layer: [2, batch, hidden]
    for layer in range(self.lstm.num_layers):
        states, last = _layer(self.lstm, layer, states, lengths.clamp(min=1))
    batch_first = states.transpose(0, 1)
    ends = torch.cat([last[0], last[1]], dim=-1)
    read = batch_first.gather(1, back.unsqueeze(-1).expand_as(batch_first)) * real.unsqueeze(-1).to(
        words.dtype
    )
    return read, ends * (lengths > 0).unsqueeze(-1).to(ends.dtype)


def _layer(lstm: nn.LSTM, layer: int, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """(states [tokens, batch, 2 hidden], last ones [2, batch, hidden]) of a layer."""
    tokens, batch, _ = states.shape
    hidden = lstm.hidden_size
    weights, recurrent, biases = (
        torch.stack([_of_direction(lstm, layer, names, end) for end in ("", "_reverse")])
        for names in (("weight_ih",), ("weight_hh",), ("bias_ih", "bias_hh"))
    )
    outputs, last, _ = torch.onnx.ops.symbolic_multi_out(
        "LSTM",
        (states, weights, recurrent, biases, lengths.to(torch.int32)),
        {"hidden_size": hidden, "direction": "bidirectional"},
        dtypes=(states.dtype,) * 3,
        shapes=([tokens, 2, batch, hidden], [2, batch, hidden], [2, batch, hidden]),
        version=LSTM_VERSION,
    )
    return outputs.transpose(1, 2).flatten(2), last


def _of_direction(lstm: nn.LSTM, layer: int, names: tuple[str, ...], end: str) -> Tensor:
    """Parameters of one direction of a layer, their gates in the order of ONNX."""
    parameters: list[Any] = [getattr(lstm, f"{name}_l{layer}{end}") for name in names]
    return torch.cat([_gates_moved(parameter) for parameter in parameters])


def _gates_moved(parameter: Tensor) -> Tensor:
    gates = parameter.chunk(4)
    return torch.cat([gates[i] for i in GATES])
