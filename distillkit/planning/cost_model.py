"""What a run will compute, hold and keep: arithmetic on shapes and lengths, nothing is run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from distillkit.console.progress import clock
from distillkit.console.wording import size
from distillkit.losses.chunked import chunk_bytes
from distillkit.models.shapes import Shape

FLOAT = 4  # bytes
TRAINING = 3  # forward passes that a step costs: one forward, and two as large backwards
RECOMPUTED = 1  # more, with gradient checkpointing
# Values that a layer keeps of a token for its backward pass, in hidden states and in feed-forward
# widths. Counted with saved_tensors_hooks: Llama 9 and 4, BERT 8 and 2, GPT-2 8 and 6.
KEPT_HIDDEN, KEPT_NEURONS = 9, 3.5
KEPT_SCORES = 3  # as much for each pair of tokens and head, where attention has dropout on a CPU
PASSING = 4  # layers' worth of values that a pass without gradients holds at once, at most
CHUNKS = 6  # tensors of a chunk's logits that are there at once
SHARDS = 4  # of what was picked: being gathered, put together, and two waiting to be written
PROCESS = 0.8e9  # Python with torch and transformers: bytes
CHECKPOINTS = 2  # the newest, and the one that replaces it
EVALUATIONS = 20  # of a training, unless trainer.eval_every says otherwise
STATES = {"SGD": 1, "RMSprop": 1, "Adagrad": 1, "Adafactor": 0, "Adam": 2, "AdamW": 2}


@dataclass(frozen=True, slots=True)
class Work:
    """What a pass over some batches looks at: all tokens with padding, counted positions, and
    `pairs`, each token with each of its row. `most_*` are those of the largest batch.
    """

    tokens: float
    positions: float
    pairs: float
    most_tokens: int = 0
    most_pairs: int = 0
    most_positions: int = 0

    def times(self, factor: float) -> "Work":
        """So many such passes."""
        return Work(
            self.tokens * factor,
            self.positions * factor,
            self.pairs * factor,
            self.most_tokens,
            self.most_pairs,
            self.most_positions,
        )


def work(
    lengths: np.ndarray,
    positions: np.ndarray,
    batches: Iterable[Sequence[np.ndarray]],
    *,
    rows: int | None = None,
) -> Work:
    """The work of batches of rows, each the examples in it; at most `rows` of them at once."""
    tokens = pairs = loss_mask = most_tokens = most_pairs = most_positions = 0
    for batch in batches:
        for begin in range(0, len(batch), rows or len(batch)):
            piece = batch[begin : begin + (rows or len(batch))]
            width = max(int(lengths[row].sum()) for row in piece)
            piece_tokens = len(piece) * width
            count = int(positions[np.concatenate(piece)].sum())
            tokens, pairs, loss_mask = (
                tokens + piece_tokens,
                pairs + piece_tokens * width,
                loss_mask + count,
            )
            most_tokens, most_pairs = (
                max(most_tokens, piece_tokens),
                max(most_pairs, piece_tokens * width),
            )
            most_positions = max(most_positions, count)
    return Work(tokens, loss_mask, pairs, most_tokens, most_pairs, most_positions)


def alone(buckets: Iterable[np.ndarray]) -> Iterable[list[np.ndarray]]:
    """Batches of examples that have a row each."""
    return (list(bucket[:, None]) for bucket in buckets)


def forward_flops(shape: Shape, work_done: Work) -> float:
    """2 ((body - once) x tokens + (head + once) x positions) + 4 layers x attention x pairs.

    A product takes two operations a weight. Scores and their sum take 2 each for every pair of
    tokens and channel; those above the diagonal are computed, too. Where a last layer runs for the
    first token alone, it pairs with each token once.
    """
    everywhere, once = shape.body - shape.once, shape.head + shape.once
    products = 2 * (everywhere * work_done.tokens + once * work_done.positions)
    pairs = shape.layers * work_done.pairs
    if shape.once:
        pairs += work_done.tokens - work_done.pairs
    return products + 4 * shape.attention * pairs


def evaluations(steps: int, eval_every: int | None) -> int:
    """How often a training looks at the validation text."""
    interval = eval_every or max(1, -(-steps // EVALUATIONS))
    return -(-steps // interval)


def optimizer_states(name: str, *, momentum: float = 0.0) -> int:
    """Tensors of a parameter's size that an optimizer keeps; 2 for one that is not known."""
    if name == "SGD" and not momentum:
        return 0
    return STATES.get(name, 2)


