"""What a run costs on many processes: figures by hand, and what must hold of any model."""

from dataclasses import replace
from typing import Any

import pytest

from distillkit.models.hardware import DISK, HARDWARE, HOST_LINK, SUSTAINED, Peak
from distillkit.models.shapes import Shape
from distillkit.planning.cost_model import Job
from distillkit.planning.scale import WRAPPERS, Capture, Cluster, Training, grown

# 4 layers of 200 parameters, a table and a head of 100 each
SHAPE = Shape(1000, 800, 100, outputs=10, layers=4, hidden=10, attention=10, neurons=40)
PEAK = Peak(100.0, 10.0, 5000.0, bandwidth=1000.0, link=500.0, network=50.0, a_node=4)
JOB = Job(
    "student",
    "to be made",
    "",
    precision="bfloat16",
    shape=SHAPE,
    flops=8000.0,
    rate=10.0,
    memory={"weights": 5600.0, "gradients": 4400.0, "activations": 640.0, "logits": 64.0},
    steps=5,
    rows=320.0,
    micro_batches=2,
    micro_rows=32,
    sample_rows=16,
    states=2,
    grows=True,
)


def training(processes: int, **changes: Any) -> Training:
    return Training(replace(JOB, **changes), SHAPE, Cluster(processes, 10.0, 5000.0, PEAK), 1e9)


def test_memory_of_a_process_by_hand() -> None:
    at_8 = training(8)  # 4 rows of a micro-batch each, a quarter of the sample's
    working = {"activations": 160.0, "logits": 16.0}
    assert at_8.held("ddp").device == {
        "weights": 5600.0,
        "gradients": 8400.0,
        "optimizer": 8000.0,
        **working,
    }
    # the table, the head and two of four layers, weights and gradients in 2 bytes; the head's in 4
    gathered = 2 * 2 * (200 + 400) + 400
    assert at_8.held("fsdp2").device == {
        "weights": 500.0,
        "gradients": 500.0,
        "optimizer": 1000.0,
        "gathered": gathered,
        **working,
    }
    assert at_8.held("zero2").device == {
        "weights": 500.0,
        "gradients": 250.0,
        "optimizer": 1000.0,
        "gathered": 2400.0,
        **working,
    }
    assert at_8.held("zero3").device == {
        "weights": 750.0,
        "gradients": 250.0,
        "optimizer": 1000.0,
        "gathered": gathered,
        **working,
    }
    offloaded = at_8.held("fsdp2+offload")
    assert (offloaded.device, offloaded.host) == ({"gathered": gathered, **working}, 2000.0)


def test_bytes_sent_in_a_step_by_hand() -> None:
    around = 7 / 8 * 1000
    assert training(8).exchanged("ddp") == 8 * around
    assert training(8).exchanged("zero2") == 4 * around
    assert training(8).exchanged("fsdp2") == 2 * (2 + 2 + 4) * around  # two micro-batches
    assert training(8).exchanged("zero3") == 2 * (2 + 2 + 2) * around
    assert {training(1).exchanged(wrapper) for wrapper in WRAPPERS} == {0.0}


def test_the_slowest_resource_is_the_time() -> None:
    found = training(8).expected("ddp")  # two machines
    moved = 3 * 2 * 1000 * 2 + 2 * 4 * 4 * 1000 + 2 * 176 * 2
    assert found.compute == 8000 / (8 * 10)
    assert found.network == pytest.approx(5 * 8 * 875 / (SUSTAINED * 50))
    assert found.memory == pytest.approx(5 * moved / (SUSTAINED * 1000))
    assert found.disk == 1e9 / (2 * DISK)
    assert (found.seconds, found.bound) == (found.network, "network")
    within = training(4).expected("ddp")  # one machine, whose link is wider
    assert within.network == pytest.approx(5 * 8 * 750 / (SUSTAINED * 500))
    assert within.bound == "memory" if within.memory > within.compute else "compute"  # type: ignore[operator]


