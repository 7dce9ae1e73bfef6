"""What a run costs on many processes, a device each: time, what bounds it, memory, bytes.

All is arithmetic on a plan of one process. What wrappers hold and exchange is counted as they do
it (in units of P parameters, s optimizer states, b bytes of the computing format, n processes):

    ddp       all of a model in each process, its gradients twice (DDP's buckets); a step sums
              4 P bytes of gradients around a ring
    zero2     DeepSpeed ZeRO-2 (Rajbhandari et al. 2020): weights b P in each process; gradients,
              float32 weights and states shared out; a step scatters gradients and gathers weights
    fsdp2     float32 weights, gradients and states shared out; a micro-batch gathers b P bytes for
              its forward pass and again for its backward pass, and scatters 4 P bytes of
              gradients; what is outside of the layers (embeddings, head) and two layers are
              gathered at a time
    zero3     the same, gradients in the computing format
    +offload  what is shared out waits in the machine's memory, and comes to the device and back
              once a step

Compute, memory, network and disk are taken to overlap, so that the slowest of them is the time.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from distillkit.models.hardware import DISK, HOST_LINK, SUSTAINED, Peak
from distillkit.models.shapes import Shape
from distillkit.planning.cost_model import FLOAT, Job

SHARDED = ("zero2", "fsdp2", "zero3")
WRAPPERS = ("ddp", *(name + way for name in SHARDED for way in ("", "+offload")))
LAYERS = 2  # that are gathered at a time: the one that runs, and the next
BOUNDS = ("compute", "memory", "network", "disk")
_RUNNABLE = ("ddp", "fsdp2", "fsdp2+offload")  # by distillkit; the others are there to compare


@dataclass(frozen=True, slots=True)
class Cluster:
    """`processes` with a device each, of which one reaches `rate` FLOP/s and has `memory` bytes.

    Without a `peak`, as of this machine, only what was probed is known: compute.
    """

    processes: int
    rate: float
    memory: float
    peak: Peak | None = None

    @property
    def nodes(self) -> int:
        """Machines that hold the processes."""
        return -(-self.processes // self.peak.a_node) if self.peak else 1

    @property
    def exchange(self) -> float | None:
        """Bytes a second that a process sends to the others, at the narrowest place."""
        if self.peak is None:
            return None
        if self.nodes == 1:
            return SUSTAINED * self.peak.link
        return SUSTAINED * min(self.peak.link, self.peak.network)


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of one process: on its device, by what needs them, and in the machine's memory."""

    device: Mapping[str, float]
    host: float = 0.0

    @property
    def total(self) -> float:
        """All on the device."""
        return sum(self.device.values())


@dataclass(frozen=True, slots=True)
class Expected:
    """The seconds that each resource needs by itself; None: it is not known."""

    compute: float | None
    memory: float | None = None
    network: float | None = None
    disk: float | None = None

    @property
    def known(self) -> dict[str, float]:
        """The seconds by resource, of those that can be told."""
        every = {name: getattr(self, name) for name in BOUNDS}
        return {name: seconds for name, seconds in every.items() if seconds is not None}

    @property
    def seconds(self) -> float | None:
        """The expected time: that of the slowest."""
        return None if self.compute is None else max(self.known.values())

    @property
    def bound(self) -> str:
        """The slowest resource."""
        known = self.known
        return max(known, key=lambda name: known[name]) if known else ""


