"""Language models on the held-out text: perplexity, fidelity, calibration, what they write."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.artifacts.parts import Parts
from distillkit.console.progress import say, track
from distillkit.data.corpus import Split
from distillkit.evaluation import lm_eval as harness
from distillkit.evaluation import responses as instruction
from distillkit.evaluation.disagreements import of_texts
from distillkit.evaluation.efficiency import Measured
from distillkit.evaluation.predictions import write_texts
from distillkit.evaluation.respelling import together
from distillkit.evaluation.samples import samples
from distillkit.evaluation.slices import LENGTH, groups, quarters, sliced
from distillkit.losses.averages import averaged
from distillkit.losses.heads import project
from distillkit.metrics import EvaluationSettings
from distillkit.metrics.calibration import binned
from distillkit.metrics.drafts import draft_scores
from distillkit.metrics.interval import bootstrap_difference, bootstrap_score
from distillkit.metrics.resampled import Column
from distillkit.models.vocabularies import check_same_tokenizer
from distillkit.tasks import Task
from distillkit.training.batching import length_buckets
from distillkit.training.language_scores import pieces
from distillkit.training.validation import VALIDATION_TOKENS
from distillkit.types import HiddenOutputs

SCORES = "scores.npz"
OF_REFERENCE = ("agreement", "kl", "acceptance")
NAMES = ("nll", "agreement", "kl", "confidence", "correct")


def measure(
    loaded: Mapping[str, Measured],
    task: Task,
    test: Split,
    settings: EvaluationSettings,
    parts: Parts,
    out: Path,
    reference: str = "teacher",
    slice_values: Mapping[str, Sequence[Any]] | None = None,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(rows, comparison, reliability); the scores of every position go under `out`.

    All models read the same windows of the held-out text, each token predicted once; a model of
    fewer tokens spells those that it lacks. Intervals are over windows, since the tokens of one are
    not independent.
    """
    whole = {row: measured for row, measured in loaded.items() if measured.counts is None}
    first = next(iter(whole.values()))
    for measured in (member for row in whole.values() for member in row.members):
        check_same_tokenizer(
            measured.loaded.tokenizer, first.loaded.tokenizer, key=measured.saved.key
        )
    questions = None
    if settings.rouge_examples:  # before the forward passes, since it may refuse the data
        questions = instruction.questions(test, first.loaded.tokenizer, settings)
    scores = scores_of(loaded, settings, parts, reference)
    owner = np.repeat(np.arange(len(first.table)), first.table.positions)
    rows: dict[str, Any] = {}
    bins: dict[str, Any] = {}
    nats: dict[str, np.ndarray] = {}
    for row, figures in scores.items():
        nats[row] = _by_window(figures["nll"], owner)
        mean = float(figures["nll"].mean())
        low, high = bootstrap_score(
            _mean_nats, nats[row], nats[row], resamples=settings.resamples, level=settings.level
        )
        rows[row] = {
            "perplexity": math.exp(mean),
            "nll": mean,
            "headline_interval": [math.exp(low), math.exp(high)],
            "positions": len(owner),
        }
        if not task.generates:  # of masked tokens; perplexity alone ranks those that generate
            rows[row]["masked_accuracy"] = float(figures["correct"].mean())
        if "acceptance" in figures and row != reference:
            rows[row] |= draft_scores(figures["acceptance"], settings.draft_lengths)
        if "kl" in figures:
            rows[row]["agreement"] = float(figures["agreement"].mean())
            rows[row]["kl_to_teacher"] = float(figures["kl"].mean())
        bin_of = binned(
            figures["confidence"].astype(np.float64), figures["correct"] > 0, bins=settings.ece_bins
        )
        rows[row]["ece"] = bin_of.expected_calibration_error
        bins[row] = bin_of.record()
    arrays = {f"{row}.{name}": v for row, figures in scores.items() for name, v in figures.items()}
    np.savez(out / SCORES, allow_pickle=False, **arrays)
    nlls = {row: figures["nll"] for row, figures in scores.items()}
    write_texts(nlls, first.table, test, out=out)
    comparison = _compare(nats, settings)
    if reference != "teacher" and reference in nats:
        comparison["over_reference"] = {
            row: {"perplexity": _difference(nats[row], nats[reference], settings)}
            for row in nats
            if row != reference
        }
    if first.table.text_index is not None:
        texts = np.repeat(np.asarray(first.table.text_index), first.table.positions)
        comparison["disagreements"] = of_texts(nlls, texts, test)
        comparison["slices"] = _slices(nlls, texts, len(test), slice_values or {}, settings)
    # several models have probabilities together, but none that writes
    writers = {row: measured for row, measured in loaded.items() if not measured.later_members}
    of_prompts = {row: measured for row, measured in writers.items() if row in whole}
    if settings.samples and task.generates:
        texts_of_all = partial(samples, of_prompts, test, settings)
        comparison["samples"] = parts.record("samples", texts_of_all)
    if questions:
        rouge, responses = instruction.measure(of_prompts, questions, settings, out, parts)
        rows = {row: values | rouge.get(row, {}) for row, values in rows.items()}
        comparison |= responses
    if settings.harness:
        for row, measured in writers.items():
            name, of_row = f"the harness, {row}", partial(_on_harness, row, measured, settings)
            rows[row] |= parts.record(name, of_row)
        comparison["harness"] = harness.conditions(settings.harness_limit)
    return rows, comparison, bins


