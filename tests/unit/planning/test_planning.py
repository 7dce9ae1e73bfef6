"""The arithmetic of a plan, by hand and against what PyTorch keeps."""

import time
from dataclasses import replace
from typing import Any, get_args, get_type_hints
from unittest import mock

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, LlamaConfig, LlamaModel

from distillkit.config.settings import RunSettings
from distillkit.losses.chunked import CHUNK_BYTES
from distillkit.models.hardware import HARDWARE, UTILISATION, Machine, main_memory, probe
from distillkit.models.shapes import Shape
from distillkit.planning import cost_model as planning
from distillkit.planning.cost_model import Job, Work, work
from distillkit.training.batching import PackedPlan, PaddedPlan, length_buckets

LENGTHS = np.array([3, 5, 2, 4])
POSITIONS = np.array([2, 4, 1, 3])
SHAPE = Shape(
    parameters=1000, body=600, head=200, outputs=20, layers=2, hidden=10, attention=8, neurons=30
)
CPU = torch.device("cpu")


# what there is to do


def test_padded_tokens_and_pairs_by_hand() -> None:
    batches = [[np.array([1]), np.array([3])], [np.array([0]), np.array([2])]]
    found = work(LENGTHS, POSITIONS, batches)
    assert found == Work(2 * 5 + 2 * 3, 10, 2 * 25 + 2 * 9, 10, 50, 7)


def test_a_row_of_several_examples_is_as_long_as_all_of_them() -> None:
    found = work(LENGTHS, POSITIONS, [[np.array([0, 2]), np.array([1])]])
    assert found == Work(10, 7, 50, 10, 50, 7)


def test_a_batch_in_pieces_needs_the_room_of_one() -> None:
    batch = [[np.array([1]), np.array([3]), np.array([0]), np.array([2])]]
    whole, pieces = work(LENGTHS, POSITIONS, batch), work(LENGTHS, POSITIONS, batch, rows=2)
    assert (whole.most_tokens, pieces.most_tokens) == (20, 10)
    assert whole.positions == pieces.positions == 10
    assert pieces.tokens == 16


def test_the_work_of_plans_is_all_of_their_tokens() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 30, 200)
    plans: list[Any] = [
        PaddedPlan(lengths, size=8, seed=0),
        PackedPlan(lengths, size=4, seed=0, block=32),
    ]
    for plan in plans:
        batches = (plan.rows(step) for step in range(1, plan.steps_per_epoch + 1))
        found = work(lengths, lengths, batches)
        assert lengths.sum() == found.positions
        assert lengths.sum() <= found.tokens <= 1.5 * lengths.sum()
    buckets = length_buckets(lengths, tokens=64)
    assert work(lengths, lengths, planning.alone(buckets)).most_tokens <= 64


def test_so_many_passes_are_so_much_work() -> None:
    once = Work(16, 10, 68, 10, 50, 7)
    assert once.times(2.5) == Work(40, 25, 170, 10, 50, 7)


def test_operations_by_hand() -> None:
    found = planning.forward_flops(SHAPE, Work(100, 40, 1000))
    assert found == 2 * (600 * 100 + 200 * 40) + 4 * 2 * 8 * 1000


