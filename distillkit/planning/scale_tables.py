"""The plan of a run on many processes, for people."""

from dataclasses import dataclass, replace
from functools import cached_property

from rich.table import Table

from distillkit.console.wording import size
from distillkit.models.hardware import DISK, HARDWARE, SUSTAINED, UTILISATION
from distillkit.planning.cost_model import FLOAT, Job, operations, time_of
from distillkit.planning.scale import (
    BOUNDS,
    WRAPPERS,
    Capture,
    Cluster,
    Expected,
    Held,
    Training,
    grown,
)
from distillkit.planning.tables import RunPlan, titled

TRAININGS = ("teacher", "student", "control")
PER_TOKEN, PER_POSITION, PER_EXAMPLE = 4 + 1, 8 + 1, 16 + 8 + 8  # bytes of a token table
PARTS = ("weights", "gradients", "optimizer", "gathered", "activations", "logits")


@dataclass(frozen=True)
class ScalePlan:
    """A run's plan on `processes`, over a corpus of `tokens` of which the run's text is a sample.

    None: the text is all of it.
    """

    plan: RunPlan
    processes: int
    tokens: float | None = None

    @cached_property
    def factor(self) -> float:
        """How much longer the corpus is than the run's text."""
        sample = max((text.tokens for text in self.plan.texts), default=0)
        return self.tokens / sample if self.tokens and sample else 1.0

    @cached_property
    def _jobs(self) -> dict[str, Job]:
        return {job.name: grown(job, self.factor) for job in self.plan.jobs if not job.is_done}

    def _cluster(self, job: Job) -> Cluster:
        machine = self.plan.machine
        peak = HARDWARE[machine.name] if machine.name else None
        return Cluster(self.processes, job.rate or 0.0, machine.memory, peak)

    @cached_property
    def _store_bytes(self) -> float:
        return self.plan.store.bytes * self.factor if self.plan.store else 0.0

    @cached_property
    def _table_bytes(self) -> float:
        row = max(self.plan.texts, key=lambda text: text.tokens)
        of_sample = PER_TOKEN * row.tokens + PER_POSITION * row.positions
        return self.factor * (of_sample + PER_EXAMPLE * row.examples)

    def training(self, name: str) -> Training | None:
        """One of the trainings; None where it is not to be made, or cannot be told."""
        job = self._jobs.get(name)
        if job is None or job.shape is None or not job.rate:
            return None
        epochs = job.steps and max(1.0, job.steps / max(1, self._steps_an_epoch(name)))
        read = epochs * (self._table_bytes + (self._store_bytes if name == "student" else 0.0))
        return Training(job, job.shape, self._cluster(job), read)

    def _steps_an_epoch(self, name: str) -> float:
        job = self._jobs[name]
        return job.steps if job.grows else job.steps * self.factor

    @cached_property
    def capture(self) -> Capture | None:
        """The teacher's pass; None where it is not to be made."""
        job = self._jobs.get("targets")
        if job is None or not job.rate:
            return None
        return Capture(job, self._cluster(job), self._store_bytes)

    def _expected(self) -> dict[str, tuple[str, Expected]]:
        """(how, the time) of each job."""
        found: dict[str, tuple[str, Expected]] = {}
        for name, job in self._jobs.items():
            training = self.training(name) if name in TRAININGS else None
            if training is not None:
                way = training.best
                steps = f"{training.job.steps:,} steps, {way or 'fits under none'}"
                found[name] = (steps, training.expected(way or WRAPPERS[-1]))
            elif name == "targets" and self.capture is not None:
                capture = self.capture
                on = f"{capture.copies:,} copies" if capture.copies else "does not fit"
                if capture.devices > 1:
                    on += f" on {capture.devices:,} devices each"
                found[name] = (on, capture.expected())
            elif job.flops is not None and job.rate:
                found[name] = ("", Expected(job.flops / (self.processes * job.rate)))
            else:
                found[name] = ("", Expected(None))
        return found

    @property
    def seconds(self) -> float | None:
        """The expected time of all jobs; None if some of it cannot be told."""
        each = [expected.seconds for _, expected in self._expected().values()]
        return None if None in each else sum(seconds or 0.0 for seconds in each)

    def problems(self) -> list[str]:
        """What cannot be, or would be idle, a line each."""
        lines = []
        memory = size(self.plan.machine.memory)
        for name in TRAININGS:
            training = self.training(name)
            if training is None:
                continue
            if training.best is None:
                least = min(training.held(wrapper).total for wrapper in WRAPPERS)
                lines.append(
                    f"{name}: {size(least)} in a process at the least, and it has {memory}; "
                    f"{training.job.way_out}"
                )
            if training.job.micro_rows < self.processes:
                lines.append(
                    f"{name}: a micro-batch of {training.job.micro_rows:,} rows keeps "
                    f"{training.job.micro_rows:,} of {self.processes:,} processes busy; raise "
                    "trainer.batch_size"
                )
        if self.capture is not None and not self.capture.copies:
            lines.append(f"targets: the teacher does not fit into {self.processes:,} x {memory}")
        return lines

    def tables(self, *, boxed: bool) -> list[Table]:
        """Time and what bounds it; memory of a process under each wrapper; bytes."""
        tokens = f", {self.tokens:,.4g} tokens" if self.tokens else ""
        rows = [
            [
                name,
                how,
                operations(self._jobs[name].flops or 0.0),
                *(
                    time_of(expected.known[part]) if part in expected.known else ""
                    for part in BOUNDS
                ),
                time_of(expected.seconds),
                expected.bound,
            ]
            for name, (how, expected) in self._expected().items()
        ]
        time_table = titled(
            f"time, on {self.processes:,} x {self.plan.place.removeprefix('one ')}{tokens}",
            ["", "", "computes", *BOUNDS, "expected", "bound by"],
            [*rows, ["all", *[""] * 6, time_of(self.seconds), ""]],
            boxed,
            left=2,
        )
        memory = [self._memory(name, boxed) for name in TRAININGS if self.training(name)]
        return [time_table, *memory, self._bytes(boxed)]

    def _memory(self, name: str, boxed: bool) -> Table:
        training = self.training(name)
        assert training is not None
        rows = []
        for wrapper in WRAPPERS:
            held = training.held(wrapper)
            parts = [size(held.device[part]) if part in held.device else "" for part in PARTS]
            rows.append(
                [
                    wrapper,
                    *parts,
                    size(held.total),
                    size(held.host) if held.host else "",
                    size(training.exchanged(wrapper)),
                    time_of(training.expected(wrapper).seconds),
                    self._fit(held),
                ]
            )
        return titled(
            f"{name}: memory of a process at its peak, of {size(self.plan.machine.memory)}",
            ["", *PARTS, "all", "host", "sent a step", "expected", ""],
            rows,
            boxed,
        )

    def _fit(self, held: Held) -> str:
        return "fits" if held.total <= self.plan.machine.memory else "does not fit"

    def _bytes(self, boxed: bool) -> Table:
        sizes = {"token tables": self._table_bytes}
        if self._store_bytes:
            sizes["targets"] = self._store_bytes
        for name in TRAININGS:
            training = self.training(name)
            if training is not None:
                parameters = training.shape.parameters
                sizes[f"{name}: a checkpoint"] = FLOAT * (1 + training.job.states) * parameters
                sizes[name] = FLOAT * parameters
        rows = [[name, size(n)] for name, n in sizes.items()]
        return titled("bytes on disk", ["", "about"], rows, boxed)

    def sentences(self) -> list[str]:
        """What the figures mean, and what was assumed."""
        lines = [
            "Compute, memory, network and disk are taken to overlap: the slowest is the time. None "
            "of it was run on a cluster.",
            "ZeRO is DeepSpeed's, which distillkit does not run: its rows are there to compare. "
            "What each wrapper holds and sends is written out in distillkit/planning/scale.py.",
        ]
        name = self.plan.machine.name
        if name is None:
            return [
                "Compute alone is known of this machine; its processes share its cores and memory.",
                *lines,
            ]
        peak = HARDWARE[name]
        return [
            f"Assumed: {UTILISATION:.0%} of {name}'s published peak, {SUSTAINED:.0%} of its "
            f"memory's {size(peak.bandwidth)}/s and of its links ({size(peak.link)}/s within a "
            f"machine of {peak.a_node}, {size(peak.network)}/s a device beyond), "
            f"{size(DISK)}/s of disk a machine.",
            *lines,
        ]


def at_scale(plan: RunPlan, processes: int | None, tokens: float | None) -> ScalePlan | None:
    """The plan on many processes, or of a larger corpus; None where neither is named."""
    if processes is None and tokens is None:
        return None
    return ScalePlan(replace(plan), processes or 1, tokens)
