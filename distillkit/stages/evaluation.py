"""Stage: models and the held-out split -> quality, fidelity, cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.artifacts.parts import NOWHERE, Parts
from distillkit.artifacts.versions import VERSIONS
from distillkit.console.progress import say, working
from distillkit.data.corpus import Split
from distillkit.evaluation import language as language_evaluation
from distillkit.evaluation import lm_eval as harness
from distillkit.evaluation.baseline import baseline, unigram
from distillkit.evaluation.classes import by_class
from distillkit.evaluation.columns import (
    FIDELITY,
    added,
    added_columns,
    calibration_columns,
    fidelity,
    of_all,
    quality,
)
from distillkit.evaluation.comparison import compare
from distillkit.evaluation.disagreements import disagreements
from distillkit.evaluation.efficiency import Measured, costs, ratios, runtimes, unmeasured
from distillkit.evaluation.perturbation import perturbed
from distillkit.evaluation.predictions import write_predictions
from distillkit.evaluation.slices import groups, lengths_of, quarters, sliced, token_lengths
from distillkit.losses.averages import averaged
from distillkit.metrics import EvaluationSettings
from distillkit.metrics.calibration import calibrated
from distillkit.metrics.drafts import titles as draft_titles
from distillkit.metrics.fidelity import closeness
from distillkit.metrics.resampled import (
    Column,
)
from distillkit.models.inference import in_order, logits_of
from distillkit.models.precision import Precision
from distillkit.models.saved import SavedMembers
from distillkit.stages.evaluated_models import (
    all_loaded,
    comparable,
    device_of_models,
    loaded_row,
    same_windows,
)
from distillkit.tasks import HeldOut, SequenceTask, Task, identity_of
from distillkit.tasks.unknown_tokens import unknown_share
from distillkit.token_table import TokenTable
from distillkit.training.batching import length_buckets
from distillkit.training.collation import collator
from distillkit.training.learning import environment
from distillkit.training.validation import VALIDATION_TOKENS
from distillkit.types import LabelSpace

TEACHER = "teacher"  # the row that the others are held against


def fingerprint_fields(
    models: Mapping[str, str],
    task: Task,
    *,
    labelled: str,
    settings: dict[str, Any],
    reference: str | None = None,
) -> dict[str, Any]:
    """What decides an evaluation: the models (row -> fingerprint), the text, what is measured.

    The `reference` is there where it is another row than the teacher's.
    """
    return {
        **({"reference": reference} if reference else {}),
        "version": VERSIONS["evaluation"],
        "models": dict(models),
        "data": labelled,
        **identity_of(task),
        **task.feature_fields(held_out=True),
        **task.scoring,
        "settings": settings,
        **harness.fingerprint_fields(settings["harness"], settings["harness_path"]),
    }


def evaluate(
    models: Mapping[str, SavedMembers],
    task: Task,
    space: LabelSpace,
    test: Split,
    *,
    settings: EvaluationSettings,
    out: Path,
    train_labels: np.ndarray | None = None,
    reference: str | None = None,
    slice_values: Mapping[str, Sequence[Any]] | None = None,
    parts: Parts | None = None,
) -> dict[str, Any]:
    """Measure all models on the same split, on the CPU or GPU at hand, in float32.

    The row `teacher`, where there is one, is what the others are held against, or that of the
    `reference`; then each other one is compared with it in every column. An ensemble's row is
    of its averaged answers, and its cost that of all members in turn. What each said goes under
    `out`, where a run that was ended before goes on. With the `train_labels` as the task encodes
    them, of language models the tokens of the training text, there is a row of a model that knows
    only these. `slice_values` have the values [texts] of the columns that the settings slice by.
    Of `parts` that are shared, other processes work out some (`take_part`).
    """
    parts = parts or Parts(out)
    device = device_of_models()
    loaded = all_loaded(models, task, space, test, device)
    if task.family == "language":
        rows, comparison, bins = language_evaluation.measure(
            loaded, task, test, settings, parts, out, reference or TEACHER, slice_values or {}
        )
        rows |= _unigram(loaded, task, space, train_labels)
    else:
        rows, comparison, bins = _measure(
            *(loaded, task, space, test, settings, parts, out),
            *(train_labels, reference, slice_values or {}),
        )
    say(f"evaluation: timing {', '.join(models)} in turn")
    with working("evaluation: timing"):
        spent, timing = costs(loaded, settings, device)
    for row, measured in loaded.items():
        rows[row] |= spent[row] | _unknown(measured)
    parts.remove()
    say(f"evaluation: {len(test):,} held-out examples, {', '.join(models)}")
    return {
        "rows": rows,
        "examples": len(test),
        "headline": task.headline,
        "metrics": {name: metric.record() for name, metric in settings.metrics.items()}
        | task.measures
        | draft_titles(settings.draft_lengths if task.family == "language" else ()),
        **({"reference": reference} if reference else {}),
        "higher_is_better": task.higher_is_better,
        "auto_class": task.auto_class,
        "own_code": "student" in loaded
        and hasattr(loaded["student"].loaded.model.config, "auto_map"),
        "pipeline": task.pipeline,
        "protocol": task.protocol,
        "comparison": ratios(rows) | comparison,
        "timing": timing,
        "unmeasured": unmeasured(loaded, rows),
        **({"runtimes": ran_in} if (ran_in := runtimes(loaded)) else {}),
        "reliability": bins,
        "ece_bins": settings.ece_bins,
        "level": settings.level,
        "batch_size": settings.batch_size,
        "device": str(device),
        "environment": environment(),
    }


def take_part(
    models: Mapping[str, SavedMembers],
    task: Task,
    space: LabelSpace,
    test: Split,
    *,
    settings: EvaluationSettings,
    reference: str | None,
    parts: Parts,
) -> None:
    """Work out with others the forward passes of which another process measures the models."""
    loaded = all_loaded(models, task, space, test, device_of_models())
    if not isinstance(task, SequenceTask):
        language_evaluation.scores_of(loaded, settings, parts, reference or TEACHER)
        return
    for row, measured in loaded.items():
        _together(measured, task, parts=parts, name=f"the {row}")
    for kind in settings.robustness:
        changed = perturbed(test, kind)
        for row, measured in loaded.items():
            _robust(measured, task, space, changed, parts, f"{row}, {kind}")


def _measure(
    loaded: Mapping[str, Measured],
    task: Task,
    space: LabelSpace,
    test: Split,
    settings: EvaluationSettings,
    parts: Parts,
    out: Path,
    train_labels: np.ndarray | None,
    reference: str | None,
    slice_values: Mapping[str, Sequence[Any]],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(rows, comparison, reliability) of models that say labels which the data has, too."""
    assert isinstance(task, SequenceTask)
    logits, outcomes = {}, {}
    held_out = {row: HeldOut(measured.table, space, test) for row, measured in loaded.items()}
    for row, measured in loaded.items():
        with working(f"evaluation: the {row} on {len(measured.table):,} examples"):
            logits[row] = _together(measured, task, parts=parts, name=f"the {row}")
        outcomes[row] = task.outcomes(logits[row], held_out[row])
    table = next(iter(loaded.values())).table
    alike = {row: logits[row] for row in logits if same_windows(loaded[row].table, table)}
    rows, bins = {}, {}
    for row, values in logits.items():
        rows[row] = quality(task, values, outcomes[row], held_out[row], settings)
        teacher = alike.get(reference or TEACHER) if row in alike else None
        rows[row] |= closeness(task.distribution, values, teacher)
        calibration = calibrated(
            task.distribution, values, held_out[row].table.labels, bins=settings.ece_bins
        )
        if calibration is not None:
            rows[row]["ece"] = calibration.expected_calibration_error
            bins[row] = calibration.record()
    if settings.metrics:
        for row in rows:
            rows[row] |= added(settings, logits[row], held_out[row].table)
    write_predictions(alike, task, next(iter(held_out.values())), out=out)
    columns = {
        row: task.columns(logits[row], outcomes[row], held_out[row])
        | calibration_columns(task, logits[row], held_out[row], settings)
        | fidelity(task, row, alike if row in alike else {}, held_out[row], reference or TEACHER)
        | added_columns(settings, logits[row], held_out[row].table)
        for row in logits
    }
    for row, of_row in columns.items():
        rows[row] |= of_all(of_row, FIDELITY, len(next(iter(outcomes.values()))))
    first = next(iter(held_out.values()))
    rows |= baseline(task, train_labels, first, logits.get(reference or TEACHER), settings)
    texts = len(next(iter(outcomes.values())))
    comparison = compare(task, rows, columns, settings, texts=texts, reference=reference)
    comparison |= {
        "classes": by_class(logits, task, held_out),
        "disagreements": disagreements(alike, task, held_out),
        "slices": _slices(columns, task, loaded, first, slice_values, settings),
    }
    for kind in settings.robustness:
        changed = perturbed(test, kind)
        for row, measured in loaded.items():
            rows[row][kind] = _robust(measured, task, space, changed, parts, f"{row}, {kind}")
    return rows, comparison, bins