def test_offloading_costs_the_way_to_the_machine_and_back() -> None:
    plain, offloaded = (training(8).moved(wrapper) for wrapper in ("fsdp2", "fsdp2+offload"))
    assert plain == offloaded
    times = [training(8).expected(wrapper).memory for wrapper in ("fsdp2", "fsdp2+offload")]
    assert times[1] - times[0] == pytest.approx(5 * (2 + 4) * 1000 / 8 / HOST_LINK, rel=1e-3)  # type: ignore[operator]


@pytest.mark.parametrize("wrapper", [w for w in WRAPPERS if w != "ddp"])
def test_what_is_shared_out_shrinks_with_the_processes(wrapper: str) -> None:
    held = [training(n).held(wrapper) for n in (2, 8, 32, 256)]
    totals = [one.total + one.host for one in held]
    assert totals == sorted(totals, reverse=True)
    assert all(one.total < training(2).held("ddp").total for one in held)


def test_more_processes_than_rows_are_idle() -> None:
    assert training(64).expected("ddp").compute == training(32).expected("ddp").compute
    assert training(64).rows == training(32).rows == 1


def test_the_plainest_wrapper_that_fits_is_best() -> None:
    def best(memory: float) -> str | None:
        return Training(JOB, SHAPE, Cluster(8, 10.0, memory, PEAK)).best

    held = training(8).held
    assert best(held("ddp").total) == "ddp"
    assert best(held("ddp").total - 1) == "fsdp2"
    assert best(held("fsdp2").total - 1) == "fsdp2+offload"
    assert best(held("fsdp2+offload").total - 1) is None


def test_this_machine_tells_compute_alone() -> None:
    found = Training(JOB, SHAPE, Cluster(2, 10.0, 5000.0)).expected("ddp")
    assert found.known == {"compute": 400.0}
    assert (found.seconds, found.bound) == (400.0, "compute")


# capture


def capture(processes: int, weights: float, memory: float = 5000.0) -> Capture:
    job = Job("targets", "to be made", "", flops=6000.0, batches=30)
    job = replace(job, memory={"weights": weights, "activations": 1000.0})
    return Capture(job, Cluster(processes, 10.0, memory, PEAK), written=4e9)


def test_copies_of_a_teacher_read_at_the_same_time() -> None:
    found = capture(8, 2000.0)
    assert (found.devices, found.copies) == (1, 8)
    assert found.expected().compute == 6000 / 80
    assert found.expected().disk == 4e9 / (2 * DISK)
    assert found.expected().network == 0


def test_a_teacher_that_is_too_large_lies_on_several_devices_of_which_one_computes() -> None:
    found = capture(8, 9000.0)  # 4,000 bytes of room on each
    assert (found.devices, found.copies) == (3, 2)
    assert found.expected().compute == 6000 / 20


@pytest.mark.parametrize("memory", [1000.0, 2000.0])
def test_a_teacher_that_fits_nowhere_cannot_be_told(memory: float) -> None:
    found = capture(4, 9000.0, memory)
    assert found.copies == 0
    assert found.expected().seconds is None


# more text


def test_a_job_grows_with_the_text() -> None:
    found = grown(JOB, 2.5)
    assert (found.flops, found.rows) == (20_000.0, 800.0)
    assert found.steps == 13  # of 64 rows
    assert grown(replace(JOB, grows=False), 2.5).steps == 5


@pytest.mark.parametrize("name", HARDWARE)
def test_published_figures_are_of_one_size(name: str) -> None:
    """Bytes and operations, not bits, gigabytes or both directions."""
    peak = HARDWARE[name]
    assert 100e9 < peak.bandwidth < 10e12
    assert 10e9 < peak.link < 500e9
    assert 1e9 < peak.network < 100e9
    assert 10 < (peak.bfloat16 or peak.float32) / peak.bandwidth < 1000
