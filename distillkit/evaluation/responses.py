"""Language models on held-out instructions: how near what they write comes to the responses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.artifacts.parts import NOWHERE, Parts
from distillkit.console.progress import say
from distillkit.data.corpus import Split
from distillkit.errors import ConfigError, DataError
from distillkit.evaluation.efficiency import Measured
from distillkit.generation.decode import context, continuations
from distillkit.generation.prompts import Prompt, Prompts, exchange, has_responses
from distillkit.metrics import EvaluationSettings
from distillkit.metrics.interval import bootstrap_difference
from distillkit.metrics.rouge import readable_share, rouge_l

RESPONSES = "responses.jsonl"
LEAST_READABLE = 0.5  # of the letters of the responses


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, and every response that the held-out split has to it."""

    prompt: Prompt
    references: list[str]


def questions(test: Split, tokenizer: Any, settings: EvaluationSettings) -> list[Question]:
    """`rouge_examples` different prompts, evenly spread over the held-out split.

    Raises `DataError` where ROUGE-L could not read the responses or there are none.
    """
    key = f"evaluation.rouge_examples = {settings.rouge_examples}"
    if not has_responses(test):
        raise DataError(f"{key}: the held-out documents have no responses; set it to 0")
    read = Prompts(test, tokenizer)
    grouped: dict[str, tuple[int, list[str]]] = {}
    for place in range(len(test)):
        question, response = exchange(test, place)
        if response.strip():
            key_of_question = json.dumps([question, test.conversation(place).tools])
            grouped.setdefault(key_of_question, (place, []))[1].append(response)
    if not grouped:
        raise DataError(f"{key}: no held-out conversation has a response; set it to 0")
    groups = list(grouped.values())
    size = min(settings.rouge_examples, len(groups))
    choice = [groups[i] for i in np.linspace(0, len(groups) - 1, size).astype(int)]
    readable = readable_share([text for _, references in choice for text in references])
    if readable < LEAST_READABLE:
        raise DataError(
            f"{key}: ROUGE-L reads the letters a-z and digits only, which are {readable:.0%} of "
            "what the held-out responses are written in; set it to 0"
        )
    prompts = ((read(place), references) for place, references in choice)
    return [Question(prompt, references) for prompt, references in prompts if prompt is not None]


def measure(
    loaded: Mapping[str, Measured],
    questions_asked: Sequence[Question],
    settings: EvaluationSettings,
    out: Path,
    parts: Parts = NOWHERE,
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """(rows, comparison): ROUGE-L of what each model writes; what they wrote goes under `out`.

    The mean over questions and decoding seeds, and the standard deviation over seeds. The
    interval of the comparison is over questions, each with its mean over seeds.
    """
    prompts = _fitted([question.prompt for question in questions_asked], loaded, settings)
    references = [question.references for question in questions_asked]
    seeds = settings.rouge_seeds if settings.rouge_sampling else [None]
    rows: dict[str, dict[str, float]] = {}
    scores: dict[str, np.ndarray] = {}
    texts_by_row: dict[str, list[list[str]]] = {}
    for row, measured in loaded.items():
        texts_by_row[row] = []
        for seed in seeds:
            label = f"responses of {row}" + ("" if seed is None else f", seed {seed}")
            generate = partial(
                continuations,
                measured.loaded.model,
                measured.loaded.tokenizer,
                prompts,
                tokens=settings.rouge_tokens,
                batch_size=settings.batch_size,
                seed=seed,
                label=label,
            )
            texts_by_row[row].append(parts.record(label, generate))
        rouge_of_row = np.stack(
            [rouge_l(texts, references) for texts in texts_by_row[row]]
        )  # [seeds, asked]
        rows[row] = {"rouge_l": float(rouge_of_row.mean())}
        if len(seeds) > 1:
            rows[row]["rouge_l_sd"] = float(rouge_of_row.mean(axis=1).std(ddof=1))
        scores[row] = rouge_of_row.mean(axis=0)
    _write(out / RESPONSES, loaded, prompts, references, texts_by_row, scores)
    conditions = {"prompts": len(questions_asked), "seeds": [s for s in seeds if s is not None]}
    return rows, {"rouge_l": conditions | _compare(scores, settings)}


def check_room(model: Any, settings: EvaluationSettings, *, owner: str) -> None:
    """Raise `ConfigError` where a response alone would fill the context of a model."""
    bound = context(model)
    if settings.rouge_examples and bound is not None and settings.rouge_tokens >= bound:
        raise ConfigError(
            f"evaluation.rouge_tokens = {settings.rouge_tokens}: leaves no room for a prompt in "
            f"the {bound} tokens that {owner} can read; set fewer"
        )


def _fitted(
    prompts: list[Prompt], loaded: Mapping[str, Measured], settings: EvaluationSettings
) -> list[Prompt]:
    """The prompts that all models can read, with room for the response: long ones lose their start.

    Raises `ConfigError` where a response alone would fill the context of a model.
    """
    for row, measured in loaded.items():
        check_room(measured.loaded.model, settings, owner=f"the {row}")
    rooms = [(context(measured.loaded.model), row) for row, measured in loaded.items()]
    bounds = [(bound, row) for bound, row in rooms if bound is not None]
    if not bounds:
        return prompts
    shortest, _ = min(bounds)
    room = shortest - settings.rouge_tokens
    if truncated := sum(len(prompt.ids) > room for prompt in prompts):
        say(
            f"evaluation: {truncated:,} of {len(prompts):,} prompts lose their beginning, so that "
            f"{settings.rouge_tokens} tokens of response fit into the context of {shortest:,}"
        )
    return [replace(prompt, ids=prompt.ids[-room:]) for prompt in prompts]


def _mean(scores: np.ndarray, _: np.ndarray) -> float:
    return float(scores.mean())


def _compare(scores: Mapping[str, np.ndarray], settings: EvaluationSettings) -> dict[str, Any]:
    if not {"student", "control"} <= scores.keys():
        return {}
    difference, low, high = bootstrap_difference(
        _mean,
        scores["student"],
        scores["control"],
        scores["student"],
        resamples=settings.resamples,
        level=settings.level,
    )
    return {"student_minus_control": {"difference": difference, "low": low, "high": high}}


def _write(
    path: Path,
    loaded: Mapping[str, Measured],
    prompts: Sequence[Prompt],
    references: Sequence[Sequence[str]],
    texts_by_row: Mapping[str, Sequence[Sequence[str]]],
    scores: Mapping[str, np.ndarray],
) -> None:
    """A line a question: prompt, references, what each row wrote (a text a seed), its score."""
    tokenizer = next(iter(loaded.values())).loaded.tokenizer
    lines = [
        json.dumps(
            {
                "prompt": tokenizer.decode(prompt.ids),
                "references": list(references[i]),
                "written": {row: [texts[i] for texts in texts_by_row[row]] for row in texts_by_row},
                "rouge_l": {row: round(float(scores[row][i]), 2) for row in scores},
            },
            ensure_ascii=False,
        )
        for i, prompt in enumerate(prompts)
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
