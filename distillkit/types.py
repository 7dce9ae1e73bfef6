"""Frozen records that travel between the layers; tensors never travel in dicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


KEY_BYTES = 16  # an example's key: what its soft targets are filed under

# What a model's outputs at a position mean. softmax: of several one holds; choice: so it is, but
# some are ruled out, their logits -inf; bernoulli: each holds or not by itself; real: one value.
Distribution = Literal["softmax", "choice", "bernoulli", "real"]
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)


@dataclass(frozen=True, slots=True)
class Batch:
    """One collated micro-batch.

    `inputs` are the model's keyword arguments. `indices` [batch] are positions in the token table
    that the batch was cut from. `loss_index` [positions] are the counted positions' places in the
    flattened [rows * tokens]; None where each row has one, as a classifier's has. `labels`
    [positions] are class ids, token ids or real values, or [positions, labels] of 0 and 1 where
    several may hold; `label_mask` [positions] is False where the label means nothing (transfer
    text has none). Where a position is a choice among tokens, `answer_mask` [rows, tokens] is True
    for those that may be chosen.

    A loss that compares texts has three more: `mask` [texts, tokens] is True for the tokens of each
    text, `gather_index` [texts, tokens] are their places in the flattened [rows * tokens] (None
    where each text is a row), and `text_index` [positions] the text of each counted position.
    """

    inputs: Mapping[str, Tensor]
    indices: np.ndarray
    labels: Tensor
    label_mask: Tensor
    loss_index: Tensor | None = None
    answer_mask: Tensor | None = None
    mask: Tensor | None = None
    gather_index: Tensor | None = None
    text_index: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """A language model's output projection, with all that its own forward does to the logits.

    `weight` [rows, hidden] and `bias` [rows]; logits = cap(scale * (h W^T + b)) over the first
    `size` rows, where cap(x) = softcap * tanh(x / softcap). Rows beyond `size` are the padding of
    a vocabulary that was rounded up: no token has such an id, so they are never computed.
    """

    weight: Tensor
    size: int
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model said at the counted positions of a batch: `logits` [positions, classes].

    A classifier has one position an example.
    """

    logits: Tensor


@dataclass(frozen=True, slots=True)
class HiddenOutputs:
    """What a language model said at the counted positions, before its head.

    `hidden` [positions, hidden]. The logits [positions, vocabulary] would be larger than
    everything else in memory, so they are only ever made in chunks.
    """

    hidden: Tensor
    head: Head


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """All the teacher's logits [positions, classes], in the data's label order."""

    logits: Tensor

    def part(self, rows: slice | Tensor) -> SoftTargets:
        """Those of some positions."""
        return SoftTargets(self.logits[rows])


@dataclass(frozen=True, slots=True)
class SparseTargets:
    """A few entries of the teacher's distribution at each position.

    `ids` [positions, k] int64 (0 in entries that are not used) and `log_probs` [positions, k]
    float32 at temperature 1 (-inf in entries that are not used). `log_z` maps each temperature T
    that was captured to [positions] float32: log sum p^(1/T) over the whole vocabulary, 0 at T = 1;
    so p_T(id) = exp(log_prob / T - log_z[T]) is exact and 1 - sum p_T(id) is the mass elsewhere.

    With `is_estimate` the entries were drawn at random: exp(log_probs) is an unbiased estimate of
    the whole distribution at the one temperature that `log_z` has, and nothing is left over.
    """

    ids: Tensor
    log_probs: Tensor
    log_z: Mapping[float, Tensor]
    is_estimate: bool = False

    def part(self, rows: slice | Tensor) -> SparseTargets:
        """Those of some positions."""
        log_z = {t: values[rows] for t, values in self.log_z.items()}
        return SparseTargets(self.ids[rows], self.log_probs[rows], log_z, self.is_estimate)


@dataclass(frozen=True, slots=True)
class HiddenTargets:
    """The teacher's last hidden states [positions, hidden] and its head: all logits, on demand."""

    hidden: Tensor
    head: Head

    def part(self, rows: slice | Tensor) -> HiddenTargets:
        """Those of some positions."""
        return HiddenTargets(self.hidden[rows], self.head)


@dataclass(frozen=True, slots=True)
class AveragedTargets:
    """What several teachers said, to be averaged where it is used: a few positions at a time.

    `shares` sum to 1; `distribution` says what is averaged.
    """

    members: tuple[SoftTargets | HiddenTargets, ...]
    shares: tuple[float, ...]
    distribution: Distribution

    def part(self, rows: slice | Tensor) -> AveragedTargets:
        """Those of some positions."""
        members = tuple(member.part(rows) for member in self.members)
        return AveragedTargets(members, self.shares, self.distribution)