def _slices(
    columns: Mapping[str, Mapping[str, Column]],
    task: SequenceTask,
    loaded: Mapping[str, Measured],
    held_out: HeldOut,
    slice_values: Mapping[str, Sequence[Any]],
    settings: EvaluationSettings,
) -> list[dict[str, Any]]:
    """The headline in each part of the held-out text, in the order of the settings."""
    named = {name: groups(values) for name, values in slice_values.items()}
    tokenizer = next(iter(loaded.values())).loaded.tokenizer
    for name in lengths_of(task):
        if name in settings.slices:
            named[name] = quarters(token_lengths(name, held_out, tokenizer), "tokens")
    ordered = {name: named[name] for name in settings.slices}
    return sliced(
        columns, task.headline, ordered, resamples=settings.resamples, level=settings.level
    )


def _unigram(
    loaded: Mapping[str, Measured], task: Task, space: LabelSpace, train_labels: np.ndarray | None
) -> dict[str, Any]:
    """The row of a model that knows how often tokens are in the training text."""
    if train_labels is None:
        return {}
    first = next(measured for measured in loaded.values() if measured.counts is None)
    size = task.width(first.loaded.tokenizer, space)
    counts = np.bincount(np.asarray(train_labels), minlength=size)
    return unigram(counts, np.asarray(first.table.labels))