def asking_memory(
    shape: Shape, work_done: Work, *, weight_bytes: float, narrow: bool, chunk: int
) -> dict[str, float]:
    """Bytes while a model is asked, for about `chunk` logits at once.

    With `narrow`, float32 weights have bfloat16 copies.
    """
    copies = 2 * shape.body if narrow and weight_bytes == FLOAT else 0
    widths = 2 * shape.hidden + shape.attention + 2 * shape.neurons
    logits = min(max(chunk, shape.outputs), work_done.most_positions * shape.outputs)
    return {
        "weights": weight_bytes * shape.parameters + copies,
        "activations": FLOAT * PASSING * widths * work_done.most_tokens,
        "logits": FLOAT * CHUNKS * logits,
    }


def learning_memory(
    shape: Shape,
    work_done: Work,
    *,
    heads: int,
    states: int,
    narrow: bool,
    keeps_scores: bool,
    memory: float | None = None,
    recomputes: bool = False,
) -> dict[str, float]:
    """Bytes while a model learns, in float32 with bfloat16 copies where `narrow`.

    `memory` is a GPU's, None elsewhere: chunks of logits go by it. A model that `recomputes` (by
    gradient checkpointing) keeps what goes into each layer, and all of one layer at a time.
    """
    copies = 2 * shape.body if narrow else 0
    values = KEPT_HIDDEN * shape.hidden + KEPT_NEURONS * shape.neurons
    activations = values * work_done.most_tokens
    if keeps_scores:
        activations += KEPT_SCORES * heads * work_done.most_pairs
    logits = min(chunk_bytes(memory), FLOAT * work_done.most_positions * shape.outputs)
    kept = shape.layers * activations
    if recomputes:
        kept = shape.layers * shape.hidden * work_done.most_tokens + activations
    return {
        "weights": FLOAT * shape.parameters + copies,
        "gradients": FLOAT * (shape.parameters + shape.head),  # the head's is gathered apart
        "optimizer": FLOAT * states * shape.parameters,
        "activations": FLOAT * kept,
        "logits": CHUNKS * logits,
    }


def kept_disk(shape: Shape, *, copies: int) -> float:
    """Bytes of a finished model and its copies."""
    return FLOAT * shape.parameters * copies


def passing_disk(shape: Shape, *, states: int) -> float:
    """Bytes that a training needs on disk only while it runs: checkpoints, and the best weights."""
    return FLOAT * shape.parameters * (CHECKPOINTS * (1 + states) + 1)


EARLIER = "by an earlier phase"
DONE = ("there", EARLIER)  # states of artifacts that cost nothing more


@dataclass(frozen=True, slots=True)
class Job:
    """One thing that a run computes. None: it cannot be told.

    `rate` is in FLOP/s as they are reached; `host` is memory of the machine where `memory`, by what
    needs it, is a device's. `state` is that of the artifact it makes. A training has `rows` in
    `steps` of `micro_batches` with `micro_rows` each, and `states` tensors a parameter; `memory` is
    that of `sample_rows`. A pass of a teacher has `batches`. What `grows` is as long as the text.
    """

    name: str
    state: str
    label: str
    precision: str = ""
    shape: Shape | None = None
    flops: float | None = None
    rate: float | None = None
    memory: Mapping[str, float] = field(default_factory=dict)
    host: float = 0.0
    way_out: str = ""
    steps: int = 0
    rows: float = 0.0
    micro_batches: int = 1
    micro_rows: int = 0
    sample_rows: int = 0
    states: int = 0
    batches: int = 0
    grows: bool = False

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to compute."""
        return self.state in DONE

    @property
    def seconds(self) -> float | None:
        """The expected time; None if it cannot be told."""
        if self.is_done:
            return 0.0
        return self.flops / self.rate if self.flops is not None and self.rate else None


def too_large(
    jobs: Sequence[Job], *, place: str, memory: float, host: float, is_device: bool
) -> list[str]:
    """One line for each job that needs more memory than there is."""
    lines = []
    for job in jobs:
        if job.is_done:
            continue
        needed, host_bytes = sum(job.memory.values()), job.host
        if not is_device:
            needed, host_bytes = needed + host_bytes + PROCESS, 0.0
        if job.memory and needed > memory:
            lines.append(
                f"{job.name}: about {size(needed)} of memory, and {place} has {size(memory)}"
                f"; {job.way_out}"
            )
        if host_bytes > host:
            lines.append(
                f"{job.name}: about {size(host_bytes)} of the machine's memory for the shards that "
                f"wait to be written, and it has {size(host)}; lower targets.shard_tokens"
            )
    return lines


def operations(number: float) -> str:
    """Floating-point operations for people."""
    for unit in ("M", "G", "T", "P", "E"):
        number /= 1000 if unit != "M" else 1e6
        if number < 1000:
            break
    return f"{number:,.3g} {unit}FLOP"


def time_of(seconds: float | None) -> str:
    """Seconds for people: an estimate has no seconds once it has hours."""
    if seconds is None:
        return "cannot be told"
    if seconds < 1:
        return "under a second" if seconds else "-"
    return f"{seconds / 3600:,.1f} h" if seconds >= 7200 else clock(seconds)