@pytest.mark.parametrize(
    ("steps", "every", "times"), [(100, None, 20), (7, None, 7), (101, None, 17), (100, 30, 4)]
)
def test_how_often_a_training_is_evaluated(steps: int, every: int | None, times: int) -> None:
    """As the loop does: every n-th step, and the last."""
    each = every or -(-steps // 20)
    assert planning.evaluations(steps, every) == times
    assert times == sum(step % each == 0 or step == steps for step in range(1, steps + 1))


# what it holds


class Kept:
    """The bytes that a backward pass finds again, beside the parameters."""

    def __init__(self, model: torch.nn.Module) -> None:
        tensors = [*model.parameters(), *model.buffers()]
        self.known = {t.untyped_storage().data_ptr() for t in tensors}
        self.bytes: dict[int, int] = {}
        self.alive: list[torch.Tensor] = []

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.known:
            self.bytes[storage.data_ptr()] = storage.nbytes()
        self.alive.append(tensor)
        return tensor


def kept_by(make: Any, layers: int, tokens: int) -> int:
    torch.manual_seed(0)
    model = make(layers).train()
    kept = Kept(model)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        model(input_ids=torch.arange(tokens).view(2, -1) % 90)
    return sum(kept.bytes.values())


NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
WIDE: dict[str, Any] = {"vocab_size": 100, "hidden_size": 64, "num_attention_heads": 4}


def llama(layers: int) -> Any:
    return LlamaModel(LlamaConfig(**WIDE, intermediate_size=256, num_hidden_layers=layers))


def bert(layers: int) -> Any:
    config = BertConfig(**WIDE, intermediate_size=256, num_hidden_layers=layers, **NO_DROPOUT)
    return BertModel(config)


def dropped(layers: int) -> Any:
    return BertModel(BertConfig(**WIDE, intermediate_size=256, num_hidden_layers=layers))


def gpt2(layers: int) -> Any:
    quiet = {"resid_pdrop": 0.0, "attn_pdrop": 0.0, "embd_pdrop": 0.0}
    return GPT2Model(GPT2Config(vocab_size=100, n_embd=64, n_head=4, n_layer=layers, **quiet))


@pytest.mark.parametrize("make", [llama, bert, gpt2, dropped], ids=lambda f: f.__name__)
def test_activations_are_what_a_backward_pass_finds_again(make: Any) -> None:
    """To a half: each architecture keeps a little more or less."""
    tokens = 256
    found = (kept_by(make, 4, tokens) - kept_by(make, 2, tokens)) / 2
    shape = replace(SHAPE, layers=1, hidden=64, neurons=256)
    done = Work(tokens, 0, 0, tokens, 2 * (tokens // 2) ** 2)
    told = planning.learning_memory(
        shape, done, heads=4, states=2, narrow=False, keeps_scores=make is dropped
    )
    assert told["activations"] == pytest.approx(found, rel=0.5)


def test_what_learning_holds_by_hand() -> None:
    told = planning.learning_memory(
        SHAPE, Work(0, 0, 0, 5, 25, 4), heads=2, states=2, narrow=False, keeps_scores=False
    )
    assert told == {
        "weights": 4000,
        "gradients": 4 * (1000 + 200),
        "optimizer": 8000,
        "activations": 4 * 2 * (9 * 10 + 3.5 * 30) * 5,
        "logits": 6 * 4 * 4 * 20,
    }


@pytest.mark.parametrize(("memory", "times"), [(None, 1), (8e9, 1), (40e9, 1.86), (141e9, 4)])
def test_chunks_of_logits_grow_with_a_gpus_memory(memory: float | None, times: float) -> None:
    large = replace(SHAPE, outputs=150_000)
    done = Work(0, 0, 0, 4096, 4096**2, 4096)
    told = planning.learning_memory(
        large, done, heads=2, states=2, narrow=True, keeps_scores=False, memory=memory
    )
    assert told["logits"] == pytest.approx(6 * times * CHUNK_BYTES, rel=0.01)


def test_a_chunk_of_logits_bounds_what_a_large_vocabulary_takes() -> None:
    large = replace(SHAPE, outputs=150_000)
    done = Work(0, 0, 0, 4096, 4096**2, 4096)
    learning = planning.learning_memory(
        large, done, heads=2, states=2, narrow=True, keeps_scores=False
    )
    asking = planning.asking_memory(large, done, weight_bytes=2, narrow=True, chunk=10**6)
    assert learning["logits"] == 6 * CHUNK_BYTES
    assert asking["logits"] == 6 * 4 * 10**6
    assert asking["weights"] == 2 * 1000  # they are narrow as they are
    assert learning["weights"] == 4 * 1000 + 2 * 600


@pytest.mark.parametrize(
    ("name", "momentum", "states"),
    [("AdamW", 0, 2), ("Adam", 0, 2), ("SGD", 0, 0), ("SGD", 0.9, 1), ("Unheard", 0, 2)],
)
def test_an_optimizers_states(name: str, momentum: float, states: int) -> None:
    assert planning.optimizer_states(name, momentum=momentum) == states


@pytest.mark.parametrize(("name", "momentum"), [("AdamW", 0.0), ("Adam", 0.0), ("SGD", 0.9)])
def test_the_states_are_those_that_torch_makes(name: str, momentum: float) -> None:
    weight = torch.nn.Parameter(torch.ones(5, 3))
    options = {"momentum": momentum} if momentum else {}
    optimizer = getattr(torch.optim, name)([weight], lr=0.1, **options)
    weight.sum().backward()
    optimizer.step()
    sizes = [s.numel() for s in optimizer.state[weight].values() if s.numel() == weight.numel()]
    assert planning.optimizer_states(name, momentum=momentum) == len(sizes)


# jobs


def job(**other: Any) -> Job:
    usual: dict[str, Any] = {"flops": 1e12, "rate": 1e10, "memory": {"weights": 3e9}}
    return Job("student", "to be made", "10 steps", **usual | other)


def test_the_time_is_the_work_by_the_rate() -> None:
    assert job().seconds == 100
    assert job(flops=None).seconds is None
    assert job(rate=None).seconds is None
    assert replace(job(), state="there").seconds == 0


def test_what_does_not_fit_names_the_job_both_numbers_and_the_way_out() -> None:
    limits: dict[str, Any] = {"place": "this machine", "host": 8e9, "is_device": False}
    made = job(way_out="buy more")
    assert planning.too_large([made], memory=8e9, **limits) == []
    (line,) = planning.too_large([made], memory=3.5e9, **limits)
    assert line == "student: about 3.8 GB of memory, and this machine has 3.5 GB; buy more"
    assert planning.too_large([replace(made, state="there")], memory=1e9, **limits) == []


def test_shards_wait_in_the_machines_memory_and_not_in_the_devices() -> None:
    made = job(host=7e9)
    limits: dict[str, Any] = {"place": "one h100", "memory": 4e9}
    assert planning.too_large([made], host=8e9, is_device=True, **limits) == []
    (line,) = planning.too_large([made], host=6e9, is_device=True, **limits)
    assert "7.0 GB of the machine's memory" in line
    assert "lower targets.shard_tokens" in line
    (line,) = planning.too_large([made], host=8e9, is_device=False, **limits)
    assert line.startswith("student: about 10.8 GB")


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e8, "250 MB"), (3e12, "3.0 TB")],
)
def test_bytes_for_people(number: float, shown: str) -> None:
    assert planning.size(number) == shown