def _robust(
    measured: Measured,
    task: SequenceTask,
    space: LabelSpace,
    changed: Split,
    parts: Parts,
    name: str,
) -> float:
    """The headline of a model on texts that were changed, under its own tokenizers."""

    def over(member: Measured) -> Measured:
        tokenizer = member.loaded.tokenizer
        table, _ = task.tokenise(changed, tokenizer, label="the test texts", held_out=True)
        device = next(member.loaded.model.parameters()).device
        return replace(member, table=table, collate=collator(table, tokenizer, device))

    later = tuple(over(member) for member in measured.later_members)
    measured = replace(over(measured), later_members=later)
    with working(f"evaluation: {name}"):
        logits = _together(measured, task, parts=parts, name=name)
    outcomes = task.outcomes(logits, HeldOut(measured.table, space, changed))
    return float(task.headline_score(outcomes))


def predict(
    saved: SavedMembers,
    task: Task,
    space: LabelSpace,
    split: Split,
    *,
    precision: Precision,
) -> tuple[np.ndarray, TokenTable]:
    """(a model's logits [positions, classes] on a split, in the data's label order, the table)."""
    device = device_of_models()
    measured = loaded_row(saved, task, space, split, device)
    measured = comparable({"": measured}, device)[""]  # all members of an ensemble
    measured.move(device)
    return _together(measured, task, precision), measured.table


def _together(
    measured: Measured,
    task: Task,
    precision: Precision = "float32",
    *,
    parts: Parts = NOWHERE,
    name: str = "",
) -> np.ndarray:
    """One model's logits, or the average of an ensemble's, in the data's label order."""
    outputs = [
        _outputs(member, precision, parts, f"{name} {i}")
        for i, member in enumerate(measured.members, 1)
    ]
    if not measured.later_members:
        return outputs[0]
    members = [torch.from_numpy(values) for values in outputs]
    return np.asarray(averaged(members, measured.shares, task.distribution))


def _unknown(measured: Measured) -> dict[str, float]:
    """The share of the held-out text's tokens that a model's tokenizer does not know."""
    share = unknown_share(measured.table.ids, measured.loaded.tokenizer)
    return {} if share is None else {"unknown_tokens": round(share, 6)}


def _outputs(measured: Measured, precision: Precision, parts: Parts, name: str) -> np.ndarray:
    """One model's logits [positions, classes] in the data's label order."""
    buckets = length_buckets(measured.table.lengths, tokens=VALIDATION_TOKENS)
    model = measured.loaded.model
    device = next(model.parameters()).device.type

    def batches(begin: int) -> Iterator[dict[str, np.ndarray]]:
        return logits_of(
            model, measured.forward_fn, buckets[begin:], measured.collate, precision=precision
        )

    arrays = parts.batches(f"{name} on {device}", batches, len(buckets))
    logits = in_order(arrays, measured.table.position_offsets)
    return logits if measured.loaded.order is None else logits[:, measured.loaded.order]
