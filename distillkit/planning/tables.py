"""A plan for people: a table for each part of it, and what the figures mean."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from distillkit.console.wording import size
from distillkit.models.hardware import HARDWARE, SHARE, UTILISATION, Machine
from distillkit.planning.cost_model import PROCESS, Job, Work, operations, time_of, too_large
from distillkit.token_table import TokenTable


@dataclass(frozen=True, slots=True)
class Made:
    """An artifact: whether it is there, and its name."""

    name: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class Text:
    """What one part of the run reads, once; `padding` is the share of its batches that is empty."""

    part: str
    examples: int
    tokens: int
    positions: int
    padding: float
    steps: int | None


def text_row(label: str, table: TokenTable, read: Work, steps: int | None) -> Text:
    """What one part of the run reads of a table, in the batches of `read`."""
    tokens = len(table.ids)
    return Text(label, len(table), tokens, int(read.positions), 1 - tokens / read.tokens, steps)


@dataclass(frozen=True, slots=True)
class Store:
    """How large the targets are, or are expected to be."""

    codec: str
    per_position: float
    bytes: float
    is_estimate: bool


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All that a plan says. `host` is the machine's memory, `free` its workspace's, in bytes."""

    artifacts: Sequence[Made]
    texts: Sequence[Text]
    store: Store | None
    jobs: Sequence[Job]
    machine: Machine
    host: float
    disk: dict[str, float]
    free: float
    workspace: str
    more_room: str
    unknown: Sequence[str]
    ends_early: bool = False

    @property
    def seconds(self) -> float | None:
        """The expected time of all that is to be made; None if some of it cannot be told."""
        spent = [job.seconds for job in self.jobs]
        times = [seconds for seconds in spent if seconds is not None]
        return sum(times) if len(times) == len(spent) else None

    @property
    def place(self) -> str:
        """What the plan is made for, in words."""
        if self.machine.name:
            return f"one {self.machine.name}"
        return "this GPU" if self.machine.is_device else "this machine"

    @property
    def size_of_store(self) -> str:
        """How large the targets are, or are expected to be; empty where nothing is stored."""
        if not self.store:
            return ""
        return f"{'about ' if self.store.is_estimate else ''}{size(self.store.bytes)}"

    def problems(self) -> list[str]:
        """What would not fit, a line each."""
        lines = too_large(
            self.jobs,
            place=self.place,
            memory=self.machine.memory,
            host=self.host,
            is_device=self.machine.is_device,
        )
        needed = sum(self.disk.values())
        if needed > self.free:
            largest = max(self.disk, key=lambda name: self.disk[name])
            lines.append(
                f"disk: about {size(needed)}, {size(self.disk[largest])} of it {largest}, and "
                f"{size(self.free)} are free in {self.workspace}; {self.more_room}"
            )
        return lines

    def tables(self, *, boxed: bool) -> list[Table]:
        """A table for each part."""
        return [
            titled("artifacts", ["", "", ""], _artifacts(self.artifacts), boxed, left=3),
            titled(
                "text",
                ["", "examples", "tokens", "counted positions", "padding", "optimizer steps"],
                [_text(row) for row in self.texts],
                boxed,
            ),
            *([self._targets(self.store, boxed)] if self.store else []),
            titled(
                f"work, on {self.place}",
                ["", "", "parameters", "computes", "in", "expected time"],
                [*map(_work, self.jobs), ["all", "", "", "", "", time_of(self.seconds)]],
                boxed,
                left=2,
            ),
            self._memory(boxed),
            titled(
                "disk",
                ["", "about"],
                [
                    *([name, size(n)] for name, n in self.disk.items()),
                    ["all", size(sum(self.disk.values()))],
                    ["free", size(self.free)],
                ],
                boxed,
            ),
        ]

    def _targets(self, store: Store, boxed: bool) -> Table:
        prefix = "about " if store.is_estimate else ""
        row = [store.codec, f"{prefix}{store.per_position:,.1f}", f"{prefix}{size(store.bytes)}"]
        return titled("targets", ["codec", "bytes a position", "in all"], [row], boxed)

    def _memory(self, boxed: bool) -> Table:
        parts = ["weights", "gradients", "optimizer", "activations", "logits"]
        rows = []
        for job in self.jobs:
            if not job.memory or job.is_done:
                continue
            row = [job.name, *(size(job.memory[p]) if p in job.memory else "" for p in parts)]
            whole = sum(job.memory.values())
            if not self.machine.is_device:
                whole += job.host + PROCESS
            rows.append([*row, size(job.host) if job.host else "", size(whole)])
        title = f"memory at its peak, of {size(self.machine.memory)}"
        return titled(title, ["", *parts, "shards", "all"], rows, boxed)

    def sentences(self) -> list[str]:
        """What the figures mean."""
        lines = [
            "forward = 2 x (body x tokens + head x counted positions) + 4 x layers x attention "
            "width x pairs of tokens, padding included; training = 3 x forward, and validation.",
            self._speed(),
            "Not in the time: tokenising, drawing and writing what a codec keeps, timing models, "
            "and what an evaluation has them write.",
        ]
        if any(job.name == "control" and not job.is_done for job in self.jobs):
            lines.append("The control doubles the training; control=false leaves it out.")
        if self.ends_early:
            lines.append(
                "Steps and time are the most: training ends earlier where validation has stalled."
            )
        if self.store and self.store.is_estimate:
            lines.append(
                "The size of targets that keep some ids of a position is an estimate for a usual "
                "teacher: a sure one has fewer, an unsure one more."
            )
        if not self.machine.is_device:
            lines.append(f"Memory includes {size(PROCESS)} for Python and its packages.")
        if any(job.shape and job.shape.has_experts for job in self.jobs):
            lines.append(
                "Of a mixture of experts all are counted: it computes less than is said here."
            )
        if any(job.shape and job.shape.is_recurrent for job in self.jobs):
            lines.append(
                "A recurrent network reads one token after the other: it takes longer than is said "
                "here."
            )
        return [*lines, *self.unknown]

    def _speed(self) -> str:
        rates = {job.precision: job.rate for job in self.jobs if job.rate}
        name = self.machine.name
        if name:
            peak = HARDWARE[name]
            figures = {"bfloat16": peak.bfloat16, "float32": peak.float32}
            peaks = " and ".join(f"{operations(figures[p] or 0)}/s in {p}" for p in rates)
            return (
                f"Time: {UTILISATION:.0%} of {name}'s published dense peak, {peaks}; one of them."
                if rates
                else "Time: nothing is left to compute."
            )
        if not rates:
            return "Time: nothing is left to compute."
        reached = " and ".join(f"{operations(rate / SHARE)}/s in {p}" for p, rate in rates.items())
        return (
            f"Time: a probe of this machine, now, reached {reached} with matrices of these widths; "
            f"{SHARE:.0%} of that is taken, as real runs reach."
        )


def titled(
    title: str, names: list[str], rows: list[list[str]], boxed: bool, left: int = 1
) -> Table:
    """A table with so many columns to the left."""
    table = Table(title=title, title_justify="left", show_header=any(names))
    if not boxed:
        table.box = None
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place < left else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _artifacts(artifacts: Sequence[Made]) -> list[list[str]]:
    return [[artifact.name, artifact.state, artifact.detail] for artifact in artifacts]


def _text(row: Text) -> list[str]:
    counts = [f"{n:,}" for n in (row.examples, row.tokens, row.positions)]
    return [row.part, *counts, f"{row.padding:.1%}", "" if row.steps is None else f"{row.steps:,}"]


def _work(job: Job) -> list[str]:
    parameters = f"{job.shape.parameters:,}" if job.shape else ""
    if job.is_done:
        return [job.name, job.state, parameters, "", "", ""]
    flops = "cannot be told" if job.flops is None else operations(job.flops)
    return [job.name, job.label, parameters, flops, job.precision, time_of(job.seconds)]