@pytest.mark.parametrize(
    ("number", "shown"), [(5e7, "50 MFLOP"), (1.234e15, "1.23 PFLOP"), (9.8e13, "98 TFLOP")]
)
def test_operations_for_people(number: float, shown: str) -> None:
    assert planning.operations(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "cannot be told"), (0.0, "-"), (0.3, "under a second"), (75, "1:15"), (9000, "2.5 h")],
)
def test_times_for_people(seconds: float | None, shown: str) -> None:
    assert planning.time_of(seconds) == shown


def test_gradient_checkpointing_keeps_the_input_of_each_layer_and_one_layer() -> None:
    options: dict[str, Any] = {"heads": 2, "states": 2, "narrow": False, "keeps_scores": False}
    once = Work(100, 40, 1000, 50, 500, 20)
    every, few = (
        planning.learning_memory(SHAPE, once, recomputes=recomputes, **options)
        for recomputes in (False, True)
    )
    one_layer = every["activations"] / SHAPE.layers
    assert few["activations"] == one_layer + 4 * SHAPE.layers * SHAPE.hidden * 50
    assert {k: v for k, v in few.items() if k != "activations"} == {
        k: v for k, v in every.items() if k != "activations"
    }


# machines


def test_the_hardware_that_can_be_named_is_that_of_the_table() -> None:
    kind = get_type_hints(RunSettings)["hardware"]
    (names, _) = get_args(kind)
    assert set(get_args(names)) == set(HARDWARE)


@pytest.mark.parametrize("name", HARDWARE)
def test_named_hardware_reaches_a_part_of_its_peak(name: str) -> None:
    machine, peak = Machine(CPU, name), HARDWARE[name]
    precision = machine.precision("auto")
    assert precision == ("float32" if peak.bfloat16 is None else "bfloat16")
    rate = machine.rate(precision, rows=1, width=1, neurons=1, seconds=0)
    assert rate == UTILISATION * (peak.bfloat16 or peak.float32)
    assert machine.precision("float32") == "float32"
    assert machine.is_device
    assert machine.memory == peak.memory


def test_a_probe_counts_what_it_multiplies() -> None:
    begun = time.perf_counter()
    rate = probe(64, 64, 64, dtype=torch.float32, device=CPU, seconds=0.2)
    spent = time.perf_counter() - begun
    assert 0.2 <= spent < 2
    assert 1e7 < rate < 1e14


def test_this_machine_has_memory() -> None:
    assert not Machine(CPU).is_device
    assert Machine(CPU).memory == main_memory() > 2**28


def test_the_rate_of_a_model_of_any_width_is_measured_on_what_fits() -> None:
    machine = Machine(torch.device("cpu"))
    sizes = {"width": 10**9, "neurons": 10**9, "rows": 10**9}
    with mock.patch("distillkit.models.hardware.probe", return_value=1e9) as probe:
        machine.rate("float32", **sizes, seconds=0.01)
    assert max(probe.call_args.args) <= 16_384
