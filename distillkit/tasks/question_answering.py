"""Extractive question answering: the stretch of a passage that answers a question."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import log_softmax
from torch import Tensor

from distillkit.errors import ConfigError
from distillkit.losses.reduction import at_least_float32
from distillkit.metrics.answers import answer_scores, overlap_f1
from distillkit.metrics.resampled import Column, nats_of
from distillkit.metrics.task import mean_nll
from distillkit.models import classifiers as models
from distillkit.models.padding import model_output
from distillkit.models.saved import ForwardFn, Loaded, SavedModel
from distillkit.setting_types import NonNegativeInt, PositiveInt
from distillkit.tasks.sequence import SequenceTask
from distillkit.tasks.task import HeldOut
from distillkit.tasks.tokenize.questions import answer_examples
from distillkit.token_table import TokenTable
from distillkit.types import Batch, Distribution, LabelSpace, Outputs

START_AND_END = LabelSpace(("start", "end"))
NOWHERE = float("-inf")


@dataclass(frozen=True)
class QuestionAnswering(SequenceTask):
    """Where the answer begins and ends: two softmaxes over the tokens of a window.

    Contexts are cut into windows of `max_length` tokens that share `stride`. Each window says two
    distributions of `max_length` outputs, -inf wherever no answer may stand (question, padding), so
    that no loss looks there. An answer has at most `max_answer_length` tokens. With `impossible`
    (SQuAD 2.0) the empty answer is predicted where [CLS] is likelier.
    """

    max_length: PositiveInt = 384
    stride: NonNegativeInt = 128
    max_answer_length: PositiveInt = 30
    impossible: bool = False

    headline: ClassVar = "f1"
    reads: ClassVar[tuple[str, ...]] = ("questions",)
    distribution: ClassVar[Distribution] = "choice"
    one_tokenizer: ClassVar = True
    auto_class: ClassVar = "AutoModelForQuestionAnswering"
    pipeline: ClassVar = "question-answering"
    cuts: ClassVar = "longer contexts are cut into windows"

    def __post_init__(self) -> None:
        if self.stride >= self.max_length:
            raise ConfigError(
                f"task.stride = {self.stride}: windows of task.max_length = {self.max_length} "
                "tokens cannot share so many"
            )

    @property
    def protocol(self) -> str:
        """How the passages are read."""
        return (
            f"windows of {self.max_length} tokens that share {self.stride}, answers of "
            f"{self.max_answer_length} tokens at most; NLL and KL in nats an end of an answer"
        )

    @property
    def scoring(self) -> dict[str, Any]:
        """Which answers may be given."""
        return {"max_answer_length": self.max_answer_length, "impossible": self.impossible}

    def read_labels(
        self, values: Sequence[Any], names: list[str] | None = None
    ) -> tuple[LabelSpace, np.ndarray]:
        """A model's two outputs; where answers stand is told from the text."""
        return START_AND_END, np.zeros(0, np.int64)

    def feature_fields(self, *, held_out: bool) -> dict[str, Any]:
        """The settings that decide a token table; all splits are cut alike."""
        return {"max_length": self.max_length, "stride": self.stride}

    def tokenise(
        self, split: Any, tokenizer: Any, *, label: str, held_out: bool = False
    ) -> tuple[TokenTable, int]:
        """The token table of a split, and how many contexts were cut into several windows."""
        return answer_examples(
            split.texts,
            split.pairs,
            split.answers,
            tokenizer,
            max_length=self.max_length,
            stride=self.stride,
            label=label,
        )

    def load(self, saved: SavedModel, labels: LabelSpace) -> Loaded:
        """A trained model in float32; its two outputs are start and end, whatever their names."""
        options: Any = {"key": saved.key, "trust_remote_code": saved.trust_remote_code}
        model = models.load_complete(saved.folder, auto_class=self.auto_class, **options)
        tokenizer = models.load_tokenizer(saved.folder, **options)
        self.agree_on_padding(model, tokenizer, key=f"{saved.key} = {saved.folder}")
        return Loaded(model.eval(), tokenizer)

    def width(self, tokenizer: Any, labels: LabelSpace) -> int:
        """The tokens of a window."""
        return self.max_length

    def forward_fn(self, tokenizer: Any) -> ForwardFn:
        """A model says its logits [2 windows, max_length]: the start and the end of each."""

        def outputs(model: Any, batch: Batch) -> Outputs:
            output = model_output(model, tokenizer, batch.inputs)
            logits = torch.stack([output.start_logits, output.end_logits], dim=1).float()
            assert batch.answer_mask is not None
            logits = logits.masked_fill(~batch.answer_mask[:, None], NOWHERE)
            wide = F.pad(logits, (0, self.max_length - logits.shape[-1]), value=NOWHERE)
            return Outputs(wide.flatten(0, 1))

        return outputs

    @staticmethod
    def per_example(logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, [2 windows]; float32 inside."""
        return F.cross_entropy(at_least_float32(logits), labels, reduction="none")

    def answers_as_text(self, answers: np.ndarray, held_out: HeldOut) -> list[str] | None:
        """Nothing: a window's answer is no answer of the question yet."""
        return None

    def references(self, held_out: HeldOut) -> dict[str, list[str]] | None:
        """The question, and its answers as a JSON list."""
        split = held_out.split
        references = [
            json.dumps([text for text, _ in a], ensure_ascii=False) for a in split.answers
        ]
        return {"question": list(split.texts), "answers": references}

    def predictions(self, logits: np.ndarray, held_out: HeldOut) -> dict[str, list[Any]]:
        """The answer, "" where it is that there is none, and how right it is."""
        spans = self.answers(logits, held_out.table)
        texts = [c[begin:end] for c, (begin, end) in zip(held_out.split.pairs, spans, strict=True)]
        exact, f1 = self.outcomes(logits, held_out).T
        return {"": texts, "exact_match": exact.astype(int).tolist(), "f1": f1.round(6).tolist()}

    def outcomes(self, logits: np.ndarray, held_out: HeldOut) -> np.ndarray:
        """Exact match and F1 of each question, float64 [questions, 2].

        Where the text is not at hand, in a training's validation, of characters instead of words.
        """
        answers = self.answers(logits, held_out.table)
        if held_out.split is None:
            labels = _labelled_spans(held_out.table)
            pairs = zip(answers, labels, strict=True)
            return np.array(
                [(float(answer == label), _shared(answer, label)) for answer, label in pairs]
            )
        texts = [
            c[begin:end] for c, (begin, end) in zip(held_out.split.pairs, answers, strict=True)
        ]
        references = [[text for text, _ in labels] for labels in held_out.split.answers]
        return np.array([answer_scores(t, r) for t, r in zip(texts, references, strict=True)])

    def headline_score(self, outcomes: np.ndarray) -> float:
        """F1."""
        return float(outcomes[:, 1].mean())

    def scores(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, float]:
        """Exact match, F1, and NLL in nats an end of an answer."""
        exact, f1 = outcomes.mean(axis=0)
        nll = mean_nll(logits, np.asarray(held_out.table.labels))
        return {"f1": float(f1), "exact_match": float(exact), "nll": nll}

    def columns(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, Column]:
        """The same metrics, each as a function of which texts are counted."""
        table = held_out.table
        assert table.text_index is not None
        nats = nats_of(logits, np.asarray(table.labels)).reshape(len(table), -1).sum(axis=1)
        sums = np.bincount(table.text_index, weights=nats, minlength=len(outcomes))
        ends = 2 * np.bincount(table.text_index, minlength=len(outcomes))
        return {
            "f1": lambda rows: float(outcomes[rows, 1].mean()),
            "exact_match": lambda rows: float(outcomes[rows, 0].mean()),
            "nll": lambda rows: float(sums[rows].sum() / ends[rows].sum()),
        }

    def answers(self, logits: np.ndarray, table: TokenTable) -> list[tuple[int, int]]:
        """(first character, the one after the last) of each question's answer; (0, 0): none."""
        return [(begin, end) for _, begin, end in self.best_answers(logits, table)]

    def best_answers(self, logits: np.ndarray, table: TokenTable) -> list[tuple[float, int, int]]:
        """(probability, first character, the one after the last) of each answer; (…, 0, 0): none.

        The best over all windows, by log-probabilities: a window without the answer says so at
        [CLS], whereas its logits alone, which a softmax may shift, compare with no other window's.
        """
        assert (
            table.text_index is not None
            and table.char_spans is not None
            and table.answer_mask is not None
        )
        log_p = log_softmax(logits.astype(np.float64), axis=-1).reshape(len(table), 2, -1)
        questions = int(table.text_index[-1]) + 1
        best = np.full(questions, -np.inf)
        nothing = np.full(questions, np.inf)
        best_of_windows = [(0, 0)] * questions
        for window, owner in enumerate(table.text_index):
            begin, end = table.offsets[window : window + 2]
            spans = np.asarray(table.char_spans[begin:end])
            start, stop = log_p[window, :, : end - begin].copy()
            context = spans[:, 1] > spans[:, 0]
            nowhere = int(np.flatnonzero(table.answer_mask[begin:end] & ~context)[0])
            nothing[owner] = min(nothing[owner], start[nowhere] + stop[nowhere])
            start[~context] = stop[~context] = -np.inf
            score, first, last = best_span(start, stop, self.max_answer_length)
            if score > best[owner]:
                best[owner], best_of_windows[owner] = (
                    score,
                    (int(spans[first, 0]), int(spans[last, 1])),
                )
        if self.impossible:
            empty = nothing > best
            best = np.maximum(nothing, best)
            best_of_windows = [
                (0, 0) if none else place
                for none, place in zip(empty, best_of_windows, strict=True)
            ]
        return [
            (float(np.exp(score)), *place)
            for score, place in zip(best, best_of_windows, strict=True)
        ]


def best_span(start: np.ndarray, end: np.ndarray, longest: int) -> tuple[float, int, int]:
    """(score, first token, last token) of the best span of at most `longest` tokens.

    `start` and `end` [tokens] are log-probabilities; a span's score is the sum of both.
    """
    reach = min(longest, len(end))
    padded = np.concatenate([end, np.full(reach - 1, -np.inf)])
    totals = start[:, None] + sliding_window_view(padded, reach)
    first, length = np.unravel_index(int(totals.argmax()), totals.shape)
    return float(totals[first, length]), int(first), int(first + length)


def _labelled_spans(table: TokenTable) -> list[tuple[int, int]]:
    """(first character, the one after the last) of each question's own answer; (0, 0): none."""
    assert table.text_index is not None and table.char_spans is not None
    labels = [(0, 0)] * (int(table.text_index[-1]) + 1)
    for window, owner in enumerate(table.text_index):
        first, last = table.offsets[window] + table.labels[2 * window : 2 * window + 2]
        if table.char_spans[first, 1]:  # [CLS] stands for no character
            labels[owner] = (int(table.char_spans[first, 0]), int(table.char_spans[last, 1]))
    return labels


def _shared(answer: tuple[int, int], label: tuple[int, int]) -> float:
    shared = max(0, min(answer[1], label[1]) - max(answer[0], label[0]))
    return overlap_f1(shared, answer[1] - answer[0], label[1] - label[0])
