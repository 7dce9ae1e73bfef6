"""The validation scores of a model in training."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from distillkit.models.inference import all_logits, predict
from distillkit.tasks import HeldOut, SequenceTask
from distillkit.training.batching import length_buckets
from distillkit.training.collation import collator
from distillkit.training.job import TrainingJob
from distillkit.training.language_scores import mean_loss

VALIDATION_TOKENS = 4096  # a forward pass's size, with padding
MOST_NATS = 50.0  # a loss whose perplexity is still worth a number


def validation(
    job: TrainingJob, tokenizer: Any, device: torch.device
) -> Callable[[Any], dict[str, float]]:
    """model -> its validation scores; of `score`, more is better."""
    task, table, settings = job.task, job.validation, job.settings
    buckets = length_buckets(table.lengths, tokens=VALIDATION_TOKENS)
    collate = collator(table, tokenizer, device)
    forward_fn = task.forward_fn(tokenizer)
    if not isinstance(task, SequenceTask):

        def language_scores(model: Any) -> dict[str, float]:
            loss = mean_loss(
                predict(model, forward_fn, buckets, collate, precision=settings.precision)
            )
            return {"score": -loss, "perplexity": math.exp(min(loss, MOST_NATS)), "loss": loss}

        return language_scores
    labels = np.array(table.labels)  # a copy: torch takes no read-only memory
    held_out, offsets = HeldOut(table, job.labels), table.position_offsets

    def scores(model: Any) -> dict[str, float]:
        logits = all_logits(
            model, forward_fn, buckets, collate, precision=settings.precision, offsets=offsets
        )
        with torch.no_grad():
            loss = task.per_example(torch.from_numpy(logits), torch.from_numpy(labels)).mean()
        headline = task.headline_score(task.outcomes(logits, held_out))
        return {"score": headline, task.headline: headline, "loss": float(loss)}

    return scores
