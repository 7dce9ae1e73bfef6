"""A model's logits over many examples."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from distillkit.models.inference import all_logits, predict
from distillkit.training.batching import length_buckets
from distillkit.types import Batch, Outputs

LENGTHS = np.array([3, 9, 1, 4, 4, 7])
FEATURES = torch.arange(12, dtype=torch.float32).reshape(6, 2)


class Model(nn.Module):
    """Logits that are the features themselves, put through dropout and a unit layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.layer.weight)
        self.seen: list[torch.dtype] = []

    def forward(self, x: Tensor) -> SimpleNamespace:
        logits = self.layer(nn.functional.dropout(x, 0.5, self.training))
        self.seen.append(logits.dtype)
        return SimpleNamespace(logits=logits)


def collate(indices: np.ndarray) -> Batch:
    return Batch({"x": FEATURES[indices]}, indices, torch.zeros(0), torch.zeros(0))


def forward_fn(model: Model, batch: Batch) -> Outputs:
    return Outputs(model(**batch.inputs).logits)


@pytest.mark.parametrize("tokens", [1, 10, 1000])
def test_logits_come_in_the_order_of_the_examples(tokens: int) -> None:
    found = all_logits(Model(), forward_fn, length_buckets(LENGTHS, tokens=tokens), collate)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, FEATURES.numpy())


def test_each_bucket_comes_with_its_indices() -> None:
    buckets = length_buckets(LENGTHS, tokens=10)
    found = predict(Model(), forward_fn, buckets, collate)
    for bucket, (batch, said) in zip(buckets, found, strict=True):
        np.testing.assert_array_equal(batch.indices, bucket)
        assert isinstance(said, Outputs)
        np.testing.assert_array_equal(said.logits.numpy(), FEATURES.numpy()[bucket])


@pytest.mark.parametrize("training", [True, False])
def test_the_training_mode_is_put_back(training: bool) -> None:
    model = Model().train(training)
    all_logits(model, forward_fn, length_buckets(LENGTHS, tokens=10), collate)
    assert model.training is training


def test_the_training_mode_is_put_back_where_the_rest_is_not_asked_for() -> None:
    model = Model().train()
    found = predict(model, forward_fn, length_buckets(LENGTHS, tokens=10), collate)
    next(found)
    assert not model.training
    found.close()
    assert model.training


def test_gradients_are_on_between_two_batches() -> None:
    for _ in predict(Model(), forward_fn, length_buckets(LENGTHS, tokens=10), collate):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_bfloat16_logits_come_back_as_float32() -> None:
    model = Model()
    found = all_logits(
        model, forward_fn, length_buckets(LENGTHS, tokens=10), collate, precision="bfloat16"
    )
    assert set(model.seen) == {torch.bfloat16}
    assert found.dtype == np.float32


class Conversions(TorchDispatchMode):
    """Counts how often a weight is converted."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight, self.count = weight, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._to_copy.default:
            self.count += args[0].data_ptr() == self.weight.data_ptr()
        return func(*args, **(kwargs or {}))


def test_weights_are_converted_once_for_all_batches() -> None:
    model, buckets = Model(), length_buckets(LENGTHS, tokens=10)
    with Conversions(model.layer.weight) as conversions:
        found = all_logits(model, forward_fn, buckets, collate, precision="bfloat16")
    assert len(buckets) > 1
    assert conversions.count == 1

    with torch.no_grad():
        model.layer.weight.mul_(2)
    again = all_logits(model, forward_fn, buckets, collate, precision="bfloat16")
    np.testing.assert_array_equal(again, 2 * found)
