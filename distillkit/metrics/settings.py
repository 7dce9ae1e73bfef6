"""How models are measured."""

import importlib.util
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from distillkit.errors import ConfigError
from distillkit.metrics import rouge
from distillkit.metrics.metric import Metric
from distillkit.metrics.titles import COLUMNS
from distillkit.setting_types import Bins, Fraction, NonNegativeInt, PositiveInt, Seed

HARNESS = "lm_eval"
LATER = ("draft_lengths", "slices", "robustness")


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured on the test split, and how often.

    `ece_bins` equal-width bins of confidence; `latency_examples` single forward passes;
    `throughput_batches` batches of `batch_size`; a bootstrap interval at `level` from `resamples`.
    Language models also continue `samples` held-out texts by `sample_tokens` tokens.

    `rouge_examples` held-out prompts are answered by up to `rouge_tokens` tokens and scored by
    ROUGE-L (0: off): drawn at temperature 1 with each of `rouge_seeds`, or greedily once.
    `harness` names tasks of lm-eval, `harness_path` a folder of the user's own ones, and
    `harness_limit` bounds the examples of each. `metrics` are further columns, by name. Of language
    models as draft models, `draft_lengths` are numbers of tokens that are drafted at once.

    `slices` are columns of the data by which the headline is told apart, "length" that of the
    texts; `robustness` also measures it on the held-out texts with typos, or in other case.
    """

    ece_bins: Bins = 15
    latency_examples: PositiveInt = 200
    throughput_batches: PositiveInt = 12
    batch_size: PositiveInt = 32
    resamples: PositiveInt = 2000
    level: Fraction = 0.95
    samples: NonNegativeInt = 3
    sample_tokens: PositiveInt = 48
    rouge_examples: NonNegativeInt = 0
    rouge_seeds: list[Seed] = field(default_factory=lambda: [10])
    rouge_sampling: bool = True
    rouge_tokens: PositiveInt = 256
    harness: list[str] | None = None
    harness_path: str | None = None
    harness_limit: PositiveInt | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    draft_lengths: list[PositiveInt] = field(default_factory=list)
    slices: list[str] = field(default_factory=list)
    robustness: list[Literal["typos", "case"]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._check_metrics()
        if len(set(self.rouge_seeds)) != len(self.rouge_seeds) or not self.rouge_seeds:
            raise ConfigError(
                f"evaluation.rouge_seeds = {self.rouge_seeds}: must be one or more different "
                "numbers, as [10, 20, 30]"
            )
        if self.rouge_examples and not rouge.is_installed():
            raise ConfigError(
                f"evaluation.rouge_examples = {self.rouge_examples}: needs rouge-score, which is "
                "not installed; `pip install 'distillkit[instruct]'`, or set it to 0"
            )
        if self.harness and importlib.util.find_spec(HARNESS) is None:
            raise ConfigError(
                f"evaluation.harness = {self.harness}: needs lm-eval, which is not installed; "
                "`pip install 'distillkit[harness]'`, or set it to null"
            )

    def fingerprint_fields(self) -> dict[str, Any]:
        """All settings but the metrics: those of a config are named by their nodes.

        What was added later is there where it is set, so that earlier evaluations keep their names.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "metrics"}
        return {k: v for k, v in values.items() if k not in LATER or v}

    def _check_metrics(self) -> None:
        for name, metric in self.metrics.items():
            key = f"evaluation.metrics.{name}"
            if not isinstance(metric, Metric):
                raise ConfigError(
                    f"{key} = {metric}: no metric; name a class derived from "
                    f"distillkit.metrics.Metric, as {key}._target_=my_package.MyMetric"
                )
            if name in COLUMNS or not name.isidentifier():
                raise ConfigError(
                    f"{key}: is taken, or no plain name; give the metric another name of letters, "
                    "digits and _"
                )