@dataclass(frozen=True)
class Training:
    """A student's or teacher's training on a cluster; `job` is that of one process.

    `read` are the bytes that it reads of the disk, tokens and targets.
    """

    job: Job
    shape: Shape
    cluster: Cluster
    read: float = 0.0

    @cached_property
    def bytes_each(self) -> int:
        """Of a parameter in the computing format."""
        return 2 if self.job.precision == "bfloat16" else FLOAT

    @cached_property
    def rows(self) -> int:
        """Rows of a micro-batch for each process, 1 at least."""
        return max(1, -(-self.job.micro_rows // self.cluster.processes))

    def held(self, wrapper: str) -> Held:
        """What a process holds under a wrapper."""
        shape, job, n = self.shape, self.job, self.cluster.processes
        parameters, b = shape.parameters, self.bytes_each
        share = self.rows / max(1, job.sample_rows)
        working = {name: share * job.memory.get(name, 0.0) for name in ("activations", "logits")}
        head = FLOAT * shape.head  # its gradient is gathered apart, chunk by chunk
        if wrapper == "ddp":
            return Held(
                {
                    "weights": job.memory["weights"],
                    "gradients": 2 * FLOAT * parameters + head,
                    "optimizer": FLOAT * job.states * parameters,
                    **working,
                }
            )
        name, _, offload = wrapper.partition("+")
        parts = {
            "zero2": {"weights": FLOAT, "gradients": b},
            "fsdp2": {"weights": FLOAT, "gradients": FLOAT},
            "zero3": {"weights": FLOAT + b, "gradients": b},
        }[name]
        shared = {part: size * parameters / n for part, size in parts.items()}
        shared["optimizer"] = FLOAT * job.states * parameters / n
        root = parameters - shape.body
        layers = min(1.0, LAYERS / max(1, shape.layers)) * shape.body
        whole = b * parameters if name == "zero2" else 2 * b * (root + layers)
        device = {"gathered": whole + head, **working}
        if offload:
            return Held(device, host=sum(shared.values()))
        return Held({**shared, **device})

    def exchanged(self, wrapper: str) -> float:
        """Bytes that a process sends to the others in a step."""
        n, b, parameters = self.cluster.processes, self.bytes_each, self.shape.parameters
        around = (n - 1) / n * parameters
        if wrapper == "ddp":
            return 2 * FLOAT * around
        name = wrapper.partition("+")[0]
        if name == "zero2":
            return 2 * b * around
        gradients = FLOAT if name == "fsdp2" else b
        return self.job.micro_batches * (2 * b + gradients) * around

    def moved(self, wrapper: str) -> float:
        """Bytes that a device reads and writes of its own memory in a step.

        Weights once in the forward and twice in the backward pass, what was kept for it twice, and
        each tensor of the optimizer once in and once out.
        """
        held = self.held(wrapper).device
        weights = 3 * self.bytes_each * self.shape.parameters * self.job.micro_batches
        n = 1 if wrapper == "ddp" else self.cluster.processes
        optimizer = 2 * FLOAT * (2 + self.job.states) * self.shape.parameters / n
        kept = 2 * (held["activations"] + held["logits"]) * self.job.micro_batches
        return weights + optimizer + kept

    def expected(self, wrapper: str) -> Expected:
        """How long all steps take under a wrapper."""
        cluster, job = self.cluster, self.job
        # fewer rows than processes: those without one compute a filler
        busy = min(cluster.processes, max(1, job.micro_rows))
        compute = None if job.flops is None else job.flops / (busy * cluster.rate)
        if cluster.peak is None:
            return Expected(compute)
        exchange = cluster.exchange or math.inf
        network = self.exchanged(wrapper) / exchange
        moved = self.moved(wrapper) / (SUSTAINED * cluster.peak.bandwidth)
        if "+offload" in wrapper:
            parts = (self.bytes_each + FLOAT) * self.shape.parameters / cluster.processes
            moved += parts / HOST_LINK
        return Expected(
            compute, moved * job.steps, network * job.steps, self.read / (cluster.nodes * DISK)
        )

    @property
    def best(self) -> str | None:
        """The plainest wrapper that can run it and holds it; None where none does."""
        fits = (name for name in _RUNNABLE if self.held(name).total <= self.cluster.memory)
        return next(fits, None)


@dataclass(frozen=True)
class Capture:
    """A pass of a teacher over all text, its examples claimed by processes.

    A teacher that does not fit on a device lies on several (`device_map`), of which one computes at
    a time. `written` are the bytes of its targets.
    """

    job: Job
    cluster: Cluster
    written: float = 0.0

    @property
    def devices(self) -> int:
        """That hold one copy of the teacher, with what it works in."""
        memory = dict(self.job.memory)
        weights = memory.pop("weights", 0.0)
        room = self.cluster.memory - sum(memory.values())
        return -(-int(weights) // int(room)) if room > 0 else self.cluster.processes + 1

    @property
    def copies(self) -> int:
        """Of the teacher that read at the same time; 0: it does not fit."""
        return self.cluster.processes // max(1, self.devices)

    def expected(self) -> Expected:
        """How long it takes; nothing is exchanged."""
        cluster, job = self.cluster, self.job
        if not self.copies or job.flops is None:
            return Expected(None)
        compute = job.flops / (self.copies * cluster.rate)
        if cluster.peak is None:
            return Expected(compute)
        weights = job.memory.get("weights", 0.0) * job.batches / self.copies
        memory = weights / (SUSTAINED * cluster.peak.bandwidth)
        return Expected(compute, memory, 0.0, self.written / (cluster.nodes * DISK))


def grown(job: Job, factor: float) -> Job:
    """The job on `factor` times as much text, where its length follows from the text."""
    if not job.grows or job.flops is None:
        return job
    rows, batches = job.rows * factor, round(job.batches * factor)
    steps = math.ceil(rows / max(1, job.micro_rows * job.micro_batches))
    return replace(job, flops=job.flops * factor, steps=steps, rows=rows, batches=batches)