def _slices(
    nlls: Mapping[str, np.ndarray],
    texts: np.ndarray,
    count: int,
    slice_values: Mapping[str, Sequence[Any]],
    settings: EvaluationSettings,
) -> list[dict[str, Any]]:
    """The perplexity in each part of the held-out texts, of those that have tokens which count.

    `nlls` are those of each position, row -> [positions], and `texts` [positions] their texts.
    """
    tokens = np.bincount(texts, minlength=count)
    filled = np.flatnonzero(tokens)
    named = {
        name: groups([values[i] for i in filled.tolist()]) for name, values in slice_values.items()
    }
    if LENGTH in settings.slices:
        named[LENGTH] = quarters(tokens[filled].tolist(), "tokens")
    columns = {row: {"perplexity": _perplexity(nll, texts, filled)} for row, nll in nlls.items()}
    ordered = {name: named[name] for name in settings.slices}
    return sliced(
        columns, "perplexity", ordered, resamples=settings.resamples, level=settings.level
    )


def _perplexity(nll: np.ndarray, texts: np.ndarray, filled: np.ndarray) -> Column:
    """The perplexity as a function of which of the `filled` texts are counted."""
    sums, counts = np.bincount(texts, weights=nll)[filled], np.bincount(texts)[filled]
    return lambda rows: math.exp(sums[rows].sum() / counts[rows].sum())


def _on_harness(row: str, measured: Measured, settings: EvaluationSettings) -> dict[str, Any]:
    assert settings.harness
    say(f"evaluation: {row} on {', '.join(settings.harness)}")
    scores = harness.harness_scores(
        measured.loaded.model,
        measured.loaded.tokenizer,
        settings.harness,
        settings.batch_size,
        settings.harness_limit,
        settings.harness_path,
    )
    return {"harness": scores}


def scores_of(
    loaded: Mapping[str, Measured], settings: EvaluationSettings, parts: Parts, reference: str
) -> dict[str, dict[str, np.ndarray]]:
    """`_scores` of all rows; of one with other tokens, without what is held against another's."""
    drafts = bool(settings.draft_lengths)
    whole = {row: measured for row, measured in loaded.items() if measured.counts is None}
    scores = _scores(whole, parts, reference, drafts=drafts)
    for row, measured in loaded.items():
        if measured.counts is not None:
            alone = _scores({row: measured}, parts, "", drafts=False, of=f" of the {row}")
            scores[row] = together(alone[row], measured.counts)
    return {row: scores[row] for row in loaded}


@torch.inference_mode()
def _scores(
    loaded: Mapping[str, Measured],
    parts: Parts,
    reference: str,
    *,
    drafts: bool,
    of: str = "",
) -> dict[str, dict[str, np.ndarray]]:
    """row -> what is known of each position, float32 [positions] each, in the table's order."""
    first = next(iter(loaded.values()))
    table = first.table
    places = table.position_offsets
    total = int(places[-1])
    all_names = (*NAMES, "acceptance") if drafts else NAMES
    names = [n for n in all_names if reference in loaded or n not in OF_REFERENCE]
    scores = {row: {n: np.empty(total, np.float32) for n in names} for row in loaded}
    buckets = length_buckets(table.lengths, tokens=VALIDATION_TOKENS)
    device = next(first.loaded.model.parameters()).device.type
    batches = parts.batches(
        f"scores{of} on {device}",
        lambda skipped: _of_batches(loaded, first, buckets, skipped, names, reference),
        len(buckets),
    )
    for bucket, values in zip(buckets, batches, strict=True):
        at = np.concatenate([np.arange(places[i], places[i + 1]) for i in bucket])
        for row, of_row in scores.items():
            for name in names:
                of_row[name][at] = values[f"{row}.{name}"]
    return scores


