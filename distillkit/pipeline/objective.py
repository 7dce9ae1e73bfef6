"""What a sweeper that chooses for itself is told of a job: `sweep.objective`."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from distillkit.config.sweepers import objectives
from distillkit.errors import ConfigError


def objective(
    cfg: DictConfig, fit: Mapping[str, Any], student: Mapping[str, Any], *, command: str
) -> float | tuple[float, ...]:
    """The value of each objective, or the one value; nothing of them is of the held-out rows.

    `fit` are the metadata of the student's training, `student` its row of costs. `validation` is
    its best validation score, of which more is better: of a language model, minus its loss in nats.
    """
    values = {"validation": fit["best_score"], "seconds": fit["seconds"]}
    values |= {name: student.get(name) for name in ("parameters", "megabytes", "latency_p50_ms")}
    names = objectives(cfg.sweep.objective)
    for name in names:
        if values[name] is None:
            raise ConfigError(
                f"sweep.objective = {name}: {command} measures none; leave it out"
                + ("" if command == "train" else ", or sweep `distillkit train`")
            )
    scores = tuple(float(values[name]) for name in names)
    return scores if len(scores) > 1 else scores[0]