Targets = SoftTargets | SparseTargets | HiddenTargets | AveragedTargets


@dataclass(frozen=True, slots=True)
class HardLabels:
    """The data's own labels: `values` [positions] and where they mean something, `label_mask`.

    `per_example` is the task's loss against them (cross-entropy for classes, squared error for a
    real value): (logits [positions, classes], values [positions]) -> [positions].
    """

    values: Tensor
    label_mask: Tensor
    per_example: Any

    def part(self, rows: slice | Tensor) -> HardLabels:
        """Those of some positions."""
        return HardLabels(self.values[rows], self.label_mask[rows], self.per_example)


@dataclass(frozen=True, slots=True)
class ActivationSpec:
    """What a loss looks at inside one model, layer by layer.

    Of `hidden` states 0 is the embeddings and m is what layer m gives; attention has layers from 1
    on: `queries`, `keys` and `values` before heads are told apart.
    """

    hidden: frozenset[int] = frozenset()
    queries: frozenset[int] = frozenset()
    keys: frozenset[int] = frozenset()
    values: frozenset[int] = frozenset()

    def __or__(self, other: ActivationSpec) -> ActivationSpec:
        """What either looks at."""
        names = [f.name for f in fields(self)]
        return ActivationSpec(
            **{name: getattr(self, name) | getattr(other, name) for name in names}
        )

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self))


@dataclass(frozen=True, slots=True)
class StoredLayers:
    """Hidden states of a teacher that a store keeps, by layer as `ActivationSpec` counts them.

    `first`: layers of which each text's first token ([CLS]) is kept; `whole`: of which all tokens
    are.
    """

    first: frozenset[int] = frozenset()
    whole: frozenset[int] = frozenset()

    def __or__(self, other: StoredLayers) -> StoredLayers:
        """What either asks for."""
        whole = self.whole | other.whole
        return StoredLayers((self.first | other.first) - whole, whole)

    def __bool__(self) -> bool:
        return bool(self.first or self.whole)


@dataclass(frozen=True, slots=True)
class Activations:
    """What one model computed inside while it read a batch, by layer as in `ActivationSpec`.

    `hidden` [texts, tokens, hidden]; `queries`, `keys` and `values` [texts, tokens, heads * width],
    where keys and values may have fewer heads than the `heads` of the queries.
    """

    hidden: Mapping[int, Tensor]
    queries: Mapping[int, Tensor]
    keys: Mapping[int, Tensor]
    values: Mapping[int, Tensor]
    heads: int


@dataclass(frozen=True, slots=True)
class PairedActivations:
    """Student and teacher side by side over the same tokens, each text in a row of its own.

    `mask` [texts, tokens] says which tokens there are, `text_index` [positions] to which text a
    counted position belongs.
    """

    student: Activations
    teacher: Activations
    mask: Tensor
    text_index: Tensor


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The sizes of a model that a loss on its inside must know.

    `name` is the model's class, for messages. `queries` and `keys` (and values) are the widths of
    all heads together. Without attention `heads` is 0. Where positions are rotated into queries
    and keys (`rotates`), these are not yet what attention scores are made of.
    """

    name: str
    layers: int
    hidden: int
    heads: int = 0
    queries: int = 0
    keys: int = 0
    rotates: bool = False


@dataclass(frozen=True, slots=True)
class LossTerms:
    """A loss before it is divided by a count: its terms, and a weight for each of them.

    `values[name]` is [positions]; positions that do not count are exactly 0. Of a loss that was
    computed in chunks only the sum over the positions is there, [] and without a graph: `total`,
    the weighted sum of all terms, then has the gradients.
    """

    values: Mapping[str, Tensor]
    weights: Mapping[str, float]
    total: Tensor | None = None


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """The labels of a task in their one order. `names` is empty for a real-valued label."""

    names: tuple[str, ...]
    numeric: bool = False  # the data spelt its labels as numbers, so LABEL_i can only mean i

    @property
    def outputs(self) -> int:
        """The width of the model's head."""
        return max(1, len(self.names))


@dataclass(frozen=True, slots=True)
class FitReport:
    """What one training run did. `history` holds the logged rows, `best_step` the weights kept.

    `steps` are those taken: fewer than `planned_steps` where validation stalled.
    """

    steps: int
    planned_steps: int
    best_step: int
    best_score: float | None
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list)