def _of_batches(
    loaded: Mapping[str, Measured],
    first: Measured,
    buckets: Sequence[np.ndarray],
    skipped: int,
    names: Sequence[str],
    reference: str,
) -> Iterator[dict[str, np.ndarray]]:
    """`row.name` -> scores of the positions of each bucket in turn, from `skipped` on."""
    lengths = first.table.lengths
    order = sorted(loaded, key=lambda row: row != reference)  # which the others are held against
    start = sum(int(lengths[bucket].sum()) for bucket in buckets[:skipped])
    with track("evaluation", len(first.table.ids), position=start) as progress:
        for bucket in buckets[skipped:]:
            batch = first.collate(bucket)
            outputs = {
                row: [
                    member.forward_fn(member.loaded.model, batch) for member in loaded[row].members
                ]
                for row in order
            }
            count = int(first.table.positions[bucket].sum())
            values = {f"{row}.{n}": np.empty(count, np.float32) for row in order for n in names}
            for part in pieces(count, _width(outputs[order[0]][0])):
                log_p = None
                for row in order:
                    logits = _logits(outputs[row], loaded[row].shares, part)
                    figures, log_q = _of_chunk(logits, batch.labels[part], log_p)
                    log_p = log_q if row == reference else log_p
                    for name in names:
                        values[f"{row}.{name}"][part] = figures[name].cpu().numpy()
            tokens = int(lengths[bucket].sum())
            progress.advance(tokens, tokens)
            yield values


def _width(output: Any) -> int:
    return int(output.head.size)


def _logits(outputs: Sequence[Any], shares: Sequence[float], part: slice) -> torch.Tensor:
    """A row's logits [chunk, vocabulary]; where several models answer, of their average."""
    members = []
    for output in outputs:
        assert isinstance(output, HiddenOutputs)
        members.append(project(output.hidden[part], output.head))
    return members[0] if len(members) == 1 else averaged(members, shares, "softmax")


def _of_chunk(
    logits: torch.Tensor, labels: torch.Tensor, log_p: torch.Tensor | None
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """(scores [chunk] by name, log q [chunk, vocabulary]); `log_p` is the reference's."""
    log_q = torch.log_softmax(logits, dim=-1)
    confidence, predicted = log_q.max(dim=-1)
    figures = {
        "nll": -log_q.gather(-1, labels[:, None])[:, 0],
        "confidence": confidence.exp(),
        "correct": (predicted == labels).float(),
    }
    teacher = log_q if log_p is None else log_p
    figures["agreement"] = (predicted == teacher.argmax(dim=-1)).float()
    figures["kl"] = (teacher.exp() * (teacher - log_q)).sum(dim=-1)
    figures["acceptance"] = torch.minimum(teacher, log_q).exp().sum(dim=-1)
    return figures, log_q


def _by_window(values: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """[windows, 2]: the sum of the values of each window, and their number."""
    sums = np.bincount(owner, weights=values)
    counts = np.bincount(owner)
    has_positions = counts > 0
    return np.stack([sums[has_positions], counts[has_positions]], axis=1)


def _mean_nats(windows: np.ndarray, _: np.ndarray) -> float:
    return float(windows[:, 0].sum() / windows[:, 1].sum())


def _compare(nats: Mapping[str, np.ndarray], settings: EvaluationSettings) -> dict[str, Any]:
    """The student against the control, and against its own start, in nats a token."""
    comparisons: dict[str, Any] = {}
    for row in ("teacher", "control", "untrained"):
        if "student" in nats and row in nats:
            gain = _difference(nats["student"], nats[row], settings)
            comparisons[f"student_minus_{row}"] = gain
    return comparisons


def _difference(
    first: np.ndarray, second: np.ndarray, settings: EvaluationSettings
) -> dict[str, float]:
    """One model's nats a token less another's, [windows, 2] each, with its interval."""
    difference, low, high = bootstrap_difference(
        _mean_nats, first, second, first, resamples=settings.resamples, level=settings.level
    )
    return {"difference": difference, "low": low, "high": high}
