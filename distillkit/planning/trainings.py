"""A training before it is priced: its steps, its batches, what it reads."""

from dataclasses import dataclass
from typing import Any

from distillkit.pipeline.students import StudentVariant
from distillkit.planning import cost_model
from distillkit.planning.cost_model import Work
from distillkit.token_table import TokenTable
from distillkit.training.batching import Plan
from distillkit.training.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Training:
    """A training before it is priced."""

    variant: StudentVariant | None  # None: the teacher's
    settings: TrainSettings
    plan: Plan
    table: TokenTable
    validation: TokenTable
    rows: int  # of an epoch

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return self.settings.length(self.plan.steps_per_epoch)

    @property
    def epoch(self) -> Work:
        """An epoch's work, in the batches of the first one."""
        batches = (self.plan.rows(step) for step in range(1, self.plan.steps_per_epoch + 1))
        rows = self.settings.micro_batch_size
        return cost_model.work(self.plan.lengths, self.table.positions, batches, rows=rows)

    @property
    def micro_rows(self) -> int:
        """Rows of a micro-batch, over all processes."""
        size = self.settings.batch_size
        return min(self.settings.micro_batch_size or size, size)

    @property
    def micro_batches(self) -> int:
        """Micro-batches of a step."""
        return -(-self.settings.batch_size // self.micro_rows)


def drops_attention(config: Any) -> bool:
    """Whether a model drops attention in training, which then keeps its scores."""
    names = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
    return any(getattr(config, name, 0) for name in names)
